import { Buffer } from 'node:buffer';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { accelerator, expect, guest, initrdWithChecks, vitrine, withFolder } from './lib.mjs';

export const title = "Debian's kernels reach userland, and programs work there";

const COMMON = ['cpu', 'mem', 'fp', 'fork', 'time'];
const RUNS = [
  { name: 'amd64', kernel: 'vmlinux', checks: [...COMMON, 'rng', 'blk'], disk: true },
  { name: 'amd64', kernel: 'vmlinuz', checks: COMMON },
  { name: 'amd64-generic', kernel: 'vmlinux', checks: COMMON },
  { name: 'amd64-generic', kernel: 'vmlinuz', checks: COMMON },
  { name: 'amd64-trixie', kernel: 'vmlinux', checks: COMMON },
  { name: 'amd64-trixie', kernel: 'vmlinuz', checks: COMMON },
  { name: 'i386', kernel: 'vmlinuz', checks: COMMON, cpu: 'pentium4' },
];

export async function run(log, { accel } = {}) {
  const problems = [];
  for (const one of RUNS)
    try {
      await withFolder((folder) => boot({ ...one, accel }, folder, log));
    } catch (error) {
      log(`${one.name} ${one.kernel}: ${error.message}`);
      problems.push(`${one.name} ${one.kernel}`);
    }
  expect(problems.length === 0, `failed: ${problems.join(', ')}`);
}

async function boot({ name, kernel, checks, cpu, disk, accel }, folder, log) {
  const { files } = await guest(name);
  const initrd = initrdWithChecks(files.initrd, path.join(folder, 'initrd'));
  const args = ['run', '--kernel', files[kernel], '--initrd', initrd, ...accelerator(accel)];
  args.push('--append', `console=ttyS0 panic=-1 rdinit=/check checks=${checks.join()}`, '--no-reboot');
  if (cpu) args.push('--cpu', cpu);
  const image = path.join(folder, 'disk');
  if (disk) {
    writeFileSync(image, Buffer.concat([Buffer.from('a disk of verify'), Buffer.alloc(16 * 1024 * 1024 - 16)]));
    args.push('--disk', image);
  }
  const { code, stdout, times, seconds } = await vitrine(args, { script: [[/^@up .*$/], [/^@done/]], limit: 180 });
  const bad = stdout.match(/^@bad .*$/gm) ?? [];
  const ok = stdout.match(/^@ok \S+/gm) ?? [];
  expect(bad.length === 0, bad.join('; '));
  const expected = checks.length + (disk ? 1 : 0);
  expect(ok.length === expected, `${ok.length} checks went well, not ${expected}: ${ok.join(' ')}`);
  expect(code === 0, `exit code ${code}`);
  if (disk) {
    const text = Array.from({ length: 300_000 }, (_, i) => `${i + 1}\n`).join('');
    const written = readFileSync(image)
      .subarray(4096, 4096 + 1024 * 1024)
      .toString('latin1');
    expect(written === text.slice(0, 1024 * 1024), 'the file does not hold what the guest wrote');
  }
  const [, release] = /@up (\S+)/.exec(stdout) ?? [];
  log(
    `${name} ${kernel}${cpu ? ` on ${cpu}` : ''}: Linux ${release}, userland after ${times[0].toFixed(1)} s, ` +
      `${ok.map((line) => line.slice(4)).join(' ')}, off after ${seconds.toFixed(1)} s`,
  );
}
