import * as fs from 'node:fs';
import { isPageAligned, pageAligned } from './page-aligned.js';

/** Offsets, lengths and memory are multiples of it: at least the block of every disk of a host. */
const ALIGNMENT = 4096;
/** Bytes that are moved at once. */
const PIECE = 0x10_0000;

/** For bytes that lie anywhere. */
let pages: Uint8Array | undefined;
const buffer = (): Uint8Array => (pages ??= pageAligned(PIECE));

/** The part of a range that begins and ends at multiples of ALIGNMENT; empty if there is none. */
export function alignedPart(offset: number, length: number): { readonly start: number; readonly end: number } {
  const start = Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
  return { start, end: Math.max(start, Math.floor((offset + length) / ALIGNMENT) * ALIGNMENT) };
}

/**
 * An open file past the host's cache (open(2), O_DIRECT), in aligned parts. What is read and written of it by its first descriptor is
 * seen here, and the other way round: the host writes its cache back, or drops it, before it passes it by.
 */
export class DirectIo {
  private constructor(readonly fd: number) {}

  /** Throws what the host refuses: EINVAL where the file system has none of it. */
  static of(fd: number, writable: boolean): DirectIo {
    const mode = (writable ? fs.constants.O_RDWR : fs.constants.O_RDONLY) | fs.constants.O_DIRECT;
    const io = new DirectIo(fs.openSync(`/proc/self/fd/${fd}`, mode));
    try {
      // Some only say so when they are to do it.
      io.read(0, new Uint8Array(ALIGNMENT));
      return io;
    } catch (error) {
      io.close();
      throw error;
    }
  }

  /** Whether a transfer passes the cache by in one piece, without a copy. */
  takesWhole(offset: number, bytes: Uint8Array): boolean {
    return offset % ALIGNMENT === 0 && bytes.length % ALIGNMENT === 0 && isPageAligned(bytes);
  }

  /** Bytes read: fewer at the end of the file only. */
  read(offset: number, into: Uint8Array): number {
    const straight = isPageAligned(into);
    for (let at = 0; at < into.length;) {
      const piece = into.subarray(at, at + PIECE);
      const bytes = straight ? piece : buffer();
      const count = fs.readSync(this.fd, bytes, 0, piece.length, offset + at);
      if (!straight) piece.set(bytes.subarray(0, count));
      at += count;
      if (count % ALIGNMENT !== 0 || count === 0) return at;
    }
    return into.length;
  }

  write(offset: number, from: Uint8Array): void {
    const straight = isPageAligned(from);
    for (let at = 0; at < from.length;) {
      const piece = from.subarray(at, at + PIECE);
      const bytes = straight ? piece : buffer();
      if (!straight) bytes.set(piece);
      for (let done = 0; done < piece.length;)
        done += fs.writeSync(this.fd, bytes, done, piece.length - done, offset + at + done);
      at += piece.length;
    }
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}
