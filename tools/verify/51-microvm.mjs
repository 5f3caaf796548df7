import { cpus, loadavg } from 'node:os';
import { accelerator, expect, guest, vitrine } from './lib.mjs';

export const title = 'microvm: starts Debian faster than a PC does';

const RUNS = 5;

/** Seconds to the shell, and millions of instructions until the guest has switched itself off. */
async function start(machine, files, accel) {
  const kernel = ['--kernel', files.vmlinux, '--initrd', files.initrd];
  const append = ['--append', 'console=ttyS0 panic=-1 tsc=reliable quiet'];
  const { code, stderr, times } = await vitrine(
    ['run', '--machine', machine, ...kernel, ...append, '--stats', ...accelerator(accel)],
    { script: [[/^vitrine:~# /, 'poweroff\n']] },
  );
  expect(code === 0, `exit code ${code}: ${stderr}`);
  const count = /([\d,]+) instructions/.exec(stderr)?.[1] ?? /instructions +([\d,]+)/.exec(stderr)?.[1] ?? '0';
  return { seconds: times[0], millions: Number(count.replaceAll(',', '')) / 1e6 };
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
    shell[name] = median(runs.map(({ seconds }) => seconds));
    const best = Math.min(...runs.map(({ seconds }) => seconds));
    const millions = median(runs.map((one) => one.millions));
    log(
      `${name}: shell after ${shell[name].toFixed(2)} s (median of ${RUNS}, best ${best.toFixed(2)}), ${millions.toFixed(0)} M instructions until it is off`,
    );
  }
  log(`microvm/pc: ${(shell.microvm / shell.pc).toFixed(2)}`);
  expect(shell.microvm <= shell.pc, 'the microvm is slower');
}
