/**
 * MC146818A real-time clock with 256 bytes of CMOS memory, as the ICH9 has it: ports 0x70 … 0x73. After "MC146818A
 * Real-Time Clock Plus RAM", Motorola ADI-1049, and the ICH9 datasheet 316972, "Real Time Clock Registers".
 *
 * Time is the host's wall clock plus an offset that changes when the guest sets the clock; so a clock that was set to
 * local time stays on local time after a restore.
 */
import { nanoseconds } from '../../../base/units.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Clock, Timer } from '../../../iface/clock.js';
import type { IrqLine } from '../../../iface/lines.js';
import { bytes, int, nullable, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { Oscillator } from '../oscillator.js';
import { decodeCalendar, encodeCalendar, type Calendar } from './calendar.js';

/** Bytes of the first bank; bytes 0x0e … 0x7f are memory. */
export const CMOS = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  WEEKDAY: 0x06,
  DAY: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  A: 0x0a,
  B: 0x0b,
  C: 0x0c,
  D: 0x0d,
  /** Where PCs keep the century; the FADT says so. */
  CENTURY: 0x32,
} as const;
/** Register A */
const A = { UIP: 1 << 7, DIVIDER_RESET: 0x60, RATE: 0x0f, RESET_VALUE: 0x26 } as const;
/** Register B */
const B = { SET: 1 << 7, PIE: 1 << 6, AIE: 1 << 5, UIE: 1 << 4, RESET_VALUE: 0x02 } as const;
/** Register C: flags at the places of their enable bits in B. */
const C = { IRQF: 1 << 7, PF: 1 << 6, AF: 1 << 5, UF: 1 << 4 } as const;
/** Register D: the battery is good. */
const VRT = 0x80;
/** An alarm byte of 0xc0 and more matches always. */
const DONT_CARE = 0xc0;
const NMI_MASK = 0x80;

const BANK = 128;
const RTC_HZ = 32_768;
const MS_PER_SECOND = 1000;
const NS_PER_MS = 1e6;
/** An alarm repeats daily at the latest. */
const SECONDS_PER_DAY = 86_400;
/**
 * Milliseconds before the update that UIP announces it. The chip has 244 µs before and 1984 µs in the update; the wall
 * clock here has milliseconds.
 */
const UIP_WINDOW = 2;
/** The first update comes half a second after the divider was let go. */
const AFTER_DIVIDER_RESET = 500;

const TIME_BYTES: readonly (readonly [number, keyof Calendar])[] = [
  [CMOS.SECONDS, 'second'],
  [CMOS.MINUTES, 'minute'],
  [CMOS.HOURS, 'hour'],
  [CMOS.WEEKDAY, 'weekday'],
  [CMOS.DAY, 'day'],
  [CMOS.MONTH, 'month'],
  [CMOS.YEAR, 'year'],
  [CMOS.CENTURY, 'century'],
];
const isTime = (index: number): boolean => TIME_BYTES.some(([at]) => at === index);

const stateSchema = struct({
  /** Ports 0x70 (with the NMI mask) and 0x72 as written. */
  index: u8,
  upperIndex: range(0, BANK - 1),
  /** First bank; the time bytes are only valid while the clock is stopped. */
  memory: bytes(BANK),
  upperMemory: bytes(BANK),
  registerA: range(0, 0x7f),
  registerB: u8,
  /** PF, AF and UF of register C. */
  flags: u8,
  /** Milliseconds the clock is ahead of the host's wall clock. */
  offset: int,
  /** Days the day of the week is ahead of the date's. */
  weekdayShift: range(0, 6),
  /** The last second that was updated, since 1970. */
  updated: int,
  /** Period of 32,768 Hz up to which the periodic interrupt has been seen. */
  periodicSeen: int,
  /** When the next second is looked at; null while the clock is stopped. */
  updateAt: nullable(int),
});
type State = Infer<typeof stateSchema>;

export class Rtc implements Snapshotable<State> {
  readonly id = 'rtc';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;

  private state: Omit<State, 'updateAt'>;
  private readonly oscillator: Oscillator;
  private readonly updateTimer: Timer;
  private readonly periodicTimer: Timer;

  /** Four ports at 0x70. */
  readonly ports: IoHandler;

  /** `irq` is ISA interrupt 8. `alarm` is called when an enabled alarm comes, as a wake event for power management. */
  constructor(
    private readonly irq: IrqLine,
    private readonly clock: Clock,
    private readonly alarm: () => void = () => {},
  ) {
    this.oscillator = new Oscillator(clock, RTC_HZ);
    this.state = {
      index: 0,
      upperIndex: 0,
      memory: new Uint8Array(BANK),
      upperMemory: new Uint8Array(BANK),
      registerA: A.RESET_VALUE,
      registerB: B.RESET_VALUE,
      flags: 0,
      offset: 0,
      weekdayShift: 0,
      updated: Math.floor(clock.wallClock() / MS_PER_SECOND),
      periodicSeen: this.oscillator.now(),
    };
    this.updateTimer = clock.createTimer(() => this.follow());
    this.periodicTimer = clock.createTimer(() => this.follow());
    this.ports = {
      widest: 1,
      read: (offset) => this.read(offset),
      write: (offset, _size, value) => this.write(offset, value),
      peek: (offset) => this.peek(offset),
    };
    this.schedule();
  }

