// How soon machines are there that begin with others, and what memory they take.
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { setTimeout } from 'node:timers';
import { Vm } from '../../dist/sdk/index.js';
import { expect } from './lib.mjs';

export const title =
  'instant start: forks and warm machines to their first command, 50 forks in memory, with workers of their own and in one';

const ROUNDS = 11;
const FORKS = 50;
const MEMORY = 512;
/** Aims, in milliseconds and MiB. */
const AIM = { warm: 150, fork: 100, idle: { own: 32, shared: 8 }, all: 4096 };

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const spread = (values) =>
  `median ${median(values).toFixed(0)} ms (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`;

/** MiB of this process, its share of what it has with others: files in memory that nobody has mapped are not in it. */
function memory() {
  const rollup = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const field = (name) => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
  return { pss: field('Pss'), anonymous: field('Pss_Anon'), shared: field('Pss_Shmem'), file: field('Pss_File') };
}

const text = ({ pss, anonymous, shared, file }) =>
  `${pss.toFixed(0)} MiB (${anonymous.toFixed(0)} of its own, ${shared.toFixed(0)} of files in memory, ${file.toFixed(0)} of others)`;

const count = (folder) => readdirSync(folder).length;
const mappings = () => readFileSync('/proc/self/maps', 'utf8').split('\n').length;

export async function run(log, { accel = 'wasm' }) {
  log(`${cpus()[0].model}, ${cpus().length} CPUs, load ${loadavg()[0].toFixed(1)}`);
  const options = { accel, memory: MEMORY, warm: true };
  await (await Vm.create(options)).stop();

  const warm = [];
  for (let i = 0; i < ROUNDS; i++) {
    // The worker that waits for the next machine is made meanwhile.
    await pause(1500);
    const started = performance.now();
    const vm = await Vm.create(options);
    const created = performance.now() - started;
    await vm.exec(['/bin/true'], { check: true });
    warm.push([created, performance.now() - started]);
    await vm.stop();
  }
  log(
    `warm: ${spread(warm.map(([at]) => at))}; to the end of its first command: ${spread(warm.map(([, at]) => at))}; aim ${AIM.warm} ms`,
  );

  for (const worker of ['own', 'shared']) await forks(log, { ...options, worker });
}

/** Forks of a machine, one after the other and many at a time. */
async function forks(log, options) {
  const { worker } = options;
  log(`workers: ${worker}`);
  const parent = await Vm.create(options);
  await parent.fs.write('/root/kept', 'kept');
  const times = [];
  for (let i = 0; i < ROUNDS; i++) {
    await pause(1500);
    const started = performance.now();
    const vm = await parent.fork();
    const created = performance.now() - started;
    await vm.exec(['/bin/true'], { check: true });
    times.push([created, performance.now() - started]);
    expect((await vm.fs.readText('/root/kept')) === 'kept', 'a fork has other files');
    await vm.stop();
  }
  log(
    `fork: ${spread(times.map(([at]) => at))}; to the end of its first command: ${spread(times.map(([, at]) => at))}; aim ${AIM.fork} ms`,
  );

  const before = memory();
  log(`memory with one machine: ${text(before)}, ${mappings()} mappings, ${count('/proc/self/fd')} files`);
  const machines = [];
  try {
    for (let i = 0; i < FORKS; i++) machines.push(await parent.fork());
    await pause(5000);
    const idle = memory();
    const each = (idle.pss - before.pss) / FORKS;
    log(
      `${FORKS} idle forks of ${MEMORY} MiB: ${text(idle)}: ${each.toFixed(1)} MiB each, aim ${AIM.idle[worker]}; ` +
        `${mappings()} mappings, ${count('/proc/self/fd')} files, ${count('/proc/self/task')} threads`,
    );
    if (worker === 'shared') expect(each <= AIM.idle.shared, `an idle fork takes ${each.toFixed(1)} MiB`);
    const answers = await Promise.all(machines.map((vm) => vm.exec('hostname; cat /root/kept', { check: true })));
    expect(
      answers.every(({ stdout }) => stdout.endsWith('\nkept')),
      'a fork answers something else',
    );
    expect(new Set(answers.map(({ stdout }) => stdout)).size === FORKS, 'two forks have one name');
    const used = memory();
    log(`they have answered: ${text(used)}; aim ${AIM.all} MiB in all`);
    expect(used.pss <= AIM.all, `${FORKS} forks take ${used.pss.toFixed(0)} MiB`);
  } finally {
    await Promise.all(machines.map((vm) => vm.stop()));
  }
  if (worker === 'shared') await leavesNothing(log, parent);
  await parent.stop();
}

/** Forks that come and go in a worker leave nothing in it: a leak grows with each round, where what V8 keeps for later does not. */
async function leavesNothing(log, parent) {
  const sizes = [];
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < FORKS; i++) await (await parent.fork()).stop();
    await pause(3000);
    sizes.push(memory().pss);
  }
  log(`behind each ${FORKS} forks that were made and stopped: ${sizes.map((size) => size.toFixed(0)).join(', ')} MiB`);
  const least = Math.min(...sizes.slice(1).map((size, i) => size - sizes[i]));
  expect(least < FORKS / 2, `${FORKS} forks leave ${least.toFixed(0)} MiB behind`);
}
