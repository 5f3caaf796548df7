/**
 * Machines that share a thread. Each runs a slice when it has something to do, one after the other, and the thread sleeps when none
 * has, on a word that whoever wakes one of them changes.
 */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import { zstdReady } from '../../host/node/zstd.js';
import { collectGarbage } from './collect-garbage.js';
import { MachineOnThread } from './machine-on-thread.js';
import { portable } from './machine-commands.js';
import type { Event, WorkerData } from './protocol.js';
import type { SharedWorkerCommand, SharedWorkerData } from './shared-worker-protocol.js';

/** Milliseconds after a machine's beginning or end until what it has left behind is collected, if there is nothing else to do. */
const TIDY = 400;

assert(parentPort !== null, 'this is the entry of a worker');
const owner = parentPort;
const { word } = workerData as SharedWorkerData;

interface Guest {
  readonly machine: MachineOnThread;
  readonly port: MessagePort;
  /** Until then it has nothing to do, unless it is called. */
  due: number;
}

const guests = new Set<Guest>();
let wanted = true;
/** When a machine last began or ended, unless all has been collected since. */
let untidy: number | undefined;

function tellFailure(port: MessagePort, error: unknown): void {
  port.postMessage({ kind: 'error', error: portable(error) } satisfies Event);
  port.close();
}

async function admit(data: WorkerData, port: MessagePort): Promise<void> {
  try {
    const machine = await MachineOnThread.prepare(data, port);
    const guest = { machine, port, due: 0 };
    if (machine.begin()) guests.add(guest);
    else port.close();
  } catch (error) {
    tellFailure(port, error);
  }
  untidy = performance.now();
}

async function takeIn(): Promise<void> {
  for (;;) {
    const received: { readonly message: SharedWorkerCommand } | undefined = receiveMessageOnPort(owner);
    if (!received) return;
    const { message } = received;
    if (message.kind === 'end') wanted = false;
    else await admit(message.data, message.port);
  }
}

/** Gives each its turn. When one of them is due again; false: some have ended. */
function round(): number | false {
  let next = Infinity;
  let haveEnded = false;
  for (const guest of guests) {
    if (guest.due > performance.now() && !guest.machine.isCalled) {
      next = Math.min(next, guest.due);
      continue;
    }
    const rest = guest.machine.takeTurn();
    if (rest === undefined) {
      guests.delete(guest);
      guest.port.close();
      haveEnded = true;
      continue;
    }
    guest.due = rest === 0 ? 0 : performance.now() + rest;
    next = Math.min(next, guest.due);
  }
  return haveEnded ? false : next;
}

/** Lets ports and threads end that were closed: that takes the thread's event loop, which sees to it behind what is immediate. */
async function settle(): Promise<void> {
  for (let round = 0; round < 2; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** Milliseconds until there is something to do. */
function sleep(milliseconds: number): void {
  const tidy = untidy === undefined ? Infinity : untidy + TIDY - performance.now();
  if (tidy <= 0) {
    untidy = undefined;
    collectGarbage();
    return;
  }
  Atomics.wait(word, 0, 0, Math.min(milliseconds, tidy));
}

await zstdReady();
while (wanted) {
  Atomics.store(word, 0, 0);
  await takeIn();
  const next = round();
  if (next === false) {
    untidy = performance.now();
    await settle();
    continue;
  }
  const left = next - performance.now();
  if (left > 0) sleep(left);
}
MachineOnThread.endShared();
owner.close();
