// Measures what docs/performance.md reports. Each measurement is a module tools/bench/NN-name.mjs that exports `title`
// and `run(log)`; it logs figures and judges nothing.
//
//   node tools/bench.mjs [NAME…]     only the measurements whose file name contains one of the names
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('bench/', import.meta.url));
const wanted = process.argv.slice(2);
const files = existsSync(folder) ? readdirSync(folder).filter((file) => /^\d.*\.mjs$/.test(file)) : [];
const chosen = files.sort().filter((file) => wanted.length === 0 || wanted.some((name) => file.includes(name)));
if (chosen.length === 0) {
  console.error(files.length === 0 ? 'bench: nothing to measure yet' : `bench: nothing named ${wanted.join(', ')}`);
  process.exitCode = 1;
}
for (const file of chosen) {
  const { title, run } = await import(path.join(folder, file));
  console.log(`== ${title}`);
  await run((line) => console.log(`   ${line}`));
}
