/** The thread that a machine lives on, as its owner sees it: a worker of its own, or one that it shares with others. */
import { MessageChannel, Worker, type MessagePort, type Transferable } from 'node:worker_threads';
import { HostError } from '../../base/errors.js';
import type { Command, Event, MachineStart, WorkerData } from './protocol.js';
import type { SharedWorkerCommand, SharedWorkerData } from './shared-worker-protocol.js';
import { MACHINE_THREAD, takeWorker } from './spare-worker.js';

export interface ThreadListener {
  event(event: Event): void;
  /** The thread has failed, and the machine with it. `ended` follows. */
  broken(error: Error): void;
  /** Nothing of the machine is on a thread any more; `code` is that of a worker that has ended with it. */
  ended(code: number): void;
}

export interface MachineThread {
  /** Called once, and before anything can have been told. */
  listen(listener: ThreadListener): void;
  /** A command lies there; the machine looks when it is woken. */
  post(command: Command): void;
}

/** A thread that has used up its memory is no defect. */
function asHostError(error: Error): Error {
  if (!('code' in error) || error.code !== 'ERR_WORKER_OUT_OF_MEMORY') return error;
  return new HostError(`the machine's thread has failed: ${error.message}`, { cause: error });
}

/** Data of its own buffer, which can be handed over to another thread instead of being copied. */
function movable(start: MachineStart): ArrayBuffer[] {
  if (start.kind !== 'create') return [];
  const { bios, kernel } = start.config.boot;
  const all = [bios?.image, kernel?.data, ...(kernel?.modules ?? []).map(({ data }) => data)];
  const buffers = new Set<ArrayBuffer>();
  for (const data of all)
    if (data && data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength)
      buffers.add(data.buffer);
  return [...buffers];
}

/** A machine on a worker of its own. Throws when there can be none. */
export function ownThread(data: WorkerData): MachineThread {
  const worker = takeWorker(data, movable(data.start));
  return {
    listen: (listener) => {
      worker.on('message', (event: Event) => listener.event(event));
      worker.on('error', (error) => listener.broken(asHostError(error)));
      worker.on('exit', (code) => listener.ended(code));
    },
    post: (command) => worker.postMessage(command),
  };
}

/** The worker that machines of this process share, while there are any. */
let shared: SharedWorker | undefined;

/** A machine on the worker that machines share. `word`: what that sleeps on. Throws when there can be none. */
export function sharedThread(data: WorkerData, word: Int32Array<SharedArrayBuffer>): MachineThread {
  shared ??= new SharedWorker(word, (ended) => {
    if (shared === ended) shared = undefined;
  });
  return shared.add(data);
}

class SharedWorker {
  private readonly worker: Worker;
  private readonly members = new Set<ThreadListener>();

  /** `over`: it takes no more machines. */
  constructor(
    private readonly word: Int32Array<SharedArrayBuffer>,
    private readonly over: (worker: SharedWorker) => void,
  ) {
    const workerData: SharedWorkerData = { word };
    this.worker = new Worker(new URL('./shared-worker.js', import.meta.url), { ...MACHINE_THREAD, workerData });
    // Its machines keep the process, by their ports.
    this.worker.unref();
    this.worker.on('error', (error) => {
      for (const member of this.members) member.broken(asHostError(error));
    });
    this.worker.on('exit', (code) => {
      this.over(this);
      for (const member of this.members) member.ended(code);
      this.members.clear();
    });
  }

  private tell(command: SharedWorkerCommand, transfer: readonly Transferable[] = []): void {
    this.worker.postMessage(command, [...transfer]);
    Atomics.store(this.word, 0, 1);
    Atomics.notify(this.word, 0);
  }

  add(data: WorkerData): MachineThread {
    const { port1: own, port2: port } = new MessageChannel();
    this.tell({ kind: 'machine', data, port }, [port, ...movable(data.start)]);
    return {
      listen: (listener) => {
        this.members.add(listener);
        this.connect(own, listener);
      },
      post: (command) => own.postMessage(command),
    };
  }

  private connect(port: MessagePort, listener: ThreadListener): void {
    let isOver = false;
    port.on('message', (event: Event) => {
      isOver ||= event.kind === 'exit' || event.kind === 'error';
      listener.event(event);
    });
    // A port that closes before that belonged to a worker that dies, of which more will be told.
    port.on('close', () => {
      if (!isOver || !this.members.delete(listener)) return;
      listener.ended(0);
      if (this.members.size > 0) return;
      this.over(this);
      this.tell({ kind: 'end' });
    });
  }
}
