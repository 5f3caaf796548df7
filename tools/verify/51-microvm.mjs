import { cpus, loadavg } from 'node:os';
import { accelerator, expect, guest, vitrine } from './lib.mjs';

export const title = 'microvm: starts Debian faster than a PC does';

const RUNS = 5;

/** Seconds to the shell. */
async function start(machine, files, accel) {
  const kernel = ['--kernel', files.vmlinux, '--initrd', files.initrd];
  const append = ['--append', 'console=ttyS0 panic=-1 tsc=reliable quiet'];
  const { code, stderr, times } = await vitrine(
    ['run', '--machine', machine, ...kernel, ...append, ...accelerator(accel)],
    { script: [[/^vitrine:~# /, 'poweroff\n']] },
  );
  expect(code === 0, `exit code ${code}: ${stderr}`);
  return times[0];
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

export async function run(log, { accel }) {
  log(`${cpus()[0].model}, ${cpus().length} CPUs, load ${loadavg()[0].toFixed(1)}`);
  const { files } = await guest('amd64');
  const found = { pc: [], microvm: [] };
  // In turn: what else the host does concerns both.
  for (let i = 0; i < RUNS; i++)
    for (const name of ['pc', 'microvm']) found[name].push(await start(name, files, accel));
  const shell = {};
  for (const [name, runs] of Object.entries(found)) {
    shell[name] = median(runs);
    const best = Math.min(...runs);
    log(`${name}: shell after ${shell[name].toFixed(2)} s (median of ${RUNS}, best ${best.toFixed(2)})`);
  }
  log(`microvm/pc: ${(shell.microvm / shell.pc).toFixed(2)}`);
  expect(shell.microvm <= shell.pc, 'the microvm is slower');
}
