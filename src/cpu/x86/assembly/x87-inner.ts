/** x87 instructions on ST(0) and ST(1) that are exact or rounded once: D9 E0 … FF without the transcendental ones. SDM vol. 2. */
import * as C from '../../../ir/assembly/softfloat/context';
import * as N from '../../../ir/assembly/softfloat/number';
import * as W from '../../../ir/assembly/softfloat/wide';
import * as X from '../../../ir/assembly/softfloat/extended';
import { NEXT_CONTINUE, NEXT_FAULT } from './generated/layout';
import {
  BEFORE,
  done,
  FSW_C0,
  FSW_C1,
  FSW_C2,
  FSW_C3,
  fsw,
  INDEFINITE,
  INDEFINITE_SE,
  isEmpty,
  moveTop,
  note,
  precisionDrop,
  prepare,
  push,
  put,
  ready,
  seOf,
  setFsw,
  setSt,
  settle,
  sigOf,
  st,
  stackFault,
  underflow,
} from './x87-state';

const INTEGER_BIT: u64 = 0x8000000000000000;

/** Writes the soft float's result to ST(0) unless an exception keeps it. */
function conclude(): i32 {
  if (settle(BEFORE)) put(st(0), X.se, X.sig);
  return done();
}

// ---- Signs ----

export function x_fchs(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0)) return underflow(0, 0);
  const at = st(0);
  put(at, seOf(at) ^ 0x8000, sigOf(at));
  setFsw(fsw() & ~FSW_C1);
  return NEXT_CONTINUE;
}

export function x_fabs(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0)) return underflow(0, 0);
  const at = st(0);
  put(at, seOf(at) & 0x7fff, sigOf(at));
  setFsw(fsw() & ~FSW_C1);
  return NEXT_CONTINUE;
}

// ---- Roots and integers ----

export function x_fsqrt(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0)) return underflow(0, 0);
  prepare();
  const at = st(0);
  X.squareRoot(seOf(at), sigOf(at), precisionDrop());
  return conclude();
}

export function x_frndint(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0)) return underflow(0, 0);
  prepare();
  const at = st(0);
  X.roundToIntegral(seOf(at), sigOf(at));
  return conclude();
}

// ---- FSCALE ----

function scale(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  const ca = X.unpackA(aSe, aSig);
  const cb = X.unpackB(bSe, bSig);
  if (X.special(ca, aSe, aSig, cb, bSe, bSig)) return;
  if (cb == N.CLASS_INFINITE) {
    const vanishes = N.bSign != 0;
    if (ca == (vanishes ? N.CLASS_INFINITE : N.CLASS_ZERO)) X.setInvalid();
    else if (vanishes) X.setResult(aSe & 0x8000, 0);
    else X.setResult((aSe & 0x8000) | 0x7fff, INTEGER_BIT);
    return;
  }
  if (ca != N.CLASS_FINITE) {
    X.setResult(aSe, aSig);
    return;
  }
  let n = 0;
  if (cb == N.CLASS_FINITE && N.bExp >= 0) {
    n = N.bExp > 16 ? 1 << 17 : <i32>(N.bSig >> (63 - N.bExp));
    if (N.bSign) n = -n;
  }
  X.scaleBy(n);
}

export function x_fscale(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0) || isEmpty(1)) return underflow(0, 0);
  prepare();
  const a = st(0);
  const b = st(1);
  scale(seOf(a), sigOf(a), seOf(b), sigOf(b));
  return conclude();
}

// ---- FXTRACT: ST(0) becomes the exponent, then the significand is pushed ----

export function x_fxtract(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0) || !isEmpty(7)) {
    if (stackFault(!isEmpty(0))) {
      setSt(0, INDEFINITE_SE, INDEFINITE);
      push(INDEFINITE_SE, INDEFINITE);
    }
    return done();
  }
  prepare();
  const at = st(0);
  const se = seOf(at);
  const sig = sigOf(at);
  const c = X.unpackA(se, sig);
  if (X.special(c, se, sig, c, se, sig)) {
    if (settle(BEFORE)) {
      put(at, X.se, X.sig);
      push(X.se, X.sig);
    }
    return done();
  }
  let partSe = se;
  let partSig = sig;
  if (c == N.CLASS_FINITE) {
    X.fromInteger(N.aExp);
    partSe = (se & 0x8000) | 0x3fff;
    partSig = N.aSig;
  } else if (c == N.CLASS_ZERO) {
    C.raiseFlags(C.DIV_BY_ZERO);
    X.setResult(0xffff, INTEGER_BIT);
  } else X.setResult(0x7fff, INTEGER_BIT);
  if (settle(BEFORE)) {
    put(at, X.se, X.sig);
    push(partSe, partSig);
  }
  return done();
}

