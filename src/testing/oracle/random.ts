/** Seeded randomness for generated tests: the same seed gives the same cases everywhere. */

export interface Random {
  /** 32 uniform bits. */
  u32(): number;
  /** 0 … bound - 1, bound at most 2^32. */
  below(bound: number): number;
  /** True in one of `n` cases. */
  oneIn(n: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** 64 bits, often special ones. */
  u64(): bigint;
}

const SPECIAL_64: readonly bigint[] = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
  0xffff_ffff_8000_0000n,
  0xffff_ffff_ffff_ff80n,
  0x5555_5555_5555_5555n,
  0xaaaa_aaaa_aaaa_aaaan,
];

/** sfc32 (Chris Doty-Humphrey's small fast counter generator), seeded by a number. */
export function random(seed: number): Random {
  let a = seed | 0;
  let b = 0x9e37_79b9 | 0;
  let c = 0x243f_6a88 | 0;
  let counter = 1;
  const u32 = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 15; i++) u32();
  const below = (bound: number): number => Math.floor((u32() / 0x1_0000_0000) * bound);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)];
  const u64 = (): bigint => {
    switch (below(6)) {
      case 0:
        return pick(SPECIAL_64);
      case 1:
        return BigInt.asUintN(64, (1n << BigInt(below(64))) + BigInt(below(3) - 1));
      case 2:
        return BigInt(u32() >>> below(32));
      default:
        return (BigInt(u32()) << 32n) | BigInt(u32());
    }
  };
  return { u32, below, oneIn: (n) => below(n) === 0, pick, u64 };
}
