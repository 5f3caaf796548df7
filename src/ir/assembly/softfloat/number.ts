/**
 * Finite numbers taken apart: (-1)^sign × sig × 2^(exp - 63), where sig has its bit 63 set. All formats are worked on in this
 * form; they differ in how they are unpacked, in what they are rounded to, and in how NaNs propagate.
 */
import * as C from './context';
import * as W from './wide';

/** What an operand is; CLASS_NAN covers quiet and signalling ones. */
export const CLASS_ZERO: i32 = 0;
export const CLASS_FINITE: i32 = 1;
export const CLASS_INFINITE: i32 = 2;
export const CLASS_NAN: i32 = 3;

/** What an operation made: RESULT_FINITE has still to be rounded, RESULT_NAN is the default NaN. */
export const RESULT_ZERO: i32 = 0;
export const RESULT_FINITE: i32 = 1;
export const RESULT_INFINITE: i32 = 2;
export const RESULT_NAN: i32 = 3;

/** First operand. */
export let aSign: u32 = 0;
export let aExp: i32 = 0;
export let aSig: u64 = 0;
/** Second operand. */
export let bSign: u32 = 0;
export let bExp: i32 = 0;
export let bSig: u64 = 0;
/** Result; before rounding `rLow` extends the significand, its bit 0 being sticky. */
export let rSign: u32 = 0;
export let rExp: i32 = 0;
export let rSig: u64 = 0;
export let rLow: u64 = 0;

@inline
export function setA(sign: u32, exp: i32, sig: u64): void {
  aSign = sign;
  aExp = exp;
  aSig = sig;
}
@inline
export function setB(sign: u32, exp: i32, sig: u64): void {
  bSign = sign;
  bExp = exp;
  bSig = sig;
}
@inline
export function setR(sign: u32, exp: i32, sig: u64, low: u64): void {
  rSign = sign;
  rExp = exp;
  rSig = sig;
  rLow = low;
}

/** a + b with b's sign given, both finite and not 0. */
function addFinite(signB: u32): i32 {
  let ea = aExp;
  let sa = aSig;
  let eb = bExp;
  let sb = bSig;
  let sign = aSign;
  if (ea < eb || (ea == eb && sa < sb)) {
    ea = bExp;
    sa = bSig;
    eb = aExp;
    sb = aSig;
    sign = signB;
  }
  const d = ea - eb;
  let bh = sb;
  let bl: u64 = 0;
  if (d != 0) {
    if (d < 64) {
      bh = sb >> d;
      bl = sb << (64 - d);
    } else {
      bh = W.shiftRightJam(sb, 0, d);
      bl = W.low;
    }
  }
  let hi: u64;
  let lo: u64;
  if (aSign == signB) {
    hi = sa + bh;
    lo = bl;
    if (hi < sa) {
      lo = (lo >> 1) | (lo & 1) | (hi << 63);
      hi = (hi >> 1) | 0x8000000000000000;
      ea++;
    }
  } else {
    lo = 0 - bl;
    hi = sa - bh - u64(bl != 0);
    if (hi == 0) {
      if (lo == 0) {
        rSign = u32(C.rounding == C.DOWN);
        return RESULT_ZERO;
      }
      hi = lo;
      lo = 0;
      ea -= 64;
    }
    const s = <i32>clz(hi);
    if (s != 0) {
      hi = (hi << s) | (lo >> (64 - s));
      lo <<= s;
      ea -= s;
    }
  }
  setR(sign, ea, hi, lo);
  return RESULT_FINITE;
}

/** a + b, or a - b with `negate` = 1; neither is a NaN. */
export function addition(ca: i32, cb: i32, negate: u32): i32 {
  const signB = bSign ^ negate;
  if (ca == CLASS_FINITE && cb == CLASS_FINITE) return addFinite(signB);
  if (ca == CLASS_INFINITE) {
    if (cb == CLASS_INFINITE && aSign != signB) return invalid();
    rSign = aSign;
    return RESULT_INFINITE;
  }
  if (cb == CLASS_INFINITE) {
    rSign = signB;
    return RESULT_INFINITE;
  }
  if (ca == CLASS_FINITE) {
    setR(aSign, aExp, aSig, 0);
    return RESULT_FINITE;
  }
  if (cb == CLASS_FINITE) {
    setR(signB, bExp, bSig, 0);
    return RESULT_FINITE;
  }
  rSign = aSign == signB ? aSign : u32(C.rounding == C.DOWN);
  return RESULT_ZERO;
}

/** a × b; neither is a NaN. */
export function multiplication(ca: i32, cb: i32): i32 {
  rSign = aSign ^ bSign;
  if (ca == CLASS_FINITE && cb == CLASS_FINITE) {
    let hi = W.mulHigh(aSig, bSig);
    let lo = aSig * bSig;
    let e = aExp + bExp + 1;
    if (<i64>hi >= 0) {
      hi = (hi << 1) | (lo >> 63);
      lo <<= 1;
      e--;
    }
    rExp = e;
    rSig = hi;
    rLow = lo;
    return RESULT_FINITE;
  }
  if (ca == CLASS_INFINITE || cb == CLASS_INFINITE) {
    if (ca == CLASS_ZERO || cb == CLASS_ZERO) return invalid();
    return RESULT_INFINITE;
  }
  return RESULT_ZERO;
}

