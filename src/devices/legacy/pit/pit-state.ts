/** What is saved of an 8254 and of port 61h, whoever has them. */
import { array, bool, int, nullable, range, struct, type Infer, type Plain } from '../../../snapshot/schema.js';
import { catchUpState, NOTHING_OWED } from '../tick-catch-up.js';
import { counterState } from './pit-counter.js';

/** CLK of all counters in Hz: a twelfth of 14.31818 MHz, rounded as every driver does. */
export const PIT_HZ = 1_193_182;

/** Port 0x61. Bits 3:0 can be written; SERR# and IOCHK# never occur here. */
export const PORT_61 = { GATE_2: 1 << 0, SPEAKER: 1 << 1, REFRESH: 1 << 4, OUT_2: 1 << 5, WRITABLE: 0x0f } as const;

export const PIT_STATE_VERSION = 2;

export const pitStateSchema = struct({
  counters: array(counterState, { length: 3 }),
  /** Bits 3:0 of port 0x61 as written. */
  control: range(0, 15),
  /** The level of interrupt 0. */
  line: bool,
  /** When the next rising edge of interrupt 0 is due, ns; kept, because it may be due already. */
  deadline: nullable(int),
  /** Of counter 0. */
  catchUp: catchUpState,
});
export type PitState = Infer<typeof pitStateSchema>;

/** Version 1 made up for nothing. */
export const upgradePit = (state: Plain): Plain =>
  typeof state === 'object' && state !== null
    ? { ...(state as { [key: string]: Plain }), catchUp: { ...NOTHING_OWED } }
    : state;
