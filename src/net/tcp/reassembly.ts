import { difference } from './sequence.js';

/** Pieces that are kept for one connection. */
const MAX_PIECES = 256;

interface Piece {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** Data that came before what precedes it, RFC 9293 §3.10.7.4. */
export class Reassembly {
  private pieces: Piece[] = [];
  bytes = 0;

  /** Keeps a copy, unless there is too much already; then the sender sends it again. */
  add(sequence: number, bytes: Uint8Array, room: number): void {
    if (this.pieces.length >= MAX_PIECES || this.bytes + bytes.length > room) return;
    const at = this.pieces.findIndex((piece) => difference(sequence, piece.sequence) < 0);
    this.pieces.splice(at < 0 ? this.pieces.length : at, 0, { sequence, bytes: bytes.slice() });
    this.bytes += bytes.length;
  }

  /** The next piece that begins at or before `next`, without what is before it. */
  take(next: number): Uint8Array | undefined {
    for (let piece = this.pieces.at(0); piece; piece = this.pieces.at(0)) {
      const early = difference(next, piece.sequence);
      if (early < 0) return undefined;
      this.pieces.shift();
      this.bytes -= piece.bytes.length;
      if (early < piece.bytes.length) return piece.bytes.subarray(early);
    }
    return undefined;
  }

  clear(): void {
    this.pieces = [];
    this.bytes = 0;
  }
}
