/** When a CPU may run: what its thread asks before each slice. */
import type { Vcpu } from '../../iface/vcpu.js';
import type { MachineTurn } from '../run-loop.js';
import { CapBucket } from './cap-bucket.js';
import { ProcessorLease } from './processor-lease.js';
import { DEFAULT_SHARES } from './settings.js';
import { LIMIT, type Seat } from './words.js';

/** Slices between two looks at what a CPU has done. */
const SLICES = 8;

/** What the thread of a CPU has of its host. */
export interface TurnHost {
  /** Nanoseconds since some time, the same on all threads. */
  now(): number;
  /** Nanoseconds of processor time that this thread has had; undefined: this host does not say. */
  threadTime(): number | undefined;
  /** The host's number of this thread; 0: it has none. */
  threadNumber(): number;
  /** This thread keeps to some processors of the host, or to none in particular. Why that cannot be, in a few words. */
  pin(processors: readonly number[] | undefined): string | undefined;
  report(text: string): void;
}

/** Instructions, and how often a CPU was left. */
export interface Work {
  readonly retired: bigint | undefined;
  readonly exits: number;
}

const LIMITED = LIMIT.CAPPED | LIMIT.CROWDED;

/**
 * Costs one look at a word while nothing is limited. Otherwise the thread's time is counted: against the machine's cap, and against
 * what other machines have.
 */
export class CpuTurn implements MachineTurn {
  private readonly ints: Int32Array;
  private readonly limitsAt: number;
  /** Of `limits`, as they were last looked at. */
  private known = 0;
  private isPinned = false;
  private slices = 0;
  private readonly bucket: CapBucket;
  private readonly lease: ProcessorLease;
  private work: (() => Work) | undefined;
  /** What the thread had when its time was last counted; undefined: it is not. */
  private counted: number | undefined;
  /** Until then it may run without asking. */
  private until = 0;
  private yields = false;
  /** Time by shares that was too little to be counted. */
  private remainder = 0;

  constructor(
    private readonly seat: Seat,
    private readonly cpu: number,
    private readonly host: TurnHost,
  ) {
    this.ints = seat.all.ints;
    this.limitsAt = seat.limitsAt;
    this.bucket = new CapBucket(seat);
    this.lease = new ProcessorLease(seat, cpu);
    Atomics.store(this.ints, seat.threadAt(cpu), host.threadNumber());
  }

  /** What is told of the CPU's work from now on. */
  watch(cpu: Pick<Vcpu, 'retired'>, accesses: () => number): void {
    const { longs } = this.seat.all;
    // A machine that was reset counts on.
    const retired = Atomics.load(longs, this.seat.retiredAt(this.cpu)) - (cpu.retired ?? 0n);
    const exits = Number(Atomics.load(longs, this.seat.exitsAt(this.cpu))) - this.slices - accesses();
    this.work = () => ({
      retired: cpu.retired === undefined ? undefined : retired + cpu.retired,
      exits: exits + this.slices + accesses(),
    });
  }

  ask(): number {
    if (++this.slices % SLICES === 0) this.publish();
    const limits = Atomics.load(this.ints, this.limitsAt);
    if (limits !== this.known) this.adopt(limits);
    return (limits & LIMITED) === 0 ? Infinity : this.decide(limits);
  }

  rest(): void {
    if ((this.known & LIMITED) === 0) return;
    const now = this.host.now();
    this.count(now);
    this.letGo(now);
  }

  /** The CPU waits for another one: whoever else waits may have its processor. True: somebody may, so it should stop. */
  yield(): boolean {
    if ((this.known & LIMIT.CROWDED) === 0) return false;
    this.yields = true;
    return true;
  }

  private publish(): void {
    const { seat, cpu, work } = this;
    if (!work) return;
    const { retired, exits } = work();
    if (retired !== undefined) Atomics.store(seat.all.longs, seat.retiredAt(cpu), retired);
    Atomics.store(seat.all.longs, seat.exitsAt(cpu), BigInt(exits));
  }

  /** Limits have changed. */
  private adopt(limits: number): void {
    if ((limits & LIMIT.CROWDED) === 0) this.lease.rest(this.host.now());
    if ((limits & LIMITED) === 0) this.forget();
    this.until = 0;
    this.yields = false;
    this.known = limits;
    const { pin } = this.seat;
    if (pin === undefined && !this.isPinned) return;
    this.isPinned = pin !== undefined;
    const refused = this.host.pin(pin);
    if (refused !== undefined) this.host.report(`CPU ${String(this.cpu)} cannot be pinned: ${refused}`);
  }

  private decide(limits: number): number {
    const now = this.host.now();
    if (now < this.until && !this.yields) return this.until - now;
    this.count(now);
    let most = Infinity;
    if ((limits & LIMIT.CAPPED) !== 0) {
      most = this.bucket.take(now);
      if (most < 0) {
        // Meanwhile somebody else may have the processor.
        this.letGo(now);
        return most;
      }
    }
    if ((limits & LIMIT.CROWDED) !== 0) {
      const { yields } = this;
      this.yields = false;
      const left = this.lease.take(now, yields);
      if (left < 0) {
        this.forgetWall();
        this.until = 0;
        return left;
      }
      most = Math.min(most, left);
    }
    this.counted ??= this.time(now);
    this.until = now + most;
    return most;
  }

  private letGo(now: number): void {
    this.lease.rest(now);
    this.forgetWall();
    this.until = 0;
  }

  /** Of this thread, or, where the host does not tell that, of everybody. */
  private time(now: number): number {
    return this.host.threadTime() ?? now;
  }

  /** Time in which nothing runs does not count, where all time does. */
  private forgetWall(): void {
    if (this.host.threadTime() === undefined) this.forget();
  }

  private forget(): void {
    this.counted = undefined;
  }

  private count(now: number): void {
    if (this.counted === undefined) return;
    const time = this.time(now);
    const used = Math.max(0, time - this.counted);
    this.counted = time;
    const { seat, cpu } = this;
    const { longs } = seat.all;
    Atomics.add(longs, seat.ranAt(cpu), BigInt(used));
    if ((this.known & LIMIT.CAPPED) !== 0) this.bucket.charge(used);
    if ((this.known & LIMIT.CROWDED) === 0) return;
    const exact = (used * DEFAULT_SHARES) / seat.shares + this.remainder;
    const whole = Math.floor(exact);
    this.remainder = exact - whole;
    Atomics.add(longs, seat.virtualAt, BigInt(whole));
  }
}
