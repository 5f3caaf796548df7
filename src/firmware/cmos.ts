/**
 * What firmware expects to find in the battery-backed memory of a PC, beside the clock: sizes of memory and the equipment
 * (the indexes that IBM's AT and its successors use; those from 5Bh on are Bochs's, which SeaBIOS reads).
 */
import { KIB, MIB } from '../base/units.js';

export interface CmosDescription {
  /** Bytes of RAM below and above 4 GiB. */
  readonly lowRam: number;
  readonly highRam: number;
  readonly cpus: number;
  readonly mouse: boolean;
  /** Types of the first and the second floppy disk drive: 1 360 KB, 2 1.2 MB, 3 720 KB, 4 1.44 MB, 5 2.88 MB; 0 none. */
  readonly floppies?: readonly number[];
  /** Up to three kinds of devices to boot from: 1 floppy, 2 hard disk, 3 CD, 4 network. None: disk, CD, network. */
  readonly bootOrder?: readonly number[];
}

/** Boot device codes: hard disk, CD-ROM, network. */
const BOOT = { DISK: 2, CDROM: 3, NETWORK: 4 } as const;
/** No signature check of floppies. */
const SKIP_FLOPPY_CHECK = 1;

/** Bytes to set, by index. */
export function cmosContent(description: CmosDescription): ReadonlyMap<number, number> {
  const bytes = new Map<number, number>();
  const word = (low: number, high: number, value: number): void => {
    bytes.set(low, value & 0xff);
    bytes.set(high, (value >> 8) & 0xff);
  };
  word(0x15, 0x16, 640);
  const extended = Math.min(Math.max(description.lowRam - MIB, 0) / KIB, 0xffff);
  word(0x17, 0x18, extended);
  word(0x30, 0x31, extended);
  word(0x34, 0x35, Math.min(Math.max(description.lowRam - 16 * MIB, 0) / (64 * KIB), 0xffff));
  const high = description.highRam / (64 * KIB);
  bytes.set(0x5b, high & 0xff);
  bytes.set(0x5c, (high >> 8) & 0xff);
  bytes.set(0x5d, (high >> 16) & 0xff);
  bytes.set(0x5f, description.cpus - 1);
  const [first = 0, second = 0] = description.floppies ?? [];
  bytes.set(0x10, (first << 4) | second);
  const drives = [first, second].filter((type) => type !== 0).length;
  // Equipment: a coprocessor, perhaps a PS/2 mouse, a display with its own BIOS, floppies (bit 0, and how many more).
  bytes.set(0x14, 0x02 | (description.mouse ? 0x04 : 0) | (drives > 0 ? 1 | ((drives - 1) << 6) : 0));
  const given = description.bootOrder ?? [];
  const [one = 0, two = 0, three = 0] = given.length > 0 ? given : [BOOT.DISK, BOOT.CDROM, BOOT.NETWORK];
  bytes.set(0x3d, one | (two << 4));
  bytes.set(0x38, SKIP_FLOPPY_CHECK | (three << 4));
  return bytes;
}
