/**
 * Sine, cosine, tangent and arc tangent of extended numbers. Arguments are reduced by π rounded to 66 bits, as the processors
 * do that have these as instructions (SDM vol. 1 §8.3.8), and results of |x| < 2^63 are then correctly rounded but for cases within 2^-50 of
 * a tie.
 */
import * as F from './fraction';
import * as K from './constants';
import * as N from './number';
import * as W from './wide';

/** π/2 in units of 2^-65: 66 bits. */
const P_HIGH: u64 = 0x3;
const P_LOW: u64 = 0x243f6a8885a308d3;
/** π/4, as a number: 63 bits of exponent -1. */
const QUARTER_PI: u64 = 0xc90fdaa22168c234;

/** |a| = quadrant × π/2 + r; the sign of r. */
let quadrant: u32 = 0;
let rSign: u32 = 0;
/** |r| as a number. */
let rHigh: u64 = 0;
let rLow: u64 = 0;
let rExp: i32 = 0;
/** 1 - sin r / r and 1 - cos r, fractions of 2^128, at least 1. */
let sinLossHigh: u64 = 0;
let sinLossLow: u64 = 0;
let cosLossHigh: u64 = 0;
let cosLossLow: u64 = 0;

/** Reduces the unpacked operand a, finite with exponent below 63, and evaluates both series. */
export function reduce(): void {
  quadrant = 0;
  rSign = 0;
  if (N.aExp < -1 || (N.aExp == -1 && N.aSig <= QUARTER_PI)) {
    rHigh = N.aSig;
    rLow = 0;
    rExp = N.aExp;
  } else {
    // |a| in units of 2^-65, less multiples of π/2 from the largest that fits downward.
    const up = N.aExp + 2;
    let h = F.shiftLeft(0, N.aSig, up);
    let l = F.low;
    // P << k ≤ a needs k up to the difference of lengths.
    let k = 62 - F.leadingZeros(h, l);
    for (; k >= 0; k--) {
      const ph = F.shiftLeft(P_HIGH, P_LOW, k);
      const pl = F.low;
      if (h > ph || (h == ph && l >= pl)) {
        h = F.subtract(h, l, ph, pl);
        l = F.low;
        if (k < 2) quadrant |= 1 << k;
      }
    }
    // To the nearest multiple.
    const oh = F.subtract(P_HIGH, P_LOW, h, l);
    const ol = F.low;
    if (oh < h || (oh == h && ol < l)) {
      h = oh;
      l = ol;
      rSign = 1;
      quadrant = (quadrant + 1) & 3;
    }
    F.normalize(h, l, 127 - 65);
    rHigh = F.high;
    rLow = F.low;
    rExp = F.exp;
  }
  evaluate();
}

function evaluate(): void {
  // z = r², a fraction.
  let zh: u64 = 0;
  let zl: u64 = 0;
  if (rExp >= -64) {
    const h = F.multiply(rHigh, rLow, rHigh, rLow);
    const l = F.low;
    zh = F.shiftRight(h, l, -2 - 2 * rExp);
    zl = F.low;
  }
  let h = F.series(K.SIN_TERMS, 13, zh, zl, true);
  sinLossHigh = F.multiply(h, F.low, zh, zl);
  sinLossLow = F.low | 1;
  h = F.series(K.COS_TERMS, 14, zh, zl, true);
  cosLossHigh = F.multiply(h, F.low, zh, zl);
  cosLossLow = F.low | 1;
}

/** |sin r| becomes the number. */
function sineOfR(): void {
  let h = F.multiply(rHigh, rLow, sinLossHigh, sinLossLow);
  // At least something is lost.
  h = F.subtract(rHigh, rLow, h, F.low | 1);
  F.normalize(h, F.low, rExp);
}

/** cos r becomes the number. */
function cosineOfR(): void {
  const h = F.subtract(0, 0, cosLossHigh, cosLossLow);
  F.normalize(h, F.low, -1);
}

/** sin a after `reduce`, ready to be rounded. */
export function sine(): i32 {
  const negative = N.aSign ^ (quadrant >> 1);
  if (quadrant & 1) {
    cosineOfR();
    return F.toResult(negative);
  }
  sineOfR();
  return F.toResult(negative ^ rSign);
}

/** cos a. */
export function cosine(): i32 {
  if (quadrant & 1) {
    sineOfR();
    // cos(π/2 + r) = -sin r
    return F.toResult((quadrant >> 1) ^ rSign ^ 1);
  }
  cosineOfR();
  return F.toResult(quadrant >> 1);
}

