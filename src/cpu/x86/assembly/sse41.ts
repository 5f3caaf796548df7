// SSSE3 and SSE4.1 beyond plain lane arithmetic: blends, extensions, insertion and extraction, PTEST, MPSADBW, PHMINPOSUW;
// and their older relatives PINSRW, PEXTRW, MOVMSKx.
import { STATE } from './env';
import { NEXT_CONTINUE, NEXT_FAULT, R_PREFIX, R_REG, R_RM, S_XMM } from './generated/layout';
import {
  enterMmx,
  isRegister,
  memorySource,
  mmxReady,
  mmxReg,
  mmxRm,
  OPERAND,
  setFlags,
  setXmm,
  sseReady,
  storeOperand,
  writeMmx,
  xmmOld,
  xmmReg,
  xmmRm,
  xmmSource,
  xmmSourceOf,
} from './sse-operands';
import { imm8 } from './sse-shuffle';

// ---- blends ----

/** Lanes of `b` where the mask's are all ones, else of `a`. */
@inline
function blend(rec: usize, s: usize, mask: v128): i32 {
  return setXmm(rec, v128.bitselect(v128.load(s), xmmOld(rec), mask));
}

@inline
function xmm0(): v128 {
  return v128.load(STATE + S_XMM);
}

export function x_pblendvb(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? blend(rec, s, i8x16.shr_s(xmm0(), 7)) : NEXT_FAULT;
}

export function x_blendvps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? blend(rec, s, i32x4.shr_s(xmm0(), 31)) : NEXT_FAULT;
}

export function x_blendvpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? blend(rec, s, i64x2.shr_s(xmm0(), 63)) : NEXT_FAULT;
}

export function x_pblendw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
  return blend(rec, s, i16x8.eq(v128.and(i16x8.splat(<i16>imm8(rec)), bits), bits));
}

export function x_blendps(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const bits = i32x4(1, 2, 4, 8);
  return blend(rec, s, i32x4.eq(v128.and(i32x4.splat(imm8(rec)), bits), bits));
}

export function x_blendpd(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const bits = i64x2(1, 2);
  return blend(rec, s, i64x2.eq(v128.and(i64x2.splat(imm8(rec)), bits), bits));
}

// ---- extensions ----

export function x_pmovsxbw(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i16x8.extend_low_i8x16_s(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmovsxbd(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 4);
  return s ? setXmm(rec, i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(s)))) : NEXT_FAULT;
}

export function x_pmovsxbq(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 2);
  return s ? setXmm(rec, i64x2(load<i8>(s), load<i8>(s, 1))) : NEXT_FAULT;
}

export function x_pmovsxwd(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i32x4.extend_low_i16x8_s(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmovsxwq(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 4);
  return s ? setXmm(rec, i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(v128.load32_zero(s)))) : NEXT_FAULT;
}

export function x_pmovsxdq(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i64x2.extend_low_i32x4_s(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmovzxbw(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i16x8.extend_low_i8x16_u(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmovzxbd(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 4);
  return s ? setXmm(rec, i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(s)))) : NEXT_FAULT;
}

export function x_pmovzxbq(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 2);
  return s ? setXmm(rec, i64x2(load<u8>(s), load<u8>(s, 1))) : NEXT_FAULT;
}

export function x_pmovzxwd(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i32x4.extend_low_i16x8_u(v128.load64_zero(s))) : NEXT_FAULT;
}

export function x_pmovzxwq(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 4);
  return s ? setXmm(rec, i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(v128.load32_zero(s)))) : NEXT_FAULT;
}

export function x_pmovzxdq(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i64x2.extend_low_i32x4_u(v128.load64_zero(s))) : NEXT_FAULT;
}

// ---- insertion ----

/** Whether the instruction has REX.W (a 64-bit general operand). */
@inline
function wide(rec: usize): bool {
  return (load<u8>(rec + R_PREFIX) & 3) == 2;
}

/** Address of a source r32/m of `n` bytes in memory; 0: an exception is pending. */
@inline
function generalSource(rec: usize, ea: u64, n: i32): usize {
  return isRegister(rec) ? STATE + <usize>load<u8>(rec + R_RM) : memorySource(ea, n);
}

