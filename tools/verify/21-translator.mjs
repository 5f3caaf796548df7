// Translated code: generated cases against the host's processor, random programs and the boot of a guest against the interpreter.
import { spawnSync } from 'node:child_process';
import { guest } from './lib.mjs';

const CASES = 100_000;
const PROGRAMS = 1000;
const INSTRUCTIONS = '2G';

export const title =
  `Translated code: ${CASES} generated cases, ${PROGRAMS} random programs, ` +
  `a boot of Linux in lockstep with the interpreter`;

function program(log, name, args) {
  const { status, stdout } = spawnSync(process.execPath, [`dist/testing/${name}/main.js`, ...args], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for (const line of stdout.trimEnd().split('\n').slice(-40)) log(line);
  // 77: the host cannot run the native side; the program has said why.
  if (status !== 0 && status !== 77) throw new Error(`${name}: translated code does something else`);
}

export async function run(log) {
  for (const kind of ['64', 'flat32'])
    program(log, 'oracle', ['--accel', 'wasm', '--kind', kind, '--cases', String(CASES / 2)]);
  program(log, 'fuzz', ['--programs', String(PROGRAMS)]);
  const { files } = await guest('amd64');
  const words = 'console=ttyS0 t_end=poweroff';
  const boot = ['--kernel', files.vmlinuz, '--initrd', files.initrd, '--append', words];
  program(log, 'lockstep', [...boot, '--to', INSTRUCTIONS]);
}
