/** A machine's cap: processor time flows into a bucket at the rate of the cap, and all CPUs of the machine take theirs from it. */
import { capRate } from './settings.js';
import type { Seat } from './words.js';

/** Nanoseconds in which about one turn comes to a machine that always wants to run: less than the ticks of most guests' timers are apart. */
const PERIOD = 4e6;
/** Nanoseconds of a turn, at least: what it takes to go to sleep and to wake should be little against it. */
const SHORTEST = 100_000;
/** Nanoseconds for which what is not used is kept: a machine that did nothing answers at once. */
const SAVED = 20e6;
/** Nanoseconds of processor time that a machine can owe, as after a device that worked for long. */
const DEBT = 200e6;
/** Nanoseconds between two times of filling up. */
const FILL = 50_000;

export class CapBucket {
  private readonly longs: BigInt64Array;
  private waits = false;

  constructor(private readonly seat: Seat) {
    this.longs = seat.all.longs;
  }

  /** Nanoseconds of processor time that are there; negative: those that one has to wait. */
  take(now: number): number {
    const rate = capRate(this.seat);
    const turn = Math.max(SHORTEST, PERIOD * rate);
    this.fill(now, rate, turn);
    const credit = Number(Atomics.load(this.longs, this.seat.creditAt));
    const least = this.waits ? turn : 1;
    this.waits = credit < least;
    return this.waits ? -Math.max(FILL, (turn - credit) / rate) : Math.max(SHORTEST, credit);
  }

  charge(used: number): void {
    const { longs, seat } = this;
    const before = Number(Atomics.sub(longs, seat.creditAt, BigInt(used)));
    if (before - used < -DEBT) Atomics.store(longs, seat.creditAt, BigInt(-DEBT));
  }

  /** One thread fills in what has come since the last time. */
  private fill(now: number, rate: number, turn: number): void {
    const { longs, seat } = this;
    const last = Atomics.load(longs, seat.filledAt);
    const passed = now - Number(last);
    if (passed < FILL || Atomics.compareExchange(longs, seat.filledAt, last, BigInt(Math.floor(now))) !== last) return;
    const most = Math.max(2 * turn, SAVED * rate);
    for (;;) {
      const before = Atomics.load(longs, seat.creditAt);
      const after = Math.min(most, Number(before) + passed * rate);
      if (Atomics.compareExchange(longs, seat.creditAt, before, BigInt(Math.floor(after))) === before) return;
    }
  }
}
