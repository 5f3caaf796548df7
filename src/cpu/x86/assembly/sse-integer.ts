// Integer arithmetic and logic on XMM registers: SSE2, SSSE3, SSE4.1, SSE4.2.
import { NEXT_FAULT } from './generated/layout';
import {
  horizontalAdd16,
  horizontalAdd32,
  horizontalAddSaturated16,
  horizontalSub16,
  horizontalSub32,
  horizontalSubSaturated16,
  mulAddBytes,
  mulEvenSigned,
  mulEvenUnsigned,
  mulHighSigned,
  mulHighUnsigned,
  mulRounded,
  sign16,
  sign32,
  sign8,
  sumOfDifferences,
} from './sse-lanes';
import { setXmm, xmmOld, xmmSource } from './sse-operands';

// ---- Addition and subtraction ----

export function x_paddb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.add(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.add(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.add(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i64x2.add(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.sub(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.sub(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.sub(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i64x2.sub(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddsb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.add_sat_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.add_sat_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddusb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.add_sat_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_paddusw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.add_sat_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubsb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.sub_sat_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.sub_sat_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubusb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.sub_sat_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psubusw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.sub_sat_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_phaddw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, horizontalAdd16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_phaddd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, horizontalAdd32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_phaddsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, horizontalAddSaturated16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_phsubw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, horizontalSub16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_phsubd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, horizontalSub32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_phsubsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, horizontalSubSaturated16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

// ---- Multiplication and sums ----

export function x_pmullw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.mul(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmulhw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, mulHighSigned(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmulhuw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, mulHighUnsigned(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmulhrsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, mulRounded(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmuludq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, mulEvenUnsigned(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmuldq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, mulEvenSigned(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmulld(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.mul(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaddwd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.dot_i16x8_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaddubsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, mulAddBytes(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psadbw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, sumOfDifferences(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

// ---- Comparison, minimum, maximum, average ----

export function x_pcmpeqb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.eq(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpeqw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.eq(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpeqd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.eq(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpeqq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i64x2.eq(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpgtb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.gt_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpgtw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.gt_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpgtd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.gt_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pcmpgtq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i64x2.gt_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pminub(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.min_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaxub(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.max_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pminsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.min_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaxsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.max_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pminsb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.min_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaxsb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.max_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pminuw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.min_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaxuw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.max_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pminsd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.min_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaxsd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.max_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pminud(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.min_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pmaxud(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.max_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pavgb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.avgr_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pavgw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.avgr_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

// ---- Logic ----

export function x_pand(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.and(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pandn(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.andnot(v128.load(s), xmmOld(rec))) : NEXT_FAULT;
}

export function x_por(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.or(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_pxor(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.xor(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_andps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.and(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_andnps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.andnot(v128.load(s), xmmOld(rec))) : NEXT_FAULT;
}

export function x_orps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.or(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_xorps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.xor(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_andpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.and(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_andnpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.andnot(v128.load(s), xmmOld(rec))) : NEXT_FAULT;
}

export function x_orpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.or(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_xorpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.xor(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

// ---- Sign and magnitude ----

export function x_pabsb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.abs(v128.load(s))) : NEXT_FAULT;
}

export function x_pabsw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.abs(v128.load(s))) : NEXT_FAULT;
}

export function x_pabsd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i32x4.abs(v128.load(s))) : NEXT_FAULT;
}

export function x_psignb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, sign8(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psignw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, sign16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_psignd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, sign32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}
