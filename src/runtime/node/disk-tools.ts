/** What can be done with disk images apart from running machines on them. */
import * as fs from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { HostError, UsageError } from '../../base/errors.js';
import { isZero } from '../../base/zeros.js';
import type { DiskImage } from '../../block/image.js';
import { openImage, type ImageFormat, type OpenRequest } from '../../block/open.js';
import { probeFormat } from '../../block/probe.js';
import type { CheckResult } from '../../block/qcow2/check.js';
import { createQcow2 } from '../../block/qcow2/create.js';
import { extendedL2, INCOMPATIBLE, lazyRefcounts, readHeader } from '../../block/qcow2/header.js';
import { checkQcow2, repairQcow2 } from '../../block/qcow2/open.js';
import { readSnapshots, type InternalSnapshot } from '../../block/qcow2/snapshots.js';
import { DiskFile } from '../../host/node/disk-file.js';
import { zstdReady } from '../../host/node/zstd.js';
import { isAddress } from './http-images.js';
import { imageOpener } from './image-store.js';

/** Bytes that are copied or compared at once. */
const PIECE = 1 << 20;

const opener = (lock: boolean): ReturnType<typeof imageOpener> =>
  imageOpener({ lock, warn: (text) => process.stderr.write(`${text}\n`) });

export interface CreateRequest {
  readonly file: string;
  readonly format: 'raw' | 'qcow2';
  /** Bytes of the disk; undefined: as many as the backing file has. */
  readonly size: number | undefined;
  /** An image that the new one stands on, relative to the place of the new one. */
  readonly backing?: { readonly file: string; readonly format: ImageFormat } | undefined;
  readonly clusterSize?: number | undefined;
  readonly refcountBits?: number | undefined;
}

/** A new image. Throws a one-line error, with nothing left behind, when there can be none. */
export function createDisk({ file, format, size, backing, clusterSize, refcountBits }: CreateRequest): void {
  const found = backing && describeBacking(file, backing);
  const bytes = size ?? found?.size;
  if (bytes === undefined) throw new UsageError('a disk without a backing file needs a size');
  const disk = DiskFile.create(file);
  try {
    if (format === 'raw') disk.truncate(bytes);
    else
      createQcow2(disk, {
        size: bytes,
        ...(found && backing && { backing: { name: backing.file, format: found.format } }),
        ...(clusterSize !== undefined && { clusterSize }),
        ...(refcountBits !== undefined && { refcountBits }),
      });
    disk.close();
  } catch (error) {
    disk.close();
    fs.rmSync(file, { force: true });
    throw failure(file, error);
  }
}

function describeBacking(
  image: string,
  backing: { readonly file: string; readonly format: ImageFormat },
): { readonly size: number; readonly format: string } {
  const { store, unpack } = opener(true);
  const name = store.resolve(image, backing.file);
  const base = openImage({ name, format: backing.format, readOnly: true }, { store, unpack });
  const { size, format } = base;
  base.close();
  return { size, format };
}

/** What the host refuses in the middle of work, as one line. */
function failure(file: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  return new HostError(`cannot write the disk ${file}: ${error.message}`, { cause: error });
}

/** An image in words; see `vitrine disk info`. */
export interface DiskInfo {
  readonly file: string;
  readonly format: 'raw' | 'qcow2';
  /** Bytes that a guest sees. */
  readonly size: number;
  /** Bytes that the host has given it. */
  readonly allocated: number;
  readonly backingFile?: string;
  readonly backingFormat?: string;
  readonly qcow2?: {
    readonly version: number;
    readonly clusterSize: number;
    readonly refcountBits: number;
    readonly compression: string;
    readonly lazyRefcounts: boolean;
    readonly extendedL2: boolean;
    readonly dirty: boolean;
    readonly corrupt: boolean;
    readonly bitmaps: number;
    readonly snapshots: readonly InternalSnapshot[];
  };
}

