/** An image's layers as one disk: an ext4 file system, written directly. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { isZero } from '../base/zeros.js';
import { ImageError } from '../block/image.js';
import type { FsFile, FsFolder } from '../block/ext4/tree.js';
import { Ext4Image } from '../block/ext4/write.js';
import { DiskFile } from '../host/node/disk-file.js';
import { OciError } from './errors.js';
import { findNode, LayerTree, type LayerFile } from './layer-tree.js';
import type { LayerBlob } from './image.js';
import { TarReader } from './tar-reader.js';
import { checkedLayer, unpackLayer } from './unpack-layer.js';

/** What an image may come to. */
export interface DiskLimits {
  /** Files and folders of all layers. */
  readonly entries: number;
  /** Bytes that the layers unpack to, all together. */
  readonly unpacked: number;
  /** Bytes of the disk. */
  readonly disk: number;
}

export const DEFAULT_LIMITS: DiskLimits = { entries: 2_000_000, unpacked: 64 * 2 ** 30, disk: 1024 * 2 ** 30 };

export interface DiskOptions {
  readonly limits: DiskLimits;
  /** What makes this disk another than others: its UUID is made of it. */
  readonly identity: string;
  /** Seconds since 1970. */
  readonly made: number;
  /** Bytes of the disk; otherwise what the files need, and 8 GiB. */
  readonly size?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** 0 … 1. */
  readonly progress?: ((fraction: number) => void) | undefined;
}

export interface BuiltDisk {
  /** Bytes. */
  readonly size: number;
  /** Files and folders. */
  readonly files: number;
  /** Contents of files that were asked for, where they are there. */
  readonly contents: ReadonlyMap<string, Uint8Array>;
}

/** Files whose contents are of use to whoever starts the image. */
const WANTED = ['etc/passwd', 'etc/group'] as const;
/** Bytes of such a file. */
const MAX_WANTED = 2 ** 20;

/**
 * Reads the layers twice: first what is in them, in memory, with all their digests; then the contents of files that are still there,
 * straight to their places. Throws a one-line error (OciError); what was written by then is of no use.
 */
export async function buildDisk(layers: readonly LayerBlob[], file: string, options: DiskOptions): Promise<BuiltDisk> {
  const { limits, signal } = options;
  const total = layers.reduce((sum, { size }) => sum + size, 0) * 2;
  let done = 0;
  const read = (count: number): void => {
    done += count;
    options.progress?.(Math.min(1, done / Math.max(1, total)));
  };
  const tree = new LayerTree({ entries: limits.entries });
  let unpacked = 0;
  for (const { path, diffId } of layers) {
    tree.nextLayer();
    const reader = new TarReader({ entry: (entry) => tree.apply(entry) });
    for await (const chunk of checkedLayer(path, diffId, { limit: limits.unpacked - unpacked, signal, read })) {
      unpacked += chunk.length;
      reader.push(chunk);
    }
    reader.end();
  }
  const image = layOut(tree.root, options);
  const disk = DiskFile.create(file);
  try {
    for (const _ of image.writeMetadata(disk)) {
      signal?.throwIfAborted();
      await turn();
    }
    const contents = new Map<string, Uint8Array>();
    const wanted = new Map<FsFile, Uint8Array>();
    for (const name of WANTED) {
      const node = findNode(tree.root, name);
      if (node?.kind !== 'file' || node.size > MAX_WANTED) continue;
      const bytes = wanted.get(node) ?? new Uint8Array(node.size);
      wanted.set(node, bytes);
      contents.set(name, bytes);
    }
    const byLayer = filesByLayer(tree.root, layers.length);
    for (const [i, { path }] of layers.entries()) {
      const files = byLayer[i];
      if (files.size > 0) await writeLayer(path, files, { image, disk, wanted, signal, read, limit: limits.unpacked });
      else read(layers[i].size);
    }
    disk.close();
    await makeDurable(file);
    return { size: image.size, files: countFiles(tree.root), contents };
  } finally {
    disk.close();
  }
}

/** Gigabytes may have to reach the host's disk: others have their turn meanwhile. */
async function makeDurable(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

function layOut(root: FsFolder, { identity, made, size, limits }: DiskOptions): Ext4Image {
  try {
    const image = new Ext4Image(root, { uuid: uuidOf(identity), made, size });
    if (image.size > limits.disk)
      throw new OciError('too-large', `the image needs a disk of ${image.size} bytes, more than is allowed`);
    return image;
  } catch (error) {
    if (error instanceof ImageError) throw new OciError('damaged', `the image: ${error.message}`, { cause: error });
    throw error;
  }
}

/** A name-based UUID of version 8 (RFC 9562 §5.8). */
function uuidOf(identity: string): Uint8Array {
  const bytes = new Uint8Array(createHash('sha256').update(identity).digest().subarray(0, 16));
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes;
}

function* allFiles(root: FsFolder): Generator<LayerFile> {
  const folders = [root];
  for (let next = folders.pop(); next !== undefined; next = folders.pop())
    for (const node of next.children.values()) {
      if (node.kind === 'folder') folders.push(node);
      else if (node.kind === 'file') yield node as LayerFile;
    }
}

function filesByLayer(root: FsFolder, layers: number): Map<number, LayerFile>[] {
  const result = Array.from({ length: layers }, () => new Map<number, LayerFile>());
  for (const file of allFiles(root)) if (file.size > 0) result[file.source.layer].set(file.source.entry, file);
  return result;
}

function countFiles(root: FsFolder): number {
  let count = 0;
  const folders = [root];
  for (let next = folders.pop(); next !== undefined; next = folders.pop())
    for (const node of next.children.values()) {
      count++;
      if (node.kind === 'folder') folders.push(node);
    }
  return count;
}

interface LayerWriting {
  readonly image: Ext4Image;
  readonly disk: DiskFile;
  readonly wanted: ReadonlyMap<FsFile, Uint8Array>;
  readonly limit: number;
  readonly signal: AbortSignal | undefined;
  readonly read: (count: number) => void;
}

async function writeLayer(
  path: string,
  files: ReadonlyMap<number, LayerFile>,
  { image, disk, wanted, limit, signal, read }: LayerWriting,
): Promise<void> {
  let write: ((offset: number, bytes: Uint8Array) => void) | undefined;
  let kept: Uint8Array | undefined;
  const reader = new TarReader({
    entry: ({ index }) => {
      const file = files.get(index);
      write = file && image.contentWriter(file, disk);
      kept = file && wanted.get(file);
    },
    content: (bytes, offset) => {
      kept?.set(bytes, offset);
      // The disk reads as zeros where nothing was written.
      if (write && !isZero(bytes)) write(offset, bytes);
    },
  });
  for await (const chunk of unpackLayer(path, { limit, signal, read })) reader.push(chunk);
  reader.end();
}
