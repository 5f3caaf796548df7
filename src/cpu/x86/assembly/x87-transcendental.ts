/** FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: SDM vol. 2, and vol. 1 §8.3.7 … 8.3.10. */
import * as C from '../../../ir/assembly/softfloat/context';
import * as L from '../../../ir/assembly/softfloat/logarithmic';
import * as N from '../../../ir/assembly/softfloat/number';
import * as T from '../../../ir/assembly/softfloat/trigonometric';
import * as X from '../../../ir/assembly/softfloat/extended';
import { NEXT_FAULT } from './generated/layout';
import {
  BEFORE,
  done,
  FSW_C1,
  FSW_C2,
  fsw,
  INDEFINITE,
  INDEFINITE_SE,
  isEmpty,
  note,
  pop,
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
const ONE_SE: u32 = 0x3fff;

// ---- Circular functions ----

/** C2: the argument is out of range, nothing has been done. */
function outOfRange(): i32 {
  setFsw((fsw() & ~FSW_C1) | FSW_C2);
  return done();
}

@inline
function isOutOfRange(c: i32): bool {
  return c == N.CLASS_FINITE && N.aExp >= 63;
}

function sineOrCosine(rec: usize, cosine: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  setFsw(fsw() & ~FSW_C2);
  if (isEmpty(0)) return underflow(0, 0);
  prepare();
  const at = st(0);
  const se = seOf(at);
  const sig = sigOf(at);
  const c = X.unpackA(se, sig);
  if (isOutOfRange(c)) return outOfRange();
  if (X.special(c, se, sig, c, se, sig)) return conclude();
  if (c == N.CLASS_INFINITE) X.setInvalid();
  else if (c == N.CLASS_ZERO) {
    if (cosine) X.setResult(ONE_SE, INTEGER_BIT);
    else X.setResult(se, sig);
  } else {
    T.reduce();
    X.finish(cosine ? T.cosine() : T.sine(), 0);
  }
  return conclude();
}

function conclude(): i32 {
  if (settle(BEFORE)) put(st(0), X.se, X.sig);
  return done();
}

export function x_fsin(rec: usize, ea: u64): i32 {
  return sineOrCosine(rec, false);
}
export function x_fcos(rec: usize, ea: u64): i32 {
  return sineOrCosine(rec, true);
}

/** Both registers that the instruction would fill become indefinite, if invalid operations are masked. */
function pairFault(overflow: bool): i32 {
  if (stackFault(overflow)) {
    setSt(0, INDEFINITE_SE, INDEFINITE);
    push(INDEFINITE_SE, INDEFINITE);
  }
  return done();
}

/** ST(0) becomes the sine (tangent), then the cosine (1.0) is pushed. */
function pair(rec: usize, tangent: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  setFsw(fsw() & ~FSW_C2);
  if (isEmpty(0) || !isEmpty(7)) return pairFault(!isEmpty(0));
  prepare();
  const at = st(0);
  const se = seOf(at);
  const sig = sigOf(at);
  const c = X.unpackA(se, sig);
  if (isOutOfRange(c)) return outOfRange();
  let secondSe = ONE_SE;
  let secondSig = INTEGER_BIT;
  if (X.special(c, se, sig, c, se, sig) || c == N.CLASS_INFINITE) {
    if (c == N.CLASS_INFINITE) X.setInvalid();
    secondSe = X.se;
    secondSig = X.sig;
  } else if (c == N.CLASS_ZERO) X.setResult(se, sig);
  else {
    T.reduce();
    if (tangent) X.finish(T.tangent(), 0);
    else {
      X.finish(T.cosine(), 0);
      secondSe = X.se;
      secondSig = X.sig;
      X.finish(T.sine(), 0);
    }
  }
  if (settle(BEFORE)) {
    put(at, X.se, X.sig);
    push(secondSe, secondSig);
  }
  return done();
}

export function x_fsincos(rec: usize, ea: u64): i32 {
  return pair(rec, false);
}
export function x_fptan(rec: usize, ea: u64): i32 {
  return pair(rec, true);
}

// ---- Functions of ST(1) and ST(0): the result replaces ST(1), then ST(0) is popped ----

/** arctan (a / b) in the quadrant of the point (b, a). */
function arcTangent(ca: i32, cb: i32): i32 {
  const sign = N.aSign;
  if (ca == N.CLASS_INFINITE) {
    // SDM vol. 2, table 3-30: between infinities the angle is π/4 or 3π/4.
    if (cb == N.CLASS_INFINITE) return T.eighths(N.bSign ? 3 : 1, sign);
    return T.eighths(2, sign);
  }
  if (cb == N.CLASS_INFINITE || ca == N.CLASS_ZERO) {
    N.setR(sign, 0, 0, 0);
    return N.bSign ? T.eighths(4, sign) : N.RESULT_ZERO;
  }
  if (cb == N.CLASS_ZERO) return T.eighths(2, sign);
  return T.arcTangent();
}

/** b × log₂ a */
function logarithm(ca: i32, cb: i32): i32 {
  const sign = N.bSign;
  if (ca == N.CLASS_ZERO) {
    if (cb == N.CLASS_ZERO) return N.invalid();
    if (cb == N.CLASS_FINITE) C.setFlags((C.flags & ~C.DENORMAL) | C.DIV_BY_ZERO);
    N.setR(sign ^ 1, 0, 0, 0);
    return N.RESULT_INFINITE;
  }
  if (N.aSign) return N.invalid();
  if (ca == N.CLASS_INFINITE) {
    if (cb == N.CLASS_ZERO) return N.invalid();
    N.setR(sign, 0, 0, 0);
    return N.RESULT_INFINITE;
  }
  const below = u32(N.aExp < 0);
  const isOne = N.aExp == 0 && N.aSig == INTEGER_BIT;
  N.setR(sign ^ below, 0, 0, 0);
  if (cb == N.CLASS_INFINITE) return isOne ? N.invalid() : N.RESULT_INFINITE;
  if (cb == N.CLASS_ZERO || isOne) return N.RESULT_ZERO;
  return L.multipliedLogarithm();
}

/** b × log₂ (1 + a) */
function logarithmOnePlus(ca: i32, cb: i32): i32 {
  const sign = N.aSign ^ N.bSign;
  if (ca == N.CLASS_ZERO) {
    if (cb == N.CLASS_INFINITE) return N.invalid();
    N.setR(sign, 0, 0, 0);
    return N.RESULT_ZERO;
  }
  if (N.aSign && ca == N.CLASS_INFINITE) return N.invalid();
  if (N.aSign && N.aExp >= 0 && cb == N.CLASS_FINITE) {
    // Undefined from -1 down: the processors that were asked return the argument.
    C.raiseFlags(C.INEXACT);
    N.setR(1, N.aExp, N.aSig, 0);
    return N.RESULT_FINITE;
  }
  N.setR(sign, 0, 0, 0);
  if (ca == N.CLASS_INFINITE) return cb == N.CLASS_ZERO ? N.invalid() : N.RESULT_INFINITE;
  if (cb == N.CLASS_INFINITE) return N.RESULT_INFINITE;
  if (cb == N.CLASS_ZERO) return N.RESULT_ZERO;
  return L.multipliedLogarithmOnePlus();
}

const ARC: i32 = 0;
const LOG: i32 = 1;
const LOG_ONE_PLUS: i32 = 2;

function ofTwo(rec: usize, which: i32): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0) || isEmpty(1)) return underflow(1, 1);
  prepare();
  // FPATAN: a is ST(1), the ordinate; the logarithms: a is ST(0), their argument.
  const a = st(which == ARC ? 1 : 0);
  const b = st(which == ARC ? 0 : 1);
  const ca = X.unpackA(seOf(a), sigOf(a));
  const cb = X.unpackB(seOf(b), sigOf(b));
  if (!X.special(ca, seOf(a), sigOf(a), cb, seOf(b), sigOf(b))) {
    let kind: i32;
    if (which == ARC) kind = arcTangent(ca, cb);
    else if (which == LOG) kind = logarithm(ca, cb);
    else kind = logarithmOnePlus(ca, cb);
    X.finish(kind, 0);
  }
  if (settle(BEFORE)) {
    put(st(1), X.se, X.sig);
    pop();
  }
  return done();
}

