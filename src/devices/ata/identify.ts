/** IDENTIFY DEVICE data, ACS-3 §7.12.7: 256 little-endian words. */
import { MAX_MULTIPLE, SECTOR } from './registers.js';

/** Settings that show in the data. */
export interface DiskModes {
  readonly multiple: number;
  readonly writeCache: boolean;
  readonly lookAhead: boolean;
  readonly transferMode: number;
  readonly heads: number;
  readonly sectors: number;
  readonly smart: boolean;
  readonly serialAta: boolean;
}

export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** The default translation: 16 heads of 63 sectors, at most 16383 cylinders. */
export function chsOf(total: number): Geometry {
  const cylinders = Math.min(16383, Math.max(1, Math.floor(total / (16 * 63))));
  return { cylinders, heads: 16, sectors: 63 };
}

/** Capabilities and features that are there, words 82 … 84; words 85 … 87 say which are on. */
const COMMAND_SET = {
  SMART: 1 << 0,
  POWER: 1 << 3,
  PACKET: 1 << 4,
  WRITE_CACHE: 1 << 5,
  LOOK_AHEAD: 1 << 6,
  DEVICE_RESET: 1 << 9,
  /** Word 83. */
  VALID: 1 << 14,
  FLUSH_EXT: 1 << 13,
  FLUSH: 1 << 12,
  LBA48: 1 << 10,
  /** Word 84. */
  SELF_TEST: 1 << 1,
  ERROR_LOG: 1 << 0,
  LOGS: 1 << 5,
  FUA: 1 << 6,
  WWN: 1 << 8,
} as const;

/** Text in words, the first character in the high byte. */
export function putText(words: Uint16Array, first: number, count: number, text: string): void {
  const padded = text.padEnd(2 * count, ' ');
  for (let i = 0; i < count; i++)
    words[first + i] = ((padded.charCodeAt(2 * i) & 0x7f) << 8) | (padded.charCodeAt(2 * i + 1) & 0x7f);
}

/** Words as bytes, with the checksum of word 255 (§7.12.7.83). */
export function sealed(words: Uint16Array): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  words.forEach((word, i) => {
    bytes[2 * i] = word & 0xff;
    bytes[2 * i + 1] = word >> 8;
  });
  bytes[510] = 0xa5;
  bytes[511] = 0;
  bytes[511] = -bytes.reduce((sum, byte) => sum + byte, 0);
  return bytes;
}

/** Which modes there are, and which is on: multiword DMA (word 63), Ultra DMA (word 88). */
export function putModes(words: Uint16Array, transferMode: number): void {
  const on = 1 << (8 + (transferMode & 7));
  words[63] = 0x07 | ((transferMode & 0xf8) === 0x20 ? on : 0);
  // Modes 3 and 4 of PIO, with cycles of 120 ns.
  words[64] = 3;
  words.fill(120, 65, 69);
  words[88] = 0x3f | ((transferMode & 0xf8) === 0x40 ? on : 0);
}

const FIRMWARE = '1.0';
export const MODEL = { DISK: 'VITRINE HARDDISK', CD: 'VITRINE CD-ROM', FIRMWARE } as const;

/** A disk's name for ever: NAA 5 with a hash of its serial number behind an identifier that nobody has. FNV-1a, 64 bits. */
function wwnOf(serial: string): bigint {
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (let i = 0; i < serial.length; i++)
    hash = BigInt.asUintN(64, (hash ^ BigInt(serial.charCodeAt(i))) * 0x100_0000_01b3n);
  return (5n << 60n) | (hash & 0xf_ffff_ffffn);
}

