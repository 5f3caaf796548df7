/**
 * The common case of x87 arithmetic, for the semantics over the intermediate form: normal operands, a normal result, rounding to nearest
 * and the precision exception masked, so that nothing but PE and C1 can come of it. What these functions cannot do they refuse, with nothing
 * done. They get the state's address as `s` and the status word as `f`, and have few branches: signs, the order of operands and the
 * direction of rounding are as good as random.
 */
import * as W from '../../../ir/assembly/softfloat/wide';
import { STATE } from './env';
import { S_FCW } from './generated/layout';

const INTEGER_BIT: u64 = 0x8000000000000000;
const HALF: u64 = 0x8000000000000000;
const C1: u32 = 1 << 9;
const BIAS: i32 = 16383;

/** No status word: refused. */
const REFUSED: u32 = 0xffffffff;

/** Without a branch of its own. */
@inline
function isNormal(se: u32, sig: u64): bool {
  return <bool>(i32((se & 0x7fff) - 1 < 0x7ffe) & <i32>(sig >> 63));
}

@inline
function isZero(se: u32, sig: u64): bool {
  return (<u64>(se & 0x7fff) | sig) == 0;
}

/** Neither a NaN nor infinite, subnormal or unsupported. */
@inline
function isOrdinary(se: u32, sig: u64): bool {
  return isNormal(se, sig) || isZero(se, sig);
}

// ---- arithmetic; all return the status word ----

/** Rounds (hi:lo), bit 127 set, with biased exponent `exp` to the control word's precision, into the register at `at`. */
@inline
function conclude(s: usize, f: u32, at: usize, sign: u32, exp: i32, hi: u64, lo: u64): u32 {
  // Room for a carry at the upper end.
  if (<u32>(exp - 1) >= 0x7ffd) return REFUSED;
  const control = load<u32>(s, S_FCW);
  let up: u64;
  if (control & 0x100) {
    up = u64(lo > HALF - (hi & 1));
    hi += up;
  } else {
    const drop: u64 = control & 0x200 ? 11 : 40;
    lo = (hi << (64 - drop)) | u64(lo != 0);
    hi >>= drop;
    up = u64(lo > HALF - (hi & 1));
    hi = (hi + up) << drop;
  }
  // A carry has left 0.
  exp += i32(hi == 0);
  store<u64>(at, hi | INTEGER_BIT);
  store<u64>(at, sign | <u32>exp, 8);
  return (f & ~C1) | ((<u32>up) << 9) | (u32(lo != 0) << 5);
}

/** a + b */
@inline
function sum(s: usize, f: u32, at: usize, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  if ((aSe & 0x7fff) - 1 >= 0x7ffe) return REFUSED;
  if ((bSe & 0x7fff) - 1 >= 0x7ffe) return REFUSED;
  if (<i64>(aSig & bSig) >= 0) return REFUSED;
  const aExp = <i32>(aSe & 0x7fff);
  const bExp = <i32>(bSe & 0x7fff);
  const difference = aExp - bExp;
  const swap = i32(difference < 0) | (i32(difference == 0) & i32(aSig < bSig));
  const large = select<u64>(bSig, aSig, swap);
  const small = select<u64>(aSig, bSig, swap);
  const exp = select<i32>(bExp, aExp, swap);
  const sign = select<u32>(bSe, aSe, swap) & 0x8000;
  const d = <u64>(<u32>select<i32>(-difference, difference, i32(difference < 0)));
  if (d > 62) return REFUSED;
  // Both go one bit to the right, for a carry; a difference adds the complement.
  const differ = <u64>(((aSe ^ bSe) >> 15) & 1);
  const flip = 0 - differ;
  const below = ((small << (63 - d)) ^ flip) + differ;
  let lo = (large << 63) + below;
  let hi = (large >> 1) + ((small >> (d + 1)) ^ flip) + u64(below < differ) + u64(lo < below);
  if (hi == 0) return REFUSED;
  const n = clz(hi);
  hi = (hi << n) | ((lo >> 1) >> (63 - n));
  lo <<= n;
  return conclude(s, f, at, sign, exp + 1 - <i32>n, hi, lo);
}

