// Integer arithmetic and logic on MMX registers, the later extensions of SSE, SSE2 and SSSE3 included.
import { NEXT_FAULT } from './generated/layout';
import {
  horizontalAdd16,
  horizontalAdd32,
  horizontalAddSaturated16,
  horizontalSub16,
  horizontalSub32,
  horizontalSubSaturated16,
  interleaveLow64,
  mulAddBytes,
  mulEvenUnsigned,
  mulHighSigned,
  mulHighUnsigned,
  mulRounded,
  sign16,
  sign32,
  sign8,
  sumOfDifferences,
} from './sse-lanes';
import { mmxOld, mmxSource, setMmx } from './sse-operands';

// ---- Addition and subtraction ----

export function x_paddb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.add(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.add(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i32x4.add(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i64x2.add(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.sub(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.sub(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i32x4.sub(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i64x2.sub(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddsb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.add_sat_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.add_sat_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddusb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.add_sat_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_paddusw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.add_sat_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubsb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.sub_sat_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.sub_sat_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubusb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.sub_sat_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psubusw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.sub_sat_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_phaddw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, horizontalAdd16(both, both));
}

export function x_phaddd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, horizontalAdd32(both, both));
}

export function x_phaddsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, horizontalAddSaturated16(both, both));
}

export function x_phsubw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, horizontalSub16(both, both));
}

export function x_phsubd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, horizontalSub32(both, both));
}

export function x_phsubsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, horizontalSubSaturated16(both, both));
}

// ---- Multiplication and sums ----

export function x_pmullw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.mul(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmulhw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, mulHighSigned(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmulhuw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, mulHighUnsigned(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmulhrsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, mulRounded(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmuludq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, mulEvenUnsigned(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmaddwd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i32x4.dot_i16x8_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmaddubsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, mulAddBytes(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psadbw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, sumOfDifferences(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

// ---- Comparison, minimum, maximum, average ----

export function x_pcmpeqb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.eq(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pcmpeqw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.eq(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pcmpeqd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i32x4.eq(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pcmpgtb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.gt_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pcmpgtw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.gt_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pcmpgtd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i32x4.gt_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pminub_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.min_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmaxub_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.max_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pminsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.min_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmaxsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.max_s(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pavgb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.avgr_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pavgw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.avgr_u(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

// ---- Logic ----

export function x_pand_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, v128.and(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pandn_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, v128.andnot(v128.load64_zero(s), mmxOld(rec))) : NEXT_FAULT;
}

export function x_por_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, v128.or(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pxor_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, v128.xor(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

// ---- Sign and magnitude ----

export function x_pabsb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i8x16.abs(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pabsw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i16x8.abs(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pabsd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i32x4.abs(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psignb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, sign8(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psignw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, sign16(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_psignd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, sign32(mmxOld(rec), v128.load64_zero(s))) : NEXT_FAULT;
}
