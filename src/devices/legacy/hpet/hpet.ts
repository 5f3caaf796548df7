/**
 * High precision event timers. After "IA-PC HPET (High Precision Event Timers) Specification", revision 1.0a, with the
 * interrupt routes of the ICH9 (316972). 64-bit counter of 100 MHz, four comparators, all of them 64 bits wide and
 * periodic if wanted; no FSB (MSI) delivery.
 */
import { nanoseconds, type Nanoseconds } from '../../../base/units.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Clock } from '../../../iface/clock.js';
import type { IrqLine } from '../../../iface/lines.js';
import { array, bool, int, nullable, range, struct, u64, type Infer, type Plain } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { catchUpState, NOTHING_OWED, TickCatchUp } from '../tick-catch-up.js';
import { HpetTimer, hpetTimerState } from './hpet-timer.js';

/** Usual address of the block, and its size in bytes. */
export const HPET_BASE = 0xfed0_0000;
export const HPET_SIZE = 0x400;
/** COUNTER_CLK_PERIOD in femtoseconds: 10 ns. */
export const HPET_PERIOD_FS = 10_000_000;
export const HPET_COMPARATORS = 4;
const NS_PER_TICK = 10n;

/** Register offsets, §2.3.3; all are 64 bits wide. Comparator n has 0x20 bytes at 0x100 + 0x20 n. */
const REG = { GCAP_ID: 0x000, GEN_CONF: 0x010, GINTR_STA: 0x020, MAIN_CNT: 0x0f0, TIMERS: 0x100 } as const;
/** General Configuration Register, §2.3.5 */
const GEN_CONF = { ENABLE: 1 << 0, LEG_RT: 1 << 1 } as const;
/** General Capabilities and ID, low half, §2.3.4: vendor 8086h, legacy route, 64 bits, revision 1. */
export const HPET_ID = 0x8086_0000 + (1 << 15) + (1 << 13) + ((HPET_COMPARATORS - 1) << 8) + 1;

/** I/O APIC pins 20 … 23 for all comparators, besides 11 for the third and 12 for the fourth, as in the ICH9. */
const ROUTES = [0x00f0_0000, 0x00f0_0000, 0x00f0_0800, 0x00f0_1000] as const;
const IO_APIC_PINS = 24;
/** Periodic events are at least this far apart in ns: a guest that asks for 10 ns must not starve the host. */
const LEAST_INTERVAL = 1000;

const stateSchema = struct({
  config: range(0, 3),
  /** GINTR_STA: level-triggered events that stand. */
  status: range(0, (1 << HPET_COMPARATORS) - 1),
  /** The counter while it is halted; else what it counts from the clock's 0. */
  base: u64,
  /** The high half as it was when the low half was read last, for the read of the high half that follows. */
  latched: nullable(range(0, 0xffff_ffff)),
  timers: array(hpetTimerState, { length: HPET_COMPARATORS }),
  deadlines: array(nullable(int), { length: HPET_COMPARATORS }),
  /** Whether each comparator asserts its interrupt; an edge stays until the next one. */
  asserted: array(bool, { length: HPET_COMPARATORS }),
  /** The 8254's and the RTC's interrupts as they come in. */
  inputs: array(bool, { length: 2 }),
  /** Of comparator 0 in the 8254's place. */
  catchUp: catchUpState,
});
type State = Infer<typeof stateSchema>;

/** Where the HPET's interrupts go. */
export interface HpetLines {
  /** ISA interrupts 0 and 8: the 8254's and the RTC's, or in legacy replacement mode comparator 0's and 1's. */
  readonly isa0: IrqLine;
  readonly isa8: IrqLine;
  /** A pin of the I/O APIC. Asked for once for every pin that a comparator can use. */
  ioApic(pin: number): IrqLine;
  /** The 8254 has interrupt 0 by itself, not by `Hpet.pit`: this makes it give it up, or take it back. */
  readonly replacePit?: ((replaced: boolean) => void) | undefined;
}

/**
 * Accesses are 32 bits wide (the bus splits others; what is narrower reads its part, and is ignored when written). A
 * 64-bit read of the counter arrives as two halves, low one first: the low one latches the high one.
 */
export class Hpet implements IoHandler, Snapshotable<State> {
  readonly id = 'hpet';
  readonly stateVersion = 2;
  readonly stateSchema = stateSchema;

  private config = 0;
  private status = 0;
  private base = 0n;
  private latched: number | null = null;
  /** The time of what goes on now, read once: an event must not come due between a look and the next. */
  private time: Nanoseconds;
  private readonly timers: readonly HpetTimer[];
  private readonly asserted: boolean[] = Array.from({ length: HPET_COMPARATORS }, () => false);
  private readonly inputs = [false, false];
  private readonly legacyLines: readonly IrqLine[];
  /** By I/O APIC pin; which comparators assert it is counted by the router, so each has drivers of its own. */
  private readonly lines: readonly ReadonlyMap<number, IrqLine>[];
  /** The line that each comparator asserts. */
  private readonly driven: (IrqLine | undefined)[] = [];