export function x_pinsrb(rec: usize, ea: u64): i32 {
  const s = sseReady() ? generalSource(rec, ea, 1) : 0;
  if (!s) return NEXT_FAULT;
  store<u8>(xmmReg(rec) + (imm8(rec) & 15), load<u8>(s));
  return NEXT_CONTINUE;
}

export function x_pinsrw(rec: usize, ea: u64): i32 {
  const s = sseReady() ? generalSource(rec, ea, 2) : 0;
  if (!s) return NEXT_FAULT;
  store<u16>(xmmReg(rec) + ((imm8(rec) & 7) << 1), load<u16>(s));
  return NEXT_CONTINUE;
}

export function x_pinsrw_mmx(rec: usize, ea: u64): i32 {
  const s = mmxReady() ? generalSource(rec, ea, 2) : 0;
  if (!s) return NEXT_FAULT;
  enterMmx();
  const d = mmxReg(rec);
  writeMmx(d, load<u64>(d));
  store<u16>(d + ((imm8(rec) & 3) << 1), load<u16>(s));
  return NEXT_CONTINUE;
}

/** PINSRD, or PINSRQ with REX.W. */
export function x_pinsrd(rec: usize, ea: u64): i32 {
  if (wide(rec)) return x_pinsrq(rec, ea);
  const s = sseReady() ? generalSource(rec, ea, 4) : 0;
  if (!s) return NEXT_FAULT;
  store<u32>(xmmReg(rec) + ((imm8(rec) & 3) << 2), load<u32>(s));
  return NEXT_CONTINUE;
}

export function x_pinsrq(rec: usize, ea: u64): i32 {
  const s = sseReady() ? generalSource(rec, ea, 8) : 0;
  if (!s) return NEXT_FAULT;
  store<u64>(xmmReg(rec) + ((imm8(rec) & 1) << 3), load<u64>(s));
  return NEXT_CONTINUE;
}

/** Bits 7:6 choose the source's element (a register's only), 5:4 the destination's, 3:0 elements to clear. */
export function x_insertps(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 4);
  if (!s) return NEXT_FAULT;
  const selector = imm8(rec);
  const value = load<u32>(isRegister(rec) ? s + ((selector >> 6) << 2) : s);
  store<u32>(xmmReg(rec) + (((selector >> 4) & 3) << 2), value);
  const bits = i32x4(1, 2, 4, 8);
  const clear = i32x4.eq(v128.and(i32x4.splat(selector), bits), bits);
  return setXmm(rec, v128.andnot(xmmOld(rec), clear));
}

// ---- extraction ----

/** Writes an element to memory, or zero-extended to the general register ModRM.rm. */
@inline
function extracted(rec: usize, ea: u64, value: u64, n: i32): i32 {
  if (isRegister(rec)) {
    store<u64>(STATE + <usize>load<u8>(rec + R_RM), value);
    return NEXT_CONTINUE;
  }
  store<u64>(STATE + OPERAND, value);
  return storeOperand(ea, STATE + OPERAND, n);
}

export function x_pextrb(rec: usize, ea: u64): i32 {
  return sseReady() ? extracted(rec, ea, load<u8>(xmmReg(rec) + (imm8(rec) & 15)), 1) : NEXT_FAULT;
}

/** The SSE4.1 form, 66 0F 3A 15: to memory too. */
export function x_pextrw_mem(rec: usize, ea: u64): i32 {
  return sseReady() ? extracted(rec, ea, load<u16>(xmmReg(rec) + ((imm8(rec) & 7) << 1)), 2) : NEXT_FAULT;
}

/** PEXTRD, or PEXTRQ with REX.W. */
export function x_pextrd(rec: usize, ea: u64): i32 {
  if (wide(rec)) return x_pextrq(rec, ea);
  return sseReady() ? extracted(rec, ea, load<u32>(xmmReg(rec) + ((imm8(rec) & 3) << 2)), 4) : NEXT_FAULT;
}

