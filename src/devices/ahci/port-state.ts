/** What is saved of a port of an AHCI HBA. */
import { bool, int, range, struct, u32, u8, type Infer } from '../../snapshot/schema.js';
import { CMD } from './registers.js';

export const portSchema = struct({
  commandList: int,
  received: int,
  interrupts: u32,
  enables: u32,
  command: u32,
  status: u8,
  error: u8,
  signature: u32,
  link: range(0, 0xfff),
  control: u32,
  linkErrors: u32,
  active: u32,
  issued: u32,
  /** The first frame after a reset waits until frames can be received. */
  signaturePending: bool,
  /** After an error no command is taken until the port is started anew. */
  halted: bool,
  /** A software reset that was begun by a frame. */
  softReset: bool,
  /** Slots of queued commands under way: done again after a restore. */
  queued: u32,
});
export type PortState = Infer<typeof portSchema>;

/** After power-on. */
export function initialState(): PortState {
  return {
    commandList: 0,
    received: 0,
    interrupts: 0,
    enables: 0,
    command: CMD.SUD | CMD.POD,
    status: 0x7f,
    error: 0,
    signature: 0xffff_ffff,
    link: 0,
    control: 0,
    linkErrors: 0,
    active: 0,
    issued: 0,
    signaturePending: false,
    halted: false,
    softReset: false,
    queued: 0,
  };
}
