/**
 * Words of memory that all machines of a process, or of a group of processes, share: what each may have of the host's processors, who has which, and what each
 * has done. Any thread can wake any CPU's thread, because what they sleep on is here, too.
 */
import { MAX_VCPUS } from '../../memory/layout.js';

/** Machines that a process can have at a time. */
export const MAX_SEATS = 256;
/** Processors of a host that are told apart: as many as sched_setaffinity(2) takes in a cpu_set_t. */
export const MAX_PROCESSORS = 1024;

/** 32-bit words in front of the seats. */
const ALL = {
  /** Seats that were ever taken. */
  SEATS: 0,
  /** Processors that this process may use. */
  PROCESSORS: 1,
  /** 1: some machines are in other processes, whose threads cannot be woken from here; they look by themselves. */
  POLLED: 2,
  /** Not 0: one of the machines that share a thread is to be looked at; what that thread sleeps on. */
  TOGETHER: 3,
  /** Of each processor: the number that the host knows it by. */
  NUMBER: 16,
  /** Of each processor: the key of the CPU that has it, or 0. */
  OWNER: 16 + MAX_PROCESSORS,
  /** Of each processor: when its owner last said that it still runs, in milliseconds modulo 2**32. */
  RENEWED: 16 + 2 * MAX_PROCESSORS,
  /** Of each processor: the key of a CPU of another process that shall take it from its owner, or 0. */
  OFFERED: 16 + 3 * MAX_PROCESSORS,
  SIZE: 16 + 4 * MAX_PROCESSORS,
} as const;

/** 32-bit words of a seat. */
const SEAT = {
  /** Number of the process whose machine has it, or 0. */
  TAKEN: 0,
  /** Of the machine. */
  CPUS: 1,
  /** LIMIT bits, and above them a number that changes with every change of what follows. */
  LIMITS: 2,
  SHARES: 3,
  /** Hundredths of a percent of a processor; 0: no cap. */
  CAP: 4,
  /** A KEPT: whether its CPUs keep to the processors in PIN. */
  PINNED: 5,
  /** A bit for each processor, by the host's number. */
  PIN: 8,
  /** Of the machine and its owner, see `SHARED` in protocol.ts. The first two are `WAKING`. */
  SHARED: 40,
  /** What the threads of CPUs from the second one on sleep on. */
  WAKE: 48,
  /** Of each CPU: a PLACE. */
  PLACE: 64,
  /** Of each CPU: the host's number of its thread, or 0. */
  THREAD: 80,
  /** From here on in 64-bit words, see LONG. */
  LONGS: 96,
  SIZE: 256,
} as const;

/** Of the words of a machine and its owner: those by which the machine's thread is woken. */
const WAKING = {
  /** What the thread sleeps on, if it has but this machine. */
  WAKE: 0,
  /** Where in the same memory the word is that it sleeps on otherwise, or 0. */
  ALSO: 1,
} as const;

/** 64-bit words of a seat. */
const LONG = {
  /** Processor time by shares: nanoseconds that a machine of DEFAULT_SHARES would have had. */
  VIRTUAL: 0,
  /** Nanoseconds of processor time that the cap leaves now; may be less than nothing. */
  CREDIT: 1,
  /** When CREDIT was last filled up, nanoseconds. */
  FILLED: 2,
  /** Of each CPU: nanoseconds of processor time, while they are counted. */
  RAN: 8,
  /** Of each CPU: instructions retired. */
  RETIRED: 8 + MAX_VCPUS,
  /** Of each CPU: how often it was left for something else. */
  EXITS: 8 + 2 * MAX_VCPUS,
} as const;

/** Bits of LIMITS. */
export const LIMIT = {
  CAPPED: 1 << 0,
  /** More CPUs than processors want to run: they take turns. */
  CROWDED: 1 << 1,
  /** What a change is counted by. */
  CHANGE: 1 << 2,
} as const;

/** Where a CPU stands. */
export const PLACE = {
  IDLE: 0,
  /** It wants a processor. */
  WAITING: 1,
  /** Somebody is about to give it one. */
  CHOSEN: 2,
  RUNNING: 3,
} as const;

/** To what the CPUs of a machine keep. */
const KEPT = {
  NOTHING: 0,
  /** To what its owner wants. */
  PIN: 1,
  /** To what its process may use: the system sees to that. */
  PROCESS: 2,
} as const;

/** 32-bit words that `SHARED` may have. */
export const SHARED_WORDS = SEAT.WAKE - SEAT.SHARED;

