import { nanoseconds, type Nanoseconds } from '../base/units.js';
import type { Clock, Timer } from '../iface/clock.js';

/** Where a machine's time comes from. */
export interface TimeSource {
  /** Monotonic nanoseconds since some start. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC at this moment. */
  wallClock(): number;
}

class HeapTimer implements Timer {
  deadline: Nanoseconds | undefined;

  constructor(
    private readonly timers: Set<HeapTimer>,
    private readonly changed: (deadline?: number) => void,
    readonly fire: () => void,
  ) {}

  arm(deadline: Nanoseconds): void {
    this.deadline = deadline;
    this.timers.add(this);
    this.changed(deadline);
  }

  cancel(): void {
    this.deadline = undefined;
    this.timers.delete(this);
    this.changed();
  }
}

/**
 * The machine's clock: a time source that can be stopped, and the timers of all devices. Timers fire in `runTimers`, in
 * the order of their deadlines; a PC has about a dozen, so the earliest is found by looking at all.
 */
export class MachineClock implements Clock {
  private readonly armed = new Set<HeapTimer>();
  /** What is subtracted from the source: time before the start, and while paused. */
  private offset: number;
  private pausedAt: number | undefined;
  private next: number | undefined;
  private stale = false;
  /** Told of every deadline: whoever runs the CPU may have to come back earlier than planned. */
  onArm: ((deadline: number) => void) | undefined;

  /** Told when somebody looks at the clock after the earliest deadline: the host was elsewhere meanwhile. */
  onLate: (() => void) | undefined;

  /** The clock starts at `start` nanoseconds, running. */
  constructor(
    private readonly source: TimeSource,
    start = 0,
  ) {
    this.offset = source.now() - start;
  }

  now(): Nanoseconds {
    const now = this.pausedAt ?? Math.floor(this.source.now() - this.offset);
    if (this.next !== undefined && now >= this.next) this.onLate?.();
    return nanoseconds(now);
  }

  wallClock(): number {
    return this.source.wallClock();
  }

  createTimer(fire: () => void): Timer {
    return new HeapTimer(
      this.armed,
      (deadline) => {
        this.stale = true;
        if (deadline !== undefined) this.onArm?.(deadline);
      },
      fire,
    );
  }

  /** The time of the source at which this clock stood at 0; while it is paused: as if it had not been. */
  get origin(): number {
    return this.offset;
  }

  /** Runs from now on as another clock on the same source does, which has this origin. */
  follow(origin: number): void {
    this.offset = origin;
    this.pausedAt = undefined;
  }

  pause(): void {
    this.pausedAt ??= this.now();
  }

  resume(): void {
    if (this.pausedAt === undefined) return;
    this.offset = this.source.now() - this.pausedAt;
    this.pausedAt = undefined;
  }

  /** Sets the clock: a restored machine goes on at the time it was saved. */
  set(now: number): void {
    if (this.pausedAt !== undefined) this.pausedAt = now;
    else this.offset = this.source.now() - now;
  }

  /** The earliest deadline. */
  get nextDeadline(): number | undefined {
    if (this.stale) {
      this.stale = false;
      this.next = undefined;
      for (const { deadline } of this.armed)
        if (deadline !== undefined && (this.next === undefined || deadline < this.next)) this.next = deadline;
    }
    return this.next;
  }

  /** Fires what is due. A timer that arms itself anew in the past fires again only in the next round. */
  runTimers(): void {
    const now = this.now();
    const deadline = this.nextDeadline;
    if (deadline === undefined || deadline > now) return;
    const due = [...this.armed].filter((t) => t.deadline !== undefined && t.deadline <= now);
    due.sort((a, b) => (a.deadline ?? 0) - (b.deadline ?? 0));
    for (const timer of due) {
      // One that fired before it may have cancelled or moved it.
      if (timer.deadline === undefined || timer.deadline > now) continue;
      timer.cancel();
      timer.fire();
    }
  }
}
