/** Bytes as they come, and how many have been read of them. All numbers of RFB are big-endian. */
export class ByteQueue {
  private buffer = new Uint8Array(256);
  private from = 0;
  private to = 0;

  get length(): number {
    return this.to - this.from;
  }

  push(bytes: Uint8Array): void {
    if (this.to + bytes.length > this.buffer.length) {
      const needed = this.length + bytes.length;
      const room = needed > this.buffer.length ? new Uint8Array(Math.max(needed, this.buffer.length * 2)) : this.buffer;
      room.set(this.buffer.subarray(this.from, this.to));
      this.to = this.length;
      this.from = 0;
      this.buffer = room;
    }
    this.buffer.set(bytes, this.to);
    this.to += bytes.length;
  }

  /** The byte at `offset`, not taken. */
  u8(offset: number): number {
    return this.buffer[this.from + offset];
  }

  u16(offset: number): number {
    return (this.u8(offset) << 8) | this.u8(offset + 1);
  }

  u32(offset: number): number {
    return this.u16(offset) * 0x1_0000 + this.u16(offset + 2);
  }

  i32(offset: number): number {
    return this.u32(offset) | 0;
  }

  /** A copy of the next bytes, which are taken. */
  take(count: number): Uint8Array {
    const bytes = this.buffer.slice(this.from, this.from + count);
    this.skip(count);
    return bytes;
  }

  skip(count: number): void {
    this.from += Math.min(count, this.length);
    if (this.from === this.to) this.from = this.to = 0;
  }
}
