import { HostError } from '../base/errors.js';
import type { SnapshotSource, SnapshotTarget } from './container.js';

/** Bytes. What machines of one process hand each other is most of the time smaller. */
const FIRST_SIZE = 0x1_0000;

/** A snapshot that is a file nowhere: of this thread's memory. */
export class SnapshotBuffer implements SnapshotTarget, SnapshotSource {
  private buffer: Uint8Array;
  size: number;

  /** `bytes`: what is in it. */
  constructor(
    readonly name: string,
    bytes: Uint8Array = new Uint8Array(0),
  ) {
    this.buffer = bytes;
    this.size = bytes.length;
  }

  /** Throws a HostError when there is no room. */
  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.buffer.length) this.grow(end);
    this.buffer.set(bytes, offset);
    this.size = Math.max(this.size, end);
  }

  private grow(size: number): void {
    // Twice as much, so that it is seldom copied, but of what is large only what is wanted.
    const wanted = size < 2 ** 30 ? Math.max(FIRST_SIZE, 2 * size) : size;
    try {
      const grown = new Uint8Array(wanted);
      grown.set(this.buffer.subarray(0, this.size));
      this.buffer = grown;
    } catch (cause) {
      throw new HostError(`there is no memory for a snapshot of ${size} bytes`, { cause });
    }
  }

  /** What stands there, until something is written. */
  read(offset: number, length: number): Uint8Array {
    return this.buffer.subarray(offset, offset + length);
  }

  /** A copy of all of it. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return this.buffer.slice(0, this.size);
  }
}
