// Shuffles by an immediate or a mask, shifts by an immediate, PALIGNR: XMM and MMX.
import { STATE } from './env';
import { NEXT_CONTINUE, NEXT_FAULT, R_IMM } from './generated/layout';
import {
  apart,
  shiftArithmetic16,
  shiftArithmetic32,
  shiftLeft16,
  shiftLeft32,
  shiftLeft64,
  shiftRight16,
  shiftRight32,
  shiftRight64,
} from './sse-lanes';
import {
  enterMmx,
  mmxOld,
  mmxReady,
  mmxRm,
  mmxSource,
  setMmx,
  setXmm,
  sseReady,
  WORK,
  writeMmx,
  xmmOld,
  xmmReg,
  xmmRm,
  xmmSource,
} from './sse-operands';

/** The immediate as a count or selector, 0 … 255. */
@inline
export function imm8(rec: usize): u32 {
  return load<u8>(rec + R_IMM);
}

// ---- shuffles ----

/** Word `i` of the result is the word of `s` that bits 2i+1:2i of the selector name. */
@inline
function selectWords(s: usize, selector: u32): u64 {
  return (
    <u64>load<u16>(s + ((selector & 3) << 1)) |
    ((<u64>load<u16>(s + (((selector >> 2) & 3) << 1))) << 16) |
    ((<u64>load<u16>(s + (((selector >> 4) & 3) << 1))) << 32) |
    ((<u64>load<u16>(s + (((selector >> 6) & 3) << 1))) << 48)
  );
}

/** Two neighbouring doublewords of the result, named by the low four bits of the selector. */
@inline
function selectDoublewords(s: usize, selector: u32): u64 {
  return <u64>load<u32>(s + ((selector & 3) << 2)) | ((<u64>load<u32>(s + (((selector >> 2) & 3) << 2))) << 32);
}

@inline
function setHalves(rec: usize, low: u64, high: u64): i32 {
  const d = xmmReg(rec);
  store<u64>(d, low);
  store<u64>(d, high, 8);
  return NEXT_CONTINUE;
}

export function x_pshufd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const selector = imm8(rec);
  return setHalves(rec, selectDoublewords(s, selector), selectDoublewords(s, selector >> 4));
}

export function x_pshuflw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setHalves(rec, selectWords(s, imm8(rec)), load<u64>(s, 8)) : NEXT_FAULT;
}

export function x_pshufhw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setHalves(rec, load<u64>(s), selectWords(s + 8, imm8(rec))) : NEXT_FAULT;
}

export function x_pshufw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  return s ? setMmx(rec, i64x2.splat(selectWords(s, imm8(rec)))) : NEXT_FAULT;
}

export function x_shufps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const selector = imm8(rec);
  return setHalves(rec, selectDoublewords(xmmReg(rec), selector), selectDoublewords(s, selector >> 4));
}

export function x_shufpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const selector = imm8(rec);
  return setHalves(rec, load<u64>(xmmReg(rec) + ((selector & 1) << 3)), load<u64>(s + ((selector & 2) << 2)));
}

export function x_pshufb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  return setXmm(rec, i8x16.swizzle(apart(xmmOld(rec)), v128.and(v128.load(s), i8x16.splat(<i8>0x8f))));
}

export function x_pshufb_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  return setMmx(rec, i8x16.swizzle(apart(mmxOld(rec)), v128.and(v128.load64_zero(s), i8x16.splat(<i8>0x87))));
}

/** Bytes `by` … of source and destination seen as one number, the destination above. */
export function x_palignr(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const by = min<u32>(imm8(rec), 32);
  const work = STATE + WORK;
  v128.store(work, v128.load(s));
  v128.store(work, xmmOld(rec), 16);
  v128.store(work, i64x2.splat(0), 32);
  v128.store(work, i64x2.splat(0), 48);
  return setXmm(rec, v128.load(work + by));
}

export function x_palignr_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const by = min<u32>(imm8(rec), 16);
  const work = STATE + WORK;
  store<u64>(work, load<u64>(s));
  v128.store(work, mmxOld(rec), 8);
  return setMmx(rec, v128.load64_zero(work + by));
}

// ---- shifts by an immediate: the destination is ModRM.rm ----

@inline
function xmmShifted(rec: usize, value: v128): i32 {
  v128.store(xmmRm(rec), value);
  return NEXT_CONTINUE;
}

@inline
function mmxShifted(rec: usize, value: v128): i32 {
  enterMmx();
  writeMmx(mmxRm(rec), v128.extract_lane<u64>(value, 0));
  return NEXT_CONTINUE;
}

export function x_psllw_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftLeft16(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_pslld_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftLeft32(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psllq_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftLeft64(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrlw_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftRight16(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrld_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftRight32(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrlq_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftRight64(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psraw_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftArithmetic16(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrad_imm(rec: usize, ea: u64): i32 {
  return sseReady() ? xmmShifted(rec, shiftArithmetic32(v128.load(xmmRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psllw_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftLeft16(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_pslld_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftLeft32(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psllq_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftLeft64(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrlw_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftRight16(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrld_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftRight32(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrlq_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftRight64(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psraw_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftArithmetic16(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

export function x_psrad_imm_mmx(rec: usize, ea: u64): i32 {
  return mmxReady() ? mmxShifted(rec, shiftArithmetic32(v128.load64_zero(mmxRm(rec)), imm8(rec))) : NEXT_FAULT;
}

/** Byte numbers 0 … 15, by which a swizzle shifts whole bytes: numbers outside give 0. */
@inline
function byteNumbers(): v128 {
  return v128(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

export function x_pslldq_imm(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const by = i8x16.splat(<i8>min<u32>(imm8(rec), 16));
  return xmmShifted(rec, i8x16.swizzle(apart(v128.load(xmmRm(rec))), i8x16.sub(byteNumbers(), by)));
}

export function x_psrldq_imm(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const by = i8x16.splat(<i8>min<u32>(imm8(rec), 16));
  return xmmShifted(rec, i8x16.swizzle(apart(v128.load(xmmRm(rec))), i8x16.add(byteNumbers(), by)));
}
