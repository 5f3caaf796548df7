// `npm run check`: everything that is looked for in the sources without running them. Checks that have nothing to do with
// each other run side by side, and all of them run, whatever the others found.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { scripts, devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const bin = path.join(root, 'node_modules', '.bin');
const env = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}` };

for (const name of Object.keys(devDependencies))
  if (!existsSync(path.join(root, 'node_modules', name))) {
    console.error(`check: the package ${name} is not installed: npm ci`);
    process.exit(1);
  }

/** Runs a command and shows what it says when it has ended, so that no two are mixed. */
function run(name, command) {
  return new Promise((resolve) => {
    const before = performance.now();
    const child = spawn(command, { cwd: root, env, shell: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
    child.on('close', (code, signal) => {
      const seconds = ((performance.now() - before) / 1000).toFixed(1);
      process.stdout.write(said);
      console.log(`check: ${name}: ${code === 0 ? 'good' : `failed (${signal ?? code})`} (${seconds} s)`);
      resolve(code === 0);
    });
  });
}

/** One after the other: each of the two lanes has one at a time. */
async function lane(checks) {
  const results = [];
  for (const [name, command] of checks) results.push(await run(name, command));
  return results;
}

const checks = (...names) => names.map((name) => [name, scripts[`check:${name}`]]);
// The lint checks types as well, and uses all processors.
const results = await Promise.all([lane(checks('lint', 'format')), lane(checks('api', 'layers', 'licences'))]);
process.exitCode = results.flat().every(Boolean) ? 0 : 1;
