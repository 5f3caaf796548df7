/** Words of memory that the threads of a machine's CPUs share: by them, and by signals, they take each other out of KVM_RUN. */
import type { CpuSignals } from '../../iface/vcpu.js';
import { KICK_SIGNAL, signalThread } from './libc.js';

/** 64-bit words for all CPUs, before PER_CPU 32-bit words for each. */
const ALL = { BEHIND: 0, REFERENCE_TIME: 1, REFERENCE_TICKS: 2, LOCK: 3, SIZE: 8 } as const;
const PER_CPU = 16;
const CPU = {
  /** Bits of NEWS, and IN. */
  NEWS: 0,
  /** The thread that it is on; 0: none yet. */
  THREAD: 1,
  /** One of LIFE. */
  LIFE: 2,
  /** Its timer, two words. */
  TIMER: 4,
} as const;

/** What others want of a CPU; END: its machine has ended, and it never runs again. */
export const NEWS = { KICK: 2, INTERRUPT: 4, END: 8 } as const;
/** The CPU's thread is in `run`, and uses what the machine has of KVM. */
const IN = 1;
/** Of a CPU on another thread than the machine's. */
const LIFE = { NONE: 0, STARTING: 1, READY: 2 } as const;

/** Milliseconds between two looks at a CPU that is to leave KVM_RUN, and looks. */
const LOOK = 1;
const LOOKS = 5000;

export class CpuWords implements CpuSignals {
  readonly buffer: SharedArrayBuffer;
  private readonly words: Int32Array;
  /** For the time-stamp counters. */
  private readonly wide: BigInt64Array;
  /** 1 while a thread changes BEHIND. */
  private readonly lock: Int32Array;

  /** `shared`: the memory, when another thread has made it. */
  constructor(cpus: number, shared = new SharedArrayBuffer(ALL.SIZE * 8 + cpus * PER_CPU * 4)) {
    this.buffer = shared;
    this.wide = new BigInt64Array(shared, 0, ALL.SIZE);
    this.lock = new Int32Array(shared, ALL.LOCK * 8, 1);
    this.words = new Int32Array(shared, ALL.SIZE * 8);
  }

  private at(index: number, word: number): number {
    return index * PER_CPU + word;
  }

  // ---- what any thread does to a CPU ----

  interrupt(index: number): void {
    this.tell(index, NEWS.INTERRUPT);
  }

  kick(index: number): void {
    this.tell(index, NEWS.KICK);
  }

  /** DEVIATION: address line 20 cannot be switched off under KVM, as in QEMU. */
  setA20(): void {}

  /**
   * A CPU that is not IN looks before it goes to KVM_RUN. One that is may have had its last look: it gets a signal, which it keeps blocked outside of
   * KVM_RUN, so that one that comes too early ends that at once. News that are there already have been signalled.
   */
  private tell(index: number, news: number): void {
    if (Atomics.or(this.words, this.at(index, CPU.NEWS), news) === IN) this.signal(index);
  }

  private signal(index: number): boolean {
    return signalThread(Atomics.load(this.words, this.at(index, CPU.THREAD)), KICK_SIGNAL);
  }

  // ---- what a CPU's own thread does ----

  /** The CPU's thread is this one, and its timer that. */
  register(index: number, thread: number, timer: bigint): void {
    Atomics.store(this.words, this.at(index, CPU.THREAD), thread);
    Atomics.store(this.words, this.at(index, CPU.TIMER), Number(BigInt.asIntN(32, timer)));
    Atomics.store(this.words, this.at(index, CPU.TIMER + 1), Number(BigInt.asIntN(32, timer >> 32n)));
  }

  /** From here until it leaves the thread uses what the machine has of KVM, which is not given back meanwhile. */
  enter(index: number): void {
    if (Atomics.or(this.words, this.at(index, CPU.NEWS), IN) & NEWS.END) this.park(index);
  }

  leave(index: number): void {
    Atomics.and(this.words, this.at(index, CPU.NEWS), ~IN);
  }

  /** The last look before KVM_RUN, for what has come since the one before. */
  takeNews(index: number): number {
    const news = Atomics.exchange(this.words, this.at(index, CPU.NEWS), IN) & ~IN;
    if (news & NEWS.END) this.park(index);
    return news;
  }