// ---- FPREM, FPREM1 ----

let quotient: u64 = 0;
let partial: bool = false;
/** Both operands were numbers: there is a quotient. */
let reduced: bool = false;

/** a rem b; leaves the low bits of the quotient, or says that the reduction is partial. */
function remainder(aSe: u32, aSig: u64, bSe: u32, bSig: u64, toNearest: bool): void {
  quotient = 0;
  partial = false;
  reduced = false;
  const ca = X.unpackA(aSe, aSig);
  const cb = X.unpackB(bSe, bSig);
  if (X.special(ca, aSe, aSig, cb, bSe, bSig)) return;
  if (ca == N.CLASS_INFINITE || cb == N.CLASS_ZERO) {
    X.setInvalid();
    return;
  }
  reduced = true;
  if (ca == N.CLASS_ZERO) {
    X.setResult(aSe, aSig);
    return;
  }
  const d = N.aExp - N.bExp;
  if (cb == N.CLASS_INFINITE || d < -1 || (d < 0 && !toNearest)) {
    X.scaleBy(0);
    return;
  }
  let sign = N.aSign;
  let exp = N.bExp;
  let rem: u64;
  if (d < 0) {
    // |a| < |b|: the nearest quotient is 1 if |a| > |b| / 2.
    exp = N.aExp;
    rem = N.aSig;
    if (rem > N.bSig) {
      rem = (N.bSig << 1) - rem;
      quotient = 1;
      sign ^= 1;
    }
  } else {
    let n = d;
    if (d >= 64) {
      // Reduces by 32 … 63 binary places; the rest is for the next time.
      partial = true;
      n = (d & 31) | 32;
      exp += d - n;
    }
    const hi = n == 0 ? 0 : N.aSig >> (64 - n);
    quotient = W.divide128(hi, N.aSig << n, N.bSig);
    rem = W.low;
    if (toNearest && !partial) {
      const rest = N.bSig - rem;
      if (rem > rest || (rem == rest && (quotient & 1) != 0)) {
        rem = rest;
        quotient++;
        sign ^= 1;
      }
    }
  }
  if (rem == 0) {
    X.setResult(N.aSign << 15, 0);
    return;
  }
  const shift = <i32>clz(rem);
  N.setA(sign, exp - shift, rem << shift);
  X.scaleBy(0);
}

function remainderInstruction(rec: usize, toNearest: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  setFsw(fsw() & ~FSW_C2);
  if (isEmpty(0) || isEmpty(1)) return underflow(0, 0);
  prepare();
  const a = st(0);
  const b = st(1);
  remainder(seOf(a), sigOf(a), seOf(b), sigOf(b), toNearest);
  C.setRoundedUp(false);
  if (settle(BEFORE)) {
    put(a, X.se, X.sig);
    if (!reduced) {
      setFsw(fsw() & ~FSW_C1);
      return done();
    }
    const q = <u32>quotient;
    const codes = partial ? FSW_C2 : (q & 4 ? FSW_C0 : 0) | (q & 2 ? FSW_C3 : 0) | (q & 1 ? FSW_C1 : 0);
    setFsw((fsw() & ~(FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3)) | codes);
  }
  return done();
}

export function x_fprem(rec: usize, ea: u64): i32 {
  return remainderInstruction(rec, false);
}
export function x_fprem1(rec: usize, ea: u64): i32 {
  return remainderInstruction(rec, true);
}

// ---- TOP ----

export function x_fincstp(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  moveTop(1);
  return NEXT_CONTINUE;
}

export function x_fdecstp(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  moveTop(-1);
  return NEXT_CONTINUE;
}
