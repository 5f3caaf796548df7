/**
 * A machine on a thread of its own: CPU and devices, in a loop that blocks. Commands lie in the port until the run loop
 * looks for them, which the shared word WAKE tells it to; while the CPU is halted the thread sleeps on that word.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import { awaitMachine, type AwaitedMachine } from './awaited-machine.js';
import { MachineOnThread } from './machine-on-thread.js';
import { portable } from './machine-commands.js';
import type { Event, WorkerData } from './protocol.js';
import type { SpareWorker } from './spare-worker.js';

assert(parentPort !== null, 'this is the entry of a worker');
const port = parentPort;
let awaited: AwaitedMachine | undefined = await awaitMachine(workerData as WorkerData | SpareWorker, port);
try {
  const machine = await MachineOnThread.prepare(awaited.data, port);
  await machine.live(() => {
    awaited = undefined;
  });
} catch (error) {
  port.postMessage({ kind: 'error', error: portable(error) } satisfies Event);
}
// Whatever else may keep the thread alive: it has nothing left to do.
port.close();