/** a × b */
@inline
function product(s: usize, f: u32, at: usize, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  if ((aSe & 0x7fff) - 1 >= 0x7ffe) return REFUSED;
  if ((bSe & 0x7fff) - 1 >= 0x7ffe) return REFUSED;
  if (<i64>(aSig & bSig) >= 0) return REFUSED;
  const a0 = aSig & 0xffffffff;
  const a1 = aSig >> 32;
  const b0 = bSig & 0xffffffff;
  const b1 = bSig >> 32;
  const middle = a1 * b0 + ((a0 * b0) >> 32);
  const middle2 = a0 * b1 + (middle & 0xffffffff);
  let hi = a1 * b1 + (middle >> 32) + (middle2 >> 32);
  let lo = aSig * bSig;
  const n = (hi >> 63) ^ 1;
  hi = (hi << n) | ((lo >> 1) >> (63 - n));
  lo <<= n;
  const exp = <i32>(aSe & 0x7fff) + <i32>(bSe & 0x7fff) - BIAS + 1 - <i32>n;
  return conclude(s, f, at, (aSe ^ bSe) & 0x8000, exp, hi, lo);
}

/** a ÷ b */
@inline
function quotient(s: usize, f: u32, at: usize, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  if ((aSe & 0x7fff) - 1 >= 0x7ffe) return REFUSED;
  if ((bSe & 0x7fff) - 1 >= 0x7ffe) return REFUSED;
  if (<i64>(aSig & bSig) >= 0) return REFUSED;
  const n = u64(aSig >= bSig);
  const q = W.divide128(aSig >> n, (aSig << 63) & (0 - n), bSig);
  const rest = W.low;
  const half = bSig - rest;
  const lo: u64 = rest > half ? HALF | 1 : rest == half ? HALF : u64(rest != 0);
  const exp = <i32>(aSe & 0x7fff) - <i32>(bSe & 0x7fff) + BIAS - 1 + <i32>n;
  return conclude(s, f, at, (aSe ^ bSe) & 0x8000, exp, q, lo);
}

/** √a */
@inline
function root(s: usize, f: u32, at: usize, se: u32, sig: u64): u32 {
  // A negative one is refused too.
  if (se - 1 >= 0x7ffe || <i64>sig >= 0) return REFUSED;
  const exp = <i32>se - BIAS;
  const even = <u64>(~exp & 1);
  const q = W.sqrt128(sig >> even, (sig << 63) & (0 - even));
  const rest = W.low;
  const lo: u64 = W.remainderHigh != 0 || rest > q ? HALF | 1 : u64(rest != 0);
  return conclude(s, f, at, 0, (exp >> 1) + BIAS, q, lo);
}

/** What comes of exact results with zeros, in 64 bits of precision; PE is not set. */
function sumWithZero(s: usize, f: u32, at: usize, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  if ((load<u32>(s, S_FCW) & 0x100) == 0 || !isOrdinary(aSe, aSig) || !isOrdinary(bSe, bSig)) return REFUSED;
  if (isZero(bSe, bSig)) {
    if (isZero(aSe, aSig)) aSe &= bSe;
  } else if (isZero(aSe, aSig)) {
    aSe = bSe;
    aSig = bSig;
  } else if (aSe == (bSe ^ 0x8000) && aSig == bSig) {
    aSe = 0;
    aSig = 0;
  } else return REFUSED;
  store<u64>(at, aSig);
  store<u64>(at, aSe, 8);
  return f & ~C1;
}

/** 0 × b or b × 0. */
function productWithZero(f: u32, at: usize, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  if (!isOrdinary(aSe, aSig) || !isOrdinary(bSe, bSig)) return REFUSED;
  if (!isZero(aSe, aSig) && !isZero(bSe, bSig)) return REFUSED;
  store<u64>(at, 0);
  store<u64>(at, (aSe ^ bSe) & 0x8000, 8);
  return f & ~C1;
}

// ---- what the semantics call: it writes the register at `at` ----

/** a + b: the new status word, or REFUSED with nothing done. */
export function x87_sum(at: usize, f: u32, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  const status = sum(STATE, f, at, aSe, aSig, bSe, bSig);
  return status != REFUSED ? status : sumWithZero(STATE, f, at, aSe, aSig, bSe, bSig);
}

export function x87_product(at: usize, f: u32, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  const status = product(STATE, f, at, aSe, aSig, bSe, bSig);
  return status != REFUSED ? status : productWithZero(f, at, aSe, aSig, bSe, bSig);
}

export function x87_quotient(at: usize, f: u32, aSe: u32, aSig: u64, bSe: u32, bSig: u64): u32 {
  return quotient(STATE, f, at, aSe, aSig, bSe, bSig);
}

export function x87_root(at: usize, f: u32): u32 {
  return root(STATE, f, at, <u32>load<u16>(at, 8), load<u64>(at));
}
