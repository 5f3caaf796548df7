import { noise } from './noise.js';

/** Numbers that are at the edge of something. */
const ODD = [
  0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000,
  0xffff_fff0, 0xffff_ffff,
];

/** Choices from a seed, for fuzzing. */
export class RandomSource {
  /** 0 … 2**32 - 1. */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = noise(Math.imul(seed, 0x9e37_79b1));
  }

  /** 0 … limit - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }

  /** True once in so many times. */
  once(times: number): boolean {
    return this.next() % times === 0;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.next() >>> 13);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  /** 32 bits: mostly small, below `usual`; sometimes at an edge, sometimes anything. */
  u32(usual: number): number {
    const kind = this.below(16);
    if (kind < 12) return this.below(usual);
    return kind < 15 ? this.pick(ODD) : this.next();
  }

  /** 64 bits in the same manner. */
  u64(usual: number): bigint {
    const kind = this.below(16);
    if (kind < 12) return BigInt(this.below(usual));
    if (kind < 14) return BigInt(this.pick(ODD)) << BigInt(this.below(33));
    return (BigInt(this.next()) << 32n) | BigInt(this.next());
  }

  /** Flips a few bits, or cuts the end off, once in so many times. */
  damage(bytes: Uint8Array, times: number): Uint8Array {
    if (bytes.length === 0 || !this.once(times)) return bytes;
    if (this.once(3)) return bytes.subarray(0, this.below(bytes.length));
    for (let n = 1 + this.below(3); n > 0; n--) bytes[this.below(bytes.length)] ^= 1 << this.below(8);
    return bytes;
  }
}
