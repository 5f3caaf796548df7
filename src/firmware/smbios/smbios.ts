/**
 * SMBIOS tables (DMTF DSP0134 3.3.0) that describe the virtual machine: types 0, 1, 3, 4, 16, 17, 19, 32 and 127, with the
 * 64-bit (3.x) and the 32-bit (2.1) entry point.
 */
import { KIB, MIB } from '../../base/units.js';
import { ByteWriter, checksum } from '../bytes.js';

export interface SmbiosDescription {
  readonly cpus: number;
  /** CPUID.1:EAX and EDX of the CPUs, and their brand. */
  readonly cpuSignature: number;
  readonly cpuFeatures: number;
  readonly cpuBrand: string;
  readonly longMode: boolean;
  readonly mhz: number;
  /** RAM as guest-physical ranges. Bytes, multiples of 1 KiB. */
  readonly ram: readonly { readonly start: number; readonly size: number }[];
  /** The machine's UUID, 16 bytes as RFC 4122 writes them. */
  readonly uuid: Uint8Array;
  /** `Q35` or the like. */
  readonly product: string;
  /** Vitrine's version. */
  readonly version: string;
}

/** Structure handles. */
const HANDLE = {
  BIOS: 0x0000,
  SYSTEM: 0x0100,
  CHASSIS: 0x0300,
  CPU: 0x0400,
  ARRAY: 0x1000,
  DEVICE: 0x1100,
  MAPPED: 0x1300,
  BOOT: 0x2000,
  END: 0x7f00,
} as const;
const VENDOR = 'Vitrine';
/** At most this much memory in one memory device. */
const DEVICE_SIZE = 16 * 1024 * MIB;

/** Collects a structure's strings; a field holds the number that `add` returns, 0 for none. */
class Strings {
  private readonly texts: string[] = [];

  add(text: string): number {
    if (text === '') return 0;
    this.texts.push(text);
    return this.texts.length;
  }

  /** The string set: at least two zeros. */
  finish(out: ByteWriter): void {
    for (const text of this.texts) out.text(text).u8(0);
    if (this.texts.length === 0) out.u8(0);
    out.u8(0);
  }
}

/** The structure table, and the size of its largest structure and their number, which the 2.1 entry point wants. */
export interface SmbiosTable {
  readonly bytes: Uint8Array;
  readonly largest: number;
  readonly count: number;
}

/** Builds the structure table. It holds no addresses: it can lie anywhere. */
export function smbiosTable(description: SmbiosDescription): SmbiosTable {
  const out = new ByteWriter();
  let count = 0;
  let largest = 0;
  const add = (type: number, handle: number, fields: (body: ByteWriter, strings: Strings) => void): void => {
    const strings = new Strings();
    const body = new ByteWriter();
    fields(body, strings);
    const start = out.length;
    out
      .u8(type, 4 + body.length)
      .u16(handle)
      .bytes(body.finish());
    strings.finish(out);
    largest = Math.max(largest, out.length - start);
    count++;
  };

  // §7.1 BIOS Information.
  add(0, HANDLE.BIOS, (body, strings) => {
    const CHARACTERISTICS_NOT_SUPPORTED = 1 << 3;
    const VIRTUAL_MACHINE = 1 << 4;
    const TARGETED_CONTENT = 1 << 2;
    body
      .u8(strings.add(VENDOR), strings.add(description.version))
      .u16(0xe800)
      .u8(strings.add('01/01/2024'), 0)
      .u64(CHARACTERISTICS_NOT_SUPPORTED)
      .u8(0, VIRTUAL_MACHINE | TARGETED_CONTENT)
      .u8(0, 0, 0xff, 0xff)
      .u16(0);
  });

  // §7.2 System Information; the UUID's first three fields are little-endian.
  add(1, HANDLE.SYSTEM, (body, strings) => {
    const uuid = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map((i) => description.uuid[i]);
    const POWER_SWITCH = 6;
    body
      .u8(strings.add(VENDOR), strings.add(description.product), strings.add(description.version), 0)
      .bytes(uuid)
      .u8(POWER_SWITCH, 0, 0);
  });

  // §7.4 System Enclosure.
  add(3, HANDLE.CHASSIS, (body, strings) => {
    const OTHER = 1;
    const SAFE = 3;
    const SECURITY_NONE = 3;
    body.u8(strings.add(VENDOR), OTHER, 0, 0, 0, SAFE, SAFE, SAFE, SECURITY_NONE).u32(0).u8(0, 0, 0, 0, 0);
  });

  // §7.5 Processor Information: one package.
  add(4, HANDLE.CPU, (body, strings) => {
    const CENTRAL_PROCESSOR = 3;
    const POPULATED_ENABLED = 0x41;
    const UPGRADE_NONE = 6;
    const FAMILY_OTHER = 1;
    const NO_CACHE = 0xffff;
    const cores = Math.min(description.cpus, 255);
    const CAPABLE_64BIT = 1 << 2;
    const MULTI_CORE = 1 << 3;
    const EXECUTE_PROTECTION = 1 << 5;
    const capabilities = (description.longMode ? CAPABLE_64BIT | EXECUTE_PROTECTION : 0) | (cores > 1 ? MULTI_CORE : 0);
    body
      .u8(strings.add('CPU 0'), CENTRAL_PROCESSOR, FAMILY_OTHER, strings.add(VENDOR))
      .u32(description.cpuSignature, description.cpuFeatures)
      .u8(strings.add(description.cpuBrand), 0)
      .u16(0, Math.min(description.mhz, 0xffff), Math.min(description.mhz, 0xffff))
      .u8(POPULATED_ENABLED, UPGRADE_NONE)
      .u16(NO_CACHE, NO_CACHE, NO_CACHE)
      .u8(0, 0, 0, cores, cores, cores)
      .u16(capabilities, FAMILY_OTHER)
      .u16(description.cpus, description.cpus, description.cpus);
  });

  addMemory(add, description);

  // §7.33 System Boot Information: no errors.
  add(32, HANDLE.BOOT, (body) => body.zeros(6).u8(0));
  // §7.45 End-of-Table.
  add(127, HANDLE.END, () => {});
  return { bytes: out.finish(), largest, count };
}

