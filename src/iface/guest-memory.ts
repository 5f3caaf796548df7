import { gpa, type Gpa } from '../base/units.js';

/** Pieces of guest memory that are one run of bytes, in this order. */
export interface Pieces {
  readonly addresses: readonly Gpa[];
  /** Bytes of each. */
  readonly lengths: readonly number[];
}

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
  /** Copies out of pieces, from their byte `offset` on, to all of `into`. False also if they end before; this and the next two do the rest all the same. */
  readPieces(from: Pieces, offset: number, into: Uint8Array): boolean;
  /** Copies all of the bytes into pieces, from their byte `offset` on. */
  writePieces(to: Pieces, offset: number, bytes: Uint8Array): boolean;
  /** Puts `length` zeros into pieces, from their byte `offset` on. */
  zeroPieces(at: Pieces, offset: number, length: number): boolean;
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

/** Calls `move` for the parts of `pieces` that have their bytes `offset` … `offset + total - 1`. False: it was for one, or they end before. */
export function movePieces(
  { addresses, lengths }: Pieces,
  offset: number,
  total: number,
  move: (at: Gpa, done: number, count: number) => boolean,
): boolean {
  let [skip, done, ok] = [offset, 0, true];
  for (let i = 0; i < lengths.length && done < total; i++) {
    const length = lengths[i];
    if (skip >= length) {
      skip -= length;
      continue;
    }
    const count = Math.min(length - skip, total - done);
    if (!move(gpa(addresses[i] + skip), done, count)) ok = false;
    skip = 0;
    done += count;
  }
  return ok && done === total;
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
