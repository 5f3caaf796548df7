/** 2^x - 1, log₂ x and log₂ (1 + x) of extended numbers, to within 2^-100. */
import * as C from './context';
import * as F from './fraction';
import * as K from './constants';
import * as N from './number';
import * as W from './wide';

/** 2^a - 1 for the unpacked operand a, 0 < |a| < 1. */
export function exponentialLessOne(): i32 {
  let step: usize = 0;
  const e = N.aExp;
  let h = N.aSig;
  let l: u64 = 0;
  if (e >= -5) {
    // |a| = step / 32 + f
    const places = e + 6;
    step = <usize>(N.aSig >> (64 - places));
    h = N.aSig << places;
    // As a fraction, f < 1/32.
    l = h << 59;
    h >>= 5;
  }
  // u = f ln 2
  let uh: u64 = 0;
  let ul: u64 = 0;
  let ue = 0;
  if (e < -5) {
    F.normalize(h, 0, e);
    F.times(K.LN2_HIGH, K.LN2_LOW, -1);
  } else if ((h | l) != 0) {
    F.normalize(h, l, -1);
    F.times(K.LN2_HIGH, K.LN2_LOW, -1);
  } else {
    // Only steps: the number is 2^-200, which vanishes.
    F.normalize(0, 1, -73);
  }
  const nh = F.high;
  const nl = F.low;
  ue = F.exp;
  uh = F.fixed(128);
  ul = F.low;
  // p = |e^±u - 1| = u (1 ± u/2 + u²/6 ± …)
  h = F.series(K.EXP_TERMS, 16, uh, ul, N.aSign != 0);
  h = F.multiply(h, F.low, uh, ul);
  h = F.multiply(nh, nl, h, F.low | 1);
  l = F.low | 1;
  if (N.aSign) {
    h = F.subtract(nh, nl, h, l);
    F.normalize(h, F.low, ue);
  } else {
    h = F.add(nh, nl, h, l);
    if (h < nh) {
      F.normalize((h >> 1) | 0x8000000000000000, (F.low >> 1) | (h << 63), ue + 1);
    } else F.normalize(h, F.low, ue);
  }
  if (step == 0) return F.toResult(N.aSign);
  const ph = F.fixed(128);
  const pl = F.low;
  // (1 ± t)(1 ± p) - 1 = ±(t + p ± t p)
  const at = (N.aSign ? K.EXP2_DOWN : K.EXP2_UP) + (step << 4);
  const th = load<u64>(at, 8);
  const tl = load<u64>(at);
  const xh = F.multiply(th, tl, ph, pl);
  const xl = F.low;
  // t < 1, but the sum may reach 1: halves of it.
  let sh = F.shiftRight(th, tl, 1);
  sh = F.add(sh, F.low, ph >> 1, (pl >> 1) | (ph << 63));
  const sl = F.low;
  const half = (xl >> 1) | (xh << 63);
  const sum = N.aSign ? F.subtract(sh, sl, xh >> 1, half) : F.add(sh, sl, xh >> 1, half);
  F.normalize(sum, F.low, 0);
  return F.toResult(N.aSign);
}

/** Sign of the logarithm found last. */
let logSign: u32 = 0;

/**
 * log₂ of m × 2^e becomes the number; m = (mh:ml) as a fraction of 2^127 in [0.75, 1.5). Its sign is in `logSign`. False: it is 0.
 */
function logarithm(mh: u64, ml: u64, e: i32): bool {
  // c = step / 64, the nearest to m
  const step = ((mh >> 56) + 1) >> 1;
  const ch = step << 57;
  const below = mh < ch;
  let h = below ? F.subtract(ch, 0, mh, ml) : F.subtract(mh, ml, ch, 0);
  let l = F.low;
  if ((h | l) == 0) {
    if (e == 0 && step == 64) return false;
    F.normalize(0, 1, -200);
  } else {
    // s = (m - c) / (m + c)
    F.normalize(h, l, 0);
    const nh = F.high;
    const nl = F.low;
    const ne = F.exp;
    // m + c < 3: halved.
    h = F.shiftRight(mh, ml, 1);
    h = F.add(h, F.low, ch >> 1, 0);
    F.normalize(h, F.low, 1);
    F.quotient(nh, nl, ne, F.high, F.low, F.exp);
    seriesOfS();
  }
  logSign = u32(below);
  if (e == 0 && step == 64) return true;
  // e + log₂ c ± the series, signed, in units of 2^-112
  const places = F.fixed(112);
  const pl = F.low;
  const at = K.LOG2_STEPS + ((<usize>(step - 48)) << 4);
  h = F.add((<u64>(<i64>e)) << 48, 0, load<u64>(at, 8), load<u64>(at));
  l = F.low;
  h = below ? F.subtract(h, l, places, pl) : F.add(h, l, places, pl);
  l = F.low;
  logSign = u32(<i64>h < 0);
  if (logSign) {
    h = F.subtract(0, 0, h, l);
    l = F.low;
  }
  F.normalize(h, l, 127 - 112);
  return true;
}

