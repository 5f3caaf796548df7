/** Conversions between integers, binary32 and binary64: SDM vol. 2, CVT…; vol. 1 §11.4.1.6 and table 11-2 (invalid results). */
import * as C from '../../../ir/assembly/softfloat/context';
import * as B from '../../../ir/assembly/softfloat/binary';
import { STATE } from './env';
import { NEXT_CONTINUE, NEXT_FAULT, R_PREFIX, R_REG, R_RM, S_GPR } from './generated/layout';
import {
  isNative,
  memory32,
  memory64,
  mxcsr,
  MXCSR_PE,
  prepare,
  settled,
  source32,
  source64,
  sourceFaulted,
} from './sse-float-state';
import {
  enterMmx,
  isRegister,
  memorySource,
  mmxReady,
  mmxReg,
  mmxRm,
  sseReady,
  writeMmx,
  xmmReg,
  xmmSource,
  xmmSourceOf,
} from './sse-operands';

/** The integer indefinite: what an invalid conversion returns. */
function toInt(m: u32, f: i32, v: u64, bits: i32, truncate: bool): i64 {
  prepare(m);
  if (truncate) C.setRounding(C.TOWARD_ZERO);
  const before = C.flags;
  C.setFlags(0);
  let r = B.toInteger(f, v, bits);
  if (C.flags & C.INVALID) r = (<i64>-1) << (bits - 1);
  C.raiseFlags(before);
  return r;
}

/** Binary64 to a 32- or 64-bit integer; the common case without the soft float. */
function doubleToInt(v: u64, bits: i32, truncate: bool): i64 {
  const m = mxcsr();
  if (isNative(m) || truncate) {
    const x = reinterpret<f64>(v);
    // Well inside both ranges, and integral or its inexactness already known.
    if (abs(x) < 2147483647.0) {
      const n = truncate ? x : nearest(x);
      const r = <i32>n;
      if (<f64>r == x) return r;
      if ((m & MXCSR_PE) != 0 && isNative(m) && abs(x) > 1e-300) return r;
    }
  }
  return toInt(m, B.BINARY64, v, bits, truncate);
}

/** Binary32 likewise: a subnormal binary32 is none in binary64, so what DAZ does is left to the soft float. */
function singleToInt(v: u32, bits: i32, truncate: bool): i64 {
  const m = mxcsr();
  if (isNative(m) || truncate) {
    const x = <f64>reinterpret<f32>(v);
    if (abs(x) < 2147483647.0) {
      const n = truncate ? x : nearest(x);
      const r = <i32>n;
      if (<f64>r == x) return r;
      if ((m & MXCSR_PE) != 0 && isNative(m) && abs(x) > 1e-30) return r;
    }
  }
  return toInt(m, B.BINARY32, v, bits, truncate);
}

function fromInt(m: u32, f: i32, v: i64): u64 {
  prepare(m);
  return B.fromInteger(f, v);
}

function convert(m: u32, from: i32, v: u64): u64 {
  prepare(m);
  return B.convert(from, from ^ 1, v);
}

// ---- Scalar, binary32 ↔ binary64 ----

export function x_cvtss2sd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  if ((v << 1) - 0x01000000 < 0xfe000000) {
    store<f64>(to, <f64>reinterpret<f32>(v));
    return NEXT_CONTINUE;
  }
  const r = convert(mxcsr(), B.BINARY32, v);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

export function x_cvtsd2ss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const z = <f32>reinterpret<f64>(v);
  // Exact, or inexact with PE known; above the smallest normal number, to which a tiny one may be rounded.
  if (
    isNative(m) &&
    (reinterpret<u32>(z) << 1) - 0x01000001 < 0xfdffffff &&
    (m & MXCSR_PE || <f64>z == reinterpret<f64>(v))
  ) {
    store<f32>(to, z);
    return NEXT_CONTINUE;
  }
  const r = <u32>convert(m, B.BINARY64, v);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, r);
  return NEXT_CONTINUE;
}

// ---- Scalar, integers ----

@inline
function isWide(rec: usize): bool {
  return (load<u8>(rec + R_PREFIX) & 3) == 2;
}

