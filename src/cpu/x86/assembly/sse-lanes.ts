// Lane arithmetic that WebAssembly has no single instruction for. MMX instructions use the low halves.

/**
 * The same value, in a register of its own: V8's baseline compiler, on processors without AVX, gives the wrong result for a swizzle or
 * q15mulr whose left operand is a local and whose right one is not (semantics/sse-lanes.ts).
 */
@inline
export function apart(a: v128): v128 {
  return v128.or(a, a);
}

// ---- multiplication ----

/** Bits 31:16 of the signed products. */
@inline
export function mulHighSigned(a: v128, b: v128): v128 {
  const low = i32x4.extmul_low_i16x8_s(a, b);
  const high = i32x4.extmul_high_i16x8_s(a, b);
  return v128.shuffle<i16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
}

/** Bits 31:16 of the unsigned products. */
@inline
export function mulHighUnsigned(a: v128, b: v128): v128 {
  const low = i32x4.extmul_low_i16x8_u(a, b);
  const high = i32x4.extmul_high_i16x8_u(a, b);
  return v128.shuffle<i16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
}

/** PMULHRSW: as q15mulr, but -1 × -1 wraps to -1 where WebAssembly saturates. */
@inline
export function mulRounded(a: v128, b: v128): v128 {
  const least = i16x8.splat(-0x8000);
  const wraps = v128.and(i16x8.eq(a, least), i16x8.eq(b, least));
  return v128.xor(i16x8.q15mulr_sat_s(apart(a), b), wraps);
}

/** 32 × 32 → 64 bits of lanes 0 and 2. */
@inline
export function mulEvenUnsigned(a: v128, b: v128): v128 {
  return i64x2.extmul_low_i32x4_u(v128.shuffle<i32>(a, a, 0, 2, 0, 2), v128.shuffle<i32>(b, b, 0, 2, 0, 2));
}

@inline
export function mulEvenSigned(a: v128, b: v128): v128 {
  return i64x2.extmul_low_i32x4_s(v128.shuffle<i32>(a, a, 0, 2, 0, 2), v128.shuffle<i32>(b, b, 0, 2, 0, 2));
}

/** PMADDUBSW: unsigned bytes of `a` by signed bytes of `b`, neighbours added with saturation. */
@inline
export function mulAddBytes(a: v128, b: v128): v128 {
  const even = i16x8.mul(v128.and(a, i16x8.splat(0xff)), i16x8.shr_s(i16x8.shl(b, 8), 8));
  const odd = i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8));
  return i16x8.add_sat_s(even, odd);
}

/** PSADBW: in each half the sum of the eight absolute differences. */
@inline
export function sumOfDifferences(a: v128, b: v128): v128 {
  const differences = i8x16.sub(i8x16.max_u(a, b), i8x16.min_u(a, b));
  const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(differences));
  return i64x2.add(v128.and(sums, i64x2.splat(0xffffffff)), i64x2.shr_u(sums, 32));
}

// ---- horizontal ----

@inline
function even16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}

@inline
function odd16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}

@inline
function even32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

@inline
function odd32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

@inline
export function horizontalAdd16(a: v128, b: v128): v128 {
  return i16x8.add(even16(a, b), odd16(a, b));
}

@inline
export function horizontalAddSaturated16(a: v128, b: v128): v128 {
  return i16x8.add_sat_s(even16(a, b), odd16(a, b));
}

@inline
export function horizontalAdd32(a: v128, b: v128): v128 {
  return i32x4.add(even32(a, b), odd32(a, b));
}

@inline
export function horizontalSub16(a: v128, b: v128): v128 {
  return i16x8.sub(even16(a, b), odd16(a, b));
}

@inline
export function horizontalSubSaturated16(a: v128, b: v128): v128 {
  return i16x8.sub_sat_s(even16(a, b), odd16(a, b));
}

@inline
export function horizontalSub32(a: v128, b: v128): v128 {
  return i32x4.sub(even32(a, b), odd32(a, b));
}

// ---- PSIGN: negated where `b` is negative, 0 where it is 0 ----

@inline
export function sign8(a: v128, b: v128): v128 {
  const negative = i8x16.shr_s(b, 7);
  return v128.andnot(i8x16.sub(v128.xor(a, negative), negative), i8x16.eq(b, i8x16.splat(0)));
}

@inline
export function sign16(a: v128, b: v128): v128 {
  const negative = i16x8.shr_s(b, 15);
  return v128.andnot(i16x8.sub(v128.xor(a, negative), negative), i16x8.eq(b, i16x8.splat(0)));
}

@inline
export function sign32(a: v128, b: v128): v128 {
  const negative = i32x4.shr_s(b, 31);
  return v128.andnot(i32x4.sub(v128.xor(a, negative), negative), i32x4.eq(b, i32x4.splat(0)));
}

// ---- shifts: counts beyond the width clear, or fill with the sign ----

@inline
export function shiftLeft16(a: v128, count: u64): v128 {
  return count > 15 ? i16x8.splat(0) : i16x8.shl(a, <i32>count);
}

@inline
export function shiftLeft32(a: v128, count: u64): v128 {
  return count > 31 ? i32x4.splat(0) : i32x4.shl(a, <i32>count);
}

@inline
export function shiftLeft64(a: v128, count: u64): v128 {
  return count > 63 ? i64x2.splat(0) : i64x2.shl(a, <i32>count);
}

@inline
export function shiftRight16(a: v128, count: u64): v128 {
  return count > 15 ? i16x8.splat(0) : i16x8.shr_u(a, <i32>count);
}

@inline
export function shiftRight32(a: v128, count: u64): v128 {
  return count > 31 ? i32x4.splat(0) : i32x4.shr_u(a, <i32>count);
}

@inline
export function shiftRight64(a: v128, count: u64): v128 {
  return count > 63 ? i64x2.splat(0) : i64x2.shr_u(a, <i32>count);
}

@inline
export function shiftArithmetic16(a: v128, count: u64): v128 {
  return i16x8.shr_s(a, count > 15 ? 15 : <i32>count);
}

@inline
export function shiftArithmetic32(a: v128, count: u64): v128 {
  return i32x4.shr_s(a, count > 31 ? 31 : <i32>count);
}

// ---- interleaving ----

@inline
export function interleaveLow8(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

@inline
export function interleaveHigh8(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

@inline
export function interleaveLow16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

@inline
export function interleaveHigh16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

@inline
export function interleaveLow32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
}

@inline
export function interleaveHigh32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
}

@inline
export function interleaveLow64(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 0, 2);
}

@inline
export function interleaveHigh64(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 1, 3);
}

/** The upper half moved to the lower: what MMX's "high" forms keep. */
@inline
export function upperHalf(a: v128): v128 {
  return v128.shuffle<i64>(a, a, 1, 1);
}