/** From s, the number, to 2 atanh(s) / ln 2 = 2 s (1 + z/3 + z²/5 + …) / ln 2 with z = s². */
function seriesOfS(): void {
  const sh = F.high;
  const sl = F.low;
  const se = F.exp;
  if (se > -65) {
    let h = F.multiply(sh, sl, sh, sl);
    h = F.shiftRight(h, F.low, -2 - 2 * se);
    const zh = h;
    const zl = F.low;
    h = F.series(K.ODD_TERMS, 9, zh, zl, false);
    h = F.multiply(h, F.low, zh, zl);
    h = F.multiply(sh, sl, h, F.low);
    h = F.add(sh, sl, h, F.low);
    if (h < sh) {
      const low = (F.low >> 1) | (h << 63);
      F.normalize((h >> 1) | 0x8000000000000000, low, se + 1);
    } else F.normalize(h, F.low, se);
  }
  F.times(K.INVERSE_LN2_HIGH, K.INVERSE_LN2_LOW, 1);
}

/** b × the number, with the number's sign: ready to be rounded. */
function timesB(): i32 {
  F.times(N.bSig, 0, N.bExp);
  return F.toResult(N.bSign ^ logSign);
}

/** b × log₂ a for unpacked a > 0 and b, both finite and not 0; RESULT_ZERO if a is 1. INEXACT is raised even where the result is exact, as processors do. */
export function multipliedLogarithm(): i32 {
  let e = N.aExp;
  let mh = N.aSig;
  let ml: u64 = 0;
  if (mh << 1 == 0) {
    // A power of two: the product of two integers' significands, exactly.
    if (e == 0) return N.RESULT_ZERO;
    const magnitude = <u64>abs(e);
    const s = <i32>clz(magnitude);
    const factor = magnitude << s;
    let h = W.mulHigh(N.bSig, factor);
    const l = N.bSig * factor;
    F.normalize(h, l, N.bExp + 63 - s + 1);
    N.setR(N.bSign ^ u32(e < 0), F.exp, F.high, F.low);
    C.raiseFlags(F.exp < -16382 ? C.INEXACT | C.UNDERFLOW : C.INEXACT);
    return N.RESULT_FINITE;
  }
  // m is [1, 2) now; [1.5, 2) becomes [0.75, 1).
  if (mh >= 0xc000000000000000) {
    ml = mh << 63;
    mh >>= 1;
    e++;
  }
  logarithm(mh, ml, e);
  return timesB();
}

/** b × log₂ (1 + a) for unpacked a > -1 and b, both finite and not 0. */
export function multipliedLogarithmOnePlus(): i32 {
  const n = -N.aExp;
  if (n > 8) {
    // s = a / (2 + a)
    const h = F.shiftRight(N.aSig, 0, n + 1);
    const sum = N.aSign ? F.subtract(0x8000000000000000, 0, h, F.low) : F.add(0x8000000000000000, 0, h, F.low);
    F.normalize(sum, F.low, 1);
    F.quotient(N.aSig, 0, N.aExp, F.high, F.low, F.exp);
    seriesOfS();
    logSign = N.aSign;
    return timesB();
  }
  // 1 + a in full, halved, unless 1 vanishes beside a.
  if (n < -120) F.normalize(N.aSig, 0, N.aExp);
  else {
    const one = F.shiftRight(0x4000000000000000, 0, max(-n, 0));
    const oneLow = F.low;
    const h = F.shiftRight(N.aSig, 0, max(n, 0) + 1);
    const sum = N.aSign ? F.subtract(one, oneLow, h, F.low) : F.add(one, oneLow, h, F.low);
    F.normalize(sum, F.low, max(-n, 0) + 1);
  }
  let mh = F.high;
  let ml = F.low;
  let e = F.exp;
  if (mh >= 0xc000000000000000) {
    ml = (ml >> 1) | (mh << 63);
    mh >>= 1;
    e++;
  }
  return logarithm(mh, ml, e) ? timesB() : N.RESULT_ZERO;
}
