/** The CPUs of a machine that run on threads of their own, as the machine's thread sees and commands them. */
import { HostError } from '../../base/errors.js';
import type { CodeLocation, CpuEvent, CpuSignals, DebugRequest, Vcpu, VcpuExit, Vm } from '../../iface/vcpu.js';
import type { CpuBus, VmRequest } from '../../machine/common/board.js';
import type { CpuThreads as BoardThreads, RemoteCpu } from '../../machine/common/cpu.js';
import { ApicInbox, apicStateSchema, RemoteApic } from '../../machine/common/thread-cpu.js';
import { SchemaError, type Plain } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { MachineClock } from '../machine-clock.js';
import type { Turns } from '../cpu-turns.js';
import type { LoopExit } from '../run-loop.js';
import type { CpuCommand, CpuEnd, CpuLook, CpuMessage, MessagePipe, SavedCpu } from './messages.js';
import { CALL, SmpWords, type Call } from './words.js';

export type CpuPipe = MessagePipe<CpuCommand, CpuMessage>;

/** What the thread of a CPU needs to begin. */
export interface CpuStart {
  readonly request: VmRequest;
  readonly vm: Vm;
  /** Of `SmpWords`. */
  readonly words: SharedArrayBuffer;
}

/** What starts threads. */
export interface ThreadHost {
  /** Of the host. */
  readonly processors: number;
  /** What the threads of CPUs sleep on, by their indices. */
  readonly wakes: Int32Array;
  /** The machine's CPU waits for another one. True: it stops, so that somebody else has the processor. */
  yields(): boolean;
  /** Starts the thread of a CPU, which is to build a Vm from `vm.share`, and a `CpuThread` in it. */
  startCpu(index: number, start: CpuStart): CpuPipe;
  /** Wakes the thread that this is called for, the machine's, from any other. */
  wakeMachine(): void;
  /** Something that the machine's owner may want to know. */
  report(text: string): void;
}

/** Waits in a row in which nothing comes, at least half a minute in all, until a CPU is given up: its thread may have ended. */
const SILENCE = 15_000;

/** Errors lose their class on the way between threads. */
const failure = (cpu: number, cause: unknown): HostError => {
  const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
  return new HostError(`CPU ${String(cpu)} has failed: ${reason}`, { cause });
};

export class CpuThreads implements BoardThreads {
  readonly inbox: ApicInbox;
  readonly lock;
  private readonly signals: CpuSignals;
  private readonly words: SmpWords;
  private readonly pipes = new Map<number, CpuPipe>();
  private running = false;
  private seen = 0;
  private readonly ends: { readonly cpu: number; readonly end: CpuEnd }[] = [];
  /** Of the machine now: a reset makes new ones. */
  private board: CpuBus | undefined;
  private clock: MachineClock | undefined;

  constructor(
    private readonly vm: Vm,
    request: VmRequest,
    private readonly host: ThreadHost,
  ) {
    const { cpus } = request;
    const { signals } = vm;
    if (!signals) throw new HostError('this accelerator cannot run several CPUs');
    this.signals = signals;
    const buffer = new SharedArrayBuffer(SmpWords.size(cpus));
    this.words = new SmpWords(buffer, cpus, 0, {
      signals,
      wakes: host.wakes,
      yields: () => host.yields(),
      isCrowded: cpus > host.processors,
      wakeMachine: () => {
        host.wakeMachine();
      },
    });
    this.inbox = new ApicInbox(this.words.apic(0));
    this.lock = this.words.bus;
    for (let index = 1; index < cpus; index++)
      this.pipes.set(index, host.startCpu(index, { request, vm, words: buffer }));
  }

  /** The Vm as the board is to use it: its memory map changes while no CPU executes. */
  get boardVm(): Vm {
    const { vm, words } = this;
    return Object.create(vm, {
      setSlots: {
        value: (slots: Parameters<Vm['setSlots']>[0]): void => {
          words.bus.lockBus();
          vm.setSlots(slots);
          words.bus.unlockBus();
        },
      },
    }) as Vm;
  }

  /** The clock of the board that is going to be made. */
  setClock(clock: MachineClock): void {
    this.clock = clock;
  }

  /** The board whose devices the CPUs reach from now on. */
  setBoard(board: CpuBus): void {
    this.board = board;
  }

  power(index: number, poweredAt: number): RemoteCpu {
    this.command(index, { kind: 'power', now: poweredAt });
    const { signals, words } = this;
    const apic = new RemoteApic(index, words.apic(index), (how) => {
      words.ring(index, how);
    });
    return {
      cpu: new RemoteVcpu(index, apic, signals, (command) => this.command(index, command), {
        now: () => this.now,
        origin: () => this.clock?.origin ?? 0,
      }),
      apic,
      part: this.part(index),
    };
  }

  private get now(): number {
    return this.clock?.now() ?? 0;
  }

  private part(index: number): Snapshotable {
    return {
      id: `lapic${String(index)}`,
      stateVersion: 1,
      stateSchema: apicStateSchema,
      save: () => (this.command(index, { kind: 'save' }) as SavedCpu).apic,
      restore: (state: Plain) => {
        this.command(index, { kind: 'restore-apic', state, now: this.now });
      },
    };
  }

  /** CPU 0, which stays on this thread, and runs when it may. */
  first(cpu: Vcpu): Turns {
    return this.words.gated(cpu);
  }

