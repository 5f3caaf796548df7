import type { Gpa } from '../base/units.js';

/**
 * Guest memory as a device reaches it. Later an IOMMU stands between this and RAM, so a device never holds a view of
 * RAM itself beyond the call that gave it.
 *
 * Accesses outside RAM read as all ones and write to nowhere, as on a PCI bus with no target; they return false.
 * Writes to pages that hold decoded or translated code invalidate it exactly as a CPU's store does.
 */
export interface Dma {
  /** Copies `into.length` bytes out of guest memory. */
  read(from: Gpa, into: Uint8Array): boolean;
  /** Copies bytes into guest memory. */
  write(to: Gpa, bytes: Uint8Array): boolean;
  /** Little-endian, any alignment. */
  readU16(from: Gpa): number;
  readU32(from: Gpa): number;
  readU64(from: Gpa): bigint;
  writeU16(to: Gpa, value: number): void;
  writeU32(to: Gpa, value: number): void;
  writeU64(to: Gpa, value: bigint): void;
  /** What was written before is seen by all CPUs before anything is read after it. */
  fence(): void;
}

/** What a range of guest-physical addresses is, to the CPU. */
export type SlotKind = 'ram' | 'rom';

/** A range of guest-physical addresses backed by memory of the machine. */
export interface MemorySlot {
  readonly start: Gpa;
  /** Bytes, a multiple of the page size. */
  readonly size: number;
  /** Offset of the backing in the machine's backing memory (RAM first, then ROM images), bytes, page-aligned. */
  readonly offset: number;
  /** `rom` can be read and executed; writes go to the bus as MMIO. */
  readonly kind: SlotKind;
}
