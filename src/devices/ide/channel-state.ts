/** What is saved of an IDE channel. */
import { array, bool, bytes, int, nullable, oneOf, range, struct, u8, type Infer } from '../../snapshot/schema.js';
import { operationSchema } from '../ata/drive.js';
import { busMasterSchema } from './bus-master.js';
import { driveRegisters, newRegisters } from './task-file.js';

/** More than any block of programmed I/O: the byte count of a packet command. */
export const MAX_BLOCK = 0x1_0000;

export const channelSchema = struct({
  drives: array(driveRegisters, { length: 2 }),
  device: u8,
  control: u8,
  interrupt: bool,
  /**
   * What happens. The host's turn: `packet`, `in`, `out` (programmed I/O), `dma` (the bus master is to be started). The
   * back end's: `fetch`, `store`, `moving`, `finish`; begun anew after a restore.
   */
  phase: oneOf('idle', 'packet', 'in', 'out', 'dma', 'fetch', 'store', 'moving', 'finish'),
  owner: range(0, 1),
  operation: nullable(operationSchema),
  /** Bytes of the operation that have moved. */
  moved: int,
  /** The block that moves by programmed I/O, and how far it has. */
  block: bytes(),
  position: range(0, MAX_BLOCK),
  busMaster: busMasterSchema,
});
export type ChannelState = Infer<typeof channelSchema>;

/** After power-on. */
export const initialState = (): Omit<ChannelState, 'busMaster'> => ({
  drives: [newRegisters(), newRegisters()],
  device: 0,
  control: 0,
  interrupt: false,
  phase: 'idle',
  owner: 0,
  operation: null,
  moved: 0,
  block: new Uint8Array(0),
  position: 0,
});
