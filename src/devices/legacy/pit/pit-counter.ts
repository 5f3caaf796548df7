/**
 * One counter of an 8254 programmable interval timer. After "8254 Programmable Interval Timer", Intel 231164-005.
 *
 * Nothing runs: the count and OUT are computed from the CLK period in which the count was loaded. Times are CLK periods
 * of the oscillator, whole numbers.
 */
import { bool, int, nullable, range, struct, u16, u8, type Infer } from '../../../snapshot/schema.js';

/** Read/write selection, control word bits 5:4. */
export const ACCESS = { LATCH: 0, LSB: 1, MSB: 2, BOTH: 3 } as const;
/** Status byte of the read-back command. */
const STATUS = { NULL_COUNT: 1 << 6, OUT: 1 << 7 } as const;

export const counterState = struct({
  mode: range(0, 5),
  bcd: bool,
  access: range(1, 3),
  /** The count register as written, 0 … 0xffff; 0 counts 0x10000 (or 10,000). */
  count: u16,
  /** What counts now: `count` of the last load, as a number of periods. */
  periods: range(1, 0x1_0000),
  /** When the counting element was loaded, or null while nothing counts. */
  start: nullable(int),
  /** Periods done when GATE stopped the counting, in modes 0 and 4; null while it runs. */
  held: nullable(int),
  /** A new count waits for the end of the period, in modes 2 and 3. */
  reload: bool,
  /** A count was written since the control word. */
  armed: bool,
  gate: bool,
  /** First byte of a two-byte write. */
  partial: nullable(u8),
  /** The next read gives the second byte. */
  readHigh: bool,
  latchedCount: nullable(u16),
  latchedStatus: nullable(u8),
});
type State = Infer<typeof counterState>;

const toBcd = (value: number): number => {
  let bcd = 0;
  for (let shift = 0, rest = value % 10_000; shift < 16; shift += 4, rest = Math.floor(rest / 10))
    bcd |= (rest % 10) << shift;
  return bcd;
};

/** Digits beyond 9 are undefined in the datasheet; their weight is as good an answer as any. */
const fromBcd = (bcd: number): number =>
  (bcd >> 12) * 1000 + ((bcd >> 8) & 15) * 100 + ((bcd >> 4) & 15) * 10 + (bcd & 15);

export class PitCounter {
  private state: State;

  /** `now` gives the CLK period; `gate` is the level of the GATE pin at power-on. */
  constructor(
    private readonly now: () => number,
    gate: boolean,
  ) {
    // Undefined until the first control word: idle is the harmless choice.
    this.state = {
      mode: 0,
      bcd: false,
      access: ACCESS.BOTH,
      count: 0,
      periods: 0x1_0000,
      start: null,
      held: null,
      reload: false,
      armed: false,
      gate,
      partial: null,
      readHigh: false,
      latchedCount: null,
      latchedStatus: null,
    };
  }

  /** A control word for this counter, other than the latch command. */
  control(value: number): void {
    const s = this.state;
    const mode = (value >> 1) & 7;
    s.mode = mode > 5 ? mode - 4 : mode;
    s.bcd = (value & 1) !== 0;
    s.access = (value >> 4) & 3;
    s.start = s.held = null;
    s.reload = s.armed = s.readHigh = false;
    s.partial = s.latchedCount = s.latchedStatus = null;
  }

  write(value: number): void {
    const s = this.state;
    if (s.access === ACCESS.BOTH && s.partial === null) {
      s.partial = value;
      // "Writing the first byte disables counting. OUT is set low immediately." (mode 0)
      if (s.mode === 0) s.start = s.held = null;
      return;
    }
    s.count = s.access === ACCESS.LSB ? value : s.access === ACCESS.MSB ? value << 8 : (s.partial ?? 0) | (value << 8);
    s.partial = null;
    this.load();
  }

  /** A complete count was written. */
  private load(): void {
    const s = this.state;
    const now = this.now();
    this.settle(now);
    const first = !s.armed;
    s.armed = true;
    switch (s.mode) {
      case 0:
      case 4:
        this.begin(now);
        if (!s.gate) s.held = 0;
        break;
      case 2:
      case 3:
        // The first count is loaded at the next CLK; later ones when the current period ends.
        if (first || s.start === null) {
          if (s.gate) this.begin(now);
        } else {
          // `start` becomes that of the current period, so that its end is known however late somebody looks.
          s.start += Math.max(0, Math.floor((now - s.start) / s.periods)) * s.periods;
          s.reload = true;
        }
        break;
      default:
        // Modes 1 and 5 load at the trigger.
        break;
    }
  }

  /** Loads the count register into the counting element at the CLK after `now`. */
  private begin(now: number): void {
    const s = this.state;
    const count = s.bcd ? fromBcd(s.count) : s.count;
    s.periods = count === 0 ? (s.bcd ? 10_000 : 0x1_0000) : count;
    s.start = now + 1;
    s.held = null;
    s.reload = false;
  }

