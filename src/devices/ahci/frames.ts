/** Frames between host and drive: Serial ATA revision 3.0 §10.3. */
import type { Operation, Outcome, Taskfile } from '../ata/drive.js';
import { FIS } from './registers.js';

/** The registers in a host to device frame. */
export function taskfileOf(frame: Uint8Array): Taskfile {
  const lba =
    frame[4] + frame[5] * 2 ** 8 + frame[6] * 2 ** 16 + frame[8] * 2 ** 24 + frame[9] * 2 ** 32 + frame[10] * 2 ** 40;
  return {
    command: frame[2],
    feature: frame[3] | (frame[11] << 8),
    count: frame[12] | (frame[13] << 8),
    lba,
    device: frame[7],
  };
}

const INTERRUPT = 0x40;

function registers(frame: Uint8Array, outcome: Outcome, taskfile: Taskfile | undefined): void {
  const lba = outcome.lba ?? taskfile?.lba ?? 0;
  const count = outcome.count ?? taskfile?.count ?? 0;
  frame[2] = outcome.status;
  frame[3] = outcome.error;
  for (let i = 0; i < 3; i++) {
    frame[4 + i] = Math.floor(lba / 2 ** (8 * i)) & 0xff;
    frame[8 + i] = Math.floor(lba / 2 ** (24 + 8 * i)) & 0xff;
  }
  frame[7] = taskfile?.device ?? 0;
  frame[12] = count & 0xff;
  frame[13] = count >> 8;
}

/** Register, device to host. */
export function d2hFrame(outcome: Outcome, taskfile: Taskfile | undefined, interrupt: boolean): Uint8Array {
  const frame = new Uint8Array(20);
  frame[0] = FIS.D2H;
  frame[1] = interrupt ? INTERRUPT : 0;
  registers(frame, outcome, taskfile);
  return frame;
}

/** PIO setup for the last block of a command, with the status behind it. */
export function pioSetupFrame(outcome: Outcome, { taskfile, direction, length, block }: Operation): Uint8Array {
  const frame = new Uint8Array(20);
  const toHost = direction === 'in';
  frame[0] = FIS.PIO_SETUP;
  frame[1] = (toHost ? 0x20 : 0) | INTERRUPT;
  registers(frame, outcome, taskfile);
  // Status at the beginning of the block: ready, with data.
  frame[2] = 0x58;
  frame[15] = outcome.status;
  const last = length % Math.max(1, block) || Math.min(length, block);
  frame[16] = last & 0xff;
  frame[17] = (last >> 8) & 0xff;
  return frame;
}

/** DMA setup: a queued command's data are about to move. */
export function dmaSetupFrame(tag: number, toHost: boolean, length: number): Uint8Array {
  const frame = new Uint8Array(28);
  frame[0] = FIS.DMA_SETUP;
  frame[1] = toHost ? 0x20 : 0;
  frame[4] = tag;
  new DataView(frame.buffer).setUint32(20, length, true);
  return frame;
}

/** Set device bits. `finished`: the tags of queued commands that are done. */
export function setBitsFrame(outcome: Outcome, finished: number): Uint8Array {
  const frame = new Uint8Array(8);
  frame[0] = FIS.SET_BITS;
  frame[1] = INTERRUPT;
  frame[2] = outcome.status & 0x77;
  frame[3] = outcome.error;
  new DataView(frame.buffer).setUint32(4, finished, true);
  return frame;
}
