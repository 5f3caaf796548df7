/**
 * Binary32 and binary64 as bit patterns. `f` is the format: BINARY32 values lie in the low half of a u64.
 */
import * as C from './context';
import * as N from './number';
import * as W from './wide';

export const BINARY32: i32 = 0;
export const BINARY64: i32 = 1;

/** Bits below the exponent field. */
@inline
export function fractionBits(f: i32): i32 {
  return f ? 52 : 23;
}
/** Largest exponent of a finite number; 1 - it is the smallest of a normal one. */
@inline
export function maxExponent(f: i32): i32 {
  return f ? 1023 : 127;
}
@inline
function signOf(f: i32, v: u64): u32 {
  return <u32>(v >> (f ? 63 : 31)) & 1;
}
@inline
export function infinity(f: i32, sign: u32): u64 {
  return f ? ((<u64>sign) << 63) | 0x7ff0000000000000 : ((<u64>sign) << 31) | 0x7f800000;
}
@inline
export function zero(f: i32, sign: u32): u64 {
  return (<u64>sign) << (f ? 63 : 31);
}
@inline
export function defaultNan(f: i32): u64 {
  return f ? ((<u64>C.defaultNanSign) << 63) | 0x7ff8000000000000 : ((<u64>C.defaultNanSign) << 31) | 0x7fc00000;
}
@inline
export function isNan(f: i32, v: u64): bool {
  return f ? v << 1 > 0xffe0000000000000 : (<u32>v) << 1 > 0xff000000;
}
@inline
export function isSignalling(f: i32, v: u64): bool {
  return isNan(f, v) && (v & (f ? 0x0008000000000000 : 0x00400000)) == 0;
}
@inline
function quiet(f: i32, v: u64): u64 {
  return v | (f ? 0x0008000000000000 : 0x00400000);
}
@inline
function isSubnormal(f: i32, v: u64): bool {
  return f ? (v << 1) - 1 < 0x001fffffffffffff : ((<u32>v) << 1) - 1 < 0x00ffffff;
}

/** The operand as arithmetic sees it: a zero in place of a subnormal when those are zeros. */
export function effective(f: i32, v: u64): u64 {
  if (C.denormalsAreZero && isSubnormal(f, v)) return v & (f ? 0x8000000000000000 : 0x80000000);
  return v;
}

/** Takes v apart into the first operand and returns its class. */
export function unpackA(f: i32, v: u64): i32 {
  const sign = signOf(f, v);
  const bits = fractionBits(f);
  const top = maxExponent(f) * 2 + 1;
  const e = <i32>(v >> bits) & top;
  const fraction = v & (((<u64>1) << bits) - 1);
  if (e == 0) {
    if (fraction == 0 || C.denormalsAreZero) {
      N.setA(sign, 0, 0);
      return N.CLASS_ZERO;
    }
    C.raiseFlags(C.DENORMAL);
    const s = <i32>clz(fraction);
    N.setA(sign, 1 - maxExponent(f) + (63 - bits) - s, fraction << s);
    return N.CLASS_FINITE;
  }
  if (e == top) {
    N.setA(sign, 0, 0);
    return fraction == 0 ? N.CLASS_INFINITE : N.CLASS_NAN;
  }
  N.setA(sign, e - maxExponent(f), (fraction << (63 - bits)) | 0x8000000000000000);
  return N.CLASS_FINITE;
}

/** The same for the second operand. */
export function unpackB(f: i32, v: u64): i32 {
  const s = N.aSign;
  const e = N.aExp;
  const m = N.aSig;
  const c = unpackA(f, v);
  N.setB(N.aSign, N.aExp, N.aSig);
  N.setA(s, e, m);
  return c;
}

/** Puts the rounded result together. */
function packRounded(f: i32): u64 {
  const bits = fractionBits(f);
  const biased = N.rSig >> 63 != 0 ? N.rExp + maxExponent(f) : 0;
  return zero(f, N.rSign) | ((<u64>biased) << bits) | ((N.rSig & 0x7fffffffffffffff) >> (63 - bits));
}

