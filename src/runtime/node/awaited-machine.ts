/** What a worker does until it has a machine (spare-worker.ts): apart from it, so that a process that makes machines need not load them. */
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { threadCalls } from '../../host/node/native/thread.js';
import { zstdReady } from '../../host/node/zstd.js';
import { loadTranslatingImage } from './interp-image.js';
import type { WorkerData } from './protocol.js';
import { rehearse } from './rehearsal.js';
import type { SpareWorker } from './spare-worker.js';

function prepareByRehearsal(): unknown {
  try {
    return rehearse();
  } catch {
    // As when there is no memory for it: the machine will start later than it might, or say why it cannot.
    return undefined;
  }
}

/** A machine that is to be, and what makes its start short, until it has begun. */
export interface AwaitedMachine {
  readonly data: WorkerData;
  readonly rehearsed?: unknown;
}

/** In the worker: its machine, waited for if need be. */
export async function awaitMachine(data: WorkerData | SpareWorker, port: MessagePort): Promise<AwaitedMachine> {
  if (!('spare' in data)) return { data };
  await zstdReady();
  loadTranslatingImage(1);
  threadCalls();
  // Whoever waits for it already does not wait for that.
  const rehearsed = Atomics.load(data.spare, 0) === 0 ? prepareByRehearsal() : undefined;
  Atomics.wait(data.spare, 0, 0);
  const received: { readonly message: WorkerData } | undefined = receiveMessageOnPort(port);
  if (!received) throw new Error('a machine was announced and did not come');
  return { data: received.message, rehearsed };
}