export function identifyDisk(disk: { readonly serial: string }, total: number, modes: DiskModes): Uint8Array {
  const words = new Uint16Array(256);
  const { cylinders, heads, sectors } = chsOf(total);
  const long = (first: number, value: number): void => {
    words[first] = value & 0xffff;
    words[first + 1] = Math.floor(value / 0x1_0000) & 0xffff;
  };
  words[0] = 0x0040;
  [words[1], words[3], words[6]] = [cylinders, heads, sectors];
  putText(words, 10, 10, disk.serial);
  putText(words, 23, 4, FIRMWARE);
  putText(words, 27, 20, MODEL.DISK);
  words[47] = 0x8000 | MAX_MULTIPLE;
  // DMA, LBA, IORDY.
  words[49] = 0x0f00;
  words[50] = 0x4000;
  words[51] = words[52] = 0x0200;
  // Words 54 … 58, 64 … 70 and 88 mean something.
  words[53] = 7;
  const now = Math.min(65535, Math.floor(total / (modes.heads * modes.sectors)));
  [words[54], words[55], words[56]] = [now, modes.heads, modes.sectors];
  long(57, now * modes.heads * modes.sectors);
  words[59] = modes.multiple > 0 ? 0x100 | modes.multiple : 0;
  long(60, Math.min(total, 0x0fff_ffff));
  putModes(words, modes.transferMode);
  if (modes.serialAta) {
    // A queue of 32; generations 1 and 2 with NCQ.
    words[75] = 31;
    words[76] = 0x0106;
    words[222] = 0x1020;
  } else words[93] = 0x6001;
  // ATA-4 … ACS-2.
  words[80] = 0x03f0;
  const { SMART, POWER, WRITE_CACHE, LOOK_AHEAD, VALID, FLUSH, FLUSH_EXT, LBA48 } = COMMAND_SET;
  words[82] = SMART | POWER | WRITE_CACHE | LOOK_AHEAD;
  words[83] = VALID | FLUSH | FLUSH_EXT | LBA48;
  words[84] =
    VALID | COMMAND_SET.SELF_TEST | COMMAND_SET.ERROR_LOG | COMMAND_SET.LOGS | COMMAND_SET.FUA | COMMAND_SET.WWN;
  words[85] =
    (modes.smart ? SMART : 0) | POWER | (modes.writeCache ? WRITE_CACHE : 0) | (modes.lookAhead ? LOOK_AHEAD : 0);
  words[86] = FLUSH | FLUSH_EXT | LBA48;
  words[87] = words[84];
  long(100, total % 2 ** 32);
  long(102, Math.floor(total / 2 ** 32));
  // At most 8 blocks of ranges in a TRIM.
  words[105] = 8;
  // Eight logical sectors to a physical one, word 209 tells that the first is aligned.
  words[106] = 0x6003;
  const wwn = wwnOf(disk.serial);
  for (let i = 0; i < 4; i++) words[108 + i] = Number((wwn >> BigInt(48 - 16 * i)) & 0xffffn);
  words[169] = 1;
  words[209] = 0x4000;
  // Nothing rotates.
  words[217] = 1;
  return sealed(words);
}

/** IDENTIFY PACKET DEVICE data, ATA8-ACS §7.17 (T13/1699-D): a removable CD-ROM drive with packets of 12 bytes. */
export function identifyPacketDevice(serial: string, serialAta: boolean, transferMode: number): Uint8Array {
  const words = new Uint16Array(256);
  // Packet device, CD-ROM (command set 5), removable, DRQ within 50 µs, 12-byte packets.
  words[0] = 0x85c0;
  putText(words, 10, 10, serial);
  putText(words, 23, 4, FIRMWARE);
  putText(words, 27, 20, MODEL.CD);
  words[49] = 0x0f00;
  words[53] = 6;
  putModes(words, transferMode);
  if (serialAta) {
    words[76] = 0x0006;
    words[222] = 0x1020;
  } else words[93] = 0x6001;
  words[80] = 0x01f0;
  words[82] = COMMAND_SET.POWER | COMMAND_SET.PACKET | COMMAND_SET.DEVICE_RESET;
  words[83] = COMMAND_SET.VALID;
  words[84] = COMMAND_SET.VALID;
  words[85] = words[82];
  words[87] = COMMAND_SET.VALID;
  return sealed(words);
}