  /** Moves on to the period that holds `now`, taking a count that waited for its start. */
  private settle(now: number): void {
    const s = this.state;
    if (!s.reload || s.start === null) return;
    // DEVIATION: in mode 3 a new count is taken at the end of the half cycle; here at the end of the whole one.
    const end = s.start + s.periods;
    if (now >= end) this.begin(end - 1);
  }

  get gate(): boolean {
    return this.state.gate;
  }

  set gate(level: boolean) {
    const s = this.state;
    if (level === s.gate) return;
    const now = this.now();
    this.settle(now);
    s.gate = level;
    switch (s.mode) {
      case 0:
      case 4:
        if (s.start === null) break;
        if (!level) s.held = Math.max(0, now - s.start);
        else if (s.held !== null) {
          s.start = now - s.held;
          s.held = null;
        }
        break;
      case 2:
      case 3:
        if (!level) s.start = null;
        else if (s.armed) this.begin(now);
        break;
      default:
        if (level && s.armed) this.begin(now);
    }
  }

  /** Periods since the load; negative until the CLK that loads. */
  private elapsed(now: number): number {
    const s = this.state;
    return s.start === null ? -1 : (s.held ?? now - s.start);
  }

  /** The level of OUT. */
  get out(): boolean {
    const s = this.state;
    const now = this.now();
    this.settle(now);
    const elapsed = this.elapsed(now);
    switch (s.mode) {
      case 0:
        return s.start !== null && elapsed >= s.periods;
      case 1:
        return s.start === null || elapsed < 0 || elapsed >= s.periods;
      case 2:
        // A count of 1 is illegal; it leaves OUT high here.
        return elapsed < 0 || s.periods === 1 || elapsed % s.periods !== s.periods - 1;
      case 3:
        return elapsed < 0 || elapsed % s.periods < Math.ceil(s.periods / 2);
      default:
        return s.start === null || elapsed !== s.periods;
    }
  }

  /**
   * The CLK period of the first rising edge of OUT after `now`, or undefined when none will come without a write. What
   * an interrupt controller waits for.
   */
  nextRise(now: number): number | undefined {
    const s = this.state;
    this.settle(now);
    if (s.start === null || s.held !== null) return undefined;
    switch (s.mode) {
      case 0:
      case 1: {
        const end = s.start + s.periods;
        return end > now ? end : undefined;
      }
      case 2:
      case 3: {
        if (s.periods === 1) return undefined;
        const done = Math.max(0, Math.floor((now - s.start) / s.periods));
        return s.start + (done + 1) * s.periods;
      }
      default: {
        // The strobe is low for one CLK.
        const end = s.start + s.periods + 1;
        return end > now ? end : undefined;
      }
    }
  }

  /** CLK periods between rising edges of OUT, in the periodic modes while it counts. */
  get period(): number | undefined {
    const { mode, start, periods } = this.state;
    return (mode === 2 || mode === 3) && start !== null && periods > 1 ? periods : undefined;
  }

  /** The counting element. */
  private get value(): number {
    const s = this.state;
    const now = this.now();
    this.settle(now);
    const elapsed = this.elapsed(now);
    let value: number;
    if (elapsed < 0) value = s.bcd ? fromBcd(s.count) : s.count;
    else if (s.mode === 2) value = s.periods - (elapsed % s.periods);
    else if (s.mode === 3) {
      const high = Math.ceil(s.periods / 2);
      const phase = elapsed % s.periods;
      value = s.periods - (s.periods % 2) - 2 * (phase < high ? phase : phase - high);
    } else value = s.periods - elapsed;
    const modulus = s.bcd ? 10_000 : 0x1_0000;
    value = ((value % modulus) + modulus) % modulus;
    return s.bcd ? toBcd(value) : value;
  }

  /** Counter latch command: a second one before the first was read does nothing. */
  latchCount(): void {
    this.state.latchedCount ??= this.value;
  }

  /** Latches the status byte of the read-back command. */
  latchStatus(): void {
    this.state.latchedStatus ??= this.status;
  }

  private get status(): number {
    const s = this.state;
    const loaded = s.armed && !s.reload && s.start !== null && s.start <= this.now();
    return (
      (this.out ? STATUS.OUT : 0) | (loaded ? 0 : STATUS.NULL_COUNT) | (s.access << 4) | (s.mode << 1) | (s.bcd ? 1 : 0)
    );
  }

  read(): number {
    const s = this.state;
    if (s.latchedStatus !== null) {
      const status = s.latchedStatus;
      s.latchedStatus = null;
      return status;
    }
    const value = s.latchedCount ?? this.value;
    if (s.access !== ACCESS.BOTH) {
      s.latchedCount = null;
      return s.access === ACCESS.LSB ? value & 0xff : value >> 8;
    }
    const high = s.readHigh;
    s.readHigh = !high;
    if (!high) return value & 0xff;
    s.latchedCount = null;
    return value >> 8;
  }

  /** What `read` would give. */
  peek(): number {
    const s = this.state;
    const value = s.latchedCount ?? this.value;
    return s.latchedStatus ?? (s.access === ACCESS.MSB || s.readHigh ? value >> 8 : value & 0xff);
  }

  save(): State {
    return { ...this.state };
  }

  restore(state: State): void {
    this.state = { ...state };
  }
}
