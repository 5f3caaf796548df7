import type { Gpa } from '../../base/units.js';
import { movePieces, type Dma, type Pieces } from '../../iface/guest-memory.js';

/** Guest memory from address 0, as a device's DMA sees it. */
export class FakeMemory implements Dma {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(size = 0x1_0000) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  private has(at: number, size: number): boolean {
    return at >= 0 && at + size <= this.bytes.length;
  }

  read(from: Gpa, into: Uint8Array, begin = 0, length = into.length - begin): boolean {
    if (!this.has(from, length)) {
      into.fill(0xff, begin, begin + length);
      return false;
    }
    into.set(this.bytes.subarray(from, from + length), begin);
    return true;
  }

  write(to: Gpa, bytes: Uint8Array, begin = 0, length = bytes.length - begin): boolean {
    if (!this.has(to, length)) return false;
    this.bytes.set(bytes.subarray(begin, begin + length), to);
    return true;
  }

  zero(at: Gpa, length: number): boolean {
    return this.write(at, new Uint8Array(length));
  }

  readPieces(from: Pieces, offset: number, into: Uint8Array): boolean {
    return movePieces(from, offset, into.length, (at, begin, count) => this.read(at, into, begin, count));
  }

  writePieces(to: Pieces, offset: number, bytes: Uint8Array): boolean {
    return movePieces(to, offset, bytes.length, (at, begin, count) => this.write(at, bytes, begin, count));
  }

  zeroPieces(pieces: Pieces, offset: number, length: number): boolean {
    return movePieces(pieces, offset, length, (at, _, count) => this.zero(at, count));
  }

  readU16(from: Gpa): number {
    return this.has(from, 2) ? this.view.getUint16(from, true) : 0xffff;
  }

  readU32(from: Gpa): number {
    return this.has(from, 4) ? this.view.getUint32(from, true) : 0xffff_ffff;
  }

  readU64(from: Gpa): bigint {
    return this.has(from, 8) ? this.view.getBigUint64(from, true) : 0xffff_ffff_ffff_ffffn;
  }

  writeU16(to: Gpa, value: number): void {
    if (this.has(to, 2)) this.view.setUint16(to, value, true);
  }

  writeU32(to: Gpa, value: number): void {
    if (this.has(to, 4)) this.view.setUint32(to, value, true);
  }

  writeU64(to: Gpa, value: bigint): void {
    if (this.has(to, 8)) this.view.setBigUint64(to, value, true);
  }

  /** One thread needs none. */
  fence(): void {
    return;
  }
}