  private readonly catchUp: TickCatchUp;

  /** Inputs for the 8254's OUT and the RTC's interrupt, which legacy replacement disconnects. */
  readonly pit: IrqLine;
  readonly rtc: IrqLine;

  constructor(
    private readonly outputs: HpetLines,
    private readonly clock: Clock,
  ) {
    this.time = clock.now();
    this.legacyLines = [outputs.isa0, outputs.isa8];
    this.timers = ROUTES.map(
      (routes, n) =>
        new HpetTimer(
          this.clock.createTimer(() => this.expired(n)),
          routes,
        ),
    );
    this.lines = ROUTES.map((routes) => {
      const pins = new Map<number, IrqLine>();
      for (let pin = 0; pin < IO_APIC_PINS; pin++) if (routes & (1 << pin)) pins.set(pin, outputs.ioApic(pin));
      return pins;
    });
    this.catchUp = new TickCatchUp(clock, () => {
      this.release(0);
      this.assert(0);
    });
    const input = (n: number): IrqLine => ({
      set: (asserted) => {
        this.inputs[n] = asserted;
        if (!this.legacy) this.legacyLines[n].set(asserted);
      },
    });
    this.pit = input(0);
    this.rtc = input(1);
  }

  /** The guest has done with ISA interrupt 0, which is comparator 0's in legacy replacement mode. */
  acknowledged(): void {
    if (this.isTick) this.catchUp.acknowledged();
  }

  /** Comparator 0 ticks in the 8254's place. */
  private get isTick(): boolean {
    const [first] = this.timers;
    return this.legacy && first.enabled && first.periodic && !first.level;
  }

  private get enabled(): boolean {
    return (this.config & GEN_CONF.ENABLE) !== 0;
  }

  private get legacy(): boolean {
    return (this.config & GEN_CONF.LEG_RT) !== 0;
  }

  private ticks(): bigint {
    return BigInt(this.time) / NS_PER_TICK;
  }

  private get counter(): bigint {
    return this.enabled ? BigInt.asUintN(64, this.base + this.ticks()) : this.base;
  }

  read(offset: number, size: number): number {
    const aligned = offset & ~3;
    this.settle();
    let value: number;
    if (aligned === REG.MAIN_CNT + 4 && this.latched !== null) {
      value = this.latched;
      this.latched = null;
    } else {
      const counter = this.counter;
      value = this.register(aligned, counter);
      if (aligned === REG.MAIN_CNT) this.latched = Number(counter >> 32n);
    }
    return part(value, offset, size);
  }

  peek(offset: number, size: number): number {
    this.time = this.clock.now();
    return part(this.register(offset & ~3, this.counter), offset, size);
  }

  private register(offset: number, counter: bigint): number {
    switch (offset) {
      case REG.GCAP_ID:
        return HPET_ID;
      case REG.GCAP_ID + 4:
        return HPET_PERIOD_FS;
      case REG.GEN_CONF:
        return this.config;
      case REG.GINTR_STA:
        return this.status;
      case REG.MAIN_CNT:
        return Number(counter & 0xffff_ffffn);
      case REG.MAIN_CNT + 4:
        return Number(counter >> 32n);
    }
    const timer = (offset - REG.TIMERS) >> 5;
    return timer >= 0 && timer < HPET_COMPARATORS ? this.timers[timer].read(offset & 0x1f) : 0;
  }

  write(offset: number, size: number, value: number): void {
    // Narrow writes are undefined.
    if (size !== 4) return;
    this.settle();
    switch (offset) {
      case REG.GEN_CONF:
        this.configure(value & (GEN_CONF.ENABLE | GEN_CONF.LEG_RT));
        break;
      case REG.GINTR_STA:
        this.clear(value & this.status);
        break;
      case REG.MAIN_CNT:
        this.setCounter((this.counter & ~0xffff_ffffn) | BigInt(value));
        break;
      case REG.MAIN_CNT + 4:
        this.setCounter((this.counter & 0xffff_ffffn) | (BigInt(value) << 32n));
        break;
      default: {
        const n = (offset - REG.TIMERS) >> 5;
        if (n >= 0 && n < HPET_COMPARATORS) this.writeTimer(n, offset & 0x1f, value);
      }
    }
  }

  private writeTimer(n: number, offset: number, value: number): void {
    const timer = this.timers[n];
    timer.write(offset, value);
    if (n === 0) this.catchUp.forget();
    if (offset === 0) {
      // Whatever was asserted was asserted under the old configuration; a level event that stands stays.
      this.release(n);
      if (!timer.level) this.status &= ~(1 << n);
      else if (this.status & (1 << n)) this.assert(n);
    }
    this.schedule(n);
  }

