/**
 * A worker that has loaded everything and waits for a machine: what a thread takes to start is taken before somebody waits for it.
 * One is kept, by a process that has said that it makes machines.
 */
import { Worker, type Transferable } from 'node:worker_threads';
import { THREAD_OPTIONS } from '../../host/node/thread-options.js';
import type { WorkerData } from './protocol.js';

/** What a worker is given that waits. */
export interface SpareWorker {
  /** Not 0 when a message with a `WorkerData` lies in the worker's port. */
  readonly spare: Int32Array<SharedArrayBuffer>;
}

const ENTRY = new URL('./machine-worker.js', import.meta.url);

/** MiB for objects that were made lately: V8 would take 48, and a machine makes few. */
const YOUNG = 6;

/** What the threads of machines are started with. */
export const MACHINE_THREAD = { ...THREAD_OPTIONS, resourceLimits: { maxYoungGenerationSizeMb: YOUNG } };

let waiting: { readonly worker: Worker; readonly word: Int32Array<SharedArrayBuffer> } | undefined;
let wanted = false;

function prepare(): void {
  if (waiting || !wanted) return;
  const word = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(ENTRY, { ...MACHINE_THREAD, workerData: { spare: word } satisfies SpareWorker });
  // Nobody need wait for it.
  worker.unref();
  const gone = (): void => {
    if (waiting?.worker === worker) waiting = undefined;
  };
  worker.on('error', gone);
  worker.on('exit', gone);
  waiting = { worker, word };
}

/** From now on a worker is kept ready for the next machine. */
export function keepSpareWorker(): void {
  wanted = true;
  prepare();
}

/** A worker for a machine: the one that waits, else a new one. */
export function takeWorker(data: WorkerData, transfer: readonly Transferable[]): Worker {
  if (!waiting) return new Worker(ENTRY, { ...MACHINE_THREAD, workerData: data, transferList: [...transfer] });
  const { worker, word } = waiting;
  waiting = undefined;
  worker.removeAllListeners('error');
  worker.removeAllListeners('exit');
  worker.ref();
  worker.postMessage(data, [...transfer]);
  Atomics.store(word, 0, 1);
  Atomics.notify(word, 0);
  // Not at once: the machine that is wanted now comes first.
  setTimeout(prepare, 300).unref();
  return worker;
}
