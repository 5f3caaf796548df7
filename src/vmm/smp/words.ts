/** Words of memory that the threads of a machine share: by them they wake, stop and ask each other. */
import type { CpuSignals, Vcpu, VcpuEnvironment } from '../../iface/vcpu.js';
import { APIC_LINK_WORDS } from '../../machine/common/thread-cpu.js';
import type { Turns } from '../cpu-turns.js';
import { HostError } from '../../base/errors.js';

/** Words for all, then PER_CPU for each CPU. */
const ALL = {
  /** Whose turn alone it is to execute: its index + 1, or 0. */
  ALONE: 0,
  /** Not 0 when calls wait for the machine's thread. */
  CALLS: 1,
  /** How many messages CPUs have posted. */
  POSTED: 2,
  /** Index of a CPU whose thread has ended, or 0. */
  LOST: 3,
  SIZE: 16,
} as const;
const PER_CPU = 64 + APIC_LINK_WORDS;
const CPU = {
  /** 1 while it executes guest code. */
  RUNS: 0,
  /** How many commands it was sent. */
  COMMANDS: 2,
  /** CALL_STATE, then what is asked. */
  CALL: 3,
  KIND: 4,
  LOW: 5,
  HIGH: 6,
  WIDTH: 7,
  VALUE: 8,
  /** Stays 0: what a CPU sleeps on for a moment. */
  MOMENT: 9,
  APIC: 64,
} as const;

const CALL_STATE = { NONE: 0, ASKED: 1, ANSWERED: 2 } as const;

/** What a CPU asks of the machine's thread. */
export const CALL = {
  PORT_READ: 0,
  PORT_WRITE: 1,
  MMIO_READ: 2,
  MMIO_WRITE: 3,
  FERR: 4,
  ACKNOWLEDGE: 5,
  END_OF_INTERRUPT: 6,
} as const;
export type CallKind = (typeof CALL)[keyof typeof CALL];

export interface Call {
  readonly kind: CallKind;
  /** A port, an address, a vector … */
  readonly at: number;
  readonly size: number;
  readonly value: number;
}

/** Looks at a word, before a thread that waits for an answer goes to sleep: on a free processor most are there by then. */
const LOOKS = 400;
/** Milliseconds after which a thread that waits looks by itself. */
const PATIENCE = 2;
/** Milliseconds that a CPU gives to others when it spins. */
const MOMENT = 0.05;

/** How CPUs and the machine's thread are made to look. */
export interface Attention {
  readonly signals: Pick<CpuSignals, 'interrupt' | 'kick'>;
  /** What the threads of CPUs sleep on, by their indices; that of CPU 0 is not used. */
  readonly wakes: Int32Array;
  /** There are more CPUs than the host has processors. */
  readonly isCrowded: boolean;
  /** This thread's CPU waits for another one. True: it stops, so that somebody else has the processor. */
  yields?(): boolean;
  /** Wakes the machine's thread, which has CPU 0. */
  wakeMachine(): void;
}

/** The thread of a CPU has ended, whatever for. */
export class CpuLost extends HostError {
  constructor(readonly index: number) {
    super(`CPU ${String(index)} has failed: its thread has ended`);
  }
}

/** The words, for the thread of one CPU. */
export class SmpWords {
  private readonly words: Int32Array;
  /** How often this thread holds the bus: a device that it reaches meanwhile may change the memory map. */
  private held = 0;

  constructor(
    readonly buffer: SharedArrayBuffer,
    readonly cpus: number,
    /** Index of the CPU whose thread this is; 0 is on the machine's. */
    private readonly own: number,
    private readonly attention: Attention,
  ) {
    this.words = new Int32Array(buffer);
  }

  /** Bytes for so many CPUs. */
  static size(cpus: number): number {
    return (ALL.SIZE + cpus * PER_CPU) * 4;
  }

  /** Words for the local APIC of a CPU. */
  apic(index: number): Int32Array {
    const at = this.at(index, CPU.APIC);
    return this.words.subarray(at, at + APIC_LINK_WORDS);
  }

  private at(index: number, word: number): number {
    return ALL.SIZE + index * PER_CPU + word;
  }

  // ---- sleep ----

