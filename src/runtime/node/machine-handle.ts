import { assert, assertNever } from '../../base/assert.js';
import { HostError, VitrineError } from '../../base/errors.js';
import type { MediaRequest } from '../../vmm/media.js';
import type { HotplugRequest } from '../../vmm/hotplug.js';
import type { Inspection } from '../../vmm/inspect.js';
import type { FrameNews } from '../../display/frame-news.js';
import type { MachineExit } from '../../vmm/machine.js';
import type { InputEvent } from '../../iface/input.js';
import { closeBranch } from './branches.js';
import { InputGate } from '../common/input-gate.js';
import { revive } from '../common/portable-error.js';
import { Questions } from '../common/questions.js';
import type { CpuLimits } from '../../vmm/sched/settings.js';
import { SmpWords } from '../../vmm/smp/words.js';
import { wakeThread } from '../../vmm/sched/words.js';
import type { SharingConfig } from '../../vmm/sharing-config.js';
import { MachineSeat, type CpuUsage } from './scheduler.js';
import type { StreamEnd, StreamListener } from '../../iface/streams.js';
import { wakeMachine } from './wake.js';
import { ownThread, sharedThread, type MachineThread } from './machine-thread.js';
import { SocketBridge } from './socket-bridge.js';
import { checkSharing, type WorkerKind } from './worker-kind.js';
import type { DebugCommand } from './debugging.js';
import {
  SHARED,
  type BalloonStatus,
  type Branch,
  type Button,
  type Command,
  type Event,
  type InputChannel,
  type MachineFacts,
  type MachineStart,
  type OutputChannel,
  type PictureFormat,
  type WorkerAnswer,
  type WorkerData,
  type WorkerOptions,
} from './protocol.js';

/** What the owner of a machine wants to be told. */
export interface MachineListener {
  /** Bytes of a character device. The machine stands still when too many are not `done`. */
  output(channel: OutputChannel, bytes: Uint8Array, done: () => void): void;
  /** Something worth telling the user. */
  report?(text: string): void;
  /** The machine was reset and boots again. */
  reset?(): void;
  /** The tray of a drive has moved. */
  trayMoved?(disk: number, open: boolean): void;
  /** A card that was plugged while the machine runs has gone. */
  cardRemoved?(id: string): void;
  /** There is room for input again, after `send` returned false. */
  drain?(): void;
  /** What has changed on the screen. */
  frame?(news: FrameNews): void;
  /** Bytes for the debugger; undefined: it wants nothing more. */
  debugger?(bytes: Uint8Array | undefined): void;
}

/** How a machine is started, as far as the machine itself has nothing to do with it. */
export interface MachineOptions extends WorkerOptions {
  /** Of Vitrine. */
  readonly version: string;
  /** What it may have of the host's processors; what is absent: like any other machine. */
  readonly limits?: Partial<CpuLimits>;
  /** Of processes of this user, whose machines share processors by their shares; absent: those of this process do. Linux only. */
  readonly group?: string;
  /**
   * `shared`: a worker that machines of this process share, which take turns on its thread. They are meant to be idle most of the time: one that computes
   * slows the others down, and what one waits for (files and shared folders of the host, images on servers, being saved) all of them wait for. Such a machine has one CPU, on `wasm` or `interp`.
   * `own`, unless given: a worker for this machine alone.
   */
  readonly worker?: WorkerKind;
}

/** No machine begins with it. */
function letGo(start: MachineStart): void {
  if (start.kind === 'branch') closeBranch(start.branch);
}

/** Bytes of input that may be under way before `send` asks for a pause. */
const INPUT_HIGH = 0x1_0000;

/** Machines of this process. */
let alive = 0;

/** A machine that runs in a worker, as its owner sees it. */
export class MachineHandle {
  /** How the machine ended; rejected when it could not start, or broke. */
  readonly exited: Promise<MachineExit>;
  /** Resolves once the guest runs; never, when it could not start. */
  readonly started: Promise<void>;
  private readonly thread: MachineThread;
  /** Whose worker it is in. */
  readonly worker: WorkerKind;
  private readonly seat: MachineSeat;
  private readonly words: Int32Array<SharedArrayBuffer>;
  private bridge: SocketBridge | undefined;
  private readonly questions = new Questions<WorkerAnswer>();
  private readonly gate: InputGate;
  private known: MachineFacts | undefined;
  private inputUnderWay = 0;
  private full = false;
  private markStarted: () => void = () => {};

