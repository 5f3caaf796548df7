/** A layer's tar archive out of its blob, however it is packed. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { unzstdStream } from '../host/node/zstd-stream.js';
import { OciError } from './errors.js';

/** Bytes that are read at a time. */
const PIECE = 256 * 1024;

type Packing = 'gzip' | 'zstd' | 'none';

/** What it is, whatever its media type says: Docker and containerd look at the first bytes, too. */
export function packingOf(start: Uint8Array): Packing {
  if (start[0] === 0x1f && start[1] === 0x8b) return 'gzip';
  // A frame, or a frame to be skipped (RFC 8878 §3.1).
  const magic = new DataView(start.buffer, start.byteOffset, start.length).getUint32(0, true);
  if (magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50) return 'zstd';
  return 'none';
}

function firstBytes(file: string): Uint8Array {
  const start = new Uint8Array(4);
  const fd = fs.openSync(file, 'r');
  try {
    fs.readSync(fd, start, 0, start.length, 0);
    return start;
  } finally {
    fs.closeSync(fd);
  }
}

function* pieces(file: string, read: (count: number) => void): Generator<Uint8Array> {
  const fd = fs.openSync(file, 'r');
  try {
    for (;;) {
      const piece = new Uint8Array(PIECE);
      const count = fs.readSync(fd, piece);
      if (count === 0) return;
      read(count);
      yield piece.subarray(0, count);
    }
  } finally {
    fs.closeSync(fd);
  }
}

async function* gunzipped(file: string, read: (count: number) => void): AsyncGenerator<Uint8Array> {
  const source = fs.createReadStream(file, { highWaterMark: PIECE });
  const gunzip = createGunzip({ chunkSize: PIECE });
  source.on('data', (piece) => read(piece.length));
  source.on('error', (error) => gunzip.destroy(error));
  source.pipe(gunzip);
  try {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) yield chunk;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

export interface UnpackOptions {
  /** Bytes that may come out. */
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
  /** Told of the bytes that were read of the blob. */
  readonly read?: (count: number) => void;
}

/** The bytes of the archive. Throws a one-line error (OciError) when the blob is damaged or there are too many. */
export async function* unpackLayer(
  file: string,
  { limit, signal, read = () => {} }: UnpackOptions,
): AsyncGenerator<Uint8Array> {
  const packing = packingOf(firstBytes(file));
  const source =
    packing === 'gzip'
      ? gunzipped(file, read)
      : packing === 'zstd'
        ? unzstdStream(pieces(file, read))
        : pieces(file, read);
  let left = limit;
  try {
    for await (const chunk of source) {
      signal?.throwIfAborted();
      left -= chunk.length;
      if (left < 0) throw new OciError('too-large', `the image unpacks to more than ${limit} bytes`);
      yield chunk;
      // What reads and unpacks at once would leave nobody else a turn, nor whoever wants to give it up.
      if (packing !== 'gzip') await turn();
    }
  } catch (error) {
    if (error instanceof OciError || signal?.aborted || packing === 'none') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new OciError('damaged', `a layer cannot be unpacked: ${packing}: ${reason}`, { cause: error });
  }
}

/** The same, held against its digest (`diff_id`) when it has ended. */
export async function* checkedLayer(file: string, diffId: string, options: UnpackOptions): AsyncGenerator<Uint8Array> {
  const [algorithm, expected] = diffId.split(':');
  const hash = createHash(algorithm);
  for await (const chunk of unpackLayer(file, options)) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') !== expected)
    throw new OciError('damaged', `a layer unpacks to something else than the image says (${diffId})`);
}
