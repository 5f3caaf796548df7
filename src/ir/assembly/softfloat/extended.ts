/**
 * The 80-bit extended format: sign and exponent in the low 16 bits of a u32 (`se`), and a significand with its integer bit.
 * Results are left in `se` and `sig`. `drop` is 64 less the precision to which results are rounded: 0, 11 or 40.
 */
import * as B from './binary';
import * as C from './context';
import * as N from './number';

/** An encoding that is no number: its integer bit is 0 where it must be 1. Operations on it are invalid. */
export const CLASS_UNSUPPORTED: i32 = 4;

export const BIAS: i32 = 16383;
const TOP: u32 = 0x7fff;
const INTEGER_BIT: u64 = 0x8000000000000000;
const QUIET_BIT: u64 = 0x4000000000000000;

/** Result of the last operation. */
export let se: u32 = 0;
export let sig: u64 = 0;

@inline
export function setResult(signExponent: u32, significand: u64): void {
  se = signExponent;
  sig = significand;
}

/** The class of a number, without taking it apart. */
export function classify(s: u32, m: u64): i32 {
  const e = s & TOP;
  if (e == 0) return m == 0 ? N.CLASS_ZERO : N.CLASS_FINITE;
  if (m < INTEGER_BIT) return CLASS_UNSUPPORTED;
  if (e != TOP) return N.CLASS_FINITE;
  return m == INTEGER_BIT ? N.CLASS_INFINITE : N.CLASS_NAN;
}

/** Takes a number apart into the first operand and returns its class. */
export function unpackA(s: u32, m: u64): i32 {
  const e = s & TOP;
  const sign = (s >> 15) & 1;
  if (e - 1 < TOP - 1) {
    N.setA(sign, <i32>e - BIAS, m);
    return m >= INTEGER_BIT ? N.CLASS_FINITE : CLASS_UNSUPPORTED;
  }
  if (e == 0) {
    if (m == 0) {
      N.setA(sign, 0, 0);
      return N.CLASS_ZERO;
    }
    // With the integer bit set (a pseudo-denormal) too the exponent counts as 1.
    C.raiseFlags(C.DENORMAL);
    const shift = <i32>clz(m);
    N.setA(sign, 1 - BIAS - shift, m << shift);
    return N.CLASS_FINITE;
  }
  N.setA(sign, 0, 0);
  if (m < INTEGER_BIT) return CLASS_UNSUPPORTED;
  return m == INTEGER_BIT ? N.CLASS_INFINITE : N.CLASS_NAN;
}

/** The same for the second operand. */
export function unpackB(s: u32, m: u64): i32 {
  const sign = N.aSign;
  const exp = N.aExp;
  const a = N.aSig;
  const c = unpackA(s, m);
  N.setB(N.aSign, N.aExp, N.aSig);
  N.setA(sign, exp, a);
  return c;
}

export function setDefaultNan(): void {
  se = TOP | (C.defaultNanSign << 15);
  sig = INTEGER_BIT | QUIET_BIT;
}

/** The operation is invalid. */
export function setInvalid(): void {
  N.invalid();
  setDefaultNan();
}

/** Rounds the result of an operation of `kind` to the format. */
export function finish(kind: i32, drop: i32): void {
  if (kind == N.RESULT_FINITE) {
    N.roundResult(drop, 1 - BIAS, BIAS);
    sig = N.rSig;
    se = (N.rSign << 15) | (N.rSig < INTEGER_BIT ? 0 : <u32>(N.rExp + BIAS));
    return;
  }
  if (kind == N.RESULT_ZERO) {
    sig = 0;
    se = N.rSign << 15;
  } else if (kind == N.RESULT_INFINITE) {
    sig = INTEGER_BIT;
    se = (N.rSign << 15) | TOP;
  } else setDefaultNan();
}

@inline
function isSignalling(m: u64): bool {
  return (m & QUIET_BIT) == 0;
}

/** The NaN that an operation returns of whose operands at least one is a NaN and none unsupported. */
export function propagate(ca: i32, aSe: u32, aSig: u64, cb: i32, bSe: u32, bSig: u64): void {
  const na = ca == N.CLASS_NAN;
  const nb = cb == N.CLASS_NAN;
  const sa = na && isSignalling(aSig);
  const sb = nb && isSignalling(bSig);
  C.setFlags(C.flags & ~C.DENORMAL);
  if (sa || sb) C.raiseFlags(C.INVALID);
  if (C.nanRule == C.NAN_DEFAULT) {
    setDefaultNan();
    return;
  }
  let first = na;
  if (na && nb) {
    if (C.nanRule == C.NAN_SIGNALLING) first = sa || !sb;
    else if (C.nanRule == C.NAN_LARGER) {
      if (sa != sb) first = sb;
      else if (aSig != bSig) first = aSig > bSig;
      else first = (aSe & 0x8000) == 0;
    }
  }
  se = first ? aSe : bSe;
  sig = (first ? aSig : bSig) | QUIET_BIT;
}

/** For two operands that are not both numbers: the result. False: both are numbers. */
export function special(ca: i32, aSe: u32, aSig: u64, cb: i32, bSe: u32, bSig: u64): bool {
  if (ca < N.CLASS_NAN && cb < N.CLASS_NAN) return false;
  if (ca == CLASS_UNSUPPORTED || cb == CLASS_UNSUPPORTED) setInvalid();
  else propagate(ca, aSe, aSig, cb, bSe, bSig);
  return true;
}