  /** Makes a CPU look for an interrupt, or leave its run. */
  ring(index: number, how: 'interrupt' | 'kick'): void {
    this.attention.signals[how](index);
    this.wake(index);
  }

  /** Wakes a CPU's thread, if it sleeps. */
  private wake(index: number): void {
    if (index === 0) {
      this.attention.wakeMachine();
      return;
    }
    const { wakes } = this.attention;
    if (Atomics.exchange(wakes, index, 1) === 0) Atomics.notify(wakes, index);
  }

  /** Sleeps until somebody wakes this CPU, or has since the last time; at most so many nanoseconds. */
  sleep(nanoseconds: number | undefined): void {
    const { wakes } = this.attention;
    Atomics.wait(wakes, this.own, 0, nanoseconds === undefined ? Infinity : nanoseconds / 1e6);
    Atomics.store(wakes, this.own, 0);
  }

  // ---- commands and what CPUs post ----

  /** Counts a command that was posted to a CPU. */
  commanded(index: number): void {
    Atomics.add(this.words, this.at(index, CPU.COMMANDS), 1);
    this.ring(index, 'kick');
  }

  /** Those that this CPU was sent. */
  get commands(): number {
    return Atomics.load(this.words, this.at(this.own, CPU.COMMANDS));
  }

  /** Counts a message that a CPU has posted. */
  post(): void {
    Atomics.add(this.words, ALL.POSTED, 1);
    Atomics.notify(this.words, ALL.POSTED);
    this.ring(0, 'kick');
  }

  get posted(): number {
    return Atomics.load(this.words, ALL.POSTED);
  }

  /** Waits until more than `seen` messages were posted, for PATIENCE at most: calls may have to be answered meanwhile. False: none were. */
  awaitPost(seen: number): boolean {
    return Atomics.wait(this.words, ALL.POSTED, seen, PATIENCE) !== 'timed-out';
  }

  // ---- threads that end ----

  /** The thread of a CPU has ended, whatever it was about to do: nobody waits for it any more. Called on any thread. */
  static lose(buffer: SharedArrayBuffer, index: number): void {
    const words = new Int32Array(buffer);
    const runs = ALL.SIZE + index * PER_CPU + CPU.RUNS;
    Atomics.store(words, ALL.LOST, index);
    Atomics.store(words, runs, 0);
    Atomics.compareExchange(words, ALL.ALONE, index + 1, 0);
    Atomics.add(words, ALL.POSTED, 1);
    for (const at of [runs, ALL.ALONE, ALL.POSTED]) Atomics.notify(words, at);
  }

  /** Throws when the thread of a CPU has ended, on the machine's: the others end with that. */
  checkAll(): void {
    const lost = Atomics.load(this.words, ALL.LOST);
    if (lost !== 0 && this.own === 0) throw new CpuLost(lost);
  }

  // ---- who executes ----

  /** The CPU as a loop runs it: while no other one is to be alone. */
  gated(cpu: Vcpu): Turns {
    return {
      isTimed: cpu.isTimed ?? false,
      get retired() {
        return cpu.retired;
      },
      get isAsleep() {
        return cpu.isAsleep ?? false;
      },
      run: (budget, least) => {
        this.enter();
        const exit = cpu.run(budget, least);
        this.leave();
        return exit;
      },
      kick: () => {
        cpu.kick();
      },
    };
  }

  /** What a CPU needs of the others. */
  readonly bus: Required<Pick<VcpuEnvironment, 'lockBus' | 'unlockBus' | 'yield'>> = {
    lockBus: () => {
      if (this.held++ === 0) this.take();
    },
    unlockBus: () => {
      if (--this.held === 0) this.giveBack();
    },
    yield: () => {
      if (this.attention.yields?.()) {
        this.attention.signals.kick(this.own);
        return;
      }
      if (!this.attention.isCrowded) return;
      this.leave();
      Atomics.wait(this.words, this.at(this.own, CPU.MOMENT), 0, MOMENT);
      this.enter();
    },
  };

