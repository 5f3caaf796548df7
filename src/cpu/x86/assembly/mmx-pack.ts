// Shifts, packing and unpacking in MMX registers.
import { NEXT_FAULT } from './generated/layout';
import {
  interleaveLow16,
  interleaveLow32,
  interleaveLow64,
  interleaveLow8,
  shiftArithmetic16,
  shiftArithmetic32,
  shiftLeft16,
  shiftLeft32,
  shiftLeft64,
  shiftRight16,
  shiftRight32,
  shiftRight64,
  upperHalf,
} from './sse-lanes';
import { mmxOld, mmxSource, mmxSourceOf, setMmx } from './sse-operands';

// ---- Shifts by a register or memory operand ----

export function x_psllw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftLeft16(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_pslld_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftLeft32(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psllq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftLeft64(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrlw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftRight16(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrld_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftRight32(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrlq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftRight64(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psraw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftArithmetic16(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrad_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, shiftArithmetic32(mmxOld(rec), load<u64>(s))) : NEXT_FAULT;
}

// ---- Packing ----

export function x_packsswb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, i8x16.narrow_i16x8_s(both, both));
}

export function x_packuswb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, i8x16.narrow_i16x8_u(both, both));
}

export function x_packssdw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const both = interleaveLow64(mmxOld(rec), v128.load64_zero(s));
  return setMmx(rec, i16x8.narrow_i32x4_s(both, both));
}

// ---- Unpacking ----

export function x_punpcklbw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSourceOf(rec, ea, 4);
  return s ? setMmx(rec, interleaveLow8(mmxOld(rec), v128.load32_zero(s))) : NEXT_FAULT;
}

export function x_punpcklwd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSourceOf(rec, ea, 4);
  return s ? setMmx(rec, interleaveLow16(mmxOld(rec), v128.load32_zero(s))) : NEXT_FAULT;
}

export function x_punpckldq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSourceOf(rec, ea, 4);
  return s ? setMmx(rec, interleaveLow32(mmxOld(rec), v128.load32_zero(s))) : NEXT_FAULT;
}

export function x_punpckhbw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, upperHalf(interleaveLow8(mmxOld(rec), v128.load64_zero(s)))) : NEXT_FAULT;
}

export function x_punpckhwd_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, upperHalf(interleaveLow16(mmxOld(rec), v128.load64_zero(s)))) : NEXT_FAULT;
}

export function x_punpckhdq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, upperHalf(interleaveLow32(mmxOld(rec), v128.load64_zero(s)))) : NEXT_FAULT;
}