/** Source operand r/m32 or, with REX.W, r/m64. */
function integerSource(rec: usize, ea: u64): i64 {
  const wide = isWide(rec);
  if (isRegister(rec)) {
    const at = STATE + S_GPR + <usize>load<u8>(rec + R_RM);
    return wide ? load<i64>(at) : <i64>load<i32>(at);
  }
  return wide ? <i64>memory64(ea) : <i64>(<i32>memory32(ea));
}

export function x_cvtsi2ss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = isRegister(rec) ? integerSource(rec, 0) : integerSource(rec, ea);
  if (!isRegister(rec) && sourceFaulted) return NEXT_FAULT;
  const r = <u32>fromInt(mxcsr(), B.BINARY32, v);
  if (!settled()) return NEXT_FAULT;
  store<u32>(xmmReg(rec), r);
  return NEXT_CONTINUE;
}

export function x_cvtsi2sd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = isRegister(rec) ? integerSource(rec, 0) : integerSource(rec, ea);
  if (!isRegister(rec) && sourceFaulted) return NEXT_FAULT;
  const to = xmmReg(rec);
  if (v >= -0x20000000000000 && v <= 0x20000000000000) {
    store<f64>(to, <f64>v);
    return NEXT_CONTINUE;
  }
  const r = fromInt(mxcsr(), B.BINARY64, v);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, r);
  return NEXT_CONTINUE;
}

function storeInteger(rec: usize, v: i64): i32 {
  if (!settled()) return NEXT_FAULT;
  store<u64>(STATE + S_GPR + <usize>load<u8>(rec + R_REG), isWide(rec) ? <u64>v : <u64>(<u32>v));
  return NEXT_CONTINUE;
}

function scalarToInteger32(rec: usize, ea: u64, truncate: bool): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  return storeInteger(rec, singleToInt(v, isWide(rec) ? 64 : 32, truncate));
}

function scalarToInteger64(rec: usize, ea: u64, truncate: bool): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  return storeInteger(rec, doubleToInt(v, isWide(rec) ? 64 : 32, truncate));
}

export function x_cvtss2si(rec: usize, ea: u64): i32 {
  return scalarToInteger32(rec, ea, false);
}
export function x_cvttss2si(rec: usize, ea: u64): i32 {
  return scalarToInteger32(rec, ea, true);
}
export function x_cvtsd2si(rec: usize, ea: u64): i32 {
  return scalarToInteger64(rec, ea, false);
}
export function x_cvttsd2si(rec: usize, ea: u64): i32 {
  return scalarToInteger64(rec, ea, true);
}

// ---- Packed ----

function storeFour(to: usize, a: u32, b: u32, c: u32, d: u32): i32 {
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, a);
  store<u32>(to, b, 4);
  store<u32>(to, c, 8);
  store<u32>(to, d, 12);
  return NEXT_CONTINUE;
}

function storeTwo(to: usize, a: u64, b: u64): i32 {
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, a);
  store<u64>(to, b, 8);
  return NEXT_CONTINUE;
}

export function x_cvtps2pd(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  if (!s) return NEXT_FAULT;
  const m = mxcsr();
  const a = convert(m, B.BINARY32, load<u32>(s));
  const b = convert(m, B.BINARY32, load<u32>(s, 4));
  return storeTwo(xmmReg(rec), a, b);
}

export function x_cvtpd2ps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const m = mxcsr();
  const a = <u32>convert(m, B.BINARY64, load<u64>(s));
  const b = <u32>convert(m, B.BINARY64, load<u64>(s, 8));
  return storeFour(xmmReg(rec), a, b, 0, 0);
}

export function x_cvtdq2ps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const m = mxcsr();
  const a = <u32>fromInt(m, B.BINARY32, load<i32>(s));
  const b = <u32>fromInt(m, B.BINARY32, load<i32>(s, 4));
  const c = <u32>fromInt(m, B.BINARY32, load<i32>(s, 8));
  const d = <u32>fromInt(m, B.BINARY32, load<i32>(s, 12));
  return storeFour(xmmReg(rec), a, b, c, d);
}

export function x_cvtdq2pd(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  if (!s) return NEXT_FAULT;
  v128.store(xmmReg(rec), f64x2.convert_low_i32x4_s(v128.load64_zero(s)));
  return NEXT_CONTINUE;
}

