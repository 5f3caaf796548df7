/** Special and random operands of all formats, written as bytes. */
import type { Random } from './random.js';

/** What an operand is taken for: decides which values are special. */
export type Format = 'int' | 'f32' | 'f64' | 'f80' | 'bcd';

const F32: readonly number[] = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000, 0x7f800000, 0xff800000, 0x7fc00000,
  0xffc00000, 0x7f800001, 0xff812345, 0x7fc12345, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x80800000,
  0x00ffffff, 0x7f7fffff, 0xff7fffff, 0x4b000000, 0x4b7fffff, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000,
  0xdf000000, 0x3effffff, 0x3f7fffff, 0x3fc00000, 0xbfc00000, 0x40200000, 0x33800000, 0x34000000, 0x20000000,
];

const F64: readonly bigint[] = [
  0x0000000000000000n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x4000000000000000n,
  0x3fe0000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0xfff8000000000000n,
  0x7ff0000000000001n,
  0xfff4567890abcdefn,
  0x7ffc567890abcdefn,
  0x0000000000000001n,
  0x8000000000000001n,
  0x000fffffffffffffn,
  0x0010000000000000n,
  0x8010000000000000n,
  0x001fffffffffffffn,
  0x7fefffffffffffffn,
  0xffefffffffffffffn,
  0x4330000000000000n,
  0x433fffffffffffffn,
  0x41e0000000000000n,
  0xc1e0000000000000n,
  0x41dfffffffc00000n,
  0x43e0000000000000n,
  0xc3e0000000000000n,
  0x43dfffffffffffffn,
  0x3fdfffffffffffffn,
  0x3fefffffffffffffn,
  0x3ff8000000000000n,
  0xbff8000000000000n,
  0x4004000000000000n,
  0x3690000000000000n,
  0x36a0000000000000n,
  0x380fffffe0000000n,
  0x47efffffe0000000n,
  0x47effffff0000000n,
  0xc1e0000000100000n,
];

/** Sign and exponent, significand. */
const F80: readonly (readonly [number, bigint])[] = [
  [0x0000, 0n],
  [0x8000, 0n],
  [0x3fff, 0x8000000000000000n],
  [0xbfff, 0x8000000000000000n],
  [0x4000, 0x8000000000000000n],
  [0x3ffe, 0x8000000000000000n],
  [0x4000, 0xc90fdaa22168c235n],
  [0x7fff, 0x8000000000000000n],
  [0xffff, 0x8000000000000000n],
  [0x7fff, 0xc000000000000000n],
  [0xffff, 0xc000000000000000n],
  [0x7fff, 0x8000000000000001n],
  [0xffff, 0xa123456789abcdefn],
  [0x7fff, 0xd123456789abcdefn],
  // Pseudo-infinity and pseudo-NaN, an unnormal, a pseudo-denormal: invalid or odd encodings.
  [0x7fff, 0x0000000000000000n],
  [0x7fff, 0x4000000000000001n],
  [0x4001, 0x4000000000000000n],
  [0x0000, 0x8000000000000000n],
  [0x0000, 0x0000000000000001n],
  [0x8000, 0x7fffffffffffffffn],
  [0x0001, 0x8000000000000000n],
  [0x8001, 0xffffffffffffffffn],
  [0x7ffe, 0xffffffffffffffffn],
  [0xfffe, 0xffffffffffffffffn],
  [0x400d, 0xfffe000000000000n],
  [0x400e, 0x8000000000000000n],
  [0xc00e, 0x8000000000000000n],
  [0x401e, 0x8000000000000000n],
  [0xc01e, 0x8000000000000000n],
  [0x403e, 0x8000000000000000n],
  [0xc03e, 0x8000000000000000n],
  [0x403d, 0xffffffffffffffffn],
  [0x3ffe, 0xffffffffffffffffn],
  [0x3fff, 0xc000000000000000n],
  [0xbfff, 0xc000000000000000n],
  // 10^18 - 1 and 10^18: the border of packed decimals.
  [0x403a, 0xde0b6b3a763fffe0n],
  [0x403a, 0xde0b6b3a76400000n],
  // Borders of single and double range, to nearest and tiny.
  [0x3f80, 0xffffff0000000000n],
  [0x3f81, 0x8000000000000000n],
  [0x407e, 0xffffff8000000000n],
  [0x3c00, 0xfffffffffffff800n],
  [0x43fe, 0xfffffffffffffc00n],
];

function setU64(target: Buffer, at: number, value: bigint): void {
  target.writeBigUInt64LE(BigInt.asUintN(64, value), at);
}