  /** Starts a machine. The contents of its kernel and initrd are handed over. */
  constructor(
    start: MachineStart,
    private readonly listener: MachineListener,
    options: MachineOptions,
  ) {
    const { version, limits, group, worker = 'own', ...others } = options;
    this.worker = worker;
    const isShared = worker === 'shared';
    const rest: WorkerOptions = isShared ? { accel: 'wasm', ...others } : others;
    try {
      const cpus = start.kind === 'create' ? start.config.cpus : 1;
      if (isShared) checkSharing({ ...options, cpus, pin: limits?.pin });
      this.seat = new MachineSeat(limits, group);
    } catch (error) {
      letGo(start);
      throw error;
    }
    const { seat } = this.seat;
    this.words = seat.shared;
    this.gate = new InputGate(() => Atomics.load(this.words, SHARED.INPUT_TAKEN) >>> 0);
    const place = { buffer: seat.all.buffer, index: seat.index };
    const data: WorkerData = {
      start,
      options: rest,
      shared: this.words,
      seat: place,
      version,
      together: isShared,
    };
    try {
      if (isShared) {
        seat.joinOthers();
        this.thread = sharedThread(data, seat.all.together);
      } else this.thread = ownThread(data);
    } catch (error) {
      this.seat.close();
      letGo(start);
      throw error;
    }
    alive++;
    this.started = new Promise((resolve) => {
      this.markStarted = resolve;
    });
    this.exited = new Promise((resolve, reject) => {
      this.thread.listen({
        event: (event) => this.handle(event, resolve, reject),
        broken: reject,
        // After `exit` or `error` this changes nothing.
        ended: (code) => {
          this.seat.close();
          reject(new HostError(`the machine's thread has ended, with code ${code}`));
        },
      });
    });
    this.exited.then(
      () => this.abandon(new VitrineError('the machine has ended')),
      (error: unknown) => this.abandon(error instanceof Error ? error : new Error(String(error))),
    );
  }

  private abandon(error: Error): void {
    alive--;
    this.questions.abandon(error);
    this.bridge?.close();
  }

