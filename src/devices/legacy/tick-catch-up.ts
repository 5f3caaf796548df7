/**
 * Ticks that a periodic timer owes its guest, because the host gave the machine no processor while they were due: real hardware has no such
 * moment, and kernels that count ticks against the time-stamp counter (Linux's timer_irq_works) take a timer that lost some for one that is
 * not connected. They are given as KVM's 8254 gives them (arch/x86/kvm/i8254.c, `reinject`): the next one when the guest has done with the
 * one before. Where nobody can tell when that is, they follow at an eighth of the period, as those of QEMU's RTC do (driftfix=slew).
 */
import { nanoseconds } from '../../base/units.js';
import type { Clock, Timer } from '../../iface/clock.js';
import { bool, int, nullable, range, struct, type Infer } from '../../snapshot/schema.js';

/** Owed at most: some seconds of any kernel's ticks. */
const MOST = 4096;
/** Nanoseconds of the shortest period that is made up for: faster ones nobody counts time by. */
const SHORTEST = 100_000;
/** Parts of a period between ticks that nobody acknowledges. */
const PARTS = 8;

export const catchUpState = struct({
  owed: range(0, MOST),
  /** The guest has been seen to have done with a tick. */
  acknowledges: bool,
  /** Nanoseconds between two ticks that nobody acknowledges. */
  spacing: int,
  /** When the next of these is due, ns. */
  deadline: nullable(int),
});
type State = Infer<typeof catchUpState>;

export class TickCatchUp {
  private owed = 0;
  private acknowledges = false;
  private spacing = 0;
  private readonly timer: Timer;

  /** `tick` gives the guest one. */
  constructor(
    private readonly clock: Clock,
    private readonly tick: () => void,
  ) {
    this.timer = clock.createTimer(() => this.give());
  }

  /** So many ticks were not given, with so many nanoseconds between them. The one that is due now has been. */
  missed(count: number, period: number): void {
    if (count <= 0 || period < SHORTEST) return;
    this.owed = Math.min(MOST, this.owed + count);
    this.spacing = Math.floor(period / PARTS);
    if (!this.acknowledges) this.arm();
  }

  /** The guest has done with a tick. */
  acknowledged(): void {
    this.acknowledges = true;
    this.timer.cancel();
    if (this.owed === 0) return;
    this.owed--;
    this.tick();
  }

  /** The timer is another one now. */
  forget(): void {
    this.owed = 0;
    this.acknowledges = false;
    this.timer.cancel();
  }

  private give(): void {
    this.owed--;
    this.tick();
    if (this.owed > 0) this.arm();
  }

  private arm(): void {
    this.timer.arm(nanoseconds(this.clock.now() + this.spacing));
  }

  save(): State {
    const { owed, acknowledges, spacing, timer } = this;
    return { owed, acknowledges, spacing, deadline: timer.deadline ?? null };
  }

  restore({ owed, acknowledges, spacing, deadline }: State): void {
    this.owed = owed;
    this.acknowledges = acknowledges;
    this.spacing = spacing;
    if (deadline === null || owed === 0) this.timer.cancel();
    else this.timer.arm(nanoseconds(deadline));
  }
}

/** A timer that owes nothing, for states of versions that did not make up for anything. */
export const NOTHING_OWED: State = { owed: 0, acknowledges: false, spacing: 0, deadline: null };
