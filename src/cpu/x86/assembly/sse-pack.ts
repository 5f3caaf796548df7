// Shifts, packing and unpacking in XMM registers; immediate shifts and shuffles are in sse-shuffle.ts.
import { NEXT_FAULT } from './generated/layout';
import {
  interleaveHigh16,
  interleaveHigh32,
  interleaveHigh64,
  interleaveHigh8,
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
} from './sse-lanes';
import { setXmm, xmmOld, xmmSource } from './sse-operands';

// ---- Shifts by a register or memory operand ----

export function x_psllw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftLeft16(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_pslld(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftLeft32(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psllq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftLeft64(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrlw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftRight16(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrld(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftRight32(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrlq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftRight64(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psraw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftArithmetic16(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

export function x_psrad(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, shiftArithmetic32(xmmOld(rec), load<u64>(s))) : NEXT_FAULT;
}

// ---- Packing ----

export function x_packsswb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.narrow_i16x8_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_packuswb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i8x16.narrow_i16x8_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_packssdw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.narrow_i32x4_s(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_packusdw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, i16x8.narrow_i32x4_u(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

// ---- Unpacking ----

export function x_punpcklbw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveLow8(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpcklwd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveLow16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpckldq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveLow32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpcklqdq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveLow64(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpckhbw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveHigh8(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpckhwd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveHigh16(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpckhdq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveHigh32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_punpckhqdq(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveHigh64(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_unpcklps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveLow32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_unpckhps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveHigh32(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_unpcklpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveLow64(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}

export function x_unpckhpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, interleaveHigh64(xmmOld(rec), v128.load(s))) : NEXT_FAULT;
}