export function x_fpatan(rec: usize, ea: u64): i32 {
  return ofTwo(rec, ARC);
}
export function x_fyl2x(rec: usize, ea: u64): i32 {
  return ofTwo(rec, LOG);
}
export function x_fyl2xp1(rec: usize, ea: u64): i32 {
  return ofTwo(rec, LOG_ONE_PLUS);
}

// ---- 2^x - 1 ----

export function x_f2xm1(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  if (isEmpty(0)) return underflow(0, 0);
  prepare();
  const at = st(0);
  const se = seOf(at);
  const sig = sigOf(at);
  const c = X.unpackA(se, sig);
  if (X.special(c, se, sig, c, se, sig)) return conclude();
  if (c == N.CLASS_ZERO) X.setResult(se, sig);
  else if (c == N.CLASS_INFINITE) {
    if (N.aSign) X.setResult(0xbfff, INTEGER_BIT);
    else X.setResult(se, sig);
  } else if (N.aExp < 0) X.finish(L.exponentialLessOne(), 0);
  else if (N.aExp == 0 && N.aSig == INTEGER_BIT) {
    // Exact, but processors say inexact.
    C.raiseFlags(C.INEXACT);
    if (N.aSign) X.setResult(0xbffe, INTEGER_BIT);
    else X.setResult(ONE_SE, INTEGER_BIT);
  } else {
    // Undefined beyond ±1: the processors that were asked return the argument.
    C.raiseFlags(C.INEXACT);
    X.setResult(se, sig);
  }
  return conclude();
}
