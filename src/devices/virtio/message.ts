/** Messages of file system protocols: little-endian numbers and texts one behind the other. */
import { FileError } from '../../iface/errno.js';
import type { ByteString } from '../../iface/shared-folder.js';

/** Takes a message apart; what ends too early is EINVAL. */
export class MessageReader {
  protected readonly view: DataView;

  /** Reads from `at` on. */
  constructor(
    protected readonly bytes: Uint8Array,
    protected at: number,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  private take(count: number): number {
    const { at } = this;
    if (count > this.bytes.length - at) throw new FileError('EINVAL');
    this.at = at + count;
    return at;
  }

  skip(count: number): this {
    this.take(count);
    return this;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }

  /** An identifier or a count of 64 bits: what a double does not hold exactly reads as -1. */
  number(): number {
    return readNumber(this.view, this.take(8));
  }

  /** Where to read from. There is nothing as far out as a double does not reach, as behind the end of any file. */
  offset(): number {
    const value = this.u64();
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
  }

  /** Where to write, or a size to set: no file goes further than a double reaches. */
  extent(): number {
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FileError('EFBIG');
    return Number(value);
  }

  /** Bytes up to a NUL. */
  name(): ByteString {
    const end = this.bytes.indexOf(0, this.at);
    if (end < 0) throw new FileError('EINVAL');
    const name = byteString(this.bytes.subarray(this.at, end));
    this.at = end + 1;
    return name;
  }

  data(count: number): Uint8Array {
    const at = this.take(count);
    return this.bytes.subarray(at, at + count);
  }
}

/** What a double does not hold exactly reads as -1. */
export function readNumber(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(at, true) : -1;
}

/** In pieces, because a call takes only so many arguments. */
export function byteString(bytes: Uint8Array): ByteString {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
}

/**
 * An answer under construction, behind the place of its header, in a buffer that is used again for the next one. What the
 * guest has no room for is EINVAL.
 */
export class MessageWriter {
  /** Grows to the largest answer that was asked for. */
  protected bytes = new Uint8Array(4096);
  protected view = new DataView(this.bytes.buffer);
  protected at: number;
  private room = 0;

  /** `header`: bytes that are left for it. */
  constructor(private readonly header: number) {
    this.at = header;
  }

  /** `room`: bytes that the guest has for it, header included. */
  begin(room: number): void {
    this.at = this.header;
    this.room = room;
  }

  /** Bytes that still fit. */
  get left(): number {
    return this.room - this.at;
  }

  get length(): number {
    return this.at;
  }

  private take(count: number): number {
    const { at } = this;
    if (count > this.room - at) throw new FileError('EINVAL');
    this.ensure(at + count);
    this.at = at + count;
    return at;
  }

  private ensure(size: number): void {
    if (size <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(size, 2 * this.bytes.length));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  u8(value: number): this {
    // Before the view is looked at, which may be another one then.
    const at = this.take(1);
    this.view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.take(2);
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) {
      const at = this.take(4);
      this.view.setUint32(at, value, true);
    }
    return this;
  }

  u64(...values: bigint[]): this {
    for (const value of values) {
      const at = this.take(8);
      this.view.setBigUint64(at, value, true);
    }
    return this;
  }

  /** In 64 bits. */
  number(value: number): this {
    return this.u32(value % 2 ** 32, Math.floor(value / 2 ** 32));
  }

  text(text: ByteString): this {
    const at = this.take(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[at + i] = text.charCodeAt(i);
    return this;
  }

  data(bytes: Uint8Array): this {
    const at = this.take(bytes.length);
    this.bytes.set(bytes, at);
    return this;
  }

  zeros(count: number): this {
    const at = this.take(count);
    this.bytes.fill(0, at, at + count);
    return this;
  }

  /** Room of which `fill` says how much it used. */
  fill(most: number, fill: (into: Uint8Array) => number): this {
    const at = this.take(most);
    this.at = at + fill(this.bytes.subarray(at, at + most));
    return this;
  }
}
