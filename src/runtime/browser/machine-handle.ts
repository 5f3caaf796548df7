/** A machine that runs in a worker of this page, as its owner sees it. */
import { assertNever } from '../../base/assert.js';
import { HostError, VitrineError } from '../../base/errors.js';
import { watchLife } from '../../host/browser/life.js';
import type { InputEvent } from '../../iface/input.js';
import type { StreamEnd, StreamListener } from '../../iface/streams.js';
import type { MachineExit } from '../../vmm/machine.js';
import type { SharingConfig } from '../../vmm/sharing-config.js';
import { SmpWords } from '../../vmm/smp/words.js';
import { StreamMux } from '../../vmm/stream-mux.js';
import type { Answer, Button, InputChannel, OutputChannel } from '../common/commands.js';
import { InputGate } from '../common/input-gate.js';
import { MessageRing } from '../common/message-ring.js';
import { revive } from '../common/portable-error.js';
import { Questions } from '../common/questions.js';
import { plain } from './plain.js';
import {
  SHARED,
  type AcceleratorName,
  type Command,
  type Event,
  type Frame,
  type MachineFacts,
  type MachineStart,
  type PageParts,
  type WorkerStart,
  type WorkerWarm,
} from './protocol.js';

/** What the owner of a machine wants to be told. */
export interface MachineListener {
  /** Bytes of a character device. The machine stands still when too many are not `done`. */
  output(channel: OutputChannel, bytes: Uint8Array, done: () => void): void;
  /** Something worth telling the user. */
  report?(text: string): void;
  /** The machine was reset and boots again. */
  reset?(): void;
  /** What has changed on the screen; the answer to `requestFrame`. */
  frame?(frame: Frame): void;
}

/** How a machine is started in a page. */
export interface MachineOptions {
  /** Of Vitrine. */
  readonly version: string;
  readonly accel?: AcceleratorName;
  /** Files and networks that the page has for it. */
  readonly parts?: PageParts;
  /** Where the files of the workers are: machine-worker.js, cpu-worker.js, translation-worker.js, net-worker.js. */
  readonly workers: URL;
  /** False: everything on one worker, even where more is possible. */
  readonly threads?: boolean;
  /** A worker that was started by `warmWorker`. */
  readonly worker?: Worker;
}

const startWorker = (workers: URL): Worker => new Worker(new URL('machine-worker.js', workers), { type: 'module' });

const mayShare = (threads: boolean): boolean => threads && globalThis.crossOriginIsolated;

/** Starts the worker of a machine that is to come, and has it load what that will need. */
export function warmWorker(
  cpus: number,
  { accel = 'wasm', workers, threads = true }: Pick<MachineOptions, 'accel' | 'workers' | 'threads'>,
): Worker {
  const worker = startWorker(workers);
  worker.postMessage({ warm: { accel, cpus, threads: mayShare(threads) } } satisfies WorkerWarm);
  return worker;
}

/** Bytes of commands that may be under way. */
const RING = 2 ** 16;
/** Milliseconds until a machine that has not taken commands is offered them again. */
const AGAIN = 5;

/** A machine that runs in a worker of the page, as its owner sees it. */
export class BrowserMachine {
  /** How the machine ended; rejected when it could not start, or broke. */
  readonly exited: Promise<MachineExit>;
  /** Resolves once the guest runs; never, when it could not start. */
  readonly started: Promise<MachineFacts>;
  private readonly worker: Worker;
  private readonly words: Int32Array<SharedArrayBuffer> | undefined;
  private readonly ring: MessageRing | undefined;
  private readonly gate: InputGate;
  private pushing = false;
  /** Ends the watch over its threads. */
  private readonly watching = new AbortController();
  private inputTaken = 0;
  private readonly questions = new Questions<Answer>();
  private readonly streams = new StreamMux((message) => this.post({ kind: 'stream', message }), 1);
  private sharing: SharingConfig | undefined;
  private markStarted: (facts: MachineFacts) => void = () => {};