  /** Lets the CPUs run; the clock does. */
  go(): void {
    if (this.running || !this.clock) return;
    this.running = true;
    const { origin } = this.clock;
    for (const index of this.pipes.keys()) this.command(index, { kind: 'go', origin });
  }

  /** Makes the CPUs stand still. */
  stop(): void {
    if (!this.running) return;
    for (const index of this.pipes.keys()) this.command(index, { kind: 'stop' });
    this.running = false;
  }

  /** Answers what CPUs ask. What one of them ends the machine's run by. */
  poll(): LoopExit | undefined {
    this.words.checkAll();
    this.words.serve((call) => this.answer(call));
    this.takeIn();
    const first = this.ends.shift();
    if (first === undefined) return undefined;
    const { cpu, end } = first;
    if (end.kind === 'failed') throw failure(cpu, end.error);
    return end;
  }

  private answer({ kind, at, size, value }: Call): number {
    const { board } = this;
    if (!board) return 0;
    switch (kind) {
      case CALL.PORT_READ:
        return board.io.portRead(at, size);
      case CALL.PORT_WRITE:
        board.io.portWrite(at, size, value);
        return 0;
      case CALL.MMIO_READ:
        return board.io.mmioRead(at, size);
      case CALL.MMIO_WRITE:
        board.io.mmioWrite(at, size, value);
        return 0;
      case CALL.FERR:
        board.setFerr(at !== 0);
        return 0;
      case CALL.ACKNOWLEDGE:
        return board.acknowledgeExtInt();
      case CALL.END_OF_INTERRUPT:
        board.endOfInterrupt(at);
        return 0;
    }
  }

  /** Takes what CPUs have posted; the answers, too. */
  private takeIn(): Map<number, CpuMessage> {
    const answers = new Map<number, CpuMessage>();
    const { posted } = this.words;
    if (posted === this.seen) return answers;
    this.seen = posted;
    for (const [cpu, pipe] of this.pipes)
      for (let message = pipe.take(); message; message = pipe.take())
        if (message.kind === 'answer' || message.kind === 'refused') answers.set(cpu, message);
        else if (message.kind === 'report') this.host.report(message.text);
        else this.ends.push({ cpu, end: message });
    return answers;
  }

  /** Sends a command and waits for its answer; calls are answered meanwhile. */
  private command(
    index: number,
    command: CpuCommand,
  ): NonNullable<Extract<CpuMessage, { kind: 'answer' }>['value']> | undefined {
    this.pipes.get(index)?.post(command);
    this.words.commanded(index);
    let silence = 0;
    for (;;) {
      this.words.checkAll();
      const seen = this.words.posted;
      const message = this.takeIn().get(index);
      if (message?.kind === 'answer') return message.value;
      if (message?.kind === 'refused') throw new SchemaError(message.message);
      const failed = this.ends.find(({ end }) => end.kind === 'failed');
      if (failed?.end.kind === 'failed') throw failure(failed.cpu, failed.end.error);
      this.words.serve((call) => this.answer(call));
      silence = this.words.awaitPost(seen) ? 0 : silence + 1;
      if (silence === SILENCE) throw new HostError(`CPU ${String(index)} does not answer`);
    }
  }
}

/** A CPU on another thread. All but what signals do is for when it stands still. */
class RemoteVcpu implements Vcpu {
  constructor(
    readonly index: number,
    private readonly apic: RemoteApic,
    private readonly signals: CpuSignals,
    private readonly command: (command: CpuCommand) => unknown,
    private readonly clock: { now(): number; origin(): number },
  ) {}

  run(): VcpuExit {
    throw new Error('it runs on its own thread');
  }

  kick(): void {
    this.signals.kick(this.index);
  }

  notifyInterrupt(): void {
    this.signals.interrupt(this.index);
  }

  resume(): void {
    this.command({ kind: 'resume', origin: this.clock.origin() });
  }

  nmi(): void {
    this.apic.deliver({ mode: 'nmi', vector: 0, level: true, trigger: 'edge' });
  }

  init(): void {
    this.apic.deliver({ mode: 'init', vector: 0, level: true, trigger: 'edge' });
  }

  startup(page: number): void {
    this.apic.deliver({ mode: 'startup', vector: page, level: true, trigger: 'edge' });
  }

  setA20(enabled: boolean): void {
    this.signals.setA20(this.index, enabled);
  }

  private get look(): CpuLook {
    return this.command({ kind: 'look' }) as CpuLook;
  }

  readTsc(): bigint {
    return this.look.tsc;
  }

  get retired(): bigint | undefined {
    return this.look.retired;
  }

  get location(): CodeLocation {
    return this.look.location;
  }

  get recentEvents(): readonly CpuEvent[] {
    return this.look.events;
  }

  describeWork(): readonly string[] {
    return this.look.work;
  }

  saveState(): Plain {
    return (this.command({ kind: 'save' }) as SavedCpu).cpu;
  }

  restoreState(state: Plain): void {
    this.command({ kind: 'restore-cpu', state, now: this.clock.now() });
  }

  reset(): void {
    this.command({ kind: 'power', now: this.clock.now() });
  }

  setDebug(request: DebugRequest): void {
    this.command({ kind: 'debug', request });
  }

  translate(linear: bigint): number | undefined {
    return (this.command({ kind: 'translate', linear }) as { readonly physical: number | undefined }).physical;
  }
}
