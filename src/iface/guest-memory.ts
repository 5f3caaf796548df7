import type { Gpa } from '../base/units.js';

/**
 * Guest memory as a device reaches it. Later an IOMMU stands between this and RAM, so a device never holds a view of
 * RAM itself beyond the call that gave it.
 *
 * Accesses outside RAM read as all ones and write to nowhere, as on a PCI bus with no target; they return false.
 * Writes to pages that hold decoded or translated code invalidate it exactly as a CPU's store does.
 */
export interface Dma {
  /** Copies `length` bytes out of guest memory to `into`, from `begin` on: absent, as many as there is room for, from its beginning on. */
  read(from: Gpa, into: Uint8Array, begin?: number, length?: number): boolean;
  /** Copies `length` of the bytes, from `begin` on, into guest memory: absent, all of them. */
  write(to: Gpa, bytes: Uint8Array, begin?: number, length?: number): boolean;
  /** Puts zeros into guest memory. */
  zero(at: Gpa, length: number): boolean;
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
  /** Offset of the backing in the machine's backing memory (RAM first, then ROM images; then its far memory), bytes, page-aligned. */
  readonly offset: number;
  /** `rom` can be read and executed; writes go to the bus as MMIO. */
  readonly kind: SlotKind;
  /** Somebody asks which of its pages were written to: see `Vm.takeWritten`. */
  readonly watched?: boolean;
}

/** Bytes of each piece of a machine's far memory but the last, which may have less. */
export const FAR_PIECE = 2 ** 30;

/** Memory of a machine: the backing, and pieces of FAR_PIECE bytes whose offsets go on behind it. */
export interface BackingMemory {
  readonly backing: Uint8Array;
  /** Absent: there is none. */
  readonly far?: readonly Uint8Array[] | undefined;
}

/** What lies at an offset, in as many pieces as that takes. Beyond the end is nothing. */
export function* backingPieces(
  { backing, far = [] }: BackingMemory,
  offset: number,
  length: number,
): Generator<Uint8Array> {
  const near = backing.subarray(offset, offset + length);
  if (near.length > 0) yield near;
  let at = offset + near.length - backing.length;
  for (let left = length - near.length; left > 0;) {
    const piece = far.at(Math.floor(at / FAR_PIECE));
    const begin = at % FAR_PIECE;
    const part = piece?.subarray(begin, begin + left);
    if (part === undefined || part.length === 0) return;
    yield part;
    at += part.length;
    left -= part.length;
  }
}
