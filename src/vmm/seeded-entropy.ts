import type { Entropy } from '../iface/clock.js';

/**
 * Random numbers that are the same in every run, for machines that are to be the same in every run; good enough to seed a
 * guest's generator, and no secret. SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators").
 */
export class SeededEntropy implements Entropy {
  /** `state` is the seed; afterwards, all there is to save. */
  constructor(public state: bigint) {}

  private next(): bigint {
    this.state = BigInt.asUintN(64, this.state + 0x9e37_79b9_7f4a_7c15n);
    let z = this.state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n);
  }

  fill(target: Uint8Array): void {
    for (let at = 0; at < target.length; at += 8) {
      let value = this.next();
      for (let i = at; i < Math.min(at + 8, target.length); i++) {
        target[i] = Number(value & 0xffn);
        value >>= 8n;
      }
    }
  }
}
