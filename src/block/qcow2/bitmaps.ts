/** Dirty bitmaps: kept, not kept up. qcow2.txt, "Bitmaps". */
import { MIB } from '../../base/units.js';
import type { HostFile } from '../../iface/file.js';
import { ImageError } from '../image.js';
import { AUTOCLEAR, type Qcow2Header } from './header.js';
import { readExactly } from './table.js';

/** Offsets in an entry of the bitmap directory. */
const ENTRY = { TABLE_OFFSET: 0, TABLE_SIZE: 8, FLAGS: 12, NAME_SIZE: 18, EXTRA_SIZE: 20, SIZE: 24 } as const;
const FLAG = { IN_USE: 1 << 0, AUTO: 1 << 1 } as const;

/** QEMU's limit for the directory, and for the entries of a bitmap's table. */
const MAX_DIRECTORY = 64 * MIB;
const MAX_TABLE = 8 * MIB;

export interface BitmapEntry {
  /** Where its table of clusters is, and how many entries it has. */
  readonly tableOffset: number;
  readonly tableSize: number;
  /** Where its flags are in the file. */
  readonly flagsAt: number;
  readonly flags: number;
}

/** The bitmaps of an image; none when they are void. Throws a one-line error. */
export function readBitmaps(file: HostFile, header: Qcow2Header): BitmapEntry[] {
  const { bitmaps } = header;
  if (!bitmaps || !(header.autoclear & AUTOCLEAR.BITMAPS)) return [];
  const fail = (): never => {
    throw new ImageError(`the disk ${file.name} is damaged: its directory of bitmaps is not sound`);
  };
  const { directoryOffset, directorySize, count } = bitmaps;
  if (directorySize > MAX_DIRECTORY || directoryOffset % 2 ** header.clusterBits !== 0) fail();
  const bytes = readExactly(file, directoryOffset, directorySize, 'its directory of bitmaps');
  const view = new DataView(bytes.buffer);
  const entries: BitmapEntry[] = [];
  for (let at = 0; entries.length < count;) {
    if (at + ENTRY.SIZE > directorySize) fail();
    const tableOffset = view.getBigUint64(at + ENTRY.TABLE_OFFSET);
    const tableSize = view.getUint32(at + ENTRY.TABLE_SIZE);
    if (tableOffset > BigInt(Number.MAX_SAFE_INTEGER) || tableSize * 8 > MAX_TABLE) fail();
    entries.push({
      tableOffset: Number(tableOffset),
      tableSize,
      flagsAt: directoryOffset + at + ENTRY.FLAGS,
      flags: view.getUint32(at + ENTRY.FLAGS),
    });
    const length = ENTRY.SIZE + view.getUint16(at + ENTRY.NAME_SIZE) + view.getUint32(at + ENTRY.EXTRA_SIZE);
    at += Math.ceil(length / 8) * 8;
  }
  return entries;
}

/** Before the first write: bitmaps that should record it are marked as not up to date, which they will be from now on. */
export function outdateBitmaps(file: HostFile, header: Qcow2Header): void {
  for (const { flags, flagsAt } of readBitmaps(file, header)) {
    if (!(flags & FLAG.AUTO) || flags & FLAG.IN_USE) continue;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, flags | FLAG.IN_USE);
    file.write(flagsAt, bytes);
  }
}
