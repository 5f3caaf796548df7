/** Compressed clusters. qcow2.txt, "Compressed Clusters Descriptor". */
import type { Unpack } from '../image.js';
import type { Compression } from './header.js';
import { zstdFrameLength } from './zstd-frame.js';

/** Where compressed data lies in the file, in bytes. It ends somewhere within `length`. */
export interface CompressedPlace {
  readonly offset: number;
  readonly length: number;
}

/** What an L2 entry of a compressed cluster says; undefined when nothing can lie there. */
export function compressedPlace(high: number, low: number, clusterBits: number): CompressedPlace | undefined {
  const entry = (BigInt(high) << 32n) | BigInt(low >>> 0);
  const offsetBits = BigInt(62 - (clusterBits - 8));
  const offset = entry & ((1n << offsetBits) - 1n);
  if (offset >> 53n) return undefined;
  const sectors = Number((entry & ((1n << 62n) - 1n)) >> offsetBits) + 1;
  const start = Number(offset);
  return { offset: start, length: sectors * 512 - (start % 512) };
}

/** Unpacks a cluster. Throws when the data gives anything but a whole one. */
export function unpackCluster(
  data: Uint8Array,
  { compression, clusterSize, unpack }: { compression: Compression; clusterSize: number; unpack: Unpack },
): Uint8Array {
  if (compression === 'zlib') return unpack.inflate(data, clusterSize);
  return unpack.unzstd(data.subarray(0, zstdFrameLength(data)), clusterSize);
}
