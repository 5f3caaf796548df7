/** ROUND, DP (SSE4.1) and the approximations RCP and RSQRT (SSE). */
import * as C from '../../../ir/assembly/softfloat/context';
import * as B from '../../../ir/assembly/softfloat/binary';
import { NEXT_CONTINUE, NEXT_FAULT, R_IMM } from './generated/layout';
import { add32, add64, mul32, mul64 } from './sse-float-native';
import { mxcsr, prepare, settled, source32, source64, sourceFaulted } from './sse-float-state';
import { sseReady, xmmReg, xmmSource } from './sse-operands';

// ---- ROUND: SDM vol. 2, ROUNDPD figure 4-24. Bits 1:0 mode, bit 2 take MXCSR.RC instead, bit 3 no precision exception ----

function round(f: i32, v: u64, control: u32): u64 {
  prepare(mxcsr());
  if (!(control & 4)) C.setRounding(control & 3);
  return B.roundToIntegral(f, v, (control & 8) == 0);
}

export function x_roundss(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const r = <u32>round(B.BINARY32, v, load<u8>(rec + R_IMM));
  if (!settled()) return NEXT_FAULT;
  store<u32>(xmmReg(rec), r);
  return NEXT_CONTINUE;
}

export function x_roundsd(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source64(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  const r = round(B.BINARY64, v, load<u8>(rec + R_IMM));
  if (!settled()) return NEXT_FAULT;
  store<u64>(xmmReg(rec), r);
  return NEXT_CONTINUE;
}

export function x_roundps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const control: u32 = load<u8>(rec + R_IMM);
  const a = <u32>round(B.BINARY32, load<u32>(s), control);
  const b = <u32>round(B.BINARY32, load<u32>(s, 4), control);
  const c = <u32>round(B.BINARY32, load<u32>(s, 8), control);
  const d = <u32>round(B.BINARY32, load<u32>(s, 12), control);
  if (!settled()) return NEXT_FAULT;
  const to = xmmReg(rec);
  store<u32>(to, a);
  store<u32>(to, b, 4);
  store<u32>(to, c, 8);
  store<u32>(to, d, 12);
  return NEXT_CONTINUE;
}

export function x_roundpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const control: u32 = load<u8>(rec + R_IMM);
  const a = round(B.BINARY64, load<u64>(s), control);
  const b = round(B.BINARY64, load<u64>(s, 8), control);
  if (!settled()) return NEXT_FAULT;
  const to = xmmReg(rec);
  store<u64>(to, a);
  store<u64>(to, b, 8);
  return NEXT_CONTINUE;
}

// ---- DP: bits 7:4 choose the products, bits 3:0 where the sum goes. Each of the stages traps by itself ----

@inline
function product32(m: u32, chosen: u32, to: usize, s: usize): u32 {
  return chosen ? mul32(m, load<u32>(to), load<u32>(s)) : 0;
}

export function x_dpps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const k: u32 = load<u8>(rec + R_IMM);
  const p0 = product32(m, k & 16, to, s);
  const p1 = product32(m, k & 32, to + 4, s + 4);
  const p2 = product32(m, k & 64, to + 8, s + 8);
  const p3 = product32(m, k & 128, to + 12, s + 12);
  if (!settled()) return NEXT_FAULT;
  const low = add32(m, p0, p1);
  const high = add32(m, p2, p3);
  if (!settled()) return NEXT_FAULT;
  const sum = add32(m, low, high);
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, k & 1 ? sum : 0);
  store<u32>(to, k & 2 ? sum : 0, 4);
  store<u32>(to, k & 4 ? sum : 0, 8);
  store<u32>(to, k & 8 ? sum : 0, 12);
  return NEXT_CONTINUE;
}

export function x_dppd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  const m = mxcsr();
  const k: u32 = load<u8>(rec + R_IMM);
  const p0 = k & 16 ? mul64(m, load<u64>(to), load<u64>(s)) : 0;
  const p1 = k & 32 ? mul64(m, load<u64>(to, 8), load<u64>(s, 8)) : 0;
  if (!settled()) return NEXT_FAULT;
  const sum = add64(m, p0, p1);
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, k & 1 ? sum : 0);
  store<u64>(to, k & 2 ? sum : 0, 8);
  return NEXT_CONTINUE;
}

// ---- RCP and RSQRT: the exact value rounded to 13 significant bits, so within 2^-13 of it; 1.5 × 2^-12 is allowed ----

const INFINITY32: u32 = 0x7f800000;

/** x to 13 significant bits, as binary32; a tiny result becomes 0. */
function shorten(x: f64): u32 {
  const bits = reinterpret<u64>(x) + ((<u64>1) << 39);
  const sign = (<u32>(bits >> 63)) << 31;
  const exp = <i32>((bits >> 52) & 0x7ff) - 1023 + 127;
  if (exp <= 0) return sign;
  return sign | ((<u32>exp) << 23) | ((<u32>((bits >> 40) & 0xfff)) << 11);
}

/** Subnormal operands count as 0 whatever MXCSR says; no exceptions. */
function reciprocal(v: u32): u32 {
  const magnitude = v & 0x7fffffff;
  const sign = v & 0x80000000;
  if (magnitude > INFINITY32) return v | 0x00400000;
  if (magnitude == INFINITY32) return sign;
  if (magnitude < 0x00800000) return sign | INFINITY32;
  return shorten(1.0 / <f64>reinterpret<f32>(v));
}

function reciprocalRoot(v: u32): u32 {
  const magnitude = v & 0x7fffffff;
  const sign = v & 0x80000000;
  if (magnitude > INFINITY32) return v | 0x00400000;
  if (magnitude < 0x00800000) return sign | INFINITY32;
  if (sign) return 0xffc00000;
  if (magnitude == INFINITY32) return 0;
  return shorten(1.0 / sqrt<f64>(<f64>reinterpret<f32>(v)));
}

function approximateScalar(rec: usize, ea: u64, root: bool): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = source32(rec, ea);
  if (sourceFaulted) return NEXT_FAULT;
  store<u32>(xmmReg(rec), root ? reciprocalRoot(v) : reciprocal(v));
  return NEXT_CONTINUE;
}

function approximatePacked(rec: usize, ea: u64, root: bool): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const to = xmmReg(rec);
  for (let i: usize = 0; i < 16; i += 4) {
    const v = load<u32>(s + i);
    store<u32>(to + i, root ? reciprocalRoot(v) : reciprocal(v));
  }
  return NEXT_CONTINUE;
}

export function x_rcpss(rec: usize, ea: u64): i32 {
  return approximateScalar(rec, ea, false);
}
export function x_rcpps(rec: usize, ea: u64): i32 {
  return approximatePacked(rec, ea, false);
}
export function x_rsqrtss(rec: usize, ea: u64): i32 {
  return approximateScalar(rec, ea, true);
}
export function x_rsqrtps(rec: usize, ea: u64): i32 {
  return approximatePacked(rec, ea, true);
}
