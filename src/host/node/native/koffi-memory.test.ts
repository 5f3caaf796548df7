import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { cLibrary } from './c-library.js';

const count = (): number => readFileSync('/proc/self/maps', 'latin1').split('\n').length;

/** Calls a function of the C library, and is done. */
const WORK = `
  import { parentPort, workerData } from 'node:worker_threads';
  const { cLibrary } = await import(workerData);
  const { func } = cLibrary();
  parentPort.postMessage(func('int getpid()')());`;

it.skipIf(process.platform !== 'linux' || process.arch !== 'x64')(
  'of threads that have ended goes with the next that has some',
  async () => {
    cLibrary();
    const entry = new URL(`data:text/javascript,${encodeURIComponent(WORK)}`);
    const workerData = new URL('../../../../dist/host/node/native/c-library.js', import.meta.url).href;
    const run = async (): Promise<void> => {
      const worker = new Worker(entry, { workerData });
      const [told] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      expect(told).toEqual([process.pid]);
    };
    for (let i = 0; i < 10; i++) await run();
    const before = count();
    for (let i = 0; i < 30; i++) await run();
    // Three of each would be 90 more. Others of this process come and go.
    expect(count() - before).toBeLessThan(45);
    // Several at a time, each with its own.
    await Promise.all(Array.from({ length: 8 }, run));
  },
);
