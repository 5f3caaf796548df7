// Checks that imports follow the layer table (tools/layer-table.mjs), with dependency-cruiser.
//
//   node tools/layers.mjs [ROOT]     ROOT holds src/; default: the project
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise } from 'dependency-cruiser';
import { layers, nodePlaces, packagePlaces, pagePlaces, testPackages } from './layer-table.mjs';

const project = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const root = path.resolve(process.argv[2] ?? project);
const names = Object.keys(layers);
const test = '\\.test\\.ts$';
const places = (list) => list.map((place) => `^src/${place}`);
const anyOf = (list) => `^src/(${list.join('|')})/`;
const rule = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

const layerRules = names.flatMap((layer, index) => {
  const from = { path: `^src/${layer}/` };
  return [
    rule(
      `layer-${layer}`,
      `${layer} may import ${layers[layer].join(', ') || 'nothing'}`,
      { ...from, pathNot: test },
      { path: '^src/', pathNot: anyOf([layer, ...layers[layer]]) },
    ),
    rule(
      `layer-${layer}-tests`,
      `tests of ${layer} may import the layers below it, host/fake and testing`,
      { path: `^src/${layer}/.*${test}` },
      { path: '^src/', pathNot: anyOf([...names.slice(0, index + 1), 'host/fake', 'testing']) },
    ),
  ];
});

const concrete = 'src/accel/';
const rules = [
  ...layerRules,
  rule('known-layer', 'every file belongs to a layer', { path: '^src/', pathNot: anyOf([...names, 'testing']) }, {}),
  rule(
    'testing',
    'only tests may import src/testing',
    { path: '^src/', pathNot: [test, '^src/testing/'] },
    { path: '^src/testing/' },
  ),
  rule(
    'no-accelerator',
    'machine and vmm know accelerators only through iface',
    { path: '^src/(machine|vmm)/', pathNot: test },
    { path: `^${concrete}` },
  ),
  rule(
    'node-modules-of-node',
    'node: modules only where the platform is Node (tools/layer-table.mjs)',
    { path: '^src/', pathNot: [...places(nodePlaces), '^src/testing/', test] },
    { dependencyTypes: ['core'] },
  ),
  rule(
    'dom',
    'what needs a page is imported by pages only',
    { path: '^src/', pathNot: [...places(pagePlaces), test] },
    { path: places(pagePlaces) },
  ),
  rule(
    'page-without-node',
    'a page has no node: modules, so it imports no file that uses them',
    { path: places(pagePlaces), pathNot: test },
    { path: places(nodePlaces) },
  ),
  rule(
    'emitters',
    'build-time emitters are run, not imported',
    { path: '^src/', pathNot: ['^src/cpu/[^/]+/build/', '^src/testing/', test] },
    { path: '^src/cpu/[^/]+/build/' },
  ),
  ...Object.entries(packagePlaces).map(([name, allowed]) =>
    rule(
      `package-${name}`,
      `${name} is imported in ${allowed.join(', ')} only`,
      { path: '^src/', pathNot: [...places(allowed), '^src/testing/', test] },
      { path: `node_modules/${name}/` },
    ),
  ),
  rule(
    'test-packages',
    `${testPackages.join(', ')} for tests only`,
    { path: '^src/', pathNot: ['^src/testing/', test] },
    { path: testPackages.map((name) => `node_modules/${name}/`) },
  ),
  rule(
    'unlisted-package',
    'a package needs an entry in tools/layer-table.mjs and in ARCHITECTURE.md',
    { path: '^src/' },
    {
      path: 'node_modules/',
      pathNot: [...Object.keys(packagePlaces), ...testPackages].map((name) => `node_modules/${name}/`),
    },
  ),
  rule('unresolvable', 'the import leads nowhere', { path: '^src/' }, { couldNotResolve: true }),
  rule(
    'no-cycle',
    'modules must not import each other in a circle (types alone may)',
    { path: '^src/' },
    { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
  ),
];

const result = await cruise(['src'], {
  baseDir: root,
  ruleSet: { forbidden: rules },
  validate: true,
  tsPreCompilationDeps: true,
  // AssemblyScript is compiled apart and imports nothing from outside its folder.
  exclude: { path: ['^src/.*/assembly/', '^dist/'] },
  doNotFollow: { path: 'node_modules' },
  tsConfig: { fileName: path.join(project, 'tsconfig.node.json') },
  enhancedResolveOptions: {
    extensionAlias: { '.js': ['.ts', '.js'] },
    exportsFields: ['exports'],
    conditionNames: ['types', 'import', 'default'],
  },
  outputType: 'json',
});
const { summary, modules } = JSON.parse(result.output);
for (const { from, to, rule: broken } of summary.violations) {
  const { comment } = rules.find((one) => one.name === broken.name);
  console.error(`${from} → ${to}: ${broken.name}: ${comment}`);
}
const count = summary.violations.length;
if (count > 0) console.error(`layers: ${count} import${count === 1 ? '' : 's'} against the table`);
else
  console.log(
    `layers: ${modules.filter((module) => module.source.startsWith('src/')).length} modules follow the table`,
  );
process.exitCode = count > 0 ? 1 : 0;
