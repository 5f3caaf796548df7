/** A zlib stream (RFC 1950) that comes in pieces, unpacked at once: RFB's streams go on from one rectangle to the next. */
import { Unzlib } from 'fflate';

/** Packed bytes that are unpacked before the total is looked at: to a thousand times as many at most (RFC 1951, §3.2.5). */
const PIECE = 2 ** 12;

export class ZlibInflater {
  private parts: Uint8Array[] = [];
  private total = 0;
  private readonly stream = new Unzlib((part) => {
    this.parts.push(part);
    this.total += part.length;
  });

  /** All that a piece says. Throws an error when it is no such stream, or says more than `most` bytes. */
  inflate(packed: Uint8Array, most: number): Uint8Array {
    this.parts = [];
    this.total = 0;
    for (let at = 0; at < packed.length; at += PIECE) {
      this.stream.push(packed.slice(at, at + PIECE));
      if (this.total > most) throw new Error(`it unpacks to more than ${most} bytes`);
    }
    const all = new Uint8Array(this.total);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}
