/** Removes what no image needs any more. */
import { readdir, rm, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { canLock } from '../host/node/file-lock.js';
import type { Digest } from './image.js';
import type { ImageRecord } from './image-records.js';

/** Milliseconds that a blob without a name is spared where there are no locks. */
const GRACE = 60 * 60 * 1000;

export interface Kept {
  readonly records: readonly ImageRecord[];
  /** Where the disk of a manifest is. */
  readonly diskOf: (digest: Digest) => string;
}

/** Nobody else uses the store meanwhile. Returns the bytes that this freed. */
export async function collectGarbage(root: string, { records, diskOf }: Kept): Promise<number> {
  const kept = new Set(records.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)));
  const disks = new Set(records.map(({ digest }) => path.basename(diskOf(digest))));
  let freed = 0;
  const remove = async (...names: string[]): Promise<void> => {
    const place = path.join(root, ...names);
    const found = await stat(place).catch(() => undefined);
    // Without locks, somebody may be about to give it a name.
    if (found === undefined || (!canLock && Date.now() - found.mtimeMs < GRACE)) return;
    freed += await allocated(place);
    await rm(place, { recursive: true, force: true });
  };
  for (const algorithm of await names(root, 'blobs'))
    for (const hex of await names(root, 'blobs', algorithm))
      if (!kept.has(`${algorithm}:${hex}`)) await remove('blobs', algorithm, hex);
  for (const name of await names(root, 'disks')) if (!disks.has(name)) await remove('disks', name);
  for (const name of await names(root, 'partial')) await remove('partial', name);
  return freed;
}

const names = (...folder: string[]): Promise<string[]> => readdir(path.join(...folder)).catch(() => []);

/** Bytes that a file, or what is in a folder, takes on the disk. */
export async function allocated(place: string): Promise<number> {
  const found = await stat(place).catch(() => undefined);
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.blocks * 512;
  let sum = 0;
  for (const name of await readdir(place)) sum += await allocated(path.join(place, name));
  return sum;
}
