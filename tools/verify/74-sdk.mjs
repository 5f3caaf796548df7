import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers';
import { Vm } from '../../dist/sdk/index.js';
import { expect, withFolder } from './lib.mjs';

export const title = 'the library: 1,000 commands, 50 at a time, 100 MB echoed, restored machines';

const COMMANDS = 1000;
const PARALLEL = 50;
const ECHOED = 100_000_000;
const RESTORES = 5;
const WARM = 11;

const sorted = (values) => values.toSorted((a, b) => a - b);
const median = (values) => sorted(values)[values.length >> 1];
const ms = (value) => `${value.toFixed(1)} ms`;

async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export async function run(log, { accel = 'wasm' }) {
  log(`${cpus()[0].model}, ${cpus().length} CPUs, load ${loadavg()[0].toFixed(1)}`);
  const begun = performance.now();
  const vm = await Vm.create({ accel, memory: 512 });
  log(`booted after ${((performance.now() - begun) / 1000).toFixed(1)} s`);

  const times = [];
  for (let i = 0; i < COMMANDS; i++)
    times.push(
      await timed(async () => {
        const { exitCode } = await vm.exec(['/bin/sh', '-c', `exit ${i % 256}`]);
        expect(exitCode === i % 256, `command ${i} ended with ${exitCode}`);
      }),
    );
  log(`${COMMANDS} commands: median ${ms(median(times))}, the slowest ${ms(Math.max(...times))}`);

  const all = await timed(async () => {
    const results = await Promise.all(
      Array.from({ length: PARALLEL }, (_, i) => vm.exec(`sleep 0.2; echo ${i}; exit ${i}`)),
    );
    for (const [i, { exitCode, stdout }] of results.entries())
      expect(exitCode === i && stdout === `${i}\n`, `command ${i} of those at a time: ${exitCode} ${stdout}`);
  });
  log(`${PARALLEL} commands at a time: ${ms(all)}`);

  const input = randomBytes(ECHOED);
  const hash = createHash('sha256');
  let count = 0;
  const echo = await timed(() =>
    vm.exec(['cat'], {
      stdin: input,
      check: true,
      onStdout: (bytes) => {
        hash.update(bytes);
        count += bytes.length;
      },
    }),
  );
  expect(count === ECHOED, `${count} bytes came back`);
  expect(hash.digest('hex') === createHash('sha256').update(input).digest('hex'), 'other bytes came back');
  log(`100 MB echoed: ${(echo / 1000).toFixed(1)} s, ${(ECHOED / 1000 / echo).toFixed(1)} MB/s`);

  const file = Buffer.alloc(20_000_000, 'x');
  const written = await timed(() => vm.fs.write('/tmp/large', file));
  const read = await timed(async () => expect(file.equals(await vm.fs.read('/tmp/large')), 'another file came back'));
  log(`a file of 20 MB: written in ${ms(written)}, read in ${ms(read)}`);
  await vm.fs.remove('/tmp/large');

  await withFolder(async (folder) => {
    const saved = path.join(folder, 'saved');
    await vm.snapshot(saved);
    const starts = [];
    for (let i = 0; i < RESTORES; i++) {
      const started = performance.now();
      const other = await Vm.restore(saved, { accel });
      const restored = performance.now() - started;
      await other.exec(['/bin/true'], { check: true });
      starts.push([restored, performance.now() - started]);
      await other.stop();
    }
    log(
      `restored: ${ms(median(starts.map(([at]) => at)))}; first command's end: ${ms(median(starts.map(([, at]) => at)))}`,
    );
  });
  await vm.shutdown();

  const warm = { accel, memory: 512, warm: true };
  await (await Vm.create(warm)).stop();
  const starts = [];
  for (let i = 0; i < WARM; i++) {
    // The worker that waits for the next machine is made meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const started = performance.now();
    const machine = await Vm.create(warm);
    const created = performance.now() - started;
    await machine.exec(['/bin/true'], { check: true });
    starts.push([created, performance.now() - started]);
    if (i === 0) {
      const forking = performance.now();
      const fork = await machine.fork();
      await fork.exec(['/bin/true'], { check: true });
      log(`forked: first command's end after ${ms(performance.now() - forking)}`);
      await fork.stop();
    }
    await machine.stop();
  }
  log(`warm: ${ms(median(starts.map(([at]) => at)))}; first command's end: ${ms(median(starts.map(([, at]) => at)))}`);
}