/** Rounds a result of `kind` to the format. */
export function finish(f: i32, kind: i32): u64 {
  if (kind == N.RESULT_FINITE) {
    const top = maxExponent(f);
    N.roundResult(63 - fractionBits(f), 1 - top, top);
    return packRounded(f);
  }
  if (kind == N.RESULT_ZERO) return zero(f, N.rSign);
  if (kind == N.RESULT_INFINITE) return infinity(f, N.rSign);
  return defaultNan(f);
}

/** The NaN that an operation on a and b returns, one of which is a NaN. */
export function propagate(f: i32, a: u64, b: u64): u64 {
  const sa = isSignalling(f, a);
  const sb = isSignalling(f, b);
  C.setFlags(C.flags & ~C.DENORMAL);
  if (sa || sb) C.raiseFlags(C.INVALID);
  if (C.nanRule == C.NAN_DEFAULT) return defaultNan(f);
  let first = isNan(f, a);
  if (C.nanRule == C.NAN_SIGNALLING && first && sb && !sa) first = false;
  return quiet(f, first ? a : b);
}

export const OP_ADD: i32 = 0;
export const OP_SUB: i32 = 1;
export const OP_MUL: i32 = 2;
export const OP_DIV: i32 = 3;

/** a op b. Flags of this operation are added to the context's; DENORMAL never together with INVALID or DIV_BY_ZERO. */
export function arithmetic(f: i32, op: i32, a: u64, b: u64): u64 {
  const before = C.flags;
  C.setFlags(0);
  const ca = unpackA(f, a);
  const cb = unpackB(f, b);
  let result: u64;
  if (ca == N.CLASS_NAN || cb == N.CLASS_NAN) result = propagate(f, a, b);
  else {
    let kind: i32;
    if (op < OP_MUL) kind = N.addition(ca, cb, op);
    else if (op == OP_MUL) kind = N.multiplication(ca, cb);
    else kind = N.division(ca, cb);
    result = finish(f, kind);
  }
  C.raiseFlags(before);
  return result;
}

export function squareRoot(f: i32, a: u64): u64 {
  const before = C.flags;
  C.setFlags(0);
  const ca = unpackA(f, a);
  const result = ca == N.CLASS_NAN ? propagate(f, a, a) : finish(f, N.squareRoot(ca));
  C.raiseFlags(before);
  return result;
}

/** Answers of `compare`. */
export const LESS: i32 = 0;
export const EQUAL: i32 = 1;
export const GREATER: i32 = 2;
export const UNORDERED: i32 = 3;

/** Compares a and b. INVALID: for signalling NaNs, with `signalling` for quiet ones too. */
export function compare(f: i32, a: u64, b: u64, signalling: bool): i32 {
  if (isNan(f, a) || isNan(f, b)) {
    if (signalling || isSignalling(f, a) || isSignalling(f, b)) C.raiseFlags(C.INVALID);
    return UNORDERED;
  }
  if (isSubnormal(f, a) || isSubnormal(f, b)) {
    if (!C.denormalsAreZero) C.raiseFlags(C.DENORMAL);
    a = effective(f, a);
    b = effective(f, b);
  }
  if (f) {
    const x = reinterpret<f64>(a);
    const y = reinterpret<f64>(b);
    return x < y ? LESS : x == y ? EQUAL : GREATER;
  }
  const u = reinterpret<f32>(<u32>a);
  const v = reinterpret<f32>(<u32>b);
  return u < v ? LESS : u == v ? EQUAL : GREATER;
}