/** Wakes the thread that a machine is on. `words`: of the machine and its owner. */
export function wakeThread(words: Int32Array): void {
  Atomics.store(words, WAKING.WAKE, 1);
  Atomics.notify(words, WAKING.WAKE);
  const also = Atomics.load(words, WAKING.ALSO);
  if (also === 0) return;
  const all = new Int32Array(words.buffer);
  if (Atomics.exchange(all, also, 1) === 0) Atomics.notify(all, also);
}

/** The words, for any thread. */
export class SchedulerWords {
  readonly ints: Int32Array;
  readonly longs: BigInt64Array;

  constructor(readonly buffer: SharedArrayBuffer) {
    this.ints = new Int32Array(buffer);
    this.longs = new BigInt64Array(buffer);
  }

  /** Bytes. */
  static readonly size = (ALL.SIZE + MAX_SEATS * SEAT.SIZE) * 4;

  /** For machines of this process. */
  static create(processors: readonly number[]): SchedulerWords {
    return SchedulerWords.join(new SharedArrayBuffer(SchedulerWords.size), processors, false);
  }

  /** In memory of zeros, or that others with the same processors have joined. `polled`: it belongs to several processes. */
  static join(buffer: SharedArrayBuffer, processors: readonly number[], polled = true): SchedulerWords {
    const words = new SchedulerWords(buffer);
    const known = processors.filter((number) => number < MAX_PROCESSORS);
    words.ints.set(known, ALL.NUMBER);
    Atomics.store(words.ints, ALL.POLLED, polled ? 1 : 0);
    Atomics.store(words.ints, ALL.PROCESSORS, known.length);
    return words;
  }

  get isPolled(): boolean {
    return this.ints[ALL.POLLED] !== 0;
  }

  // ---- processors ----

  get processors(): number {
    return this.ints[ALL.PROCESSORS];
  }

  /** The host's number of a processor. */
  numberOf(processor: number): number {
    return this.ints[ALL.NUMBER + processor];
  }

  ownerAt(processor: number): number {
    return ALL.OWNER + processor;
  }

  renewedAt(processor: number): number {
    return ALL.RENEWED + processor;
  }

  offeredAt(processor: number): number {
    return ALL.OFFERED + processor;
  }

  // ---- seats ----

  /** Seats of processes that are no more are free. */
  sweep(isAlive: (pid: number) => boolean): void {
    for (let index = 0; index < this.seats; index++) {
      const at = ALL.SIZE + index * SEAT.SIZE + SEAT.TAKEN;
      const pid = Atomics.load(this.ints, at);
      if (pid !== 0 && !isAlive(pid)) Atomics.compareExchange(this.ints, at, pid, 0);
    }
  }

  /** Seats to look at. */
  get seats(): number {
    return Atomics.load(this.ints, ALL.SEATS);
  }

  /** Takes a seat that is free, for a process; undefined: there is none. */
  take(pid = 1): Seat | undefined {
    for (let index = 0; index < MAX_SEATS; index++) {
      const at = ALL.SIZE + index * SEAT.SIZE;
      if (Atomics.compareExchange(this.ints, at + SEAT.TAKEN, 0, pid) !== 0) continue;
      this.ints.fill(0, at + SEAT.TAKEN + 1, at + SEAT.SIZE);
      const seat = this.seat(index);
      Atomics.store(this.ints, seat.cpusAt, 1);
      for (let seats = this.seats; seats <= index; seats = this.seats)
        Atomics.compareExchange(this.ints, ALL.SEATS, seats, index + 1);
      return seat;
    }
    return undefined;
  }

  seat(index: number): Seat {
    return new Seat(this, index);
  }

  /** What the thread sleeps on that machines share: one word, not 0 when one of them is to be looked at. */
  get together(): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.buffer, ALL.TOGETHER * 4, 1);
  }
}

/** The words of one machine. */
export class Seat {
  private readonly at: number;
  private readonly longAt: number;

  constructor(
    readonly all: SchedulerWords,
    readonly index: number,
  ) {
    this.at = ALL.SIZE + index * SEAT.SIZE;
    this.longAt = (this.at + SEAT.LONGS) / 2;
  }

  get isTaken(): boolean {
    return Atomics.load(this.all.ints, this.at + SEAT.TAKEN) !== 0;
  }

  /** For the next machine: none of this one's threads is left. */
  leave(): void {
    Atomics.store(this.all.ints, this.at + SEAT.TAKEN, 0);
  }

  get cpusAt(): number {
    return this.at + SEAT.CPUS;
  }

