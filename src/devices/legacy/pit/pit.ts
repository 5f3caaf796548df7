/**
 * The 8254 of a PC with what surrounds it: ports 0x40 … 0x43, and port 0x61 ("NMI Status and Control" of the ICH9,
 * 316972), which gates counter 2 and shows its output.
 */
import { nanoseconds } from '../../../base/units.js';
import type { Clock, Timer } from '../../../iface/clock.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { IrqLine } from '../../../iface/lines.js';
import type { Plain } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { Oscillator } from '../oscillator.js';
import { TickCatchUp } from '../tick-catch-up.js';
import { ACCESS, PitCounter } from './pit-counter.js';
import { PIT_HZ, PIT_STATE_VERSION, pitStateSchema, PORT_61, upgradePit, type PitState } from './pit-state.js';

/** The port of the control word; the ones before it are the counters. */
const CONTROL = 3;
/** Read-back command: counter select 11; the latches are active low. */
const READ_BACK = { SELECT: 3, NO_STATUS: 1 << 4, NO_COUNT: 1 << 5 } as const;

/** CLK periods between changes of the refresh bit: counter 1 counts 18 in a PC, about 15 µs. */
const REFRESH_PERIODS = 18;

/**
 * Interrupt 0 follows OUT of counter 0, with two liberties: OUT's falling edge in the periodic modes is shown together
 * with the rising edge that ends the same period (only the rising one interrupts), and when the host was late by several
 * periods, their interrupts are made up for (`TickCatchUp`). Deadlines come from the period in which the count was loaded,
 * so nothing drifts.
 */
export class Pit implements Snapshotable<PitState> {
  readonly id = 'pit';
  readonly stateVersion = PIT_STATE_VERSION;
  readonly stateSchema = pitStateSchema;

  private readonly oscillator: Oscillator;
  private readonly counters: readonly PitCounter[];
  private readonly timer: Timer;
  private readonly catchUp: TickCatchUp;
  private control = 0;
  private line = false;
  /** The CLK period of the edge that the timer waits for. */
  private due = 0;

  /** Four ports at 0x40. */
  readonly ports: IoHandler;
  /** One port at 0x61. */
  readonly systemControl: IoHandler;

  /** `irq` is interrupt 0. */
  constructor(
    private readonly irq: IrqLine,
    clock: Clock,
  ) {
    this.oscillator = new Oscillator(clock, PIT_HZ);
    const now = (): number => this.oscillator.now();
    this.counters = [new PitCounter(now, true), new PitCounter(now, true), new PitCounter(now, false)];
    this.timer = clock.createTimer(() => this.tick());
    this.catchUp = new TickCatchUp(clock, () => this.pulse());
    this.ports = {
      widest: 1,
      // The control word cannot be read.
      read: (offset) => (offset === CONTROL ? 0 : this.counters[offset].read()),
      write: (offset, _size, value) => this.write(offset, value),
      peek: (offset) => (offset === CONTROL ? 0 : this.counters[offset].peek()),
    };
    this.systemControl = {
      widest: 1,
      read: () => this.readControl(),
      write: (_offset, _size, value) => this.writeControl(value),
      peek: () => this.readControl(),
    };
  }

  /** Whether the speaker gets a tone, and its frequency in Hz, for who wants to play it. */
  get speaker(): boolean {
    return (this.control & PORT_61.SPEAKER) !== 0 && this.counters[2].out;
  }

  private write(offset: number, value: number): void {
    if (offset !== CONTROL) {
      this.counters[offset].write(value);
      if (offset === 0) this.follow();
      return;
    }
    const select = value >> 6;
    if (select === READ_BACK.SELECT) {
      for (const [i, counter] of this.counters.entries()) {
        if (!(value & (2 << i))) continue;
        if (!(value & READ_BACK.NO_COUNT)) counter.latchCount();
        if (!(value & READ_BACK.NO_STATUS)) counter.latchStatus();
      }
    } else if (((value >> 4) & 3) === ACCESS.LATCH) this.counters[select].latchCount();
    else {
      this.counters[select].control(value);
      if (select === 0) this.follow();
    }
  }

  private readControl(): number {
    const refresh = Math.floor(this.oscillator.now() / REFRESH_PERIODS) & 1;
    return this.control | (refresh ? PORT_61.REFRESH : 0) | (this.counters[2].out ? PORT_61.OUT_2 : 0);
  }

  private writeControl(value: number): void {
    this.control = value & PORT_61.WRITABLE;
    this.counters[2].gate = (value & PORT_61.GATE_2) !== 0;
  }

  /** The guest has done with interrupt 0. */
  acknowledged(): void {
    this.catchUp.acknowledged();
  }

  /** Counter 0 was written: OUT may have changed, and so may its next edge. */
  private follow(): void {
    this.catchUp.forget();
    this.drive(this.counters[0].out);
    this.schedule();
  }

  /** A rising edge of counter 0's OUT is due. */
  private tick(): void {
    this.pulse();
    const { period } = this.counters[0];
    const late = this.oscillator.now() - this.due;
    this.schedule();
    if (period !== undefined) this.catchUp.missed(Math.floor(late / period), (period / PIT_HZ) * 1e9);
  }

  private pulse(): void {
    this.drive(false);
    this.drive(true);
  }

  private drive(level: boolean): void {
    this.line = level;
    this.irq.set(level);
  }

  private schedule(): void {
    const edge = this.counters[0].nextRise(this.oscillator.now());
    this.due = edge ?? 0;
    if (edge === undefined) this.timer.cancel();
    else this.timer.arm(this.oscillator.time(edge));
  }

  save(): PitState {
    return {
      counters: this.counters.map((counter) => counter.save()),
      control: this.control,
      line: this.line,
      deadline: this.timer.deadline ?? null,
      catchUp: this.catchUp.save(),
    };
  }

  upgrade(state: Plain): Plain {
    return upgradePit(state);
  }

  restore(state: PitState): void {
    for (const [i, counter] of this.counters.entries()) counter.restore(state.counters[i]);
    this.control = state.control;
    this.drive(state.line);
    if (state.deadline === null) this.timer.cancel();
    else {
      this.timer.arm(nanoseconds(state.deadline));
      this.due = this.oscillator.ticks(nanoseconds(state.deadline));
    }
    this.catchUp.restore(state.catchUp);
  }
}
