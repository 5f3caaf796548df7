/**
 * Blobs by their digests, under `blobs/ALGORITHM/HEX` of a folder: each is there whole and checked, or not at all. What is being
 * fetched is under `partial`, where another attempt goes on after a failure.
 */
import { createHash, type Hash } from 'node:crypto';
import * as fs from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import * as path from 'node:path';
import { canLock, withFileLock } from '../host/node/file-lock.js';
import { reasonOf } from '../host/node/read-file.js';
import { OciError } from './errors.js';
import { withRetries } from './http.js';
import type { Descriptor, Digest } from './image.js';

/** Gives a blob's bytes from an offset on, or from the beginning where that cannot be. */
export type BlobSource = (offset: number) => Promise<{
  readonly from: number;
  readonly body: AsyncIterable<Uint8Array>;
}>;

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told how many bytes of the blob are there. */
  readonly progress?: ((bytes: number) => void) | undefined;
}

const PIECE = 2 ** 20;

/** What the host refuses, as one line. */
export function storageError(what: string, cause: unknown): OciError {
  return new OciError('storage', `cannot ${what}: ${reasonOf(cause)}`, { cause });
}

/** An error of the system's. */
export interface SystemError extends Error {
  /** Such as ENOSPC. */
  readonly code?: string | undefined;
  readonly syscall?: string | undefined;
}

/** Whether an error is the system's: it has a code such as ENOSPC. */
export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

export class BlobStore {
  constructor(private readonly root: string) {}

  pathOf(digest: Digest): string {
    const [algorithm, hex] = digest.split(':');
    return path.join(this.root, 'blobs', algorithm, hex);
  }

  private partialOf(digest: Digest): string {
    return path.join(this.root, 'partial', digest.replace(':', '-'));
  }

  /** Whether it is there. A file that somebody has cut short is as good as none. */
  async has({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): Promise<boolean> {
    return stat(this.pathOf(digest)).then(
      (found) => found.isFile() && found.size === size,
      () => false,
    );
  }

  /** A small blob's bytes, checked again. Throws a one-line error (OciError). */
  async read({ digest, size }: Pick<Descriptor, 'digest' | 'size'>, limit: number): Promise<Uint8Array> {
    if (size > limit) throw new OciError('too-large', `${digest} has ${size} bytes; ${limit} are allowed`);
    const bytes = await readFile(this.pathOf(digest)).catch((cause: unknown) => {
      throw storageError(`read ${this.pathOf(digest)}`, cause);
    });
    const [algorithm, hex] = digest.split(':');
    if (createHash(algorithm).update(bytes).digest('hex') !== hex)
      throw new OciError('storage', `${this.pathOf(digest)} was changed: vitrine image rm and pull again`);
    return bytes;
  }

  /** Puts bytes in place whose digest is known. */
  async put(digest: Digest, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const source: BlobSource = () => Promise.resolve({ from: 0, body: once(bytes) });
    await this.fetch({ digest, size: bytes.length }, source, { signal });
  }

  /**
   * Fetches a blob unless it is there; two processes that want the same one fetch it once. Throws a one-line error (OciError); what
   * came before the network failed is kept for the next attempt, what is not as its digest says is not.
   */
  async fetch(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    source: BlobSource,
    { signal, progress }: FetchOptions,
  ): Promise<void> {
    if (await this.has({ digest, size })) {
      progress?.(size);
      return;
    }
    const partial = this.partialOf(digest);
    // Without locks nobody else may write to it.
    const file = canLock ? partial : `${partial}-${process.pid}`;
    try {
      await mkdir(path.dirname(file), { recursive: true });
      await mkdir(path.dirname(this.pathOf(digest)), { recursive: true });
      await withFileLock(`${partial}.lock`, 'exclusive', signal, async () => {
        if (!(await this.has({ digest, size }))) {
          await withRetries(signal, async () => {
            while (!(await attempt(file, { digest, size }, source, { signal, progress })));
          });
          await rename(file, this.pathOf(digest));
        }
        progress?.(size);
        await rm(`${partial}.lock`, { force: true });
      });
    } catch (error) {
      throw isSystemError(error) ? storageError(`keep ${digest} in the cache`, error) : error;
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}

/** The hash of what is there already. */
async function hashOf(file: FileHandle, algorithm: string, length: number): Promise<Hash> {
  const hash = createHash(algorithm);
  const piece = new Uint8Array(PIECE);
  for (let at = 0; at < length;) {
    const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, length - at), at);
    if (bytesRead === 0) break;
    hash.update(piece.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash;
}

/** False: what was there from before was wrong, perhaps from another registry, and is gone. */
async function attempt(
  name: string,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  source: BlobSource,
  { signal, progress }: FetchOptions,
): Promise<boolean> {
  const [algorithm, hex] = digest.split(':');
  const file = await open(name, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  try {
    let at = (await file.stat()).size;
    // More than there is cannot be a part of it; all of it may be wrong, and is checked below.
    if (at > size) at = 0;
    let resumed = at > 0;
    let hash = await hashOf(file, algorithm, at);
    if (at < size || size === 0) {
      const { from, body } = await source(at);
      if (from !== at) {
        at = 0;
        resumed = false;
        hash = createHash(algorithm);
        await file.truncate(0);
      }
      for await (const chunk of body) {
        signal?.throwIfAborted();
        if (at + chunk.length > size) {
          await rm(name, { force: true });
          throw new OciError('damaged', `${digest} is longer than the ${size} bytes it is to have`);
        }
        hash.update(chunk);
        for (let done = 0; done < chunk.length;)
          done += (await file.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
        at += chunk.length;
        progress?.(at);
      }
    }
    const short = at !== size;
    if (short || hash.digest('hex') !== hex) {
      await rm(name, { force: true });
      if (!resumed) {
        const what = short
          ? `${digest} has ${at} bytes instead of ${size}`
          : `what came is not what its digest says (${digest})`;
        throw new OciError('damaged', what);
      }
      return false;
    }
    await file.truncate(size);
    await file.datasync();
    return true;
  } catch (error) {
    // Nothing came: there is nothing to go on with.
    if ((await file.stat()).size === 0) await rm(name, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}
