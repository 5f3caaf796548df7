/** A growing byte buffer with the encodings of the WebAssembly binary format (core specification 2.0 §5.2). */
export class ByteWriter {
  private buffer = new Uint8Array(1024);
  private used = 0;

  get length(): number {
    return this.used;
  }

  private reserve(count: number): void {
    if (this.used + count <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.used + count));
    grown.set(this.buffer.subarray(0, this.used));
    this.buffer = grown;
  }

  u8(value: number): this {
    this.reserve(1);
    this.buffer[this.used++] = value;
    return this;
  }

  /** Unsigned LEB128, up to 32 bits. */
  u32(value: number): this {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.u8(rest);
  }

  /** Signed LEB128, 32 bits. */
  s32(value: number): this {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return this.u8(low);
      this.u8(low | 0x80);
    }
  }

  /** Signed LEB128, 64 bits. */
  s64(value: bigint): this {
    if (value >= -0x8000_0000n && value <= 0x7fff_ffffn) return this.s32(Number(value));
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return this.u8(low);
      this.u8(low | 0x80);
    }
  }

  bytes(data: Uint8Array): this {
    this.reserve(data.length);
    this.buffer.set(data, this.used);
    this.used += data.length;
    return this;
  }

  /** A vector of bytes: length, then content. */
  sized(data: Uint8Array): this {
    return this.u32(data.length).bytes(data);
  }

  name(text: string): this {
    return this.sized(new TextEncoder().encode(text));
  }

  /** The low `count` bytes of a number, least first. */
  fixed(value: bigint, count: number): this {
    for (let i = 0; i < count; i++) this.u8(Number((value >> BigInt(8 * i)) & 0xffn));
    return this;
  }

  f64(value: number): this {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setFloat64(0, value, true);
    return this.bytes(data);
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.buffer.slice(0, this.used);
  }
}