/** tan a. */
export function tangent(): i32 {
  if (rExp < -55 && quadrant == 0) {
    // A little more than r, which a quotient of two values that are a little too small might miss.
    F.normalize(rHigh, rLow, rExp);
    return F.toResult(N.aSign ^ rSign);
  }
  sineOfR();
  const sh = F.high;
  const sl = F.low;
  const se = F.exp;
  cosineOfR();
  const ch = F.high;
  const cl = F.low;
  const ce = F.exp;
  if (quadrant & 1) {
    F.quotient(ch, cl, ce, sh, sl, se);
    return F.toResult(N.aSign ^ rSign ^ 1);
  }
  F.quotient(sh, sl, se, ch, cl, ce);
  return F.toResult(N.aSign ^ rSign);
}

/** The angle of the point (x, y) given as numbers: y is unpacked operand a, x is b, both finite and not 0. */
export function arcTangent(): i32 {
  // t = smaller / larger
  const steep = N.aExp > N.bExp || (N.aExp == N.bExp && N.aSig > N.bSig);
  const ns = steep ? N.bSig : N.aSig;
  const ds = steep ? N.aSig : N.bSig;
  const ne = steep ? N.bExp : N.aExp;
  const de = steep ? N.aExp : N.bExp;
  const apart = de - ne;
  let step: u32 = 0;
  let below = false;
  if (apart <= 6) {
    // Nearest i/32 to t: t < 2^(1 - apart).
    const t = (<f64>(ns >> 11) / <f64>(ds >> 11)) * (1.0 / <f64>(1 << apart));
    step = <u32>nearest(t * 32.0);
  }
  if (step == 0) F.quotient(ns, 0, ne, ds, 0, de);
  else {
    // atan t = atan c + atan((n - c d) / (d + c n)) with c = step / 32; in units of 2^(ne - 63) / 32.
    const dh = F.shiftLeft(0, ds, apart);
    const dl = F.low;
    const nh: u64 = ns >> 59;
    const nl = ns << 5;
    // step × d
    let ch = dh * <u64>step + W.mulHigh(dl, step);
    let cl = dl * <u64>step;
    let h: u64;
    below = nh < ch || (nh == ch && nl < cl);
    if (below) h = F.subtract(ch, cl, nh, nl);
    else h = F.subtract(nh, nl, ch, cl);
    const l = F.low;
    // 32 d + step × n
    ch = F.shiftLeft(dh, dl, 5);
    cl = F.low;
    ch = F.add(ch, cl, W.mulHigh(ns, step), ns * <u64>step);
    cl = F.low;
    if ((h | l) == 0) {
      F.normalize(0, 1, -200);
    } else {
      F.normalize(h, l, 0);
      const qh = F.high;
      const ql = F.low;
      const qe = F.exp;
      F.normalize(ch, cl, 0);
      F.quotient(qh, ql, qe, F.high, F.low, F.exp);
    }
  }
  // atan q = q (1 - z/3 + z²/5 - …), z = q² ≤ 2^-12
  const qh = F.high;
  const ql = F.low;
  const qe = F.exp;
  if (qe > -65) {
    let h = F.multiply(qh, ql, qh, ql);
    h = F.shiftRight(h, F.low, -2 - 2 * qe);
    const zh = h;
    const zl = F.low;
    h = F.series(K.ODD_TERMS, 9, zh, zl, true);
    h = F.multiply(h, F.low, zh, zl);
    h = F.multiply(qh, ql, h, F.low);
    h = F.subtract(qh, ql, h, F.low | 1);
    F.normalize(h, F.low, qe);
  } else {
    // 1 less than q in the last place
    F.normalize(F.subtract(qh, ql, 0, 1), F.low, qe);
  }
  if (step == 0 && !steep && N.bSign == 0) return F.toResult(N.aSign);
  // In units of 2^-126: the angle is at most π.
  let h = F.fixed(126);
  let l = F.low;
  if (step != 0) {
    const at = K.ATAN_STEPS + ((<usize>step) << 4);
    const th = load<u64>(at, 8) >> 2;
    const tl = (load<u64>(at) >> 2) | (load<u64>(at, 8) << 62);
    h = below ? F.subtract(th, tl, h, l) : F.add(th, tl, h, l);
    l = F.low;
  }
  if (steep) {
    h = F.subtract(K.HALF_PI_HIGH, K.HALF_PI_LOW, h, l);
    l = F.low;
  }
  if (N.bSign) {
    h = F.subtract(K.PI_HIGH, K.PI_LOW, h, l);
    l = F.low;
  }
  F.normalize(h, l, 1);
  return F.toResult(N.aSign);
}

/** k × π/4, k = 1 … 4, with a sign: what the arc tangent gives at the axes and between infinities. */
export function eighths(k: u32, sign: u32): i32 {
  const h = F.shiftRight(K.PI_HIGH, K.PI_LOW, 2);
  const l = F.low;
  // k × (h:l) in units of 2^-126
  F.normalize(h * <u64>k + W.mulHigh(l, k), l * <u64>k, 1);
  return F.toResult(sign);
}