function packedSingleToInt(rec: usize, ea: u64, truncate: bool): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const a = <u32>singleToInt(load<u32>(s), 32, truncate);
  const b = <u32>singleToInt(load<u32>(s, 4), 32, truncate);
  const c = <u32>singleToInt(load<u32>(s, 8), 32, truncate);
  const d = <u32>singleToInt(load<u32>(s, 12), 32, truncate);
  return storeFour(xmmReg(rec), a, b, c, d);
}

function packedDoubleToInt(rec: usize, ea: u64, truncate: bool): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const a = <u32>doubleToInt(load<u64>(s), 32, truncate);
  const b = <u32>doubleToInt(load<u64>(s, 8), 32, truncate);
  return storeFour(xmmReg(rec), a, b, 0, 0);
}

export function x_cvtps2dq(rec: usize, ea: u64): i32 {
  return packedSingleToInt(rec, ea, false);
}
export function x_cvttps2dq(rec: usize, ea: u64): i32 {
  return packedSingleToInt(rec, ea, true);
}
export function x_cvtpd2dq(rec: usize, ea: u64): i32 {
  return packedDoubleToInt(rec, ea, false);
}
export function x_cvttpd2dq(rec: usize, ea: u64): i32 {
  return packedDoubleToInt(rec, ea, true);
}

// ---- With MMX registers: these make the x87 state MMX's, and wait for x87 exceptions ----

/** Address of the source mm/m64, 0 with an exception pending. */
function mmxOperand(rec: usize, ea: u64): usize {
  if (!sseReady() || !mmxReady()) return 0;
  return isRegister(rec) ? mmxRm(rec) : memorySource(ea, 8);
}

export function x_cvtpi2ps(rec: usize, ea: u64): i32 {
  const s = mmxOperand(rec, ea);
  if (!s) return NEXT_FAULT;
  const m = mxcsr();
  const a = <u32>fromInt(m, B.BINARY32, load<i32>(s));
  const b = <u32>fromInt(m, B.BINARY32, load<i32>(s, 4));
  if (!settled()) return NEXT_FAULT;
  enterMmx();
  const to = xmmReg(rec);
  store<u32>(to, a);
  store<u32>(to, b, 4);
  return NEXT_CONTINUE;
}

export function x_cvtpi2pd(rec: usize, ea: u64): i32 {
  // From memory it is no MMX instruction: it neither waits for the x87 nor touches it.
  const memory = !isRegister(rec);
  let s: usize;
  if (memory) s = sseReady() ? memorySource(ea, 8) : 0;
  else s = mmxOperand(rec, ea);
  if (!s) return NEXT_FAULT;
  if (!memory) enterMmx();
  v128.store(xmmReg(rec), f64x2.convert_low_i32x4_s(v128.load64_zero(s)));
  return NEXT_CONTINUE;
}

function storeMmx(rec: usize, a: i64, b: i64): i32 {
  if (!settled()) return NEXT_FAULT;
  enterMmx();
  writeMmx(mmxReg(rec), <u64>(<u32>a) | ((<u64>b) << 32));
  return NEXT_CONTINUE;
}

function singlesToMmx(rec: usize, ea: u64, truncate: bool): i32 {
  if (!sseReady() || !mmxReady()) return NEXT_FAULT;
  const s = xmmSourceOf(rec, ea, 8);
  if (!s) return NEXT_FAULT;
  return storeMmx(rec, singleToInt(load<u32>(s), 32, truncate), singleToInt(load<u32>(s, 4), 32, truncate));
}

function doublesToMmx(rec: usize, ea: u64, truncate: bool): i32 {
  if (!sseReady() || !mmxReady()) return NEXT_FAULT;
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  return storeMmx(rec, doubleToInt(load<u64>(s), 32, truncate), doubleToInt(load<u64>(s, 8), 32, truncate));
}

export function x_cvtps2pi(rec: usize, ea: u64): i32 {
  return singlesToMmx(rec, ea, false);
}
export function x_cvttps2pi(rec: usize, ea: u64): i32 {
  return singlesToMmx(rec, ea, true);
}
export function x_cvtpd2pi(rec: usize, ea: u64): i32 {
  return doublesToMmx(rec, ea, false);
}
export function x_cvttpd2pi(rec: usize, ea: u64): i32 {
  return doublesToMmx(rec, ea, true);
}
