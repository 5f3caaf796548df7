/**
 * What a disk or CD-ROM drive does with commands, apart from how they reach it (IDE registers or SATA frames) and from how
 * data move (programmed I/O, bus master DMA, an AHCI's lists).
 *
 * A command becomes an `Operation`, which is plain data: a controller saves it with its own state and goes on after a
 * restore. The controller asks for data, or brings it, in pieces, in order, then lets the drive finish.
 */
import type { BlockBackend } from '../../iface/block.js';
import { bytes, int, nullable, oneOf, range, struct, u16, u8, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

export const taskfileSchema = struct({
  command: u8,
  feature: u16,
  count: u16,
  /** 48 bits. */
  lba: range(0, 2 ** 48 - 1),
  device: u8,
});
/** A command as its registers hold it; of fields that have one half only in 28-bit commands, the drive looks at that half. */
export type Taskfile = Infer<typeof taskfileSchema>;

export const operationSchema = struct({
  /**
   * What moves or happens. `reply`: `data` go to the host. `read`, `write`: the medium's bytes from `start` on. `take`: what
   * the host sends is collected in `data`. `packet`: a command packet must come first. `fail`: it has failed already.
   */
  action: oneOf('none', 'reply', 'read', 'write', 'take', 'flush', 'verify', 'packet', 'fail'),
  protocol: oneOf('none', 'pio', 'dma', 'queued'),
  direction: oneOf('none', 'in', 'out'),
  /** Bytes of data that move. */
  length: range(0, 2 ** 32),
  /** Bytes that move for each time that programmed I/O asks for data. */
  block: range(0, 2 ** 20),
  /** First byte of the medium. */
  start: range(0, Number.MAX_SAFE_INTEGER),
  data: nullable(bytes()),
  /** Error field, when it fails. */
  error: u8,
  /** The command that it came from. */
  taskfile: taskfileSchema,
  /** The command packet, of a packet device. */
  packet: nullable(bytes()),
  /** Written data must be durable before the end is reported. */
  durable: int,
});
export type Operation = Infer<typeof operationSchema>;

/** How a command ended; fields of the registers that do not change are left out. */
export interface Outcome {
  readonly status: number;
  readonly error: number;
  readonly lba?: number;
  readonly count?: number;
}

export interface AtaDrive extends Snapshotable {
  /** Takes command packets, as CD-ROM drives do. */
  readonly packets: boolean;
  /** What the registers show after a reset: LBA low, mid, high. */
  readonly signature: number;
  /** As the medium's back end says. */
  readonly buffers?: BlockBackend['buffers'];
  /** COMRESET, power-on, or a software reset (`soft`), which changes less. */
  reset(soft: boolean): void;
  /** Looks at a command. Nothing has happened to the medium yet. */
  begin(taskfile: Taskfile): Operation;
  /** The packet for an operation of the kind `packet`. `limit`: bytes per block of programmed I/O. */
  beginPacket(waiting: Operation, packet: Uint8Array, limit: number): Operation;
  /** Fills in the data of an operation from byte `at`. `done(false)`: the medium failed. May be called before it returns. */
  send(operation: Operation, at: number, into: Uint8Array, done: (ok: boolean) => void): void;
  /** Takes the data of an operation from byte `at`. */
  receive(operation: Operation, at: number, from: Uint8Array, done: (ok: boolean) => void): void;
  /** The data have moved; does what is left to do. */
  finish(operation: Operation, done: (outcome: Outcome) => void): void;
  /** Data could not be moved at byte `at`: by the medium's fault, or by the host's (`host`). */
  failed(operation: Operation, at: number, host: boolean): Outcome;
}