  get limitsAt(): number {
    return this.at + SEAT.LIMITS;
  }

  get sharesAt(): number {
    return this.at + SEAT.SHARES;
  }

  get capAt(): number {
    return this.at + SEAT.CAP;
  }

  get cpus(): number {
    return Atomics.load(this.all.ints, this.cpusAt);
  }

  get shares(): number {
    return Atomics.load(this.all.ints, this.sharesAt);
  }

  get cap(): number {
    return Atomics.load(this.all.ints, this.capAt);
  }

  /** By the host's numbers; undefined: any. */
  get pin(): number[] | undefined {
    const { ints } = this.all;
    if (Atomics.load(ints, this.at + SEAT.PINNED) !== KEPT.PIN) return undefined;
    const numbers: number[] = [];
    for (let number = 0; number < MAX_PROCESSORS; number++)
      if ((Atomics.load(ints, this.at + SEAT.PIN + (number >> 5)) & (1 << (number & 31))) !== 0) numbers.push(number);
    return numbers;
  }

  /** `usable`: by the host's numbers, where this process may not use all of them. */
  keepTo(pin: readonly number[] | undefined, usable?: readonly number[]): void {
    const { ints } = this.all;
    const numbers = pin ?? usable;
    const bits = new Int32Array(MAX_PROCESSORS / 32);
    for (const number of numbers ?? []) bits[number >> 5] |= 1 << (number & 31);
    for (const [i, word] of bits.entries()) Atomics.store(ints, this.at + SEAT.PIN + i, word);
    const kept = pin ? KEPT.PIN : usable ? KEPT.PROCESS : KEPT.NOTHING;
    Atomics.store(ints, this.at + SEAT.PINNED, kept);
  }

  /** Whether its CPUs may use a processor. */
  mayUse(processor: number): boolean {
    const { ints } = this.all;
    if (Atomics.load(ints, this.at + SEAT.PINNED) === KEPT.NOTHING) return true;
    const number = this.all.numberOf(processor);
    return (Atomics.load(ints, this.at + SEAT.PIN + (number >> 5)) & (1 << (number & 31))) !== 0;
  }

  /** What the machine's thread and its owner share. */
  get shared(): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.all.buffer, (this.at + SEAT.SHARED) * 4, SHARED_WORDS);
  }

  /** The machine is on the thread that machines share. */
  joinOthers(): void {
    Atomics.store(this.all.ints, this.at + SEAT.SHARED + WAKING.ALSO, ALL.TOGETHER);
  }

  /** What the threads of CPUs sleep on, by their indices. That of CPU 0 is not used: it is on the machine's. */
  get wakes(): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.all.buffer, (this.at + SEAT.WAKE) * 4, MAX_VCPUS);
  }

  /** Wakes the thread of a CPU, if it sleeps. */
  wake(cpu: number): void {
    if (cpu === 0) {
      wakeThread(this.shared);
      return;
    }
    const at = this.at + SEAT.WAKE + cpu;
    if (Atomics.exchange(this.all.ints, at, 1) === 0) Atomics.notify(this.all.ints, at);
  }

  placeAt(cpu: number): number {
    return this.at + SEAT.PLACE + cpu;
  }

  threadAt(cpu: number): number {
    return this.at + SEAT.THREAD + cpu;
  }

  get virtualAt(): number {
    return this.longAt + LONG.VIRTUAL;
  }

  get creditAt(): number {
    return this.longAt + LONG.CREDIT;
  }

  get filledAt(): number {
    return this.longAt + LONG.FILLED;
  }

  ranAt(cpu: number): number {
    return this.longAt + LONG.RAN + cpu;
  }

  retiredAt(cpu: number): number {
    return this.longAt + LONG.RETIRED + cpu;
  }

  exitsAt(cpu: number): number {
    return this.longAt + LONG.EXITS + cpu;
  }

  /** Processor time by shares. */
  get virtual(): number {
    return Number(Atomics.load(this.all.longs, this.virtualAt));
  }

  /** Changes it by as much as takes it between two values. */
  keepVirtual(least: number, most: number): void {
    const { longs } = this.all;
    for (;;) {
      const now = Atomics.load(longs, this.virtualAt);
      const kept = BigInt(Math.round(Math.max(least, Math.min(most, Number(now)))));
      if (kept === now || Atomics.compareExchange(longs, this.virtualAt, now, kept) === now) return;
    }
  }

  /** What a processor that one of its CPUs has is marked with; not 0. */
  key(cpu: number): number {
    return this.index * MAX_VCPUS + cpu + 1;
  }
}