  /** Bit 7 of port 0x70: non-maskable interrupts are held back. */
  get nmiMasked(): boolean {
    return (this.state.index & NMI_MASK) !== 0;
  }

  /** Sets a byte of CMOS memory, 0x0e … 0xff (0x80 and up are the second bank), as firmware expects it of the board. */
  setCmos(index: number, value: number): void {
    if (index >= BANK) this.state.upperMemory[index - BANK] = value;
    else this.state.memory[index] = value;
  }

  /** The guest's time in milliseconds since 1970, in whatever zone it keeps. */
  get time(): number {
    return this.clock.wallClock() + this.state.offset;
  }

  private read(offset: number): number {
    this.follow();
    const value = this.peek(offset);
    if (offset === 1 && (this.state.index & ~NMI_MASK) === CMOS.C) {
      this.state.flags = 0;
      this.schedule();
    }
    return value;
  }

  private peek(offset: number): number {
    const s = this.state;
    switch (offset) {
      case 0:
        // Write-only, but in the alternate access mode, which the ICH9 has and we have not.
        return 0xff;
      case 1:
        return this.register(s.index & ~NMI_MASK);
      case 2:
        return s.upperIndex;
      default:
        return s.upperMemory[s.upperIndex];
    }
  }

  private register(index: number): number {
    const s = this.state;
    switch (index) {
      case CMOS.A:
        return s.registerA | (this.updateInProgress() ? A.UIP : 0);
      case CMOS.B:
        return s.registerB;
      case CMOS.C:
        return s.flags | (s.flags & s.registerB ? C.IRQF : 0);
      case CMOS.D:
        return VRT;
    }
    if (this.stopped || !isTime(index)) return s.memory[index];
    const calendar = this.calendar();
    for (const [at, field] of TIME_BYTES) if (at === index) return calendar[field];
    return 0;
  }

  private write(offset: number, value: number): void {
    const s = this.state;
    switch (offset) {
      case 0:
        s.index = value;
        break;
      case 1:
        this.follow();
        this.writeRegister(s.index & ~NMI_MASK, value);
        this.schedule();
        break;
      case 2:
        s.upperIndex = value & (BANK - 1);
        break;
      default:
        s.upperMemory[s.upperIndex] = value;
    }
  }

  private writeRegister(index: number, value: number): void {
    const s = this.state;
    switch (index) {
      case CMOS.A: {
        const before = s.registerA;
        this.changeRunning(value & 0x7f, s.registerB);
        // A new rate counts from now.
        if ((before ^ value) & A.RATE) s.periodicSeen = this.oscillator.now();
        break;
      }
      case CMOS.B:
        // SET forbids update-ended interrupts.
        this.changeRunning(s.registerA, value & B.SET ? value & ~B.UIE : value);
        break;
      case CMOS.C:
      case CMOS.D:
        break;
      default:
        if (isTime(index) && !this.stopped) {
          // Not how the datasheet wants it, but it takes effect at once.
          this.storeTime();
          s.memory[index] = value;
          this.takeTime(this.time % MS_PER_SECOND);
        } else s.memory[index] = value;
    }
  }

  /** Neither SET nor a divider held in reset. */
  private get stopped(): boolean {
    return this.isStopped(this.state.registerA, this.state.registerB);
  }

  private isStopped(a: number, b: number): boolean {
    return (b & B.SET) !== 0 || (a & A.DIVIDER_RESET) === A.DIVIDER_RESET;
  }

  /** Writes registers A and B; the clock stops or starts by them. */
  private changeRunning(a: number, b: number): void {
    const s = this.state;
    const before = this.stopped;
    const after = this.isStopped(a, b);
    if (!before && after) this.storeTime();
    const divider = (s.registerA & A.DIVIDER_RESET) === A.DIVIDER_RESET;
    s.registerA = a;
    s.registerB = b;
    // While SET stops the clock, the divider runs on, and keeps the fraction of the second.
    if (before && !after) this.takeTime(divider ? AFTER_DIVIDER_RESET : this.time % MS_PER_SECOND);
  }

  private calendar(): Calendar {
    return encodeCalendar(this.time, this.state.registerB, this.state.weekdayShift);
  }

  /** Puts the time into the time bytes. */
  private storeTime(): void {
    const calendar = this.calendar();
    for (const [at, field] of TIME_BYTES) this.state.memory[at] = calendar[field];
  }