/** Looks at an image, in use or not, and at nothing that it stands on. Throws a one-line error. */
export function describeDisk(name: string): DiskInfo {
  const file = opener(false).store.open(name, false);
  try {
    const allocated = isAddress(name) ? 0 : fs.statSync(name).blocks * 512;
    if (probeFormat(file) === 'raw') return { file: name, format: 'raw', size: file.size, allocated };
    const header = readHeader(file);
    return {
      file: name,
      format: 'qcow2',
      size: header.size,
      allocated,
      ...(header.backingName !== undefined && {
        backingFile: header.backingName,
        // As it is, known here or not: who looks wants to know why it cannot be used.
        backingFormat: header.backingFormat ?? 'auto',
      }),
      qcow2: {
        version: header.version,
        clusterSize: 2 ** header.clusterBits,
        refcountBits: 2 ** header.refcountOrder,
        compression: header.compression,
        lazyRefcounts: lazyRefcounts(header),
        extendedL2: extendedL2(header),
        dirty: (header.incompatible & INCOMPATIBLE.DIRTY) !== 0n,
        corrupt: (header.incompatible & INCOMPATIBLE.CORRUPT) !== 0n,
        bitmaps: header.bitmaps?.count ?? 0,
        snapshots: readSnapshots(file, header).snapshots,
      },
    };
  } finally {
    file.close();
  }
}

/** What is wrong with a qcow2 image; with `repair`, what was. Throws a one-line error. */
export function checkDisk(name: string, repair: boolean): CheckResult {
  const { store } = opener(true);
  const file = store.open(name, repair);
  try {
    return repair ? repairQcow2(file) : checkQcow2(file);
  } finally {
    file.close();
  }
}

/** The source of a copy or a comparison. */
export interface Source {
  readonly file: string;
  readonly format: ImageFormat;
  readonly snapshot?: string | undefined;
}

async function openSource({ file, format, snapshot }: Source): Promise<DiskImage> {
  await zstdReady();
  return openImage({ name: file, format, readOnly: true, internal: snapshot }, opener(true));
}

/** Copies a disk's contents into a new image. Throws a one-line error, with nothing left behind, as when the process exits meanwhile. */
export async function convertDisk(
  source: Source,
  target: { readonly file: string; readonly format: 'raw' | 'qcow2' },
): Promise<void> {
  const from = await openSource(source);
  try {
    createDisk({ ...target, size: from.size });
    // A part of a copy looks like a whole disk.
    const remove = (): void => fs.rmSync(target.file, { force: true });
    process.once('exit', remove);
    try {
      const request: OpenRequest = { name: target.file, format: target.format, readOnly: false };
      const to = openImage(request, opener(true));
      try {
        await copy(from, to);
      } finally {
        to.close();
      }
    } catch (error) {
      remove();
      throw failure(target.file, error);
    } finally {
      process.off('exit', remove);
    }
  } finally {
    from.close();
  }
}

/** Bytes without a word in them are not written. */
const GRAIN = 65536;

/** Between pieces there is time for signals. */
async function copy(from: DiskImage, to: DiskImage): Promise<void> {
  const buffer = new Uint8Array(PIECE);
  for (let at = 0; at < from.size; at += PIECE) {
    const piece = buffer.subarray(0, Math.min(PIECE, from.size - at));
    if (!holdsNothing(from, at, piece.length)) {
      from.read(at, piece);
      for (let begin = 0; begin < piece.length;) {
        let end = begin;
        while (end < piece.length && !isZero(piece.subarray(end, end + GRAIN))) end += GRAIN;
        if (end > begin) to.write(at + begin, piece.subarray(begin, Math.min(end, piece.length)));
        begin = end + GRAIN;
      }
    }
    await turn();
  }
  to.flush();
}

/** Whether a range, as far as it is within the disk, is known to be zeros without a look at it. */
function holdsNothing(image: DiskImage, at: number, length: number): boolean {
  const there = Math.min(length, image.size - at);
  return there <= 0 || image.isZero?.(at, there) === true;
}

/** Where two disks differ first, in bytes; undefined: nowhere. What one has more than the other counts unless it is zeros. */
export async function compareDisks(a: Source, b: Source): Promise<number | undefined> {
  const [left, right] = [await openSource(a), await openSource(b)];
  const [one, other] = [new Uint8Array(PIECE), new Uint8Array(PIECE)];
  const read = (image: DiskImage, at: number, into: Uint8Array): void => {
    const there = Math.max(0, Math.min(into.length, image.size - at));
    if (there > 0) image.read(at, into.subarray(0, there));
    into.fill(0, there);
  };
  try {
    for (let at = 0; at < Math.max(left.size, right.size); at += PIECE) {
      if (holdsNothing(left, at, PIECE) && holdsNothing(right, at, PIECE)) continue;
      read(left, at, one);
      read(right, at, other);
      if (Buffer.compare(one, other) !== 0) return at + one.findIndex((byte, i) => byte !== other[i]);
    }
    return undefined;
  } finally {
    left.close();
    right.close();
  }
}
