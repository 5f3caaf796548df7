import { assert } from '../../base/assert.js';
import { nanoseconds, type Nanoseconds } from '../../base/units.js';
import type { Clock, Entropy, Timer } from '../../iface/clock.js';

class FakeTimer implements Timer {
  deadline: Nanoseconds | undefined;

  constructor(readonly fire: () => void) {}

  arm(deadline: Nanoseconds): void {
    this.deadline = deadline;
  }

  cancel(): void {
    this.deadline = undefined;
  }
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  private time: number;
  private readonly timers: FakeTimer[] = [];

  /** `start` in nanoseconds; `epoch` is the wall-clock time at 0, in milliseconds since 1970-01-01 UTC. */
  constructor(
    start = 0,
    readonly epoch = Date.UTC(2024, 1, 28, 23, 59, 50),
  ) {
    this.time = start;
  }

  now(): Nanoseconds {
    return nanoseconds(this.time);
  }

  wallClock(): number {
    return this.epoch + Math.floor(this.time / 1e6);
  }

  createTimer(fire: () => void): Timer {
    const timer = new FakeTimer(fire);
    this.timers.push(timer);
    return timer;
  }

  /** Lets time pass, firing every timer exactly at its deadline, in order. */
  advance(by: number): void {
    this.runTo(this.time + by);
  }

  /** Like `advance`, to a point in time. */
  runTo(end: number): void {
    for (let fired = 0; ; fired++) {
      assert(fired < 1_000_000, 'a timer arms itself in the past for ever');
      const due = this.next();
      if (due?.deadline === undefined || due.deadline > end) break;
      this.time = Math.max(this.time, due.deadline);
      due.cancel();
      due.fire();
    }
    this.time = Math.max(this.time, end);
  }

  /** A host that was busy: the time passes at once, and timers that are due fire afterwards. */
  jump(by: number): void {
    this.time += by;
    this.runTo(this.time);
  }

  /** The earliest deadline that any timer waits for. */
  get nextDeadline(): number | undefined {
    return this.next()?.deadline;
  }

  private next(): FakeTimer | undefined {
    let first: FakeTimer | undefined;
    for (const timer of this.timers)
      if (timer.deadline !== undefined && (first?.deadline === undefined || timer.deadline < first.deadline))
        first = timer;
    return first;
  }
}

/** Entropy that counts: 0, 1, 2 … */
export class CountingEntropy implements Entropy {
  private next = 0;

  fill(target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.next++ & 0xff;
  }
}
