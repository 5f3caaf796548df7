import { nanoseconds, type Nanoseconds } from '../../base/units.js';
import type { Clock, Timer } from '../../iface/clock.js';
import type { ApicCpu } from '../../iface/local-apic.js';
import { int, nullable, struct, u32, u64, type Infer } from '../../snapshot/schema.js';
import { APIC_TIMER_HZ, TIMER_MODE, timerDivisor } from './registers.js';

/** Nanoseconds of one tick of the undivided timer. */
const TICK = 1e9 / APIC_TIMER_HZ;

/** The furthest a TSC deadline is armed ahead, in nanoseconds; on expiry the rest is armed. Keeps sums exact. */
const HORIZON = 1e15;

export const timerSchema = struct({
  initial: u32,
  divide: u32,
  /** When the current countdown began, in nanoseconds; null while the timer stands. */
  start: nullable(int),
  tscDeadline: u64,
});
export type TimerState = Infer<typeof timerSchema>;

/**
 * The APIC timer, SDM vol. 3 §11.5.4: one-shot and periodic by a divided 1 GHz clock, or at a value of the TSC.
 * It counts whether or not its LVT entry is masked; `expire` decides what comes of it.
 *
 * A periodic timer that was served late skips what it missed and keeps its phase: its interrupt could have been
 * pending only once anyway.
 */
export class ApicTimer {
  private mode: number = TIMER_MODE.ONE_SHOT;
  private initial = 0;
  private divide = 0;
  private start: Nanoseconds | undefined;
  private deadlineTsc = 0n;
  private readonly timer: Timer;

  constructor(
    private readonly clock: Clock,
    private readonly cpu: Pick<ApicCpu, 'readTsc' | 'tscFrequency'>,
    private readonly expire: () => void,
  ) {
    this.timer = clock.createTimer(() => this.fired());
  }

  /** Bits 18:17 of the LVT entry. Going to or from TSC-deadline mode disarms the timer (§11.5.4.1). */
  setMode(mode: number): void {
    if (mode === this.mode) return;
    // What is due by now belongs to the old mode: a one-shot that has reached 0 does not begin again as a periodic one.
    if (
      this.mode !== TIMER_MODE.TSC_DEADLINE &&
      this.start !== undefined &&
      this.clock.now() >= this.start + this.period
    )
      this.fired();
    const disarm = mode === TIMER_MODE.TSC_DEADLINE || this.mode === TIMER_MODE.TSC_DEADLINE;
    this.mode = mode;
    if (disarm) this.stop();
    else this.arm();
  }

  get initialCount(): number {
    return this.initial;
  }

  /** Starts the countdown; 0 stops it. Ignored in TSC-deadline mode. */
  set initialCount(count: number) {
    if (this.mode === TIMER_MODE.TSC_DEADLINE) return;
    this.initial = count;
    this.start = count === 0 ? undefined : this.clock.now();
    this.arm();
  }

  get currentCount(): number {
    if (this.start === undefined) return 0;
    const elapsed = Math.floor((this.clock.now() - this.start) / (TICK * timerDivisor(this.divide)));
    if (this.mode === TIMER_MODE.PERIODIC) return this.initial - (elapsed % this.initial);
    return Math.max(0, this.initial - elapsed);
  }

  get divideConfiguration(): number {
    return this.divide;
  }

  /** A running countdown goes on from its current count at the new rate. */
  set divideConfiguration(value: number) {
    const counted = this.start === undefined ? 0 : this.initial - this.currentCount;
    this.divide = value;
    if (this.start === undefined) return;
    this.start = nanoseconds(this.clock.now() - counted * TICK * timerDivisor(value));
    this.arm();
  }

  /** IA32_TSC_DEADLINE; reads 0 and ignores writes in the other modes (§11.5.4.1). */
  get tscDeadline(): bigint {
    return this.deadlineTsc;
  }

  set tscDeadline(value: bigint) {
    if (this.mode !== TIMER_MODE.TSC_DEADLINE) return;
    this.deadlineTsc = value;
    this.arm();
  }

  /** The TSC was set: a deadline is now nearer or further. */
  tscChanged(): void {
    if (this.mode === TIMER_MODE.TSC_DEADLINE) this.arm();
  }

  reset(): void {
    this.mode = TIMER_MODE.ONE_SHOT;
    this.divide = 0;
    this.stop();
  }

  save(): TimerState {
    return {
      initial: this.initial,
      divide: this.divide,
      start: this.start ?? null,
      tscDeadline: this.deadlineTsc,
    };
  }

  /** `mode` comes from the LVT entry, which the APIC saves. */
  restore(state: TimerState, mode: number): void {
    this.mode = mode;
    this.initial = state.initial;
    this.divide = state.divide;
    this.start = state.start === null || state.initial === 0 ? undefined : nanoseconds(state.start);
    this.deadlineTsc = state.tscDeadline;
    if (mode === TIMER_MODE.TSC_DEADLINE && this.deadlineTsc !== 0n) this.timer.arm(this.tscDue());
    else this.arm();
  }

  private stop(): void {
    this.initial = 0;
    this.start = undefined;
    this.deadlineTsc = 0n;
    this.timer.cancel();
  }

  private get period(): number {
    return this.initial * TICK * timerDivisor(this.divide);
  }

  private arm(): void {
    if (this.mode === TIMER_MODE.TSC_DEADLINE) {
      if (this.deadlineTsc === 0n) this.timer.cancel();
      else if (this.cpu.readTsc() >= this.deadlineTsc) this.expireTsc();
      else this.timer.arm(this.tscDue());
    } else if (this.start === undefined) this.timer.cancel();
    else this.timer.arm(nanoseconds(this.start + this.period));
  }

  /** When the clock will have reached the TSC deadline, or the horizon; always in the future. */
  private tscDue(): Nanoseconds {
    const ticks = Number(this.deadlineTsc - this.cpu.readTsc());
    const wait = Math.ceil((ticks * 1e9) / this.cpu.tscFrequency);
    return nanoseconds(this.clock.now() + Math.min(HORIZON, Math.max(1, wait)));
  }

  private expireTsc(): void {
    this.deadlineTsc = 0n;
    this.timer.cancel();
    this.expire();
  }

  private fired(): void {
    if (this.mode === TIMER_MODE.TSC_DEADLINE) {
      this.arm();
      return;
    }
    if (this.start === undefined) return;
    if (this.mode === TIMER_MODE.PERIODIC) {
      const passed = Math.max(1, Math.floor((this.clock.now() - this.start) / this.period));
      this.start = nanoseconds(this.start + passed * this.period);
      this.arm();
    } else this.start = undefined;
    this.expire();
  }
}
