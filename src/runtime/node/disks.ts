/** Opens the images of a machine's disks. */
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { UsageError } from '../../base/errors.js';
import { ImageDisk } from '../../block/disk.js';
import type { DiskImage } from '../../block/image.js';
import { openImage, type Opener } from '../../block/open.js';
import { TemporaryDisk } from '../../block/temporary.js';
import { BufferPool, PIECE } from '../../devices/buffer-pool.js';
import { DiskFile } from '../../host/node/disk-file.js';
import type { DiskTransfers } from '../../host/node/disk-transfers.js';
import { beginsAtPage } from '../../host/node/page-aligned.js';
import type { BlockBackend } from '../../iface/block.js';
import { DEFAULT_DISK_CACHE, type DiskConfig } from '../../vmm/config.js';
import { isAddress } from './http-images.js';
import { imageOpener } from './image-store.js';

/** Memory for data on their way between a machine and its disks: by the host's cache, and past it. */
export interface DiskBuffers {
  readonly cached: BufferPool;
  readonly pastCache: BufferPool;
}

/** `staging`: of the machine's Vm. */
export function diskBuffers(staging: Uint8Array): DiskBuffers {
  beginsAtPage(staging.buffer);
  // Past the cache any number are under way at a time; by it, one.
  const cached = PIECE.CACHED * 4;
  return {
    cached: new BufferPool(PIECE.CACHED, staging.subarray(0, cached)),
    pastCache: new BufferPool(PIECE.PAST_CACHE, staging.subarray(cached)),
  };
}

export interface DiskOwner {
  /** What the owner should know, as one line. */
  readonly warn: (text: string) => void;
  /** Absent: whatever a guest wants is done at once. */
  readonly transfers?: DiskTransfers | undefined;
  /** Once the machine has memory. Absent: any memory will do. */
  readonly buffers?: () => DiskBuffers | undefined;
}

/** Throws a one-line error when the image cannot be a disk. */
export function openDisk(disk: DiskConfig, { warn, transfers: all, buffers }: DiskOwner): BlockBackend {
  const { path: name, format, serial, internal, cache = DEFAULT_DISK_CACHE } = disk;
  if (cache === 'none' && isAddress(name))
    throw new UsageError(`the disk ${name} cannot be used with cache=none: that is for files of this host`);
  // A server takes no writes: what a guest writes is thrown away, unless the disk stands under an image of this host.
  const temporary = disk.temporary || (isAddress(name) && !disk.readOnly);
  const transfers = cache === 'none' ? all : undefined;
  const opener = imageOpener({ lock: true, direct: cache === 'none', transfers, warn });
  const readOnly = disk.readOnly || temporary;
  const image = openImage({ name, format, readOnly, internal: internal ?? undefined }, opener);
  const overlay = temporary ? overlayOf(image, name, opener) : undefined;
  return new ImageDisk(overlay ?? image, {
    writes: overlay,
    buffers: () => buffers?.()?.[cache === 'none' ? 'pastCache' : 'cached'],
    ...(transfers && { settle: () => transfers.settle() }),
    serial: serial ?? serialOf(name),
    failed: (error) =>
      warn(`vitrine: the disk ${name} failed: ${error instanceof Error ? error.message : String(error)}`),
  });
}

/** The name of a disk, whatever the current folder is later. */
export const locateDisk = (name: string): string => (isAddress(name) ? name : path.resolve(name));

function overlayOf(base: DiskImage, name: string, { unpack }: Opener): TemporaryDisk {
  try {
    return new TemporaryDisk(base, DiskFile.temporary(`the writes to ${name}`, tmpdir()), unpack);
  } catch (error) {
    base.close();
    throw error;
  }
}

/** Up to 20 characters of the file's name. */
function serialOf(file: string): string {
  return path
    .basename(file)
    .replace(/[^\x21-\x7e]/g, '_')
    .slice(0, 20);
}
