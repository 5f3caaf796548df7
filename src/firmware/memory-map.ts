/**
 * One description of what guest-physical memory is, and the forms in which boot protocols hand it to kernels.
 */
import { GIB, gpa, KIB, MIB, type Gpa } from '../base/units.js';
import { UsageError } from '../base/errors.js';
import { ByteWriter } from './bytes.js';

/** Kinds of memory as ACPI numbers them (ACPI 6.5 table 15.4). */
export const MEMORY_KIND = { ram: 1, reserved: 2, acpi: 3, 'acpi-nvs': 4 } as const;
export type MemoryKind = keyof typeof MEMORY_KIND;

export interface MemoryRange {
  readonly start: Gpa;
  /** Bytes. */
  readonly size: number;
  readonly kind: MemoryKind;
}

/** Ascending, without overlaps. */
export type MemoryMap = readonly MemoryRange[];

/** Where a PC's memory map has its edges. Bytes. */
export interface PcMemoryOptions {
  readonly ramSize: number;
  /** RAM below 4 GiB ends here at the latest; the rest of it continues at 4 GiB. */
  readonly lowRamLimit: number;
  /** Ranges that are reserved besides: the PCI configuration window, … */
  readonly reserved?: readonly { readonly start: number; readonly size: number }[];
  /** End of conventional memory; the extended BIOS data area reaches from here to 640 KiB. */
  readonly baseMemoryEnd?: number;
}

/** Conventional memory ends here: the last KiB below 640 KiB is the extended BIOS data area. */
export const BASE_MEMORY_END = 639 * KIB;
/** From here to 1 MiB: ROM and tables. */
const BIOS_AREA = 0xe_0000;

/** The least memory that a PC can have. */
export const MIN_PC_MEMORY = 1 * MIB;

/** Bytes of RAM below and above 4 GiB. */
export function splitRam(ramSize: number, lowRamLimit: number): { low: number; high: number } {
  const low = Math.min(ramSize, lowRamLimit);
  return { low, high: ramSize - low };
}

/** The memory map of a PC. */
export function pcMemoryMap(options: PcMemoryOptions): MemoryMap {
  if (options.ramSize < MIN_PC_MEMORY)
    throw new UsageError(`a PC needs at least 1 MiB of memory, not ${Math.floor(options.ramSize / KIB)} KiB`);
  const { low, high } = splitRam(options.ramSize, options.lowRamLimit);
  const base = options.baseMemoryEnd ?? BASE_MEMORY_END;
  const map: MemoryRange[] = [
    { start: gpa(0), size: base, kind: 'ram' },
    { start: gpa(base), size: 640 * KIB - base, kind: 'reserved' },
    { start: gpa(BIOS_AREA), size: MIB - BIOS_AREA, kind: 'reserved' },
  ];
  if (low > MIB) map.push({ start: gpa(MIB), size: low - MIB, kind: 'ram' });
  if (high > 0) map.push({ start: gpa(4 * GIB), size: high, kind: 'ram' });
  for (const { start, size } of options.reserved ?? []) map.push({ start: gpa(start), size, kind: 'reserved' });
  return map.sort((a, b) => a.start - b.start);
}

/**
 * The memory map that firmware in the guest starts from: RAM as it is, and what is reserved in the address space. Firmware
 * takes its own areas out of it.
 */
export function firmwareMemoryMap(options: PcMemoryOptions): MemoryMap {
  const { low, high } = splitRam(options.ramSize, options.lowRamLimit);
  const map: MemoryRange[] = [{ start: gpa(0), size: low, kind: 'ram' }];
  if (high > 0) map.push({ start: gpa(4 * GIB), size: high, kind: 'ram' });
  for (const { start, size } of options.reserved ?? []) map.push({ start: gpa(start), size, kind: 'reserved' });
  return map.sort((a, b) => a.start - b.start);
}

/** End of RAM below 4 GiB, bytes. */
export const lowRamEnd = (map: MemoryMap): number =>
  map.reduce((end, { start, size, kind }) => {
    const isLow = kind === 'ram' && start + size <= 4 * GIB;
    return isLow ? Math.max(end, start + size) : end;
  }, 0);

/** BIOS INT 15h E820h entries, 20 bytes each: u64 start, u64 size, u32 kind. Also Linux's boot_params and fw_cfg's. */
export function e820(map: MemoryMap): Uint8Array {
  const out = new ByteWriter();
  for (const { start, size, kind } of map) out.u64(start, size).u32(MEMORY_KIND[kind]);
  return out.finish();
}

/** Entries of Xen's hvm_memmap_table_entry, 24 bytes each (xen/include/public/arch-x86/hvm/start_info.h). */
export function hvmMemoryMap(map: MemoryMap): Uint8Array {
  const out = new ByteWriter();
  for (const { start, size, kind } of map) out.u64(start, size).u32(MEMORY_KIND[kind], 0);
  return out.finish();
}

/** Multiboot 0.6.96 §3.3 mmap_*: each entry is preceded by its size, which does not count itself. */
export function multibootMemoryMap(map: MemoryMap): Uint8Array {
  const out = new ByteWriter();
  for (const { start, size, kind } of map) out.u32(20).u64(start, size).u32(MEMORY_KIND[kind]);
  return out.finish();
}

/** KiB of RAM from 0, and from 1 MiB without a gap: what INT 12h and multiboot's mem_lower and mem_upper give. */
export function contiguousKib(map: MemoryMap): { lower: number; upper: number } {
  const from = (start: number): number => map.find((r) => r.kind === 'ram' && r.start === start)?.size ?? 0;
  return { lower: Math.floor(from(0) / KIB), upper: Math.floor(from(MIB) / KIB) };
}