  constructor(
    start: MachineStart,
    private readonly listener: MachineListener,
    { version, accel = 'wasm', parts = {}, workers, threads = true, worker = startWorker(workers) }: MachineOptions,
  ) {
    if (mayShare(threads)) {
      this.words = new Int32Array(new SharedArrayBuffer(SHARED.SIZE * 4));
      this.ring = MessageRing.create(RING);
    }
    const { words, ring } = this;
    this.gate = new InputGate(() => (words ? Atomics.load(words, SHARED.INPUT_TAKEN) >>> 0 : this.inputTaken));
    this.worker = worker;
    const shared = words && ring && { words, commands: ring.shared };
    const first: WorkerStart = { start, parts, accel, version, epoch: performance.timeOrigin, shared };
    this.started = new Promise((resolve) => {
      this.markStarted = resolve;
    });
    this.exited = new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }: MessageEvent<Event>) => this.handle(data, resolve, reject);
      this.worker.onerror = ({ message }) => reject(new HostError(`the machine's worker has failed: ${message}`));
      this.worker.postMessage(first);
    });
    this.exited.then(
      () => this.abandon(new VitrineError('the machine has ended')),
      (error: unknown) => this.abandon(error instanceof Error ? error : new Error(String(error))),
    );
  }

  private abandon(error: Error): void {
    this.questions.abandon(error);
    this.streams.closeAll();
    this.watching.abort();
    // With all workers that it has started.
    this.worker.terminate();
  }

  private handle(event: Event, resolve: (exit: MachineExit) => void, reject: (error: Error) => void): void {
    switch (event.kind) {
      case 'started':
        this.markStarted(event.facts);
        break;
      case 'output':
        this.listener.output(event.channel, event.bytes, () => this.written(event.bytes.length));
        break;
      case 'taken':
        break;
      case 'input-taken':
        this.inputTaken = (this.inputTaken + 1) >>> 0;
        break;
      case 'report':
        this.listener.report?.(event.text);
        break;
      case 'reset':
        this.listener.reset?.();
        break;
      case 'cpu-thread': {
        const { index, life, words } = event;
        watchLife(life, this.watching.signal, () => SmpWords.lose(words, index));
        break;
      }
      case 'answer':
        this.questions.answered(event.id, event.answer);
        break;
      case 'frame':
        this.listener.frame?.(event.frame);
        break;
      case 'stream':
        this.streams.handle(event.message);
        break;
      case 'sharing':
        this.sharing = event.config;
        break;
      case 'exit':
        resolve(event.exit);
        break;
      case 'error':
        reject(revive(event.error));
        break;
      default:
        assertNever(event);
    }
  }

  private written(count: number): void {
    if (!this.words) return;
    Atomics.add(this.words, SHARED.WRITTEN, count);
    Atomics.notify(this.words, SHARED.WRITTEN);
  }

  private post(command: Command): void {
    const { ring } = this;
    // Nobody would ever take it out of the ring.
    if (this.questions.over) return;
    if (!ring) {
      this.worker.postMessage(command);
      return;
    }
    ring.enqueue(plain(command));
    if (!this.pushing) this.push(ring);
  }

  private push(ring: MessageRing): void {
    if (this.questions.over) return;
    this.pushing = !ring.push();
    if (this.words) {
      Atomics.store(this.words, SHARED.WAKE, 1);
      Atomics.notify(this.words, SHARED.WAKE);
    }
    if (this.pushing) setTimeout(() => this.push(ring), AGAIN);
  }

  private ask(command: (id: number) => Command): Promise<Answer> {
    return this.questions.ask((id) => this.post(command(id)));
  }

  /** Input for a console. */
  send(channel: InputChannel, bytes: Uint8Array): void {
    this.post({ kind: 'input', channel, bytes: new Uint8Array(bytes) });
  }

  /** The size of the terminal in characters, for the virtio console. */
  resize(columns: number, rows: number): void {
    this.post({ kind: 'resize', columns, rows });
  }

  /** Saves the machine into the page's own files, and it goes on afterwards. Rejected with a one-line error when that fails. */
  async save(name: string): Promise<void> {
    await this.ask((id) => ({ kind: 'save', id, name }));
  }

  /** The rows of the VGA screen in a text mode; none in a graphics mode. */
  async screen(): Promise<readonly string[]> {
    const answer = await this.ask((id) => ({ kind: 'screen', id }));
    return 'screen' in answer ? answer.screen : [];
  }

  /** Resolves when the button was pressed; what comes of it is the guest's affair. */
  async press(button: Button): Promise<void> {
    await this.ask((id) => ({ kind: 'press', id, button }));
  }

  /** Makes the machine stand still, and its time with it. */
  async pause(): Promise<void> {
    await this.ask((id) => ({ kind: 'pause', id }));
  }

  /** Lets it go on. */
  async resume(): Promise<void> {
    await this.ask((id) => ({ kind: 'resume', id }));
  }

  /** Asks for the screen's news; the listener's `frame` is called once for each time. */
  requestFrame(): void {
    this.post({ kind: 'frame' });
  }

  /** What a user does. Lost while the machine takes no input, releases of keys apart. */
  input(event: InputEvent): void {
    if (this.gate.admit(event)) this.post({ kind: 'user-input', event });
  }

  /** The size, in pixels, that the guest shall show: a hint. */
  preferSize(width: number, height: number): void {
    this.post({ kind: 'prefer-size', width, height });
  }

  /** A stream to a port of the virtio console, once the machine has started. Undefined: there is none of that name. */
  connectPort(name: string, listener: StreamListener): StreamEnd | undefined {
    const index = (this.sharing?.ports ?? []).findIndex((port) => port.name === name);
    return index < 0 || this.questions.over ? undefined : this.streams.connect('port', index + 1, listener);
  }

  /** Ends the machine; `exited` follows. */
  stop(): void {
    this.post({ kind: 'stop' });
  }
}
