/** What guest clusters are mapped to. qcow2.txt, "Cluster mapping" and "Extended L2 Entries". */
import { compressedPlace, type CompressedPlace } from './compressed.js';
import { extendedL2, type Qcow2Header } from './header.js';
import { COMPRESSED_HIGH, COPIED_HIGH, offsetOf, ZERO_LOW, type Table } from './table.js';

/** A subcluster; a cluster of an image without them is one. */
export type Unit =
  /** What the backing file has there. */
  | { readonly kind: 'unallocated' }
  | { readonly kind: 'zero' }
  /** Bytes of the file. */
  | { readonly kind: 'data'; readonly offset: number }
  /** Of a cluster that is compressed as a whole. */
  | ({ readonly kind: 'compressed' } & CompressedPlace)
  /** No such entry can be. */
  | { readonly kind: 'invalid' };

/** An L2 entry. */
export interface Entry {
  /** Its host cluster; 0: none. */
  readonly offset: number;
  /** Nobody else refers to that. */
  readonly own: boolean;
  /** By unit, a bit each: what lies in the host cluster, and what reads as zeros. */
  readonly allocated: number;
  readonly zeros: number;
  readonly compressed: CompressedPlace | undefined;
  /** No such entry can be. */
  readonly invalid: boolean;
}

const uncompressed = (offset: number, own: boolean, allocated: number, zeros: number): Entry => ({
  offset,
  own,
  allocated,
  zeros,
  compressed: undefined,
  invalid: false,
});
const NOTHING = uncompressed(0, false, 0, 0);
const INVALID: Entry = { ...NOTHING, invalid: true };
const UNALLOCATED: Unit = { kind: 'unallocated' };
const ZERO: Unit = { kind: 'zero' };
const BAD: Unit = { kind: 'invalid' };

/** How the L2 tables of an image are laid out. */
export class ClusterMap {
  readonly clusterSize: number;
  /** Entries of a table. */
  readonly perTable: number;
  /** Units of a cluster: 32 subclusters, or 1. */
  readonly units: 1 | 32;
  /** Bytes of a unit. */
  readonly unitSize: number;
  /** A bit for each unit. */
  readonly all: number;
  private readonly clusterBits: number;
  private readonly hasZeroBit: boolean;

  constructor(header: Qcow2Header) {
    const extended = extendedL2(header);
    this.clusterBits = header.clusterBits;
    this.clusterSize = 2 ** header.clusterBits;
    this.units = extended ? 32 : 1;
    this.unitSize = this.clusterSize / this.units;
    this.all = extended ? 0xffff_ffff : 1;
    this.perTable = this.clusterSize / (extended ? 16 : 8);
    this.hasZeroBit = !extended && header.version === 3;
  }

  /** Bits of units `first` … `last`. */
  bits(first: number, last: number): number {
    const count = last - first + 1;
    return (count === 32 ? this.all : ((1 << count) - 1) << first) >>> 0;
  }

  entry(table: Table | undefined, at: number): Entry {
    if (!table) return NOTHING;
    const [high, low] = [table.high(at), table.low(at)];
    const [zeros, allocated] = this.units === 32 ? [table.zeros(at), table.allocated(at)] : [0, 0];
    if (high & COMPRESSED_HIGH) {
      const compressed = compressedPlace(high, low, this.clusterBits);
      return compressed && zeros === 0 && allocated === 0 ? { ...NOTHING, compressed } : INVALID;
    }
    const offset = offsetOf(high, low);
    if (offset % this.clusterSize !== 0) return INVALID;
    const own = (high & COPIED_HIGH) !== 0;
    if (this.units === 32) {
      // A subcluster cannot be both, nor lie in a cluster that is not there.
      const wrong = (zeros & allocated) !== 0 || (offset === 0 && allocated !== 0);
      return wrong ? INVALID : uncompressed(offset, own, allocated, zeros);
    }
    if (low & ZERO_LOW && this.hasZeroBit) return uncompressed(offset, own, 0, 1);
    return offset === 0 ? NOTHING : uncompressed(offset, own, 1, 0);
  }

  unit(entry: Entry, unit: number): Unit {
    if (entry.invalid) return BAD;
    if (entry.compressed) return { kind: 'compressed', ...entry.compressed };
    const bit = 1 << unit;
    if (entry.allocated & bit) return { kind: 'data', offset: entry.offset + unit * this.unitSize };
    return entry.zeros & bit ? ZERO : UNALLOCATED;
  }

  /** Makes an entry of a host cluster of its own (0: none), whose units are as the bits say. */
  set(table: Table, at: number, offset: number, allocated: number, zeros: number): void {
    if (this.units === 32) table.setBits(at, allocated, zeros);
    const zeroBit = this.units === 1 && zeros !== 0 ? ZERO_LOW : 0;
    table.setOffset(at, offset === 0 ? 0 : COPIED_HIGH, offset + zeroBit);
  }
}
