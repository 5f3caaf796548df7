import type { Clock } from '../iface/clock.js';

/** Nanoseconds that a driver takes from switching its interrupt on to being ready. */
const SETTLING = 5e6;

/** A serial port, as far as it shows what its driver does. */
export interface WatchedSerial {
  /** The guest was seen looking for input without an interrupt. */
  readonly polled: boolean;
  readonly receiveInterrupt: boolean;
}

/** Whether the guest will not lose what comes in at a serial port: a driver that starts clears the receiver once more. */
export class SerialListening {
  /** Since when the guest's driver has been listening. */
  private since: number | undefined;
  /** Whether the guest was seen waiting for input without a driver. */
  private polls = false;

  isReady(port: WatchedSerial, clock: Pick<Clock, 'now'>): boolean {
    this.polls ||= port.polled;
    if (this.polls) return true;
    if (!port.receiveInterrupt) {
      this.since = undefined;
      return false;
    }
    this.since ??= clock.now();
    return clock.now() - this.since >= SETTLING;
  }

  /** Another guest begins. */
  reset(): void {
    this.since = undefined;
    this.polls = false;
  }
}
