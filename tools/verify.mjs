// Runs everything the project promises, one check after the other, and logs the figures. Each check is a module
// tools/verify/NN-name.mjs that exports `title` and `run(log, { accel })`; `run` throws where a promise is not kept.
//
//   node tools/verify.mjs [--accel NAME] [NAME…]     only the checks whose file name contains one of the names
//
// --accel says what runs the guests, in the checks that let it be chosen; without it, the product's own choice does.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const folder = fileURLToPath(new URL('verify/', import.meta.url));
const { values: options, positionals: wanted } = parseArgs({
  options: { accel: { type: 'string' } },
  allowPositionals: true,
});
const files = existsSync(folder) ? readdirSync(folder).filter((file) => /^\d.*\.mjs$/.test(file)) : [];
const chosen = files.sort().filter((file) => wanted.length === 0 || wanted.some((name) => file.includes(name)));
if (chosen.length === 0) {
  console.error(files.length === 0 ? 'verify: there are no checks yet' : `verify: no check named ${wanted.join(', ')}`);
  process.exit(1);
}

const lines = [];
const log = (line) => {
  lines.push(line);
  console.log(line);
};
let failures = 0;
for (const file of chosen) {
  const { title, run } = await import(path.join(folder, file));
  const before = performance.now();
  let verdict = 'ok';
  log(`== ${title}`);
  try {
    await run((line) => log(`   ${line}`), options);
  } catch (error) {
    verdict = 'FAILED';
    failures += 1;
    log(`   ${error instanceof Error ? error.message : String(error)}`);
  }
  log(`${verdict} ${path.basename(file, '.mjs')} (${((performance.now() - before) / 1000).toFixed(1)} s)`);
}
log(failures === 0 ? 'all checks passed' : `${failures} of ${chosen.length} checks failed`);
mkdirSync('dist/verify', { recursive: true });
writeFileSync('dist/verify/log.txt', `${lines.join('\n')}\n`);
process.exitCode = failures === 0 ? 0 : 1;
