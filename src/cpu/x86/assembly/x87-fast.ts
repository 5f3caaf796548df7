/**
 * The common case of x87 arithmetic: normal operands, a normal result, rounding to nearest and the precision exception masked, so that
 * nothing but PE and C1 can come of it. Each function answers false, with nothing done, where that does not hold.
 */
import * as W from '../../../ir/assembly/softfloat/wide';
import { STATE } from './env';
import { S_FSW } from './generated/layout';
import { FSW_C1, fcw, seOf, sigOf } from './x87-state';

const INTEGER_BIT: u64 = 0x8000000000000000;
const PE: u32 = 1 << 5;
const PM: u32 = 1 << 5;
const RC: u32 = 3 << 10;
const BIAS: i32 = 16383;

/** Whether the control word allows it. */
@inline
export function isFast(control: u32): bool {
  return (control & (RC | PM)) == PM;
}

@inline
function isNormal(se: u32, sig: u64): bool {
  return (se & 0x7fff) - 1 < 0x7ffe && <i64>sig < 0;
}

/** Rounds (hi:lo), bit 127 set, with biased exponent `exp` to the control word's precision, into the register at `at`. */
@inline
function conclude(at: usize, control: u32, sign: u32, exp: i32, hi: u64, lo: u64): bool {
  // Room for a carry at the upper end.
  if (<u32>(exp - 1) >= 0x7ffd) return false;
  let unit: u64 = 1;
  let rest = lo;
  if ((control & 0x100) == 0) {
    const drop: u64 = control & 0x200 ? 11 : 40;
    unit <<= drop;
    rest = (hi << (64 - drop)) | u64(lo != 0);
    hi &= 0 - unit;
  }
  let status = load<u32>(STATE + S_FSW) & ~FSW_C1;
  if (rest != 0) {
    status |= PE;
    if (<i64>rest < 0 && (rest != INTEGER_BIT || (hi & unit) != 0)) {
      status |= FSW_C1;
      hi += unit;
      if (hi < unit) {
        hi = INTEGER_BIT;
        exp++;
      }
    }
  }
  store<u32>(STATE + S_FSW, status);
  store<u64>(at, hi);
  store<u64>(at, sign | (<u32>exp), 8);
  return true;
}

/** The register at `at` becomes itself + (bSe, bSig), whose sign has been turned for a difference. */
export function fastAdd(at: usize, control: u32, bSe: u32, bSig: u64): bool {
  const aSe = seOf(at);
  const aSig = sigOf(at);
  if (!isNormal(aSe, aSig) || !isNormal(bSe, bSig)) return false;
  let exp = <i32>(aSe & 0x7fff);
  let d = exp - <i32>(bSe & 0x7fff);
  let sign = aSe & 0x8000;
  let large = aSig;
  let small = bSig;
  if (d < 0 || (d == 0 && aSig < bSig)) {
    exp -= d;
    d = -d;
    sign = bSe & 0x8000;
    large = bSig;
    small = aSig;
  }
  if (d > 63) return false;
  const below = d == 0 ? 0 : small << (64 - d);
  const above = small >> d;
  let hi: u64;
  let lo: u64;
  if (((aSe ^ bSe) & 0x8000) == 0) {
    hi = large + above;
    lo = below;
    if (hi < large) {
      lo = (lo >> 1) | (lo & 1) | (hi << 63);
      hi = (hi >> 1) | INTEGER_BIT;
      exp++;
    }
  } else {
    lo = 0 - below;
    hi = large - above - u64(below != 0);
    if (hi == 0) return false;
    const s = <i32>clz(hi);
    if (s != 0) {
      hi = (hi << s) | (lo >> (64 - s));
      lo <<= s;
      exp -= s;
    }
  }
  return conclude(at, control, sign, exp, hi, lo);
}

/** × (bSe, bSig). */
export function fastMultiply(at: usize, control: u32, bSe: u32, bSig: u64): bool {
  const aSe = seOf(at);
  const aSig = sigOf(at);
  if (!isNormal(aSe, aSig) || !isNormal(bSe, bSig)) return false;
  let exp = <i32>(aSe & 0x7fff) + <i32>(bSe & 0x7fff) - BIAS + 1;
  let hi = W.mulHigh(aSig, bSig);
  let lo = aSig * bSig;
  if (<i64>hi >= 0) {
    hi = (hi << 1) | (lo >> 63);
    lo <<= 1;
    exp--;
  }
  return conclude(at, control, (aSe ^ bSe) & 0x8000, exp, hi, lo);
}

/** The register at `at` becomes (aSe, aSig) ÷ (bSe, bSig). */
export function fastDivide(at: usize, control: u32, aSe: u32, aSig: u64, bSe: u32, bSig: u64): bool {
  if (!isNormal(aSe, aSig) || !isNormal(bSe, bSig)) return false;
  let exp = <i32>(aSe & 0x7fff) - <i32>(bSe & 0x7fff) + BIAS;
  let hi = aSig;
  let lo: u64 = 0;
  if (hi >= bSig) {
    lo = hi << 63;
    hi >>= 1;
  } else exp--;
  const q = W.divide128(hi, lo, bSig);
  const rem = W.low;
  const half = bSig - rem;
  const rest: u64 = rem > half ? INTEGER_BIT | 1 : rem == half ? INTEGER_BIT : u64(rem != 0);
  return conclude(at, control, (aSe ^ bSe) & 0x8000, exp, q, rest);
}

/** What `fastToDouble` and `fastToSingle` have rounded. */
export let narrowed: u64 = 0;
/** PE and C1 that go with it, once it has been stored. */
export let narrowedStatus: u32 = 0;

/** A register's number as binary64, if that is normal. */
export function fastToDouble(se: u32, sig: u64): bool {
  const exp = <i32>(se & 0x7fff) - BIAS + 1023;
  if (<u32>(exp - 1) >= 0x7fd || <i64>sig >= 0 || !isFast(fcw())) return false;
  let bits = ((<u64>(se & 0x8000)) << 48) | ((<u64>exp) << 52) | ((sig >> 11) & 0xfffffffffffff);
  const rest = sig << 53;
  let status: u32 = 0;
  if (rest != 0) {
    status = PE;
    if (<i64>rest < 0 && (rest != INTEGER_BIT || (bits & 1) != 0)) {
      bits++;
      status = PE | FSW_C1;
    }
  }
  narrowed = bits;
  narrowedStatus = status;
  return true;
}

/** As binary32. */
export function fastToSingle(se: u32, sig: u64): bool {
  const exp = <i32>(se & 0x7fff) - BIAS + 127;
  if (<u32>(exp - 1) >= 0xfd || <i64>sig >= 0 || !isFast(fcw())) return false;
  let bits = ((<u64>(se & 0x8000)) << 16) | ((<u64>exp) << 23) | ((sig >> 40) & 0x7fffff);
  const rest = sig << 24;
  let status: u32 = 0;
  if (rest != 0) {
    status = PE;
    if (<i64>rest < 0 && (rest != INTEGER_BIT || (bits & 1) != 0)) {
      bits++;
      status = PE | FSW_C1;
    }
  }
  narrowed = bits;
  narrowedStatus = status;
  return true;
}