/** Small whole numbers and their halves and quarters: operations on them are often exact. */
const shortNumber = (r: Random): number => (r.below(200) - 100) / (1 << r.below(3));

/** `tame`: zeros and numbers of middling size only, as programs compute with. */
export function writeF32(r: Random, target: Buffer, at: number, tame = false): void {
  if (tame && r.oneIn(3)) {
    target.writeFloatLE(shortNumber(r), at);
    return;
  }
  const kind = tame ? (r.oneIn(8) ? 0 : 2) : r.below(3);
  let bits: number;
  if (kind === 0) bits = tame ? r.pick([0, 0x8000_0000, 0x3f80_0000]) : r.pick(F32);
  else if (kind === 1 && r.oneIn(2)) bits = r.u32();
  else {
    // Near 1, so that sums cancel and products stay in range.
    const fraction = r.u32() >>> (9 + (r.oneIn(2) ? 0 : r.below(23)));
    bits = ((r.below(2) << 31) | ((127 - 12 + r.below(24)) << 23) | fraction) >>> 0;
  }
  target.writeUInt32LE(bits, at);
}

export function writeF64(r: Random, target: Buffer, at: number, tame = false): void {
  if (tame && r.oneIn(3)) {
    target.writeDoubleLE(shortNumber(r), at);
    return;
  }
  if (r.oneIn(tame ? 8 : 3)) {
    setU64(target, at, r.pick(tame ? F64.slice(0, 3) : F64));
  } else {
    const fraction = r.u32() >>> 12;
    const exponent = !tame && r.oneIn(4) ? r.below(2048) : 1023 - 30 + r.below(60);
    target.writeUInt32LE(r.oneIn(3) ? 0 : r.u32(), at);
    target.writeUInt32LE(((r.below(2) << 31) | (exponent << 20) | fraction) >>> 0, at + 4);
  }
}

/** Ten bytes. */
export function writeF80(r: Random, target: Buffer, at: number): void {
  if (r.oneIn(3)) {
    const [high, low] = r.pick(F80);
    setU64(target, at, low);
    target.writeUInt16LE(high, at + 8);
    return;
  }
  const kind = r.below(8);
  const exponent = kind === 0 ? r.below(0x8000) : kind === 1 ? 0x3fff + r.below(130) - 65 : 0x3fff - 16 + r.below(32);
  target.writeUInt32LE(r.oneIn(3) ? 0 : r.u32(), at);
  target.writeUInt32LE(((r.oneIn(50) ? 0 : 0x8000_0000) | r.u32()) >>> 0, at + 4);
  target.writeUInt16LE((r.below(2) << 15) | exponent, at + 8);
  // Values that came from singles and doubles: low bits 0.
  if (r.oneIn(4)) target.writeUInt32LE(0, at);
}

/** A packed decimal of ten bytes, valid as a rule. */
export function writeBcd(r: Random, target: Buffer, at: number): void {
  const digits = r.below(20);
  for (let i = 0; i < 9; i++) {
    const low = 2 * i < digits ? r.below(10) : 0;
    const high = 2 * i + 1 < digits ? r.below(10) : 0;
    target[at + i] = (high << 4) | low;
  }
  target[at + 9] = r.below(2) << 7;
}

/** An integer of `size` bytes (1, 2, 4, 8). */
export function writeInt(r: Random, target: Buffer, at: number, size: number): void {
  const value = r.u64();
  for (let i = 0; i < size; i++) target[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

/** Fills 16 bytes with lanes of a format, or (now and then) of another. */
export function writeVector(r: Random, target: Buffer, at: number, format: Format): void {
  const used = r.oneIn(6) ? r.pick<Format>(['int', 'f32', 'f64']) : format;
  const tame = r.oneIn(2);
  if (used === 'f32') for (let i = 0; i < 16; i += 4) writeF32(r, target, at + i, tame);
  else if (used === 'f64') for (let i = 0; i < 16; i += 8) writeF64(r, target, at + i, tame);
  else writeIntegers(r, target, at);
}

/** 16 bytes of packed integers: random ones, or many equal and extreme bytes, words, doublewords. */
function writeIntegers(r: Random, target: Buffer, at: number): void {
  const kind = r.below(4);
  if (kind < 2) for (let i = 0; i < 16; i += 4) target.writeUInt32LE(r.u32(), at + i);
  else if (kind === 2)
    for (let i = 0; i < 16; i++) target[at + i] = r.pick([0, 0, 1, 0x7f, 0x80, 0x81, 0xff, r.below(256)]);
  else {
    const size = r.pick([2, 4, 8]);
    for (let i = 0; i < 16; i += size) writeInt(r, target, at + i, size);
  }
}
