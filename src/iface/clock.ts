import type { Nanoseconds } from '../base/units.js';

/** One-shot timer. Arming again replaces the deadline. Its callback runs on the machine's thread, never inside `arm`. */
export interface Timer {
  /** Fires once when the clock reaches `deadline`; at the next opportunity when that has passed. */
  arm(deadline: Nanoseconds): void;
  cancel(): void;
  /** The deadline, or undefined when not armed. Saved and restored by the timer's owner, not by the clock. */
  readonly deadline: Nanoseconds | undefined;
}

/** The machine's only source of time. Monotonic; stands still while the machine is paused. */
export interface Clock {
  now(): Nanoseconds;
  createTimer(fire: () => void): Timer;
  /** Wall-clock time in milliseconds since 1970-01-01 UTC, as the guest's RTC should show it. */
  wallClock(): number;
}

/** The machine's only source of entropy. */
export interface Entropy {
  fill(target: Uint8Array): void;
}