  private configure(config: number): void {
    const counter = this.counter;
    const wasLegacy = this.legacy;
    this.catchUp.forget();
    for (let n = 0; n < HPET_COMPARATORS; n++) this.release(n);
    this.config = config;
    this.setCounter(counter);
    if (this.legacy !== wasLegacy) {
      this.outputs.replacePit?.(this.legacy);
      for (const [n, line] of this.legacyLines.entries()) line.set(!this.legacy && this.inputs[n]);
    }
    for (let n = 0; n < HPET_COMPARATORS; n++) if (this.status & (1 << n)) this.assert(n);
  }

  private setCounter(counter: bigint): void {
    this.base = this.enabled ? BigInt.asUintN(64, counter - this.ticks()) : counter;
    for (let n = 0; n < HPET_COMPARATORS; n++) this.schedule(n);
  }

  private clear(bits: number): void {
    this.status &= ~bits;
    for (let n = 0; n < HPET_COMPARATORS; n++) if (bits & (1 << n)) this.release(n);
  }

  /** Gives events that are due before anything else changes, however late their timers are. */
  private settle(): void {
    this.time = this.clock.now();
    for (const [n, { timer }] of this.timers.entries())
      if (timer.deadline !== undefined && timer.deadline <= this.time) this.fire(n);
  }

  private expired(n: number): void {
    this.time = this.clock.now();
    this.fire(n);
  }

  private fire(n: number): void {
    const timer = this.timers[n];
    timer.timer.cancel();
    const missed = timer.advance(this.counter);
    if (timer.enabled) {
      if (timer.level) this.status |= 1 << n;
      // An edge stays until the next one: an 8259 wants it held until it is acknowledged.
      else this.release(n);
      this.assert(n);
      if (n === 0 && missed > 0n && this.isTick)
        this.catchUp.missed(Number(missed), Number(timer.period * NS_PER_TICK));
    }
    this.schedule(n);
  }

  private assert(n: number): void {
    if (!this.enabled || !this.timers[n].enabled) return;
    const pin = this.timers[n].route;
    const line = this.legacy && n < 2 ? this.legacyLines[n] : pin === undefined ? undefined : this.lines[n].get(pin);
    this.driven[n] = line;
    this.asserted[n] = true;
    line?.set(true);
  }

  private release(n: number): void {
    this.driven[n]?.set(false);
    this.driven[n] = undefined;
    this.asserted[n] = false;
  }

  private schedule(n: number): void {
    const { timer } = this.timers[n];
    const deadline = this.deadline(n);
    if (deadline === undefined) timer.cancel();
    else timer.arm(deadline);
  }

  private deadline(n: number): Nanoseconds | undefined {
    const timer = this.timers[n];
    if (!this.enabled || !timer.enabled) return undefined;
    const ticks = this.ticks();
    const at = Number((ticks + timer.ticksUntil(BigInt.asUintN(64, this.base + ticks))) * NS_PER_TICK);
    // Beyond what the clock can count to.
    if (at > Number.MAX_SAFE_INTEGER) return undefined;
    return nanoseconds(timer.periodic ? Math.max(at, this.time + LEAST_INTERVAL) : at);
  }

  save(): State {
    return {
      config: this.config,
      status: this.status,
      base: this.base,
      latched: this.latched,
      timers: this.timers.map((timer) => timer.save()),
      deadlines: this.timers.map(({ timer }) => timer.deadline ?? null),
      asserted: [...this.asserted],
      inputs: [...this.inputs],
      catchUp: this.catchUp.save(),
    };
  }

  /** Version 1 made up for nothing. */
  upgrade(state: Plain): Plain {
    return typeof state === 'object' && state !== null
      ? { ...(state as { [key: string]: Plain }), catchUp: { ...NOTHING_OWED } }
      : state;
  }

  restore(state: State): void {
    for (let n = 0; n < HPET_COMPARATORS; n++) this.release(n);
    this.config = state.config;
    this.status = state.status;
    this.base = state.base;
    this.latched = state.latched;
    for (const [n, timer] of this.timers.entries()) {
      timer.restore(state.timers[n]);
      const deadline = state.deadlines[n];
      if (deadline === null) timer.timer.cancel();
      else timer.timer.arm(nanoseconds(deadline));
    }
    const { replacePit } = this.outputs;
    replacePit?.(this.legacy);
    for (const [n, line] of this.legacyLines.entries()) {
      // Nobody would take back what an 8254 had on the line that came in here.
      this.inputs[n] = state.inputs[n] && !(n === 0 && replacePit);
      line.set(!this.legacy && this.inputs[n]);
    }
    for (let n = 0; n < HPET_COMPARATORS; n++) if (state.asserted[n]) this.assert(n);
    this.catchUp.restore(state.catchUp);
  }
}

/** The bytes of a 32-bit register that an access of `size` at `offset` sees. */
function part(value: number, offset: number, size: number): number {
  return size === 4 ? value : (value >>> (8 * (offset & 3))) & (size === 2 ? 0xffff : 0xff);
}
