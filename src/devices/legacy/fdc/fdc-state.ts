/** What is saved of a floppy controller. */
import { array, bool, bytes, oneOf, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import { transferSchema } from './sector-transfer.js';

export const DRIVES = 4;

export const fdcSchema = struct({
  dor: u8,
  tdr: u8,
  rate: range(0, 3),
  phase: oneOf('command', 'execution', 'result'),
  /** Bytes of the command so far. */
  command: array(u8, { max: 9 }),
  /** Bytes of the result that are left. */
  result: array(u8, { max: 10 }),
  interrupt: bool,
  /** Drives whose SENSE INTERRUPT answer waits, and what it is. */
  waiting: range(0, 15),
  sense: array(u8, { length: DRIVES }),
  cylinders: array(u8, { length: DRIVES }),
  /** The disk was changed, and heads have not moved since. */
  changed: range(0, 15),
  specify: array(u8, { length: 2 }),
  configure: array(u8, { length: 2 }),
  lastSector: u8,
  perpendicular: u8,
  locked: bool,
  transfer: transferSchema,
  buffer: bytes(),
});
export type FdcState = Infer<typeof fdcSchema>;

/** After power-on. */
export const initialState = (): Omit<FdcState, 'transfer' | 'buffer'> => ({
  dor: 0,
  tdr: 0,
  rate: 2,
  phase: 'command',
  command: [],
  result: [],
  interrupt: false,
  waiting: 0,
  sense: [0, 0, 0, 0],
  cylinders: [0, 0, 0, 0],
  changed: 0xf,
  specify: [0, 0],
  configure: [0, 0],
  lastSector: 0,
  perpendicular: 0,
  locked: false,
});
