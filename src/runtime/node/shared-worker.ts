/**
 * Machines that share a thread. Each runs a slice when it has something to do, one after the other, and the thread sleeps when none
 * has, on a word that whoever wakes one of them, or has another for it, changes.
 */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import { zstdReady } from '../../host/node/zstd.js';
import { FairTurns, type TurnTaker } from '../../vmm/sched/fair-turns.js';
import { collectGarbage } from './collect-garbage.js';
import { prepareVm } from './create-vm.js';
import { MachineOnThread } from './machine-on-thread.js';
import { portable } from './machine-commands.js';
import type { Event, WorkerData } from './protocol.js';
import type { SharedWorkerCommand, SharedWorkerData } from './shared-worker-protocol.js';

/** Milliseconds after a machine's beginning or end until what it has left behind is collected, if there is nothing else to do. */
const TIDY = 400;

assert(parentPort !== null, 'this is the entry of a worker');
const owner = parentPort;
const { word } = workerData as SharedWorkerData;

/** A machine, with the way to its owner. */
class Guest implements TurnTaker {
  constructor(
    private readonly machine: MachineOnThread,
    readonly port: MessagePort,
  ) {}

  get isCalled(): boolean {
    return this.machine.isCalled;
  }

  get shares(): number {
    return this.machine.shares;
  }

  takeTurn(): number | undefined {
    try {
      return this.machine.takeTurn();
    } catch (error) {
      // Not even its end went well. The others have nothing to do with it.
      tellFailure(this.port, error);
      return undefined;
    }
  }
}

const turns = new FairTurns<Guest>(() => performance.now());
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
    if (machine.begin()) turns.add(new Guest(machine, port));
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
    prepareVm();
    return;
  }
  Atomics.wait(word, 0, 0, Math.min(milliseconds, tidy));
}

await zstdReady();
while (wanted) {
  if (Atomics.exchange(word, 0, 0) !== 0) await takeIn();
  const turn = turns.next();
  if (typeof turn === 'number') {
    sleep(turn);
    continue;
  }
  if (!turn.ended) continue;
  turn.ended.port.close();
  untidy = performance.now();
  await settle();
}
MachineOnThread.endShared();
owner.close();