/** a ÷ b; neither is a NaN. */
export function division(ca: i32, cb: i32): i32 {
  rSign = aSign ^ bSign;
  if (ca == CLASS_FINITE && cb == CLASS_FINITE) {
    let e = aExp - bExp;
    let hi = aSig;
    let lo: u64 = 0;
    if (hi >= bSig) {
      lo = hi << 63;
      hi >>= 1;
    } else e--;
    rSig = W.divide128(hi, lo, bSig);
    const rem = W.low;
    // The remainder decides the 65th bit and whether anything follows it.
    const half = bSig - rem;
    rLow = rem > half ? 0x8000000000000001 : rem == half ? 0x8000000000000000 : u64(rem != 0);
    rExp = e;
    return RESULT_FINITE;
  }
  if (ca == CLASS_INFINITE) {
    if (cb == CLASS_INFINITE) return invalid();
    return RESULT_INFINITE;
  }
  if (cb == CLASS_INFINITE) return RESULT_ZERO;
  if (cb == CLASS_ZERO) {
    if (ca == CLASS_ZERO) return invalid();
    // A zero divisor has precedence over a subnormal dividend.
    C.setFlags((C.flags & ~C.DENORMAL) | C.DIV_BY_ZERO);
    return RESULT_INFINITE;
  }
  return RESULT_ZERO;
}

/** √a; a is not a NaN. */
export function squareRoot(ca: i32): i32 {
  rSign = aSign;
  if (ca == CLASS_ZERO) return RESULT_ZERO;
  if (aSign) return invalid();
  if (ca == CLASS_INFINITE) return RESULT_INFINITE;
  // sig × 2^64 or sig × 2^63: an even exponent below it.
  const odd = (aExp & 1) != 0;
  rSig = W.sqrt128(odd ? aSig : aSig >> 1, odd ? 0 : aSig << 63);
  // √N > s + ½ exactly when rem > s; it never is equal.
  const rem = W.low;
  rLow = W.remainderHigh != 0 || rem > rSig ? 0x8000000000000001 : u64(rem != 0);
  rExp = aExp >> 1;
  return RESULT_FINITE;
}

/** The operation is invalid: that outranks a subnormal operand. */
export function invalid(): i32 {
  C.setFlags((C.flags & ~C.DENORMAL) | C.INVALID);
  return RESULT_NAN;
}

/** Whether a magnitude is rounded away from zero: `rest` is what lies below the last kept bit, as a fraction of 2^64. */
@inline
export function roundsUp(sign: u32, odd: u64, rest: u64): bool {
  const mode = C.rounding;
  if (mode == C.NEAREST_EVEN) return rest > 0x8000000000000000 || (rest == 0x8000000000000000 && odd != 0);
  if (mode == C.UP) return rest != 0 && sign == 0;
  if (mode == C.DOWN) return rest != 0 && sign != 0;
  if (mode == C.NEAREST_AWAY) return rest >= 0x8000000000000000;
  return false;
}

/**
 * Rounds the result to 64 - `drop` bits of precision (drop: 0 or 2 … 62) and exponents `emin` … `emax`. Afterwards rSig has bit 63 set, or
 * rExp is emin (a subnormal), or rSig is 0. Overflow to infinity gives rExp = emax + 1.
 */
export function roundResult(drop: i32, emin: i32, emax: i32): void {
  let exp = rExp;
  let hi = rSig;
  let lo = rLow;
  const sign = rSign;
  const unit = (<u64>1) << drop;
  let raised = 0;
  if (exp < emin) {
    let tiny = true;
    if (exp == emin - 1 && !C.tinyBeforeRounding) {
      // Does it reach 2^emin when rounded with an unbounded exponent?
      const rest = drop == 0 ? lo : (hi << (64 - drop)) | u64(lo != 0);
      const kept = hi & ~(unit - 1);
      if (roundsUp(sign, kept & unit, rest) && kept + unit == 0) tiny = false;
    }
    if (tiny && C.trapUnderflow) {
      raised = C.UNDERFLOW;
      exp += C.trapBias;
      emax = i32.MAX_VALUE;
      if (exp < emin) {
        // Out of all bounds even so: a zero, whatever the direction of rounding.
        C.raiseFlags(C.UNDERFLOW | C.INEXACT);
        C.setRoundedUp(false);
        rSig = 0;
        rExp = emin;
        return;
      }
    } else if (tiny && C.flushToZero) {
      C.raiseFlags(C.UNDERFLOW | C.INEXACT);
      C.setRoundedUp(false);
      rSig = 0;
      rExp = emin;
      return;
    }
    if (exp < emin) {
      hi = W.shiftRightJam(hi, lo, emin - exp);
      lo = W.low;
      exp = emin;
      if (tiny) raised = C.UNDERFLOW;
    }
  }
  let rest = lo;
  if (drop != 0) {
    rest = (hi << (64 - drop)) | u64(lo != 0);
    hi &= ~(unit - 1);
  }
  let up = false;
  if (rest != 0) {
    up = roundsUp(sign, hi & unit, rest);
    if (up) {
      hi += unit;
      if (hi < unit) {
        hi = 0x8000000000000000;
        exp++;
      }
    }
    raised |= C.INEXACT;
  } else if (!C.trapUnderflow) raised = 0;
  if (exp > emax) {
    raised |= C.OVERFLOW;
    if (C.trapOverflow) exp -= C.trapBias;
    // Out of all bounds: an infinity, whatever the direction of rounding if this traps.
    if (exp > emax) {
      raised |= C.INEXACT;
      const mode = C.rounding;
      up = C.trapOverflow || !(mode == C.TOWARD_ZERO || (mode == C.UP && sign != 0) || (mode == C.DOWN && sign == 0));
      hi = up ? 0x8000000000000000 : 0 - unit;
      exp = up ? emax + 1 : emax;
    }
  }
  C.raiseFlags(raised);
  C.setRoundedUp(up);
  rExp = exp;
  rSig = hi;
}
