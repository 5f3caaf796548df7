/** The formats of zlib, at once: the browser's own compression needs an event loop, which a thread with a machine does not have. */
import { Gunzip, unzlibSync, zlibSync } from 'fflate';
import { crc32 } from '../../base/crc32.js';

const own = (data: Uint8Array): Uint8Array<ArrayBuffer> => {
  const { buffer } = data;
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, data.byteOffset, data.length) : new Uint8Array(data);
};

/** zlib streams (RFC 1950), at their fastest: memory compresses little better otherwise. */
export const deflate = {
  name: 'deflate',
  compress: (data: Uint8Array): Uint8Array => zlibSync(own(data), { level: 1 }),
  decompress: (data: Uint8Array, length: number): Uint8Array => {
    // One byte more than there may be shows what is too long; beyond, nothing is written.
    const result = unzlibSync(own(data), { out: new Uint8Array(length + 1) });
    if (result.length !== length) throw new Error(`unpacks to ${result.length} bytes or more, not ${length}`);
    return result;
  },
  crc32,
};

/** More than any kernel unpacks to, in bytes. */
const MAX_UNPACKED = 2 ** 30;
/** Packed bytes that are unpacked before the total is looked at: to a thousand times as many at most (RFC 1951, §3.2.5). */
const PIECE = 2 ** 16;

/** Throws when it is no gzip file (RFC 1952), or unpacks to more than any kernel. */
export function gunzip(data: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  let total = 0;
  const stream = new Gunzip((part) => {
    total += part.length;
    if (total > MAX_UNPACKED) throw new Error('it unpacks to more than a GiB');
    parts.push(part);
  });
  const packed = own(data);
  for (let from = 0; from === 0 || from < packed.length; from += PIECE)
    stream.push(packed.subarray(from, from + PIECE), from + PIECE >= packed.length);
  const result = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
