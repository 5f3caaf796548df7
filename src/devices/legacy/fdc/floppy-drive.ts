/** Floppy disk drives and the formats of disks, told by their size. */
import type { BlockBackend } from '../../../iface/block.js';

export const SECTOR = 512;

export interface FloppyFormat {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
  /** Data rate as CCR selects it: 0 500 kbit/s, 1 300, 2 250, 3 1000. */
  readonly rates: readonly number[];
  /** What a BIOS calls the drive, in CMOS memory: 1 360 KB, 2 1.2 MB, 3 720 KB, 4 1.44 MB, 5 2.88 MB. */
  readonly drive: number;
}

const format = (
  cylinders: number,
  heads: number,
  sectors: number,
  rates: readonly number[],
  drive: number,
): FloppyFormat => ({ cylinders, heads, sectors, rates, drive });

/** By size in KiB. In a drive for 1.2 MB, disks of 360 KB turn faster: 300 kbit/s. */
const FORMATS: ReadonlyMap<number, FloppyFormat> = new Map([
  [160, format(40, 1, 8, [1, 2], 1)],
  [180, format(40, 1, 9, [1, 2], 1)],
  [320, format(40, 2, 8, [1, 2], 1)],
  [360, format(40, 2, 9, [1, 2], 1)],
  [720, format(80, 2, 9, [2], 4)],
  [1200, format(80, 2, 15, [0], 2)],
  [1440, format(80, 2, 18, [0], 4)],
  [1680, format(80, 2, 21, [0], 4)],
  [1722, format(82, 2, 21, [0], 4)],
  [2880, format(80, 2, 36, [3], 5)],
]);

/** The sizes that a floppy can have, in bytes. */
export const FLOPPY_SIZES: readonly number[] = [...FORMATS.keys()].map((size) => size * 1024);

/** The format of a disk of so many bytes; undefined: there is none. */
export const floppyFormat = (size: number): FloppyFormat | undefined => FORMATS.get(size / 1024);

/** A disk in a drive. */
export interface FloppyDisk {
  readonly backend: BlockBackend;
  readonly format: FloppyFormat;
}

/** A drive, with a disk in it or without. */
export interface FloppyDrive {
  disk: FloppyDisk | undefined;
}

/** Byte offset of a sector, which counts from 1; undefined: the disk has none there. */
export function sectorOffset(
  { format: { heads, sectors, cylinders } }: FloppyDisk,
  cylinder: number,
  head: number,
  sector: number,
): number | undefined {
  if (cylinder >= cylinders || head >= heads || sector < 1 || sector > sectors) return undefined;
  return ((cylinder * heads + head) * sectors + sector - 1) * SECTOR;
}
