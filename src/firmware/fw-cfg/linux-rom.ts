/**
 * An option ROM of our own through which a BIOS boots a Linux kernel by its 16-bit entry. It is made for one kernel: its
 * table says what to copy where, and fw_cfg's DMA interface does the copying, above 1 MiB too.
 */
import { assert } from '../../base/assert.js';
import { ByteWriter, checksum } from '../bytes.js';

/** One fw_cfg item to be copied into memory. */
export interface RomCopy {
  readonly key: number;
  /** Guest-physical, below 4 GiB. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** fw_cfg file of the ROM, and what `bootorder` calls it. BIOSes run all files below genroms/. */
export const LINUX_ROM_FILE = 'genroms/vitrine-linux.bin';
export const LINUX_ROM_BOOT_PATH = `/rom@${LINUX_ROM_FILE}`;

/** Where the ROM keeps the structure that it hands to fw_cfg: the place of boot sectors, free while booting. */
const SCRATCH = 0x7c00;
/** fw_cfg DMA control bits: read, and select the item in bits 31:16. */
const CONTROL_READ = 1 << 1;
const CONTROL_SELECT = 1 << 3;
/** Offsets in the ROM. The code begins behind both headers. */
const PNP_HEADER = 0x20;
const CODE = 0x40;

/** The 16-bit number as two bytes. */
const word = (value: number): number[] => [value & 0xff, value >> 8];

/** The boot entry: assembled by hand, for 16-bit real mode. */
function bootEntry(table: number, copies: number, realModeSegment: number): number[] {
  const copyOne = [
    ...[0xbf, ...word(SCRATCH)], //          mov di, SCRATCH
    ...[0xb9, ...word(8)], //                mov cx, 8
    ...[0xf3, 0xa5], //                      rep movsw
    ...[0xba, ...word(0x514)], //            mov dx, 0x514: high half of the structure's address, big-endian
    ...[0x66, 0x31, 0xc0], //                xor eax, eax
    ...[0x66, 0xef], //                      out dx, eax
    ...[0xb2, 0x18], //                      mov dl, 0x18: low half, which starts the transfer
    ...[0x66, 0xb8, 0, 0, SCRATCH >> 8, SCRATCH & 0xff], // mov eax, bswap(SCRATCH)
    ...[0x66, 0xef], //                      out dx, eax
  ];
  // The device clears the control word when it is done; bit 0 (big-endian: the last byte) says that it failed.
  const wait = [
    ...[0x26, 0x66, 0xa1, ...word(SCRATCH)], // mov eax, es:[SCRATCH]
    ...[0x66, 0xa9, 0, 0, 0, 1], //          test eax, 0x01000000
    ...[0x75, 0], //                         jnz fail (displacement below)
    ...[0x66, 0x85, 0xc0], //                test eax, eax
    ...[0x75, 0], //                         jnz wait
  ];
  const FAIL_DISPLACEMENT = 12;
  wait[wait.length - 1] = -wait.length & 0xff;
  const next = [0x4d, 0x75, -(copyOne.length + wait.length + 3) & 0xff]; // dec bp; jnz the next copy
  const start = [
    ...[0xb8, ...word(realModeSegment)], //  mov ax, segment of the setup code
    ...[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8], // mov ds, es, fs, gs
    ...[0x8e, 0xd0], //                      mov ss, ax
    ...[0xbc, ...word(0xfff0)], //           mov sp, 0xfff0
    ...[0xea, ...word(0), ...word(realModeSegment + 0x20)], // jmp far to its entry
  ];
  const fail = [0xfb, 0xcd, 0x18]; //        sti; int 0x18: booting failed, go on with the next device
  wait[FAIL_DISPLACEMENT] = wait.length - (FAIL_DISPLACEMENT + 1) + next.length + start.length;
  return [
    ...[0xfa, 0xfc], //                      cli; cld
    ...[0x31, 0xc0], //                      xor ax, ax
    ...[0x8e, 0xd0, 0xbc, ...word(SCRATCH)], // mov ss, ax; mov sp, SCRATCH
    ...[0x8e, 0xc0], //                      mov es, ax
    ...[0x0e, 0x1f], //                      push cs; pop ds
    ...[0xbe, ...word(table)], //            mov si, table
    ...[0xbd, ...word(copies)], //           mov bp, copies
    ...copyOne,
    ...wait,
    ...next,
    ...start,
    ...fail,
  ];
}

/** Makes the ROM. `realMode` is where the kernel's setup code goes: a multiple of 16 below 640 KiB. */
export function linuxRom(copies: readonly RomCopy[], realMode: number): Uint8Array {
  assert(copies.length > 0 && realMode % 16 === 0, 'a ROM has something to copy, to a segment');
  const entry = (table: number): number[] => bootEntry(table, copies.length, realMode / 16);
  const table = CODE + entry(0).length;
  const out = new ByteWriter()
    .u8(0x55, 0xaa, 0)
    // The initialisation entry has nothing to do: retf.
    .u8(0xcb);
  out.zeros(0x1a - out.length).u16(PNP_HEADER);
  out.zeros(PNP_HEADER - out.length);
  // Plug and Play BIOS specification 1.0A §3.2, with a bootstrap entry vector.
  const MASS_STORAGE = [1, 0x80, 0];
  const IPL_DEVICE = 1 << 2;
  const names = table + copies.length * 16;
  const header = new ByteWriter()
    .text('$PnP', 4)
    .u8(1, 2)
    .u16(0)
    .u8(0, 0)
    .u32(0)
    .u16(names, names + 'Vitrine\0'.length)
    .u8(...MASS_STORAGE, IPL_DEVICE)
    .u16(0, 0, CODE, 0, 0)
    .finish();
  header[9] = checksum(header);
  out.bytes(header);
  out.zeros(CODE - out.length);
  out.bytes(entry(table));
  // struct FWCfgDmaAccess, big-endian: control, length, 64-bit address.
  const bigEndian = (value: number): number[] => [
    value >>> 24,
    (value >> 16) & 0xff,
    (value >> 8) & 0xff,
    value & 0xff,
  ];
  for (const { key, address, length } of copies) {
    const control = ((key << 16) | CONTROL_SELECT | CONTROL_READ) >>> 0;
    out.u8(...bigEndian(control), ...bigEndian(length), 0, 0, 0, 0, ...bigEndian(address));
  }
  out.text('Vitrine').u8(0).text('Linux kernel').u8(0, 0);
  out.align(512);
  out.setU8(2, out.length / 512);
  const rom = out.finish();
  rom[rom.length - 1] = checksum(rom);
  return rom;
}