  /** For what may wait for the machine's thread: that may end the machine instead of answering. */
  outside<T>(index: number, call: () => T): T {
    const was = Atomics.and(this.words, this.at(index, CPU.NEWS), ~IN) & IN;
    const answer = call();
    if (was) this.enter(index);
    return answer;
  }

  /** A thread other than the machine's begins to make its CPU. */
  start(index: number): void {
    Atomics.store(this.words, this.at(index, CPU.LIFE), LIFE.STARTING);
    if (Atomics.load(this.words, this.at(index, CPU.NEWS)) & NEWS.END) this.park(index);
  }

  ready(index: number): void {
    Atomics.store(this.words, this.at(index, CPU.LIFE), LIFE.READY);
  }

  /** The machine has ended: what the CPU had is given back by the machine's thread, with which this one ends. It is not IN. */
  private park(index: number): never {
    const at = this.at(index, CPU.LIFE);
    Atomics.store(this.words, this.at(index, CPU.NEWS), NEWS.END);
    Atomics.store(this.words, at, LIFE.NONE);
    for (;;) Atomics.wait(this.words, at, LIFE.NONE);
  }

  // ---- what the machine's thread does at its end ----

  /** Makes a CPU of another thread stand still for ever. False: it does not, and may still use what it has. */
  end(index: number): boolean {
    const at = this.at(index, CPU.NEWS);
    Atomics.or(this.words, at, NEWS.END);
    for (let looks = 0; looks < LOOKS; looks++) {
      const isIn = (Atomics.load(this.words, at) & IN) !== 0;
      if (!isIn && Atomics.load(this.words, this.at(index, CPU.LIFE)) !== LIFE.STARTING) return true;
      // A thread that was killed in there is in nothing any more.
      if (isIn && !this.signal(index)) return true;
      Atomics.wait(this.words, this.at(index, CPU.LIFE), LIFE.STARTING, LOOK);
      if (isIn) Atomics.wait(this.words, at, NEWS.END | IN, LOOK);
    }
    return false;
  }

  /** Its timer; absent: it has none. */
  timer(index: number): bigint | undefined {
    if (Atomics.load(this.words, this.at(index, CPU.THREAD)) === 0) return undefined;
    const half = (word: number): bigint => BigInt(Atomics.load(this.words, this.at(index, word)) >>> 0);
    return half(CPU.TIMER) | (half(CPU.TIMER + 1) << 32n);
  }

  // ---- time, the same for all CPUs ----

  /** By how much the machine's clock is behind the host's, nanoseconds. */
  get behind(): number {
    return Number(Atomics.load(this.wide, ALL.BEHIND));
  }

  set behind(nanoseconds: number) {
    Atomics.store(this.wide, ALL.BEHIND, BigInt(nanoseconds));
  }

  /**
   * Unless another CPU has changed it since it was `known`; `moved` is called before anybody knows, and others that want to change it wait for that. Returns what it
   * is then.
   */
  moveBehind(known: number, to: number, moved: () => void): number {
    const { lock } = this;
    while (Atomics.compareExchange(lock, 0, 0, 1) !== 0) Atomics.wait(lock, 0, 1, LOOK);
    try {
      if (this.behind === known) {
        moved();
        this.behind = to;
      }
      return this.behind;
    } finally {
      Atomics.store(lock, 0, 0);
      Atomics.notify(lock, 0);
    }
  }

  /** A time of the host's clock in nanoseconds, and what the host's counter was then, as far as guests see it. */
  get reference(): { readonly time: number; readonly ticks: bigint } {
    return {
      time: Number(Atomics.load(this.wide, ALL.REFERENCE_TIME)),
      ticks: Atomics.load(this.wide, ALL.REFERENCE_TICKS),
    };
  }

  set reference({ time, ticks }: { readonly time: number; readonly ticks: bigint }) {
    Atomics.store(this.wide, ALL.REFERENCE_TIME, BigInt(time));
    Atomics.store(this.wide, ALL.REFERENCE_TICKS, ticks);
  }
}
