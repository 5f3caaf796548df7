/** What guest clusters are mapped to. qcow2.txt, "Cluster mapping". */
import { compressedPlace, type CompressedPlace } from './compressed.js';
import { COMPRESSED_HIGH, COPIED_HIGH, offsetOf, ZERO_LOW, type Table } from './table.js';

export type Cluster =
  /** What the backing file has there. */
  | { readonly kind: 'unallocated' }
  /** Zeros; `offset` is a host cluster kept for it, or 0. */
  | { readonly kind: 'zero'; readonly offset: number; readonly own: boolean }
  /** Bytes of the file; `own`: nobody else refers to them. */
  | { readonly kind: 'data'; readonly offset: number; readonly own: boolean }
  | ({ readonly kind: 'compressed' } & CompressedPlace)
  /** No such entry can be. */
  | { readonly kind: 'invalid' };

const UNALLOCATED: Cluster = { kind: 'unallocated' };
const INVALID: Cluster = { kind: 'invalid' };

export function clusterOf(table: Table | undefined, entry: number, clusterBits: number, version: 2 | 3): Cluster {
  if (!table) return UNALLOCATED;
  const high = table.high(entry);
  const low = table.low(entry);
  if (high & COMPRESSED_HIGH) {
    const place = compressedPlace(high, low, clusterBits);
    return place ? { kind: 'compressed', ...place } : INVALID;
  }
  const offset = offsetOf(high, low);
  if (offset % 2 ** clusterBits !== 0) return INVALID;
  const own = (high & COPIED_HIGH) !== 0;
  // Version 2 has no such bit.
  if (low & ZERO_LOW && version === 3) return { kind: 'zero', offset, own };
  return offset === 0 ? UNALLOCATED : { kind: 'data', offset, own };
}
