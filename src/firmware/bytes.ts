/**
 * Little-endian building and reading of the byte structures that firmware hands to guests.
 */

/** Builds a byte structure front to back; grows as it goes. */
export class ByteWriter {
  private buffer = new Uint8Array(256);
  private view = new DataView(this.buffer.buffer);
  private end = 0;

  /** Bytes written so far: the offset of what comes next. */
  get length(): number {
    return this.end;
  }

  private room(count: number): number {
    const at = this.end;
    this.end += count;
    if (this.end > this.buffer.length) {
      const larger = new Uint8Array(Math.max(this.end, this.buffer.length * 2));
      larger.set(this.buffer);
      this.buffer = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(...values: number[]): this {
    for (const value of values) {
      const at = this.room(1);
      this.view.setUint8(at, value);
    }
    return this;
  }

  u16(...values: number[]): this {
    for (const value of values) {
      const at = this.room(2);
      this.view.setUint16(at, value, true);
    }
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) {
      const at = this.room(4);
      this.view.setUint32(at, value, true);
    }
    return this;
  }

  /** Exact numbers below 2**53, or bigints. */
  u64(...values: (number | bigint)[]): this {
    for (const value of values) {
      const at = this.room(8);
      this.view.setBigUint64(at, BigInt(value), true);
    }
    return this;
  }

  bytes(bytes: ArrayLike<number>): this {
    const at = this.room(bytes.length);
    this.buffer.set(bytes, at);
    return this;
  }

  zeros(count: number): this {
    this.room(count);
    return this;
  }

  /** Characters of ISO 8859-1, without a terminator; padded with `pad` to `width`, or cut to it. */
  text(text: string, width = text.length, pad = 0): this {
    for (let i = 0; i < width; i++) this.u8(i < text.length ? text.charCodeAt(i) & 0xff : pad);
    return this;
  }

  /** UTF-8 with a terminating zero. */
  cstring(text: string): this {
    return this.bytes(cstring(text));
  }

  /** Zeros up to a multiple of `alignment`. */
  align(alignment: number): this {
    return this.zeros((alignment - (this.end % alignment)) % alignment);
  }

  setU8(at: number, value: number): this {
    this.view.setUint8(at, value);
    return this;
  }

  setU16(at: number, value: number): this {
    this.view.setUint16(at, value, true);
    return this;
  }

  setU32(at: number, value: number): this {
    this.view.setUint32(at, value, true);
    return this;
  }

  setU64(at: number, value: number | bigint): this {
    this.view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  /** A copy of what has been written. */
  finish(): Uint8Array {
    return this.buffer.slice(0, this.end);
  }
}

/** UTF-8 with a terminating zero. */
export function cstring(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    else if (code < 0x1_0000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f));
      bytes.push(0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    }
  }
  bytes.push(0);
  return Uint8Array.from(bytes);
}

/** The byte that makes a range sum to 0 modulo 256. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return -sum & 0xff;
}

/** A view for reading little-endian fields; offsets are those of `bytes`. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
