// Types and lint at once: each project's program is made once, and ESLint's typed rules ask the checker that has already
// seen it all. Apart (`npm run check:types`, `npm run check:lint`) the same takes half as long again.
//
//   node tools/check-sources.mjs
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import ts from 'typescript';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

/** Whether dist/ was compiled, without errors, from the sources as they are now: its types need no second look then. */
const isCompiled = spawnSync(process.execPath, ['tools/build.mjs', '--compiled']).status === 0;

const host = {
  getCanonicalFileName: (name) => name,
  getCurrentDirectory: () => root,
  getNewLine: () => '\n',
};
const format = process.stdout.isTTY ? ts.formatDiagnosticsWithColorAndContext : ts.formatDiagnostics;
let good = true;

/** The program of a tsconfig file; `checked` reports what is wrong in it. */
function programOf(config, checked) {
  const unusable = (diagnostic) => {
    throw new Error(ts.formatDiagnostic(diagnostic, host));
  };
  const { fileNames, options, errors } = ts.getParsedCommandLineOfConfigFile(
    config,
    { noEmit: true, incremental: false, tsBuildInfoFile: undefined },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: unusable },
  );
  const program = ts.createProgram({ rootNames: fileNames, options, configFileParsingDiagnostics: errors });
  if (checked) {
    const diagnostics = ts.sortAndDeduplicateDiagnostics(ts.getPreEmitDiagnostics(program));
    if (diagnostics.length > 0) {
      console.log(format(diagnostics, host));
      good = false;
    }
  }
  // ESLint writes its configuration into its cache, where the program's name will do.
  Object.defineProperty(program, 'toJSON', { value: () => config });
  return program;
}

const programs = [
  programOf('tsconfig.json', true),
  programOf('tsconfig.tools.json', true),
  programOf('tsconfig.web.json', !isCompiled),
];
const eslint = new ESLint({
  cache: true,
  cacheLocation: 'node_modules/.cache/eslint/',
  overrideConfig: [{ files: ['**/*.ts'], languageOptions: { parserOptions: { projectService: false, programs } } }],
});
const results = await eslint.lintFiles(['.']);
const formatter = await eslint.loadFormatter('stylish');
const findings = await formatter.format(results);
if (findings !== '') {
  console.log(findings);
  good = false;
}
process.exitCode = good ? 0 : 1;
