import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';

const built = new URL('../../../dist/runtime/node/collect-garbage.js', import.meta.url).href;

/** Calls it in a new thread. What was held weakly before is gone then, or is not, or why it is not. */
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads');
void import(workerData.built).then(({ collectGarbage }) => {
  const held = new WeakRef({ nobody: 'needs this' });
  setImmediate(() => {
    Atomics.store(workerData.word, 0, 1);
    try {
      collectGarbage();
      Atomics.store(workerData.word, 0, 2);
      setImmediate(() => parentPort.postMessage(held.deref() === undefined ? 'collected' : 'still there'));
    } catch (error) {
      Atomics.store(workerData.word, 0, 2);
      parentPort.postMessage(String(error));
    }
  });
});`;

async function collect(meanwhile: (word: Int32Array) => Promise<void> | void): Promise<unknown> {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(PROGRAM, { eval: true, workerData: { built, word } });
  const answer = new Promise<unknown>((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  await meanwhile(word);
  const text = await answer;
  await worker.terminate();
  return text;
}

it('collects what nobody needs', async () => {
  expect(await collect(() => {})).toBe('collected');
});

it('lets it be where another thread takes the flag of the process back all the time', async () => {
  const text = await collect(async (word) => {
    while (Atomics.load(word, 0) === 0) await setImmediate();
    while (Atomics.load(word, 0) === 1) setFlagsFromString('--no-expose-gc');
  });
  expect(text).toMatch(/^(collected|still there)$/);
});
