/**
 * Messages between two threads of which the reader need not come back to its event loop: plain data, one behind the other, in a
 * ring of shared memory. A browser has nothing else for a thread that blocks.
 */
import { assert } from '../../base/assert.js';
import { decodePlain, encodePlain } from '../../snapshot/plain-encoding.js';
import type { Plain } from '../../snapshot/schema.js';

/** 32-bit words in front of the data. */
const WORD = {
  /** Bytes written and read so far, modulo 2**32. */
  HEAD: 0,
  TAIL: 1,
  SIZE: 16,
} as const;

/** Milliseconds after which whoever waits looks by itself. */
const PATIENCE = 100;
/** Bytes of a message's length, little-endian. */
const LENGTH = 4;

/** One writer and one reader, each on one thread. */
export class MessageRing {
  private readonly words: Int32Array;
  private readonly data: Uint8Array;
  /** Bytes of messages that there was no room for yet. */
  private readonly left: Uint8Array[] = [];

  /** `shared` was made by `create`. */
  constructor(readonly shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared, 0, WORD.SIZE);
    this.data = new Uint8Array(shared, WORD.SIZE * 4);
  }

  /** `size` in bytes, a power of two. A message may be longer. */
  static create(size: number): MessageRing {
    assert(size > 0 && (size & (size - 1)) === 0, 'positions are modulo 2**32');
    return new MessageRing(new SharedArrayBuffer(WORD.SIZE * 4 + size));
  }

  // ---- the writer ----

  /** Sends a message; waits while there is no room. Not on a page's own thread, which must not wait. */
  send(message: Plain): void {
    this.enqueue(message);
    while (!this.push()) {
      const tail = Atomics.load(this.words, WORD.TAIL);
      if (!this.push()) Atomics.wait(this.words, WORD.TAIL, tail, PATIENCE);
    }
  }

  /** Adds a message to what `push` sends. */
  enqueue(message: Plain): void {
    const body = encodePlain(message);
    const bytes = new Uint8Array(LENGTH + body.length);
    new DataView(bytes.buffer).setUint32(0, body.length, true);
    bytes.set(body, LENGTH);
    this.left.push(bytes);
  }

  /** Sends as much as there is room for. False: something is left, try again later. */
  push(): boolean {
    for (let bytes = this.left.at(0); bytes; bytes = this.left.at(0)) {
      const sent = this.write(bytes);
      if (sent < bytes.length) {
        this.left[0] = bytes.subarray(sent);
        return false;
      }
      this.left.shift();
    }
    return true;
  }

  /** Returns how many of the bytes there was room for. */
  private write(bytes: Uint8Array): number {
    const { words, data } = this;
    const head = Atomics.load(words, WORD.HEAD) >>> 0;
    const used = (head - (Atomics.load(words, WORD.TAIL) >>> 0)) >>> 0;
    const count = Math.min(bytes.length, data.length - used);
    const at = head & (data.length - 1);
    const first = Math.min(count, data.length - at);
    data.set(bytes.subarray(0, first), at);
    data.set(bytes.subarray(first, count), 0);
    Atomics.store(words, WORD.HEAD, (head + count) | 0);
    Atomics.notify(words, WORD.HEAD);
    return count;
  }

  // ---- the reader ----

  /** The next message; waits for it, so many milliseconds at most. */
  takeWithin(milliseconds: number): Plain | undefined {
    const { words } = this;
    const head = Atomics.load(words, WORD.HEAD);
    if (head === Atomics.load(words, WORD.TAIL)) Atomics.wait(words, WORD.HEAD, head, milliseconds);
    return this.take();
  }

  /** The next message, if one has begun: waits for the rest of it. */
  take(): Plain | undefined {
    if (Atomics.load(this.words, WORD.HEAD) === Atomics.load(this.words, WORD.TAIL)) return undefined;
    const length = new DataView(this.read(LENGTH).buffer).getUint32(0, true);
    return decodePlain(this.read(length));
  }

  private read(length: number): Uint8Array {
    const { words, data } = this;
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const head = Atomics.load(words, WORD.HEAD);
      const tail = Atomics.load(words, WORD.TAIL) >>> 0;
      const count = Math.min(length - done, ((head >>> 0) - tail) >>> 0);
      if (count === 0) {
        Atomics.wait(words, WORD.HEAD, head, PATIENCE);
        continue;
      }
      const at = tail & (data.length - 1);
      const first = Math.min(count, data.length - at);
      bytes.set(data.subarray(at, at + first), done);
      bytes.set(data.subarray(0, count - first), done + first);
      done += count;
      Atomics.store(words, WORD.TAIL, (tail + count) | 0);
      Atomics.notify(words, WORD.TAIL);
    }
    return bytes;
  }
}