/** Converts between the two formats. */
export function convert(from: i32, to: i32, a: u64): u64 {
  const before = C.flags;
  C.setFlags(0);
  const ca = unpackA(from, a);
  let result: u64;
  if (ca == N.CLASS_NAN) {
    if (isSignalling(from, a)) C.raiseFlags(C.INVALID);
    if (C.nanRule == C.NAN_DEFAULT) result = defaultNan(to);
    else {
      const payload = from ? a << 12 : a << 41;
      result = quiet(to, infinity(to, N.aSign) | (payload >> (64 - fractionBits(to))));
    }
  } else {
    N.setR(N.aSign, N.aExp, N.aSig, 0);
    result = finish(to, ca);
  }
  C.raiseFlags(before);
  return result;
}

/** Rounds a to an integral value. INEXACT only if `exact`; a subnormal operand is not reported. */
export function roundToIntegral(f: i32, a: u64, exact: bool): u64 {
  const before = C.flags;
  C.setFlags(0);
  const ca = unpackA(f, a);
  C.setFlags(0);
  let result = a;
  if (ca == N.CLASS_NAN) result = propagate(f, a, a);
  else if (ca == N.CLASS_ZERO) result = zero(f, N.aSign);
  else if (ca == N.CLASS_FINITE) {
    result = finish(f, integral(N.aSign, N.aExp, N.aSig));
    if (!exact) C.setFlags(C.flags & ~C.INEXACT);
  }
  C.raiseFlags(before);
  return result;
}

/** Rounds a finite number to an integral one: the result, ready for `finish`. */
export function integral(sign: u32, exp: i32, sig: u64): i32 {
  N.setR(sign, exp, sig, 0);
  if (exp >= 63) return N.RESULT_FINITE;
  let kept: u64 = 0;
  let rest: u64;
  if (exp >= 0) {
    kept = sig >> (63 - exp);
    rest = sig << (exp + 1);
  } else rest = exp == -1 ? sig : W.shiftRightJam(sig, 0, -1 - exp) | u64(W.low != 0);
  let up = false;
  if (rest != 0) {
    C.raiseFlags(C.INEXACT);
    up = N.roundsUp(sign, kept & 1, rest);
    if (up) kept++;
  }
  C.setRoundedUp(up);
  if (kept == 0) return N.RESULT_ZERO;
  const s = <i32>clz(kept);
  N.setR(sign, 63 - s, kept << s, 0);
  return N.RESULT_FINITE;
}

/** From a signed integer. */
export function fromInteger(f: i32, v: i64): u64 {
  if (v == 0) return 0;
  const sign = u32(v < 0);
  const magnitude = v < 0 ? 0 - <u64>v : <u64>v;
  const s = <i32>clz(magnitude);
  N.setR(sign, 63 - s, magnitude << s, 0);
  return finish(f, N.RESULT_FINITE);
}

/**
 * To a signed integer of `bits` ≤ 64 bits. Out of range and NaN: INVALID (alone), the result is the nearest representable (0 for NaN).
 * `roundedUp` tells the direction. The operand is the unpacked `a` of class ca.
 */
export function unpackedToInteger(ca: i32, bits: i32): i64 {
  const largest: u64 = ((<u64>1) << (bits - 1)) - 1 + N.aSign;
  if (ca == N.CLASS_ZERO) return 0;
  let over = ca != N.CLASS_FINITE || N.aExp > 63;
  let magnitude: u64 = 0;
  const before = C.flags;
  if (!over) {
    const kind = integral(N.aSign, N.aExp, N.aSig);
    if (kind == N.RESULT_ZERO) return 0;
    if (N.rExp > 63) over = true;
    else {
      magnitude = N.rSig >> (63 - N.rExp);
      over = magnitude > largest;
    }
  }
  if (over) {
    C.setFlags(before | C.INVALID);
    C.setRoundedUp(false);
    if (ca == N.CLASS_NAN) return 0;
    magnitude = largest;
  }
  return N.aSign ? 0 - <i64>magnitude : <i64>magnitude;
}

/** To a signed integer; see `unpackedToInteger`. A subnormal operand is not reported. */
export function toInteger(f: i32, a: u64, bits: i32): i64 {
  const before = C.flags;
  const ca = unpackA(f, a);
  C.setFlags(before);
  return unpackedToInteger(ca, bits);
}
