import { nanoseconds, type Nanoseconds } from '../../base/units.js';
import type { Clock } from '../../iface/clock.js';

const NS_PER_SECOND = 1e9;

/**
 * A crystal: counts its periods since the machine's clock was 0, without drift. Conversions are exact in doubles for
 * frequencies below 9 MHz: whole seconds are separated first, and what remains multiplies to less than 2**53.
 */
export class Oscillator {
  /** `hz` is a whole number below 9,000,000. */
  constructor(
    private readonly clock: Clock,
    readonly hz: number,
  ) {}

  /** Periods that have ended until now. */
  now(): number {
    return this.ticks(this.clock.now());
  }

  /** Periods that have ended at a time. */
  ticks(time: Nanoseconds): number {
    const seconds = Math.floor(time / NS_PER_SECOND);
    return seconds * this.hz + Math.floor(((time - seconds * NS_PER_SECOND) * this.hz) / NS_PER_SECOND);
  }

  /** The earliest nanosecond at which `ticks` periods have ended. */
  time(ticks: number): Nanoseconds {
    const seconds = Math.floor(ticks / this.hz);
    return nanoseconds(seconds * NS_PER_SECOND + Math.ceil(((ticks - seconds * this.hz) * NS_PER_SECOND) / this.hz));
  }
}