type AddStructure = (type: number, handle: number, fields: (body: ByteWriter, strings: Strings) => void) => void;

/** Memory array, devices and mapped addresses. */
function addMemory(add: AddStructure, description: SmbiosDescription): void {
  const total = description.ram.reduce((sum, { size }) => sum + size, 0);
  const devices = Math.max(Math.ceil(total / DEVICE_SIZE), 1);

  // §7.17 Physical Memory Array.
  add(16, HANDLE.ARRAY, (body) => {
    const OTHER = 1;
    const SYSTEM_MEMORY = 3;
    const ECC_NONE = 3;
    const NO_ERROR_HANDLE = 0xfffe;
    const kib = total / KIB;
    const tooLarge = kib >= 0x8000_0000;
    body
      .u8(OTHER, SYSTEM_MEMORY, ECC_NONE)
      .u32(tooLarge ? 0x8000_0000 : kib)
      .u16(NO_ERROR_HANDLE, devices)
      .u64(tooLarge ? total : 0);
  });

  // §7.18 Memory Device.
  for (let i = 0; i < devices; i++)
    add(17, HANDLE.DEVICE + i, (body, strings) => {
      const mib = Math.floor(Math.min(total - i * DEVICE_SIZE, DEVICE_SIZE) / MIB);
      const FORM_DIMM = 9;
      const TYPE_RAM = 7;
      const OTHER_DETAIL = 1 << 1;
      const NO_ERROR_HANDLE = 0xfffe;
      const UNKNOWN_WIDTH = 0xffff;
      body
        .u16(HANDLE.ARRAY, NO_ERROR_HANDLE, UNKNOWN_WIDTH, UNKNOWN_WIDTH)
        .u16(mib < 0x7fff ? mib : 0x7fff)
        .u8(FORM_DIMM, 0, strings.add(`DIMM ${i}`), 0, TYPE_RAM)
        .u16(OTHER_DETAIL, 0)
        .u8(strings.add(VENDOR), 0, 0, 0, 0)
        .u32(mib < 0x7fff ? 0 : mib)
        .u16(0, 0, 0, 0);
    });

  // §7.20 Memory Array Mapped Address; both ends in KiB, or in the extended fields when these are too small.
  description.ram.forEach(({ start, size }, i) =>
    add(19, HANDLE.MAPPED + i, (body) => {
      const last = (start + size) / KIB - 1;
      const fits = last < 0xffff_ffff;
      body
        .u32(fits ? start / KIB : 0xffff_ffff, fits ? last : 0xffff_ffff)
        .u16(HANDLE.ARRAY)
        .u8(1)
        .u64(fits ? 0 : start, fits ? 0 : start + size - 1);
    }),
  );
}

/** The 64-bit entry point (§5.2.2), 24 bytes, for a table at `address`. */
export function smbios3Anchor(table: SmbiosTable, address: number): Uint8Array {
  const anchor = new ByteWriter()
    .text('_SM3_', 5)
    .u8(0, 24, 3, 3, 0, 1, 0)
    .u32(table.bytes.length)
    .u64(address)
    .finish();
  anchor[5] = checksum(anchor);
  return anchor;
}

/** The 32-bit entry point (§5.2.1), 31 bytes, for a table below 4 GiB. */
export function smbios2Anchor(table: SmbiosTable, address: number): Uint8Array {
  const anchor = new ByteWriter()
    .text('_SM_', 4)
    .u8(0, 31, 2, 8)
    .u16(table.largest)
    .u8(0)
    .zeros(5)
    .text('_DMI_', 5)
    .u8(0)
    .u16(table.bytes.length)
    .u32(address)
    .u16(table.count)
    .u8(0x28)
    .finish();
  anchor[0x15] = checksum(anchor.subarray(0x10));
  anchor[4] = checksum(anchor);
  return anchor;
}
