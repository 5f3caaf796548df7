/**
 * Arithmetic on 128-bit fractions and on numbers with a significand of 128 bits, for the elementary functions. Errors are a few units
 * of the last place: some 2^-120 relative, far below what matters to a result of 64 bits.
 */
import * as N from './number';
import * as W from './wide';

/** Low half of the last result; functions return the high half. */
export let low: u64 = 0;

@inline
export function setLow(v: u64): void {
  low = v;
}

/** a × b, both fractions of 2^128. */
export function multiply(ah: u64, al: u64, bh: u64, bl: u64): u64 {
  let hi = W.mulHigh(ah, bh);
  let lo = ah * bh;
  const x = W.mulHigh(ah, bl);
  lo += x;
  hi += u64(lo < x);
  const y = W.mulHigh(al, bh);
  lo += y;
  hi += u64(lo < y);
  low = lo;
  return hi;
}

@inline
export function add(ah: u64, al: u64, bh: u64, bl: u64): u64 {
  low = al + bl;
  return ah + bh + u64(low < al);
}

@inline
export function subtract(ah: u64, al: u64, bh: u64, bl: u64): u64 {
  low = al - bl;
  return ah - bh - u64(al < bl);
}

/** (hi:lo) >> n for 0 ≤ n, cut off. */
export function shiftRight(hi: u64, lo: u64, n: i32): u64 {
  if (n >= 128) {
    low = 0;
    return 0;
  }
  if (n >= 64) {
    low = hi >> (n - 64);
    return 0;
  }
  low = n == 0 ? lo : (lo >> n) | (hi << (64 - n));
  return hi >> n;
}

/** (hi:lo) << n for 0 ≤ n < 128. */
export function shiftLeft(hi: u64, lo: u64, n: i32): u64 {
  if (n >= 64) {
    low = 0;
    return lo << (n - 64);
  }
  low = lo << n;
  return n == 0 ? hi : (hi << n) | (lo >> (64 - n));
}

/** Places of zeros before the first one; 128 for 0. */
@inline
export function leadingZeros(hi: u64, lo: u64): i32 {
  return hi != 0 ? <i32>clz(hi) : 64 + <i32>clz(lo);
}

/** c₀ ∓ z (c₁ ∓ z (c₂ …)): n coefficients from a table, signs alternating or all plus. */
export function series(table: usize, n: i32, zh: u64, zl: u64, alternating: bool): u64 {
  let at = table + ((<usize>(n - 1)) << 4);
  let h = load<u64>(at, 8);
  let l = load<u64>(at);
  while (at != table) {
    at -= 16;
    h = multiply(h, l, zh, zl);
    l = low;
    if (alternating) h = subtract(load<u64>(at, 8), load<u64>(at), h, l);
    else h = add(load<u64>(at, 8), load<u64>(at), h, l);
    l = low;
  }
  low = l;
  return h;
}

/** a ÷ b as a fraction of 2^128, for normalised b (bit 127 set) and a < b. */
export function divide(ah: u64, al: u64, bh: u64, bl: u64): u64 {
  let q: u64;
  let rh: u64;
  let rl: u64;
  if (ah >= bh) {
    // The first digit would not fit: it is 2^64 - 1 or a little less.
    q = u64.MAX_VALUE;
    // r = a·2^64 - q·bh·2^64 (upper parts): (ah - bh):(al) + bh
    rl = al + bh;
    rh = ah - bh + u64(rl < al);
  } else {
    q = W.divide128(ah, al, bh);
    rl = W.low;
    rh = 0;
  }
  // Subtract q × bl from the remainder (rh:rl):0.
  const ph = W.mulHigh(q, bl);
  const pl = q * bl;
  let lowest = 0 - pl;
  const borrow = ph + u64(pl != 0);
  const before = rl;
  rl -= borrow;
  rh -= u64(before < borrow);
  while (<i64>rh < 0) {
    q--;
    lowest += bl;
    const carry = u64(lowest < bl);
    rl += bh;
    let up = u64(rl < bh);
    rl += carry;
    up += u64(rl < carry);
    rh += up;
  }
  low = rl >= bh ? u64.MAX_VALUE : W.divide128(rl, lowest, bh);
  return q;
}

// ---- Numbers: significand (hi:lo) with bit 127 set, times 2^(exp - 127) ----

export let high: u64 = 0;
export let exp: i32 = 0;

/** Makes (hi:lo) × 2^(e - 127) a number in `high`, `low`, `exp`; (hi:lo) is not 0. */
export function normalize(hi: u64, lo: u64, e: i32): void {
  const n = leadingZeros(hi, lo);
  high = shiftLeft(hi, lo, n);
  exp = e - n;
}

/** The number times another. */
export function times(hi: u64, lo: u64, e: i32): void {
  const h = multiply(high, low, hi, lo);
  normalize(h, low, exp + e + 1);
}

/** Number a ÷ number b. */
export function quotient(ah: u64, al: u64, ae: i32, bh: u64, bl: u64, be: i32): void {
  let e = ae - be;
  if (ah > bh || (ah == bh && al >= bl)) {
    al = (al >> 1) | (ah << 63);
    ah >>= 1;
  } else e--;
  const h = divide(ah, al, bh, bl);
  normalize(h, low, e);
}

/** The number as a fixed-point value whose unit is 2^-places, cut off. */
export function fixed(places: i32): u64 {
  // high:low × 2^(exp - 127 + places)
  const n = 127 - places - exp;
  return n >= 0 ? shiftRight(high, low, n) : shiftLeft(high, low, -n);
}

/** Hands the number to the rounding of results: inexact, and with a sign. */
export function toResult(sign: u32): i32 {
  N.setR(sign, exp, high, low | 1);
  return N.RESULT_FINITE;
}
