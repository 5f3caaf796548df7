// Checks the licence of every installed package, from package-lock.json (npm copies it there from each package).
import { readFileSync } from 'node:fs';
import { bundledPackages } from './bundled-packages.mjs';

/** Licences that let an Apache-2.0 project use a package, as SPDX identifiers. */
const permitted = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Python-2.0',
  'Unlicense',
]);
/** Further licences for tools that take part in development but are in nothing that users install. */
const permittedInDevelopment = new Set(['CC-BY-4.0', 'MPL-2.0']);

/** Whether an SPDX expression (`A`, `(A OR B)`, `(A AND B)`) can be met with the licences in `set`. */
function isMet(expression, set) {
  const text = expression.replace(/^\((.*)\)$/, '$1');
  if (text.includes(' OR ')) return text.split(' OR ').some((part) => isMet(part, set));
  return text.split(' AND ').every((part) => set.has(part.replace(/[()]/g, '')));
}

const { packages } = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'));
const all = new Set([...permitted, ...permittedInDevelopment]);
const isBundled = (name) => bundledPackages.some((one) => name.endsWith(`node_modules/${one}`));
const wrong = Object.entries(packages).filter(
  ([name, { license, dev }]) => !isMet(license ?? 'none given', dev === true && !isBundled(name) ? all : permitted),
);
for (const [name, { license, version }] of wrong) {
  console.error(`licences: ${name.replace(/^.*node_modules\//, '')} ${version}: ${license ?? 'none given'}`);
}
console.log(`licences: ${Object.keys(packages).length} packages, ${wrong.length} not permitted`);
process.exitCode = wrong.length > 0 ? 1 : 0;
