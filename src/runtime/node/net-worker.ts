/** The thread of a machine's networks: rings of frames on one side, the host's sockets on the other. */
import { workerData } from 'node:worker_threads';
import { VitrineError } from '../../base/errors.js';
import type { RunningNetwork } from '../common/network-end.js';
import { startNetwork } from './networks.js';
import { NATIVE, STATUS, type NetAnswer, type NetCommand, type NetWorkerData } from './net-protocol.js';
import { loadSignals, wakeMachine } from './wake.js';

const { networks, shared: words, signals, status, port } = workerData as NetWorkerData;
const statusWords = new Int32Array(status);
const running: RunningNetwork[] = [];

const wake = (): void => {
  wakeMachine(words);
};

let scheduled = false;

/** Moves frames until there are none; sockets get their turn in between. */
function work(): void {
  scheduled = false;
  let more = false;
  for (const network of running) more = network.move() || more;
  if (more) schedule();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(work);
}

/** Works whenever the machine's thread rings: cheaper than a message for both. */
async function answerDoorbell(): Promise<never> {
  for (;;) {
    const seen = Atomics.load(statusWords, STATUS.DOORBELL);
    work();
    const { async: waits, value } = Atomics.waitAsync(statusWords, STATUS.DOORBELL, seen);
    if (waits) await value;
  }
}

function command(message: NetCommand): void {
  const network = running.at(message.network);
  switch (message.kind) {
    case 'reset':
      network?.reset();
      break;
    case 'save':
      port.postMessage({ kind: 'saved', connections: network?.save() ?? new Uint8Array(0) } satisfies NetAnswer);
      Atomics.add(statusWords, STATUS.ANSWERS, 1);
      Atomics.notify(statusWords, STATUS.ANSWERS);
      break;
    case 'restore':
      network?.restore(message.connections);
      break;
  }
}

/** Loads native code, unless the thread is about to be ended. */
function whileLoading<T>(load: () => T): T | undefined {
  const { IDLE, LOADING, NEVER } = NATIVE;
  if (Atomics.compareExchange(statusWords, STATUS.NATIVE, IDLE, LOADING) === NEVER) return undefined;
  try {
    return load();
  } finally {
    Atomics.store(statusWords, STATUS.NATIVE, IDLE);
    Atomics.notify(statusWords, STATUS.NATIVE);
  }
}

function ready(): void {
  Atomics.store(statusWords, STATUS.READY, 1);
  Atomics.notify(statusWords, STATUS.READY);
}

try {
  if (signals) await loadSignals();
  for (const [i, { config, fromGuest, toGuest }] of networks.entries())
    running.push(
      await startNetwork({
        config,
        fromGuest,
        toGuest,
        wakeMachine: wake,
        whileLoading,
        setLink: (up) => {
          Atomics.store(statusWords, STATUS.LINK + i, up ? 1 : 0);
          wake();
        },
      }),
    );
  port.on('message', command);
  ready();
  void answerDoorbell();
} catch (error) {
  const { message } = error instanceof Error ? error : new Error(String(error));
  port.postMessage({ kind: 'error', message, expected: error instanceof VitrineError } satisfies NetAnswer);
  ready();
}
