/** One comparator of an HPET. After "IA-PC HPET (High Precision Event Timers) Specification", revision 1.0a, §2.3.8. */
import type { Timer } from '../../../iface/clock.js';
import { bool, struct, u32, u64, type Infer } from '../../../snapshot/schema.js';

/** Timer N Configuration and Capabilities Register, §2.3.8 */
export const TN = {
  INT_TYPE_LEVEL: 1 << 1,
  INT_ENB: 1 << 2,
  PERIODIC: 1 << 3,
  PER_INT_CAP: 1 << 4,
  SIZE_CAP: 1 << 5,
  VAL_SET: 1 << 6,
  MODE_32: 1 << 8,
  INT_ROUTE: 0x1f << 9,
} as const;
const WRITABLE = TN.INT_TYPE_LEVEL | TN.INT_ENB | TN.PERIODIC | TN.VAL_SET | TN.MODE_32 | TN.INT_ROUTE;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;
const LOW = 0xffff_ffffn;

export const hpetTimerState = struct({
  /** The writable bits of the configuration. */
  config: u32,
  comparator: u64,
  period: u64,
  /** A low half was written under VAL_SET, which covers the high half that follows. */
  setHigh: bool,
});
type State = Infer<typeof hpetTimerState>;

/**
 * Registers and arithmetic of a comparator. What an event means to interrupt lines is `Hpet`'s affair.
 *
 * A periodic comparator moves on from its own value, so periods do not drift.
 */
export class HpetTimer {
  private state: State = { config: 0, comparator: ALL_ONES, period: 0n, setHigh: false };

  /** `timer` fires at the comparator's next event; `routes` has a bit for each I/O APIC pin it can use. */
  constructor(
    readonly timer: Timer,
    private readonly routes: number,
  ) {}

  get enabled(): boolean {
    return (this.state.config & TN.INT_ENB) !== 0;
  }

  get level(): boolean {
    return (this.state.config & TN.INT_TYPE_LEVEL) !== 0;
  }

  get periodic(): boolean {
    return (this.state.config & TN.PERIODIC) !== 0;
  }

  /** The I/O APIC pin, or undefined while an impossible one is chosen. */
  get route(): number | undefined {
    const pin = (this.state.config & TN.INT_ROUTE) >> 9;
    return this.routes & (1 << pin) ? pin : undefined;
  }

  private get mask(): bigint {
    return this.state.config & TN.MODE_32 ? LOW : ALL_ONES;
  }

  /** Ticks from `counter` to the next event, at least 1. */
  ticksUntil(counter: bigint): bigint {
    const mask = this.mask;
    const ticks = (this.state.comparator - counter) & mask;
    return ticks === 0n ? mask + 1n : ticks;
  }

  /** Ticks between the events of a periodic one; 0: it has none. */
  get period(): bigint {
    return this.periodic ? this.state.period & this.mask : 0n;
  }

  /**
   * The counter reached the comparator, or went beyond: a periodic one moves on to the first event after `counter`. Returns how
   * many events were passed by, besides the one that is due.
   */
  advance(counter: bigint): bigint {
    const { period } = this;
    if (period === 0n) return 0n;
    const { mask } = this;
    const missed = ((counter - this.state.comparator) & mask) / period;
    this.state.comparator = (this.state.comparator + (missed + 1n) * period) & mask;
    return missed;
  }

  /** The 32-bit register at offset 0x00 … 0x1c of the comparator's block. */
  read(offset: number): number {
    const s = this.state;
    switch (offset) {
      case 0x00:
        return s.config | TN.PER_INT_CAP | TN.SIZE_CAP;
      case 0x04:
        return this.routes;
      case 0x08:
        return Number(s.comparator & LOW);
      case 0x0c:
        return Number(s.comparator >> 32n);
      default:
        // The FSB route register: not there, FSB_INT_DEL_CAP is 0.
        return 0;
    }
  }

  write(offset: number, value: number): void {
    const s = this.state;
    switch (offset) {
      case 0x00:
        s.config = value & WRITABLE;
        s.setHigh = false;
        if (value & TN.MODE_32) {
          s.comparator &= LOW;
          s.period &= LOW;
        }
        break;
      case 0x08:
        s.setHigh = (s.config & TN.VAL_SET) !== 0;
        this.writeHalf(s.setHigh, (old) => (old & ~LOW) | BigInt(value));
        // VAL_SET clears itself (§2.3.8).
        s.config &= ~TN.VAL_SET;
        break;
      case 0x0c:
        if (!(s.config & TN.MODE_32))
          this.writeHalf(s.setHigh || (s.config & TN.VAL_SET) !== 0, (old) => (old & LOW) | (BigInt(value) << 32n));
        s.setHigh = false;
        s.config &= ~TN.VAL_SET;
        break;
    }
  }

  /**
   * A one-shot comparator takes what is written. A periodic one takes it for its period, and under VAL_SET for its
   * comparator too: the next write then gives the period alone (§2.3.9.2.2).
   */
  private writeHalf(set: boolean, merge: (old: bigint) => bigint): void {
    const s = this.state;
    if (!this.periodic || set) s.comparator = merge(s.comparator);
    if (this.periodic) s.period = merge(s.period);
  }

  save(): State {
    return { ...this.state };
  }

  restore(state: State): void {
    this.state = { ...state, config: state.config & WRITABLE };
  }
}
