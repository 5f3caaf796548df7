/** Words of memory that the threads of a machine share: by them they wake, stop and ask each other. */
import { APIC_LINK_WORDS } from '../../machine/common/thread-cpu.js';

/** Words for all, then PER_CPU for each CPU. */
const ALL = {
  /** Whose turn alone it is to execute: its index + 1, or 0. */
  ALONE: 0,
  /** Not 0 when calls wait for the machine's thread. */
  CALLS: 1,
  /** How many messages CPUs have posted. */
  POSTED: 2,
  SIZE: 16,
} as const;
const PER_CPU = 64 + APIC_LINK_WORDS;
const CPU = {
  /** 1 while it executes guest code. */
  RUNS: 0,
  /** What it sleeps on. */
  WAKE: 1,
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

/** What a CPU does on its own thread and others make it do. */
export interface Attention {
  /** Makes the CPU with an index leave its run. */
  kick(index: number): void;
  /** There are more CPUs than the host has processors. */
  readonly isCrowded: boolean;
  /** Wakes the machine's thread, which has CPU 0. */
  wakeMachine(): void;
}

export class SmpWords {
  private readonly words: Int32Array;

  constructor(
    readonly buffer: SharedArrayBuffer,
    readonly cpus: number,
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

  /** Wakes a CPU's thread, if it sleeps. */
  wake(index: number): void {
    if (index === 0) {
      this.attention.wakeMachine();
      return;
    }
    const at = this.at(index, CPU.WAKE);
    if (Atomics.exchange(this.words, at, 1) === 0) Atomics.notify(this.words, at);
  }

  /** Sleeps until somebody wakes this CPU, or has since the last time; at most so many nanoseconds. */
  sleep(index: number, nanoseconds: number | undefined): void {
    const at = this.at(index, CPU.WAKE);
    Atomics.wait(this.words, at, 0, nanoseconds === undefined ? Infinity : nanoseconds / 1e6);
    Atomics.store(this.words, at, 0);
  }

  // ---- commands and what CPUs post ----

  /** Counts a command that was posted to a CPU. */
  commanded(index: number): void {
    Atomics.add(this.words, this.at(index, CPU.COMMANDS), 1);
    this.attention.kick(index);
    this.wake(index);
  }

  commands(index: number): number {
    return Atomics.load(this.words, this.at(index, CPU.COMMANDS));
  }

  /** Counts a message that a CPU has posted. */
  post(): void {
    Atomics.add(this.words, ALL.POSTED, 1);
    Atomics.notify(this.words, ALL.POSTED);
    this.attention.kick(0);
    this.attention.wakeMachine();
  }

  get posted(): number {
    return Atomics.load(this.words, ALL.POSTED);
  }

  /** Waits until more than `seen` messages were posted, for a moment at most: calls may have to be answered meanwhile. */
  awaitPost(seen: number): void {
    Atomics.wait(this.words, ALL.POSTED, seen, PATIENCE);
  }

  // ---- who executes ----

  /** This CPU begins to execute guest code; not while another one is to be alone. */
  enter(index: number): void {
    const { words } = this;
    const runs = this.at(index, CPU.RUNS);
    for (;;) {
      Atomics.store(words, runs, 1);
      const alone = Atomics.load(words, ALL.ALONE);
      if (alone === 0 || alone === index + 1) return;
      this.leave(index);
      Atomics.wait(words, ALL.ALONE, alone, PATIENCE);
    }
  }

  leave(index: number): void {
    const { words } = this;
    const runs = this.at(index, CPU.RUNS);
    Atomics.store(words, runs, 0);
    if (Atomics.load(words, ALL.ALONE) !== 0) Atomics.notify(words, runs);
  }

  /** A CPU that spins waits for another one, which may have no processor. */
  yield(index: number): void {
    if (!this.attention.isCrowded) return;
    this.leave(index);
    Atomics.wait(this.words, this.at(index, CPU.MOMENT), 0, MOMENT);
    this.enter(index);
  }

  /** Waits until no other CPU executes anything; none does until `release`. */
  lock(index: number): void {
    const { words } = this;
    const runs = this.at(index, CPU.RUNS);
    const ran = Atomics.load(words, runs);
    if (ran) this.leave(index);
    for (;;) {
      const other = Atomics.compareExchange(words, ALL.ALONE, 0, index + 1);
      if (other === 0) break;
      Atomics.wait(words, ALL.ALONE, other, PATIENCE);
    }
    Atomics.store(words, runs, ran);
    for (let other = 0; other < this.cpus; other++) {
      const at = this.at(other, CPU.RUNS);
      while (other !== index && Atomics.load(words, at) === 1) {
        this.attention.kick(other);
        for (let looks = 0; looks < LOOKS && Atomics.load(words, at) === 1; looks++);
        Atomics.wait(words, at, 1, PATIENCE);
      }
    }
  }

  release(): void {
    Atomics.store(this.words, ALL.ALONE, 0);
    Atomics.notify(this.words, ALL.ALONE);
  }

  // ---- calls of the machine's thread ----

  /** Asks the machine's thread, and waits for the answer. Numbers are unsigned and of 32 bits, but `at`. */
  call(index: number, kind: CallKind, at: number, size = 0, value = 0): number {
    const { words } = this;
    const state = this.at(index, CPU.CALL);
    words[this.at(index, CPU.KIND)] = kind;
    words[this.at(index, CPU.LOW)] = at;
    words[this.at(index, CPU.HIGH)] = at / 2 ** 32;
    words[this.at(index, CPU.WIDTH)] = size;
    words[this.at(index, CPU.VALUE)] = value;
    const ran = Atomics.load(words, this.at(index, CPU.RUNS));
    this.leave(index);
    Atomics.store(words, state, CALL_STATE.ASKED);
    Atomics.store(words, ALL.CALLS, 1);
    this.attention.kick(0);
    this.attention.wakeMachine();
    for (let looks = 0; looks < LOOKS && Atomics.load(words, state) === CALL_STATE.ASKED; looks++);
    while (Atomics.load(words, state) === CALL_STATE.ASKED) Atomics.wait(words, state, CALL_STATE.ASKED);
    Atomics.store(words, state, CALL_STATE.NONE);
    const answer = words[this.at(index, CPU.VALUE)] >>> 0;
    if (ran) this.enter(index);
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
