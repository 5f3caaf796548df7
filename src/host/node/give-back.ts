import { readSync } from 'node:fs';
import { libc } from './native/libc.js';

/** Buffers in whose place, or in a part of it, a file is mapped: what is discarded there is the file's again, not zeros. */
const mapped = new WeakSet<ArrayBufferLike>();

/** Lets the system have whole pages of memory, which are zeros then. False: it cannot. */
export const giveBack = (bytes: Uint8Array): boolean => !mapped.has(bytes.buffer) && libc?.discard(bytes) === 0;

/** The same where it is known that no file is mapped there, or that nobody reads what is there; whatever is elsewhere in the buffer. */
export const discard = (bytes: Uint8Array): boolean => libc?.discard(bytes) === 0;

/** Has whole pages there that will be written to: all at a time takes less than one after the other. Where the system cannot, they come when they are wanted. */
export function populate(bytes: Uint8Array): void {
  libc?.populate(bytes);
}

/**
 * Puts whole pages of an open file in the place of memory (which begins at a page of the system's): what is written becomes
 * the memory's own. The file must neither change nor become shorter. False: it cannot.
 */
export function mapFile(bytes: Uint8Array, fd: number, offset: number): boolean {
  if (libc?.mapPrivate(bytes, fd, offset) !== 0) return false;
  mapped.add(bytes.buffer);
  return true;
}

/** The same; where the process has no more mappings, what the file has is copied. */
export function mapOrRead(bytes: Uint8Array, fd: number, offset: number): void {
  if (mapFile(bytes, fd, offset)) return;
  for (let at = 0; at < bytes.length;) {
    const count = readSync(fd, bytes, at, bytes.length - at, offset + at);
    if (count === 0) throw new Error('a file has become shorter');
    at += count;
  }
}