  private handle(event: Event, resolve: (exit: MachineExit) => void, reject: (error: Error) => void): void {
    switch (event.kind) {
      case 'started':
        this.known = event.facts;
        this.seat.started(event.facts.threads);
        this.markStarted();
        break;
      case 'output':
        this.listener.output(event.channel, event.bytes, () => this.written(event.bytes.length));
        break;
      case 'taken':
        this.taken(event.count);
        break;
      case 'sharing':
        this.share(event.config, reject);
        break;
      case 'stream':
        this.bridge?.handle(event.message);
        break;
      case 'report':
        this.listener.report?.(event.text);
        break;
      case 'cpu-thread': {
        const { index, life, words } = event;
        life.on('close', () => {
          SmpWords.lose(words, index);
          wakeMachine(this.words);
        });
        life.start();
        // The machine's own thread keeps the process.
        life.unref();
        break;
      }
      case 'reset':
        this.listener.reset?.();
        break;
      case 'tray':
        this.listener.trayMoved?.(event.disk, event.open);
        break;
      case 'card-removed':
        this.listener.cardRemoved?.(event.card);
        break;
      case 'answer':
        this.questions.answered(event.id, event.answer);
        break;
      case 'frame':
        this.listener.frame?.(event.news);
        break;
      case 'gdb-data':
        this.listener.debugger?.(event.bytes);
        break;
      case 'gdb-end':
        this.listener.debugger?.(undefined);
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

  /** Opens the sockets that lead into the machine. A machine without them ends. */
  private share(config: SharingConfig, reject: (error: Error) => void): void {
    this.bridge = new SocketBridge(config, (message) => this.post({ kind: 'stream', message }));
    this.bridge.open().catch((error: unknown) => {
      reject(error instanceof Error ? error : new Error(String(error)));
      this.stop();
    });
  }

  private written(count: number): void {
    // What is still on its way when the machine has ended is not counted as the output of whoever has the seat then.
    if (this.seat.isClosed) return;
    Atomics.add(this.words, SHARED.WRITTEN, count);
    Atomics.notify(this.words, SHARED.WRITTEN);
    // It may wait for that, and cannot on a word of its own.
    if (this.worker === 'shared') this.wake();
  }

  private taken(count: number): void {
    this.inputUnderWay -= count;
    if (!this.full || this.inputUnderWay > INPUT_HIGH / 2) return;
    this.full = false;
    this.listener.drain?.();
  }

  private post(command: Command): void {
    this.thread.post(command);
    this.wake();
  }

  private wake(): void {
    if (!this.seat.isClosed) wakeThread(this.words);
  }

  /**
   * A stream to a port of the virtio console, once the machine has `started`. Undefined: it has no port of that name. The
   * listener's `closed` follows at once where somebody else is connected.
   */
  connectPort(name: string, listener: StreamListener): StreamEnd | undefined {
    return this.bridge?.connectPort(name, listener);
  }

  /** Input for a console. False: please pause until `drain`; nothing is lost either way. */
  send(channel: InputChannel, bytes: Uint8Array): boolean {
    this.inputUnderWay += bytes.length;
    this.full = this.inputUnderWay > INPUT_HIGH;
    this.post({ kind: 'input', channel, bytes: new Uint8Array(bytes) });
    return !this.full;
  }

  /** The size of the terminal in characters. */
  resize(columns: number, rows: number): void {
    this.post({ kind: 'resize', columns, rows });
  }

  private ask(command: (id: number) => Command): Promise<WorkerAnswer> {
    return this.questions.ask((id) => this.post(command(id)));
  }

  /**
   * Saves the machine, which goes on afterwards. Rejected with a one-line error when that fails. `template`: for many machines
   * that begin with it; the file is larger, and read only as far as each needs it. `momentary`: it need not outlive the host.
   */
  async save(file: string, options: { readonly template?: boolean; readonly momentary?: boolean } = {}): Promise<void> {
    const { template = false, momentary = false } = options;
    await this.ask((id) => ({ kind: 'save', id, file, template, momentary }));
  }

  /**
   * What another machine of this process begins with (`kind: 'branch'`) that is to be as this one is now; both share the memory that neither writes
   * to. Whoever has it makes that machine, or calls `closeBranch`. Undefined: that cannot be had here, or the machine has a BIOS.
   */
  async branch(): Promise<Branch | undefined> {
    const answer = await this.ask((id) => ({ kind: 'branch', id, among: alive + 1 }));
    return 'branch' in answer ? answer.branch : undefined;
  }

  /** The rows of the VGA screen in a text mode; none in a graphics mode. */
  async screen(): Promise<readonly string[]> {
    const answer = await this.ask((id) => ({ kind: 'screen', id }));
    return 'screen' in answer ? answer.screen : [];
  }

  /** What the machine has. */
  async inspect(): Promise<Inspection> {
    const answer = await this.ask((id) => ({ kind: 'inspect', id }));
    assert('inspection' in answer, 'an answer to the question');
    return answer.inspection;
  }

  /** Changes the medium in a drive. Rejected with a one-line error when that cannot be. */
  async changeMedia(request: MediaRequest): Promise<void> {
    await this.ask((id) => ({ kind: 'media', id, request }));
  }

  /** Adds something to the machine, or takes it away. Rejected with a one-line error when that cannot be. */
  async plug(request: HotplugRequest): Promise<void> {
    await this.ask((id) => ({ kind: 'plug', id, request }));
  }

  /** Resolves when the button was pressed; what comes of it is the guest's affair. */
  async press(button: Button): Promise<void> {
    await this.ask((id) => ({ kind: 'press', id, button }));
  }

  /**
   * How much memory the guest has. `target`: bytes that are to be left to it from now on; it follows as fast as it can.
   * Each call asks for statistics, which the next one tells. Rejected when the machine has no balloon.
   */
  async balloon(target?: number): Promise<BalloonStatus> {
    const answer = await this.ask((id) => ({ kind: 'balloon', id, target }));
    assert('balloon' in answer, 'an answer to the question');
    return answer.balloon;
  }

  /** What the machine turned out to be; undefined until it has started. */
  get facts(): MachineFacts | undefined {
    return this.known;
  }

  /** What the machine may have of the host's processors. */
  get limits(): CpuLimits {
    return this.seat.limits;
  }

  /** Changes it; at once, also while the machine runs. Throws a one-line error when this host cannot do that. */
  limit(limits: Partial<CpuLimits>): void {
    const { over } = this.questions;
    if (over) throw over;
    if (this.worker === 'shared') checkSharing({ pin: limits.pin });
    this.seat.change(limits);
  }

  /** What each CPU has done so far; all of them together where they are on one thread. */
  get usage(): readonly CpuUsage[] {
    return this.seat.usage;
  }

  /** Makes the machine stand still, and its time with it. */
  async pause(): Promise<void> {
    await this.ask((id) => ({ kind: 'pause', id }));
  }

  /** Lets it go on. */
  async resume(): Promise<void> {
    await this.ask((id) => ({ kind: 'resume', id }));
  }

  /** The screen as the bytes of a PNG file, or of a portable pixmap. */
  async screenshot(format: PictureFormat = 'png'): Promise<Uint8Array> {
    const answer = await this.ask((id) => ({ kind: 'screenshot', id, format }));
    return 'screenshot' in answer ? answer.screenshot : new Uint8Array(0);
  }

  /** Asks for the screen's news; the listener's `frame` is called once for each time. */
  requestFrame(): void {
    this.post({ kind: 'frame' });
  }

  /** What a user does. Lost while the machine takes no input, releases of keys apart. */
  input(event: InputEvent): void {
    if (this.gate.admit(event)) this.post({ kind: 'user-input', event });
  }

  /** Asks the guest to show a size in pixels. False: this machine's display cannot tell it. */
  preferSize(width: number, height: number): boolean {
    if (!this.known?.resizable) return false;
    this.post({ kind: 'prefer-size', width, height });
    return true;
  }

  /** @internal What a debugger's connection brings. */
  debug(command: DebugCommand): void {
    this.post(command);
  }

  /** Ends the machine; `exited` follows. */
  stop(): void {
    this.post({ kind: 'stop' });
  }
}
