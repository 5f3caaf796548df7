/** An 8254 that the accelerator has, with what port 61h shows of it, as the board sees it. */
import { nanoseconds } from '../../../base/units.js';
import type { OutsideControllers, PitRegisters } from '../../../iface/chips.js';
import type { Clock } from '../../../iface/clock.js';
import type { Plain } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { Oscillator } from '../oscillator.js';
import { NOTHING_OWED } from '../tick-catch-up.js';
import { ACCESS, PitCounter } from './pit-counter.js';
import { PIT_HZ, PIT_STATE_VERSION, pitStateSchema, PORT_61, upgradePit, type PitState } from './pit-state.js';

type Counter = PitState['counters'][number];

const POWER_ON: Omit<PitRegisters, 'gate'> = {
  mode: undefined,
  access: ACCESS.BOTH,
  count: 0x1_0000,
  age: 0,
  partial: null,
  readHigh: false,
  latchedCount: null,
  latchedStatus: null,
};

/** GATE stops the counting, which begins anew when it rises. */
const stopsAtGate = (mode: number): boolean => mode === 2 || mode === 3;

export class OutsidePit implements Snapshotable<PitState> {
  readonly id = 'pit';
  readonly stateVersion = PIT_STATE_VERSION;
  readonly stateSchema = pitStateSchema;
  private readonly oscillator: Oscillator;

  constructor(
    private readonly registers: OutsideControllers,
    private readonly clock: Clock,
  ) {
    this.oscillator = new Oscillator(clock, PIT_HZ);
    const gates = [true, true, false];
    registers.storePit(
      gates.map((gate) => ({ ...POWER_ON, gate })),
      false,
    );
  }

  upgrade(state: Plain): Plain {
    return upgradePit(state);
  }

  save(): PitState {
    const { counters: all, speaker } = this.registers.loadPit();
    const counters = all.map((counter) => this.stateOf(counter));
    const now = this.oscillator.now();
    // What ours would do next.
    const first = new PitCounter(() => now, true);
    first.restore(counters[0]);
    const edge = first.nextRise(now);
    return {
      counters,
      control: (all[2].gate ? PORT_61.GATE_2 : 0) | (speaker ? PORT_61.SPEAKER : 0),
      line: first.out,
      deadline: edge === undefined ? null : this.oscillator.time(edge),
      catchUp: { ...NOTHING_OWED },
    };
  }

  private stateOf({ mode, count, age, gate, ...rest }: PitRegisters): Counter {
    const counts = mode !== undefined && (gate || !stopsAtGate(mode));
    return {
      ...rest,
      mode: mode ?? 0,
      bcd: false,
      count: count & 0xffff,
      periods: count,
      start: counts ? this.oscillator.ticks(nanoseconds(Math.max(0, Math.floor(this.clock.now() - age)))) : null,
      held: null,
      reload: false,
      armed: mode !== undefined,
      gate,
    };
  }

  restore({ counters, control }: PitState): void {
    this.registers.storePit(
      counters.map((counter) => this.registersOf(counter)),
      (control & PORT_61.SPEAKER) !== 0,
    );
  }

  /** DEVIATION: a counter in mode 0 whose count is still to be written is taken for one that was never programmed. */
  private registersOf({ mode, armed, start, held, reload, count, periods, ...rest }: Counter): PitRegisters {
    const { access, gate, partial, readHigh, latchedCount, latchedStatus } = rest;
    const now = this.clock.now();
    const since = start === null ? now : this.oscillator.time(held === null ? start : this.oscillator.now() - held);
    return {
      mode: armed || mode !== 0 ? mode : undefined,
      access,
      count: start === null || reload ? count || 0x1_0000 : periods,
      age: Math.max(0, now - since),
      gate,
      partial,
      readHigh,
      latchedCount,
      latchedStatus,
    };
  }
}