  /** This CPU begins to execute guest code; not while another one is to be alone. */
  private enter(): void {
    const { words, own } = this;
    const runs = this.at(own, CPU.RUNS);
    for (;;) {
      Atomics.store(words, runs, 1);
      const alone = Atomics.load(words, ALL.ALONE);
      if (alone === 0 || alone === own + 1) return;
      this.leave();
      Atomics.wait(words, ALL.ALONE, alone, PATIENCE);
      this.checkAll();
    }
  }

  /** This CPU executes nothing now. */
  leave(): void {
    const { words } = this;
    const runs = this.at(this.own, CPU.RUNS);
    Atomics.store(words, runs, 0);
    if (Atomics.load(words, ALL.ALONE) !== 0) Atomics.notify(words, runs);
  }

  /** Waits until no other CPU executes anything; none does until `giveBack`. */
  private take(): void {
    const { words, own } = this;
    const runs = this.at(own, CPU.RUNS);
    const ran = Atomics.load(words, runs);
    if (ran) this.leave();
    for (;;) {
      const holder = Atomics.compareExchange(words, ALL.ALONE, 0, own + 1);
      if (holder === 0) break;
      Atomics.wait(words, ALL.ALONE, holder, PATIENCE);
      this.checkAll();
    }
    Atomics.store(words, runs, ran);
    for (let other = 0; other < this.cpus; other++) {
      const at = this.at(other, CPU.RUNS);
      while (other !== own && Atomics.load(words, at) === 1) {
        this.attention.signals.kick(other);
        for (let looks = 0; looks < LOOKS && Atomics.load(words, at) === 1; looks++);
        Atomics.wait(words, at, 1, PATIENCE);
      }
    }
  }

  private giveBack(): void {
    Atomics.store(this.words, ALL.ALONE, 0);
    Atomics.notify(this.words, ALL.ALONE);
  }

  // ---- calls of the machine's thread ----

  /**
   * Asks the machine's thread, and waits for the answer. Numbers are unsigned and of 32 bits, but `at`. A CPU that holds the bus gives
   * it back meanwhile: the machine's thread may be waiting for it, and LOCK means nothing to a device.
   */
  call(kind: CallKind, at: number, size = 0, value = 0): number {
    const { words, own, held } = this;
    const state = this.at(own, CPU.CALL);
    words[this.at(own, CPU.KIND)] = kind;
    words[this.at(own, CPU.LOW)] = at;
    words[this.at(own, CPU.HIGH)] = at / 2 ** 32;
    words[this.at(own, CPU.WIDTH)] = size;
    words[this.at(own, CPU.VALUE)] = value;
    const ran = Atomics.load(words, this.at(own, CPU.RUNS));
    this.leave();
    if (held) this.giveBack();
    Atomics.store(words, state, CALL_STATE.ASKED);
    Atomics.store(words, ALL.CALLS, 1);
    this.ring(0, 'kick');
    for (let looks = 0; looks < LOOKS && Atomics.load(words, state) === CALL_STATE.ASKED; looks++);
    while (Atomics.load(words, state) === CALL_STATE.ASKED) Atomics.wait(words, state, CALL_STATE.ASKED);
    Atomics.store(words, state, CALL_STATE.NONE);
    const answer = words[this.at(own, CPU.VALUE)] >>> 0;
    if (ran) this.enter();
    if (held) this.take();
    return answer;
  }

  /** Answers the calls that wait. */
  serve(answer: (call: Call) => number): void {
    const { words } = this;
    if (Atomics.load(words, ALL.CALLS) === 0) return;
    Atomics.store(words, ALL.CALLS, 0);
    for (let cpu = 1; cpu < this.cpus; cpu++) {
      const state = this.at(cpu, CPU.CALL);
      if (Atomics.load(words, state) !== CALL_STATE.ASKED) continue;
      const word = (which: number): number => words[this.at(cpu, which)] >>> 0;
      const at = word(CPU.HIGH) * 2 ** 32 + word(CPU.LOW);
      const call = { kind: word(CPU.KIND) as CallKind, at, size: word(CPU.WIDTH), value: word(CPU.VALUE) };
      words[this.at(cpu, CPU.VALUE)] = answer(call);
      Atomics.store(words, state, CALL_STATE.ANSWERED);
      Atomics.notify(words, state);
    }
  }
}
