import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { litmusKernel, readCounts, wrongCounts } from '../../dist/testing/smp/litmus.js';
import { accelerator, expect, FIRST_STEPS, guest, initrdWith, initrdWithChecks, vitrine, withFolder } from './lib.mjs';

export const title =
  'Several CPUs: what they see of each other, Linux on 2, 4 and 8 of them, and what two do in the time of one';

const PARTS = (process.env.VITRINE_SMP ?? 'litmus,boots,parallel').split(',');
/** Boots of each kernel with each number of CPUs. */
const BOOTS = Number(process.env.VITRINE_SMP_BOOTS ?? 10);
/** LOCK ADDs of each of four CPUs. */
const SUMS = 10_000_000;
/** Pairs of runs that are compared. */
const PAIRS = 5;

const COMPLAINTS = /BUG:|WARNING:|stall|soft lockup|unstable|Oops|Kernel panic|inconsistent/;

export const run = (log, { accel } = {}) =>
  withFolder(async (folder) => {
    if (PARTS.includes('litmus')) await litmus(folder, log, accel);
    if (PARTS.includes('boots'))
      for (const name of ['amd64', 'i386']) for (const cpus of [2, 4, 8]) await boots(folder, name, cpus, log, accel);
    if (PARTS.includes('parallel')) await parallel(folder, log, accel);
  });

async function litmus(folder, log, accel) {
  for (const cpus of [2, 4]) {
    const options = { cpus, rounds: 20_000 / cpus, sums: SUMS, splits: 20_000, wides: 500_000 };
    const kernel = path.join(folder, 'litmus');
    writeFileSync(kernel, litmusKernel(options));
    const args = ['run', ...accelerator(accel), '--kernel', kernel, '--smp', String(cpus), '--memory', '64M'];
    const { stdout, code, seconds } = await vitrine([...args, '--net', 'none', '--debug-exit'], { limit: 900 });
    expect(code === 1, `the kernel of ${cpus} CPUs ended with ${code}`);
    const counts = readCounts(stdout);
    const wrong = wrongCounts(counts, options);
    expect(wrong.length === 0, wrong.join('; '));
    log(
      `${cpus} CPUs: ${SUMS} LOCK ADDs each, stores buffered ${counts[0]} times, nothing forbidden; ${seconds.toFixed(1)} s`,
    );
  }
}

async function bootArguments(folder, name, cpus, accel) {
  const { files } = await guest(name);
  const initrd = initrdWithChecks(files.initrd, path.join(folder, `initrd-${name}`));
  const kernel = name === 'amd64' ? files.vmlinux : files.vmlinuz;
  const args = [
    'run',
    ...accelerator(accel),
    '--kernel',
    kernel,
    '--initrd',
    initrd,
    '--memory',
    '512M',
    '--net',
    'none',
  ];
  return [...args, '--no-reboot', '--smp', String(cpus)];
}

async function boots(folder, name, cpus, log, accel) {
  const args = await bootArguments(folder, name, cpus, accel);
  const times = [];
  for (let n = 0; n < BOOTS; n++) {
    const append = 'console=ttyS0 panic=-1 rdinit=/check checks=mem,fp,fork,time';
    const { stdout, code, seconds } = await vitrine([...args, '--append', append], { limit: 600 });
    const complaint = stdout.split('\n').find((line) => COMPLAINTS.test(line) || line.includes('@bad'));
    expect(
      code === 0 && complaint === undefined,
      `${name}, ${cpus} CPUs, boot ${n + 1}: ${complaint ?? `code ${code}`}`,
    );
    expect(stdout.includes(`Brought up 1 node, ${cpus} CPUs`), `${name}: not all of ${cpus} CPUs came up`);
    times.push(seconds);
  }
  times.sort((a, b) => a - b);
  log(`${name}, ${cpus} CPUs: ${BOOTS} boots with checks, ${times[times.length >> 1].toFixed(1)} s (median)`);
}

/** A computation for each CPU, first on one and then on all; by the guest's clock. */
const PARALLEL = `${FIRST_STEPS}work() { awk 'BEGIN { for (i = 1; i <= 300000; i++) s += i % 7; print s }' >/dev/null; }
now() { read -r up rest </proc/uptime; echo "$up" | tr -d .; }
work & work & wait
for round in 1 2 3 4 5; do
  a=$(now); taskset 1 awk 'BEGIN { for (i = 1; i <= 300000; i++) s += i % 7; print s }' >/dev/null
  taskset 1 awk 'BEGIN { for (i = 1; i <= 300000; i++) s += i % 7; print s }' >/dev/null
  b=$(now); work & work & wait
  c=$(now); echo "@times $((b - a)) $((c - b))"
done
echo "@done"
poweroff -f
`;

async function parallel(folder, log, accel) {
  if (availableParallelism() < 2) {
    log('one processor: nothing to compare');
    return;
  }
  const { files } = await guest('amd64');
  const initrd = initrdWith(files.initrd, path.join(folder, 'parallel'), { parallel: PARALLEL });
  const args = [
    'run',
    ...accelerator(accel),
    '--kernel',
    files.vmlinux,
    '--initrd',
    initrd,
    '--memory',
    '256M',
    '--net',
    'none',
  ];
  const append = 'console=ttyS0 panic=-1 rdinit=/parallel';
  const { stdout } = await vitrine([...args, '--smp', '2', '--no-reboot', '--append', append], { limit: 600 });
  const ratios = [...stdout.matchAll(/@times (\d+) (\d+)/g)].map(([, one, two]) => Number(one) / Number(two));
  expect(ratios.length === PAIRS, 'the guest did not measure');
  ratios.sort((a, b) => a - b);
  const median = ratios[PAIRS >> 1];
  log(`two CPUs: ${median.toFixed(2)} times as fast as one (${ratios.map((r) => r.toFixed(2)).join(' ')})`);
  expect(median >= 1.7, 'two CPUs do less than 1.7 times the work of one');
}