export function x_pextrq(rec: usize, ea: u64): i32 {
  return sseReady() ? extracted(rec, ea, load<u64>(xmmReg(rec) + ((imm8(rec) & 1) << 3)), 8) : NEXT_FAULT;
}

export function x_extractps(rec: usize, ea: u64): i32 {
  return sseReady() ? extracted(rec, ea, load<u32>(xmmReg(rec) + ((imm8(rec) & 3) << 2)), 4) : NEXT_FAULT;
}

/** Writes the general register ModRM.reg. */
@inline
function setGeneral(rec: usize, value: u32): i32 {
  store<u64>(STATE + <usize>load<u8>(rec + R_REG), value);
  return NEXT_CONTINUE;
}

/** The SSE2 form, 66 0F C5: from ModRM.rm to the general register ModRM.reg. */
export function x_pextrw(rec: usize, ea: u64): i32 {
  return sseReady() ? setGeneral(rec, load<u16>(xmmRm(rec) + ((imm8(rec) & 7) << 1))) : NEXT_FAULT;
}

export function x_pextrw_mmx(rec: usize, ea: u64): i32 {
  if (!mmxReady()) return NEXT_FAULT;
  enterMmx();
  return setGeneral(rec, load<u16>(mmxRm(rec) + ((imm8(rec) & 3) << 1)));
}

export function x_movmskps(rec: usize, ea: u64): i32 {
  return sseReady() ? setGeneral(rec, i32x4.bitmask(v128.load(xmmRm(rec)))) : NEXT_FAULT;
}

export function x_movmskpd(rec: usize, ea: u64): i32 {
  return sseReady() ? setGeneral(rec, i64x2.bitmask(v128.load(xmmRm(rec)))) : NEXT_FAULT;
}

export function x_pmovmskb(rec: usize, ea: u64): i32 {
  return sseReady() ? setGeneral(rec, i8x16.bitmask(v128.load(xmmRm(rec)))) : NEXT_FAULT;
}

export function x_pmovmskb_mmx(rec: usize, ea: u64): i32 {
  if (!mmxReady()) return NEXT_FAULT;
  enterMmx();
  return setGeneral(rec, i8x16.bitmask(v128.load64_zero(mmxRm(rec))));
}

// ---- the rest ----

/** ZF: no bit in common; CF: no bit of the source outside the destination. The other flags are cleared. */
export function x_ptest(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const a = xmmOld(rec);
  const b = v128.load(s);
  const cf: u32 = v128.any_true(v128.andnot(b, a)) ? 0 : 1;
  const zf: u32 = v128.any_true(v128.and(a, b)) ? 0 : 1;
  setFlags(cf, 0, 0, zf, 0, 0);
  return NEXT_CONTINUE;
}

/** Eight sums of absolute differences of four bytes: a fixed block of the source against a sliding one of the destination. */
export function x_mpsadbw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const selector = imm8(rec);
  const block = i32x4.splat(load<u32>(s + ((selector & 3) << 2)));
  const a = xmmOld(rec);
  // From byte 0 or 4 of the destination; a slide of at most 7 and 4 bytes stay inside the register.
  const from = selector & 4 ? v128.shuffle<i8>(a, a, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0) : a;
  const low = v128.shuffle<i8>(from, from, 0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6);
  const high = v128.shuffle<i8>(from, from, 4, 5, 6, 7, 5, 6, 7, 8, 6, 7, 8, 9, 7, 8, 9, 10);
  return setXmm(rec, i16x8.narrow_i32x4_u(fourByteSums(low, block), fourByteSums(high, block)));
}

@inline
function fourByteSums(a: v128, b: v128): v128 {
  const differences = i8x16.sub(i8x16.max_u(a, b), i8x16.min_u(a, b));
  return i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(differences));
}

/** The least word, and in bits 18:16 the first place where it stands. */
export function x_phminposuw(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  let least: u32 = load<u16>(s);
  let place: u32 = 0;
  for (let i: u32 = 1; i < 8; i++) {
    const word: u32 = load<u16>(s + (i << 1));
    if (word < least) {
      least = word;
      place = i;
    }
  }
  return setXmm(rec, i64x2(least | (place << 16), 0));
}
