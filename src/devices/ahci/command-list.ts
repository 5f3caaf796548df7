/** Commands as a host lays them out in memory: command list, command tables, lists of pieces (AHCI 1.3.1 §4.2). */
import { gpa, type Gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import { ScatterList, type Piece } from '../ata/transfer.js';
import { FIS, HEADER, TABLE } from './registers.js';

export interface Command {
  /** Where its header stands in the list. */
  readonly header: Gpa;
  readonly table: Gpa;
  /** Entries of its list of pieces. */
  readonly entries: number;
  /** From the host to the device: registers. */
  readonly frame: Uint8Array;
}

/** The command in a slot. `unreachable`: it is not in RAM. `malformed`: no drive here understands its frame. */
export function fetchCommand(dma: Dma, list: number, slot: number): Command | 'unreachable' | 'malformed' {
  const at = gpa(list + HEADER.SIZE * slot);
  const header = new DataView(new ArrayBuffer(HEADER.SIZE));
  const frame = new Uint8Array(64);
  if (!dma.read(at, new Uint8Array(header.buffer))) return 'unreachable';
  const flags = header.getUint32(0, true);
  const low = (header.getUint32(HEADER.TABLE, true) & ~0x7f) >>> 0;
  const table = gpa((header.getUint32(HEADER.TABLE + 4, true) & 0xf_ffff) * 2 ** 32 + low);
  if (!dma.read(table, frame)) return 'unreachable';
  // Too short (Serial ATA 3.0 §10.3.4: 5 dwords), of another kind, or for a port multiplier.
  if ((flags & HEADER.LENGTH_MASK) < 2 || frame[0] !== FIS.H2D || (frame[1] & 0xf) !== 0) return 'malformed';
  return { header: at, table, entries: flags >>> 16, frame };
}

/** The command packet of a table. */
export function packetOf(dma: Dma, table: Gpa): Uint8Array {
  const packet = new Uint8Array(12);
  dma.read(gpa(table + TABLE.PACKET), packet);
  return packet;
}

/** Entries of a list of pieces that are read together: they lie one behind the other, and so many cost little more than one. */
const TOGETHER = 64;

/** The pieces of memory that a command's data go to or come from. */
export function listOf(dma: Dma, { table, entries }: Command): ScatterList {
  const bytes = new Uint8Array(TABLE.PRD_SIZE * Math.min(entries, TOGETHER));
  const view = new DataView(bytes.buffer);
  return new ScatterList(dma, (index): Piece | undefined => {
    if (index >= entries) return undefined;
    const at = TABLE.PRD_SIZE * (index % TOGETHER);
    if (at === 0) {
      const count = Math.min(bytes.length, TABLE.PRD_SIZE * (entries - index));
      dma.read(gpa(table + TABLE.PRDT + TABLE.PRD_SIZE * index), bytes, 0, count);
    }
    const address = (view.getUint32(at + 4, true) & 0xf_ffff) * 2 ** 32 + ((view.getUint32(at, true) & ~1) >>> 0);
    const length = view.getUint32(at + 12, true);
    // The count is one less (§4.2.3.3).
    return { address: gpa(address), length: (length & 0x3f_ffff) + 1, interrupt: (length & 0x8000_0000) !== 0 };
  });
}
