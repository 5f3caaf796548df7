/** CMP, COMIS, UCOMIS, MIN and MAX. SDM vol. 2, CMPPS table 3-1 (predicates), COMISS, MINPS. */
import * as B from '../../../ir/assembly/softfloat/binary';
import { NEXT_CONTINUE, NEXT_FAULT, R_IMM } from './generated/layout';
import { plain32, plain64 } from './sse-float-native';
import { mxcsr, prepare, settled, source32, source64, sourceFaulted } from './sse-float-state';
import { setFlags, sseReady, xmmReg, xmmSource } from './sse-operands';

/** Compares in format f under MXCSR m. */
function compare(m: u32, f: i32, a: u64, b: u64, signalling: bool): i32 {
  if (f) {
    if (plain64(a) && plain64(b)) {
      const x = reinterpret<f64>(a);
      const y = reinterpret<f64>(b);
      return x < y ? B.LESS : x == y ? B.EQUAL : B.GREATER;
    }
  } else if (plain32(<u32>a) && plain32(<u32>b)) {
    const x = reinterpret<f32>(<u32>a);
    const y = reinterpret<f32>(<u32>b);
    return x < y ? B.LESS : x == y ? B.EQUAL : B.GREATER;
  }
  prepare(m);
  return B.compare(f, a, b, signalling);
}

/** MIN: the second operand if either is a NaN or both are zeros. */
export function minimum(m: u32, f: i32, a: u64, b: u64): u64 {
  const order = compare(m, f, a, b, true);
  return B.effective(f, order == B.LESS ? a : b);
}

export function maximum(m: u32, f: i32, a: u64, b: u64): u64 {
  const order = compare(m, f, a, b, true);
  return B.effective(f, order == B.GREATER ? a : b);
}

/** All ones if the predicate 0 … 7 holds, else 0: EQ LT LE UNORD, and their opposites. LT and LE signal quiet NaNs. */
function compareLane(m: u32, f: i32, predicate: i32, a: u64, b: u64): u64 {
  const kind = predicate & 3;
  const order = compare(m, f, a, b, kind == 1 || kind == 2);
  let holds: bool;
  if (kind == 0) holds = order == B.EQUAL;
  else if (kind == 1) holds = order == B.LESS;
  else if (kind == 2) holds = order == B.LESS || order == B.EQUAL;
  else holds = order == B.UNORDERED;
  return holds != ((predicate & 4) != 0) ? u64.MAX_VALUE : 0;
}

export function x_cmpss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = <u32>compareLane(mxcsr(), B.BINARY32, load<u8>(rec + R_IMM), load<u32>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

export function x_cmpsd_xmm(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const r = compareLane(mxcsr(), B.BINARY64, load<u8>(rec + R_IMM), load<u64>(to), b);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_cmpps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const p = load<u8>(rec + R_IMM);
  const a = <u32>compareLane(m, B.BINARY32, p, load<u32>(to), load<u32>(s));
  const b = <u32>compareLane(m, B.BINARY32, p, load<u32>(to, 4), load<u32>(s, 4));
  const c = <u32>compareLane(m, B.BINARY32, p, load<u32>(to, 8), load<u32>(s, 8));
  const d = <u32>compareLane(m, B.BINARY32, p, load<u32>(to, 12), load<u32>(s, 12));
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, a);
  store<u32>(to, b, 4);
  store<u32>(to, c, 8);
  store<u32>(to, d, 12);
  return NEXT_CONTINUE;
}

export function x_cmppd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const p = load<u8>(rec + R_IMM);
  const a = compareLane(m, B.BINARY64, p, load<u64>(to), load<u64>(s));
  const b = compareLane(m, B.BINARY64, p, load<u64>(to, 8), load<u64>(s, 8));
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, a);
  store<u64>(to, b, 8);
  return NEXT_CONTINUE;
}

/** ZF PF CF: 111 unordered, 000 greater, 001 less, 100 equal; OF SF AF become 0. */
function setOrder(order: i32): i32 {
  if (!settled()) return NEXT_FAULT;
  const unordered = u32(order == B.UNORDERED);
  setFlags(unordered | u32(order == B.LESS), unordered, 0, unordered | u32(order == B.EQUAL), 0, 0);
  return NEXT_CONTINUE;
}

function compareScalar32(rec: usize, ea: u64, signalling: bool): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  return setOrder(compare(mxcsr(), B.BINARY32, load<u32>(xmmReg(rec)), b, signalling));
}

function compareScalar64(rec: usize, ea: u64, signalling: bool): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const b = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  return setOrder(compare(mxcsr(), B.BINARY64, load<u64>(xmmReg(rec)), b, signalling));
}

export function x_comiss(rec: usize, ea: u64): i32 {
  return compareScalar32(rec, ea, true);
}
export function x_comisd(rec: usize, ea: u64): i32 {
  return compareScalar64(rec, ea, true);
}
export function x_ucomiss(rec: usize, ea: u64): i32 {
  return compareScalar32(rec, ea, false);
}
export function x_ucomisd(rec: usize, ea: u64): i32 {
  return compareScalar64(rec, ea, false);
}