  /** Sets the clock by the time bytes, `fraction` milliseconds into their second. */
  private takeTime(fraction: number): void {
    const s = this.state;
    const [second, minute, hour, weekday, day, month, year, century] = TIME_BYTES.map(([at]) => s.memory[at]);
    const { time, shift } = decodeCalendar({ second, minute, hour, weekday, day, month, year, century }, s.registerB);
    s.offset = time + fraction - this.clock.wallClock();
    s.weekdayShift = shift;
    s.updated = Math.floor(time / MS_PER_SECOND);
  }

  private updateInProgress(): boolean {
    return !this.stopped && this.time % MS_PER_SECOND >= MS_PER_SECOND - UIP_WINDOW;
  }

  /** Catches up with the time: sets the flags of what has happened since the last look. */
  private follow(): void {
    const s = this.state;
    if (!this.stopped) {
      const second = Math.floor(this.time / MS_PER_SECOND);
      if (second > s.updated) {
        s.flags |= C.UF;
        const first = Math.max(s.updated + 1, second - SECONDS_PER_DAY + 1);
        for (let at = first; at <= second && !(s.flags & C.AF); at++) if (this.alarmAt(at)) this.raiseAlarm();
      }
      // When the host's clock was set back, we wait for the next second like everybody.
      s.updated = second;
    }
    const period = this.period;
    if (period !== 0) {
      const now = this.oscillator.now();
      if (Math.floor(now / period) > Math.floor(s.periodicSeen / period)) s.flags |= C.PF;
      s.periodicSeen = now;
    }
    this.schedule();
  }

  private alarmAt(second: number): boolean {
    const { memory, registerB } = this.state;
    const calendar = encodeCalendar(second * MS_PER_SECOND, registerB, 0);
    const matches = (alarm: number, value: number): boolean => alarm >= DONT_CARE || alarm === value;
    return (
      matches(memory[CMOS.SECONDS_ALARM], calendar.second) &&
      matches(memory[CMOS.MINUTES_ALARM], calendar.minute) &&
      matches(memory[CMOS.HOURS_ALARM], calendar.hour)
    );
  }

  private raiseAlarm(): void {
    this.state.flags |= C.AF;
    if (this.state.registerB & B.AIE) this.alarm();
  }

  /** Of the periodic interrupt in cycles of 32,768 Hz; 0 is none. */
  private get period(): number {
    const rate = this.state.registerA & A.RATE;
    if (rate === 0 || (this.state.registerA & A.DIVIDER_RESET) === A.DIVIDER_RESET) return 0;
    return rate <= 2 ? 64 << rate : 1 << (rate - 1);
  }

  /**
   * Drives the interrupt and arms the timers. Periodic deadlines are multiples of the period, so nothing drifts; when
   * the host was late, the flag is set once, as for a guest that was late to read register C.
   */
  private schedule(): void {
    const s = this.state;
    this.irq.set((s.flags & s.registerB) !== 0);
    const now = this.clock.now();
    if (this.stopped) this.updateTimer.cancel();
    else if (Math.floor(this.time / MS_PER_SECOND) > s.updated) this.updateTimer.arm(now);
    else {
      const fraction = ((this.time % MS_PER_SECOND) + MS_PER_SECOND) % MS_PER_SECOND;
      this.updateTimer.arm(nanoseconds(now + (MS_PER_SECOND - fraction) * 1e6));
    }
    const period = this.period;
    // A flag that is set already interrupts no more until it is read.
    if (period === 0 || !(s.registerB & B.PIE) || s.flags & C.PF) this.periodicTimer.cancel();
    else this.periodicTimer.arm(this.oscillator.time((Math.floor(s.periodicSeen / period) + 1) * period));
  }

  save(): State {
    const { memory, upperMemory } = this.state;
    const updateAt = this.updateTimer.deadline ?? null;
    return { ...this.state, memory: memory.slice(), upperMemory: upperMemory.slice(), updateAt };
  }

  /** Time and memory outlive a reset of the machine; interrupts are switched off (MC146818A, "RESET"). */
  restoreAfterReset(state: State): void {
    this.restore({
      ...state,
      index: 0,
      upperIndex: 0,
      flags: 0,
      registerB: state.registerB & ~(B.PIE | B.AIE | B.UIE),
    });
  }

  restore({ updateAt, ...state }: State): void {
    this.state = { ...state, memory: state.memory.slice(), upperMemory: state.upperMemory.slice() };
    this.schedule();
    // The wall clock counts whole milliseconds; unless it has jumped, the moment is the one there was.
    const { deadline } = this.updateTimer;
    if (deadline !== undefined && updateAt !== null && Math.abs(deadline - updateAt) <= NS_PER_MS)
      this.updateTimer.arm(nanoseconds(updateAt));
  }
}
