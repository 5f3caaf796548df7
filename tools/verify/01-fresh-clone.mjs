import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, root, runProgram, withFolder } from './lib.mjs';

export const title = 'A fresh clone in an empty home: npm ci && npm start, and the demo without a network';

/** A clone, and an environment whose home and temporary folder are new and empty. */
export async function freshClone(folder, log) {
  const home = path.join(folder, 'home');
  const temporary = path.join(folder, 'tmp');
  mkdirSync(home);
  mkdirSync(temporary);
  // What npm tells its scripts is not to reach the clone's npm, but how this machine reaches the package registry is.
  const ours = Object.entries(process.env).filter(([name]) => !/^(npm_|XDG_|VITRINE_)/i.test(name));
  const userconfig = process.env.npm_config_userconfig ?? path.join(process.env.HOME ?? '', '.npmrc');
  const env = { ...Object.fromEntries(ours), HOME: home, TMPDIR: temporary, NO_COLOR: '1' };
  if (existsSync(userconfig)) env.npm_config_userconfig = userconfig;
  const clone = path.join(folder, 'vitrine');
  await must(runProgram('git', ['clone', '-q', root, clone], { env }));
  const { seconds } = await must(runProgram('npm', ['ci'], { cwd: clone, env, limit: 600 }));
  log(`npm ci: ${seconds.toFixed(1)} s`);
  return { clone, env, home, temporary, installed: seconds };
}

export async function must(running) {
  const result = await running;
  expect(result.code === 0, `exit code ${result.code}:\n${(result.stdout + result.stderr).slice(-3000)}`);
  return result;
}

/** What a command left in places that ought to be as they were. */
export async function expectClean({ clone, env, home, temporary }) {
  const { stdout } = await must(runProgram('git', ['status', '--porcelain'], { cwd: clone, env }));
  expect(stdout === '', `files are left in the clone:\n${stdout}`);
  // Where machines that run are listed stays, with nothing in it, when the host has no better place for it.
  const listed = `vitrine-${process.getuid()}`;
  const left = readdirSync(temporary, { recursive: true }).filter((name) => name !== listed);
  expect(left.length === 0, `temporary files are left: ${left.join(' ')}`);
  const stray = readdirSync(home).filter((name) => name !== '.cache' && name !== '.npm');
  expect(stray.length === 0, `files are left in the home: ${stray.join(' ')}`);
}

export const run = (log) =>
  withFolder(async (folder) => {
    const fresh = await freshClone(folder, log);
    const { clone, env } = fresh;
    const prompt = /vitrine:~# /;
    const script = [
      [prompt, 'uname -a\n'],
      [prompt, 'cat /proc/cpuinfo\n'],
      [prompt, 'poweroff\n'],
    ];
    const first = await must(runProgram('npm', ['start'], { cwd: clone, env, script, limit: 300 }));
    log(`npm start, with the guest to be fetched: prompt after ${first.times[0].toFixed(1)} s`);
    log(/^Linux .*$/m.exec(first.stdout)?.[0]);
    expect(/^Linux \S+ 6\.1.* x86_64 GNU\/Linux/m.test(first.stdout), 'uname -a does not say what it should');
    expect(/^model name\s*: Vitrine/m.test(first.stdout), '/proc/cpuinfo does not say what it should');
    const total = fresh.installed + first.times[0];
    log(`npm ci && npm start: prompt after ${total.toFixed(1)} s, exit code 0 after poweroff`);
    expect(total <= 90, `the prompt came after ${total.toFixed(1)} s, not 90`);
    const second = await must(runProgram('npm', ['start'], { cwd: clone, env, script, limit: 300 }));
    log(`npm start once more: prompt after ${second.times[0].toFixed(1)} s`);

    const demo = [process.execPath, path.join(clone, 'dist/cli/main.js'), 'run', 'demo'];
    const unshare = await runProgram('unshare', ['-rn', 'true'], { env }).catch(() => ({ code: 1 }));
    const alone = unshare.code === 0 ? ['unshare', '-rn', ...demo] : ['env', 'PATH=/nonexistent', ...demo];
    const shown = await must(runProgram(alone[0], alone.slice(1), { env }));
    log(
      `vitrine run demo ${unshare.code === 0 ? 'in a network of its own' : 'without apt'}: ${shown.seconds.toFixed(1)} s`,
    );
    await expectClean(fresh);
  });
