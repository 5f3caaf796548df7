/** New images of version 3. */
import { KIB } from '../../base/units.js';
import type { HostFile } from '../../iface/file.js';
import { ImageError, SECTOR } from '../image.js';
import { INCOMPATIBLE, neededL1, newHeaderCluster, type Qcow2Header } from './header.js';
import { Metadata } from './metadata.js';

export interface NewImage {
  /** Bytes of the disk, whole sectors. */
  readonly size: number;
  readonly backing?: { readonly name: string; readonly format: string } | undefined;
  /** Bytes of a cluster, a power of two, 512 … 2 MiB. Default 64 KiB. */
  readonly clusterSize?: number;
  /** Bits of a reference count, a power of two, 1 … 64. Default 16. */
  readonly refcountBits?: number;
  /** Clusters have 32 subclusters each, for which there is room of their own; clusters of 16 KiB at least. */
  readonly extendedL2?: boolean;
}

/** Makes an image of an empty file. Throws a one-line error when there can be none like that. */
export function createQcow2(
  file: HostFile,
  { size, backing, clusterSize = 64 * KIB, refcountBits = 16, extendedL2 = false }: NewImage,
): void {
  const clusterBits = Math.log2(clusterSize);
  const refcountOrder = Math.log2(refcountBits);
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21)
    throw new ImageError(`clusters of ${clusterSize} bytes cannot be; a power of two from 512 to 2097152 can`);
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > 6)
    throw new ImageError(`reference counts of ${refcountBits} bits cannot be; 1, 2, 4, 8, 16, 32 and 64 can`);
  if (size <= 0 || size % SECTOR !== 0) throw new ImageError(`a disk of ${size} bytes cannot be: sectors have 512`);
  if (extendedL2 && clusterBits < 14)
    throw new ImageError(`clusters of ${clusterSize} bytes are too small to have subclusters; 16384 are needed`);
  const incompatible = extendedL2 ? INCOMPATIBLE.EXTENDED_L2 : 0n;
  const l1Size = neededL1(size, { clusterBits, incompatible });
  if (l1Size * 8 > 32 * KIB * KIB)
    throw new ImageError(`a disk of ${size} bytes is too large for clusters of ${clusterSize} bytes`);
  const header: Qcow2Header = {
    version: 3,
    clusterBits,
    size,
    backingName: backing?.name,
    backingFormat: backing?.format,
    l1Size,
    l1Offset: 0,
    refcountTableOffset: 0,
    refcountTableClusters: 0,
    snapshotCount: 0,
    snapshotsOffset: 0,
    incompatible,
    compatible: 0n,
    autoclear: 0n,
    refcountOrder,
    compression: 'zlib',
    bitmaps: undefined,
  };
  // Not an image yet: its tables have no places.
  const first = newHeaderCluster(header);
  const metadata = new Metadata(file, header, new Uint8Array(l1Size * 8), []);
  metadata.initialize();
  file.write(0, first);
  metadata.commit();
}
