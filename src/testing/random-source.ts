import { noise } from './noise.js';

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

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.next() >>> 13);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}