/** Subtraction and division with the operands exchanged are left to the caller. */
export function arithmetic(op: i32, aSe: u32, aSig: u64, bSe: u32, bSig: u64, drop: i32): void {
  const ca = unpackA(aSe, aSig);
  const cb = unpackB(bSe, bSig);
  if (special(ca, aSe, aSig, cb, bSe, bSig)) return;
  let kind: i32;
  if (op < B.OP_MUL) kind = N.addition(ca, cb, op);
  else if (op == B.OP_MUL) kind = N.multiplication(ca, cb);
  else kind = N.division(ca, cb);
  finish(kind, drop);
}

export function squareRoot(s: u32, m: u64, drop: i32): void {
  const c = unpackA(s, m);
  if (special(c, s, m, c, s, m)) return;
  finish(N.squareRoot(c), drop);
}

/** Rounds to an integral value. */
export function roundToIntegral(s: u32, m: u64): void {
  const c = unpackA(s, m);
  if (special(c, s, m, c, s, m)) return;
  if (c == N.CLASS_FINITE) {
    if (N.aExp >= 63) setResult(s, m);
    else {
      const kind = B.integral(N.aSign, N.aExp, N.aSig);
      const up = C.roundedUp;
      finish(kind, 0);
      C.setRoundedUp(up);
    }
  } else setResult(s, m);
}

/** Answers as `binary.compare`; unsupported operands are invalid and unordered. */
export function compare(aSe: u32, aSig: u64, bSe: u32, bSig: u64, signalling: bool): i32 {
  const ca = unpackA(aSe, aSig);
  const cb = unpackB(bSe, bSig);
  if (ca >= N.CLASS_NAN || cb >= N.CLASS_NAN) {
    C.setFlags(C.flags & ~C.DENORMAL);
    if (
      signalling ||
      ca == CLASS_UNSUPPORTED ||
      cb == CLASS_UNSUPPORTED ||
      (ca == N.CLASS_NAN && isSignalling(aSig)) ||
      (cb == N.CLASS_NAN && isSignalling(bSig))
    )
      C.raiseFlags(C.INVALID);
    return B.UNORDERED;
  }
  if (ca == N.CLASS_ZERO && cb == N.CLASS_ZERO) return B.EQUAL;
  if (ca == N.CLASS_ZERO) return N.bSign ? B.GREATER : B.LESS;
  if (cb == N.CLASS_ZERO || N.aSign != N.bSign) return N.aSign ? B.LESS : B.GREATER;
  // Same sign, neither is 0: order of the magnitudes.
  const larger = N.aSign ? B.LESS : B.GREATER;
  const smaller = N.aSign ? B.GREATER : B.LESS;
  if (ca != cb) return ca == N.CLASS_INFINITE ? larger : smaller;
  if (ca == N.CLASS_INFINITE) return B.EQUAL;
  if (N.aExp != N.bExp) return N.aExp > N.bExp ? larger : smaller;
  if (N.aSig != N.bSig) return N.aSig > N.bSig ? larger : smaller;
  return B.EQUAL;
}

/** From binary32 (f = BINARY32) or binary64, exactly. NaNs keep what they are; DENORMAL for subnormals. */
export function fromBinary(f: i32, v: u64): void {
  const c = B.unpackA(f, v);
  const sign = N.aSign << 15;
  if (c == N.CLASS_FINITE) setResult(sign | <u32>(N.aExp + BIAS), N.aSig);
  else if (c == N.CLASS_ZERO) setResult(sign, 0);
  else setResult(sign | TOP, INTEGER_BIT | (f ? v << 11 : v << 40));
}

/** To binary32 or binary64. DENORMAL is not reported: an extended subnormal is tiny anyway. */
export function toBinary(f: i32, s: u32, m: u64): u64 {
  const before = C.flags;
  const c = unpackA(s, m);
  C.setFlags(before);
  if (c == CLASS_UNSUPPORTED) {
    C.raiseFlags(C.INVALID);
    return B.defaultNan(f);
  }
  if (c == N.CLASS_NAN) {
    if (isSignalling(m)) C.raiseFlags(C.INVALID);
    if (C.nanRule == C.NAN_DEFAULT) return B.defaultNan(f);
    const bits = B.fractionBits(f);
    return B.infinity(f, N.aSign) | (((m | QUIET_BIT) << 1) >> (64 - bits));
  }
  N.setR(N.aSign, N.aExp, N.aSig, 0);
  return B.finish(f, c);
}

/** To a signed integer; see `binary.unpackedToInteger`. */
export function toInteger(s: u32, m: u64, bits: i32): i64 {
  const before = C.flags;
  const c = unpackA(s, m);
  C.setFlags(before);
  return B.unpackedToInteger(c == CLASS_UNSUPPORTED ? N.CLASS_NAN : c, bits);
}

/** From a signed integer, exactly. */
export function fromInteger(v: i64): void {
  if (v == 0) {
    setResult(0, 0);
    return;
  }
  const magnitude = v < 0 ? 0 - <u64>v : <u64>v;
  const shift = <i32>clz(magnitude);
  setResult((v < 0 ? 0x8000 : 0) | <u32>(BIAS + 63 - shift), magnitude << shift);
}

/**
 * a × 2^n for a finite a that has been unpacked. Beyond ±65536 n makes no difference.
 */
export function scaleBy(n: i32): void {
  N.setR(N.aSign, N.aExp + n, N.aSig, 0);
  finish(N.RESULT_FINITE, 0);
}
