// Data movement between XMM, MMX, general registers and memory. A name that ends with `_store` has its destination in
// ModRM.rm. Non-temporal hints have no effect.
import { STATE } from './env';
import { NEXT_CONTINUE, NEXT_FAULT, R_PREFIX, R_RM, R_SEG, S_FTW, S_GPR } from './generated/layout';
import { faulted, gp0 } from './faults';
import { st8 } from './mmu';
import { addressMask, stringAddress } from './string-steps';
import {
  enterMmx,
  isRegister,
  memorySource,
  mmxReady,
  mmxReg,
  mmxRm,
  mmxSource,
  setXmm,
  sseReady,
  storeOperand,
  writeMmx,
  xmmReg,
  xmmRm,
  xmmSource,
  xmmSourceOf,
} from './sse-operands';

// ---- 128 bits ----

function load128(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  return s ? setXmm(rec, v128.load(s)) : NEXT_FAULT;
}

function loadUnaligned128(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 16);
  return s ? setXmm(rec, v128.load(s)) : NEXT_FAULT;
}

function store128(rec: usize, ea: u64): i32 {
  if (ea & 15 && !isRegister(rec)) return sseReady() ? gp0() : NEXT_FAULT;
  return storeUnaligned128(rec, ea);
}

function storeUnaligned128(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  if (!isRegister(rec)) return storeOperand(ea, xmmReg(rec), 16);
  v128.store(xmmRm(rec), v128.load(xmmReg(rec)));
  return NEXT_CONTINUE;
}

export function x_movaps(rec: usize, ea: u64): i32 {
  return load128(rec, ea);
}

export function x_movdqa(rec: usize, ea: u64): i32 {
  return load128(rec, ea);
}

export function x_movntdqa(rec: usize, ea: u64): i32 {
  return load128(rec, ea);
}

export function x_movups(rec: usize, ea: u64): i32 {
  return loadUnaligned128(rec, ea);
}

export function x_movdqu(rec: usize, ea: u64): i32 {
  return loadUnaligned128(rec, ea);
}

export function x_lddqu(rec: usize, ea: u64): i32 {
  return loadUnaligned128(rec, ea);
}

export function x_movaps_store(rec: usize, ea: u64): i32 {
  return store128(rec, ea);
}

export function x_movdqa_store(rec: usize, ea: u64): i32 {
  return store128(rec, ea);
}

export function x_movntps(rec: usize, ea: u64): i32 {
  return store128(rec, ea);
}

export function x_movntdq(rec: usize, ea: u64): i32 {
  return store128(rec, ea);
}

export function x_movups_store(rec: usize, ea: u64): i32 {
  return storeUnaligned128(rec, ea);
}

export function x_movdqu_store(rec: usize, ea: u64): i32 {
  return storeUnaligned128(rec, ea);
}

// ---- 64 and 32 bits ----

/** Copies a source of `n` bytes (4 or 8) into the destination, or over all of it with zeros above. */
@inline
function loadLow(rec: usize, ea: u64, n: i32, clear: bool): i32 {
  const s = xmmSourceOf(rec, ea, n);
  if (!s) return NEXT_FAULT;
  const d = xmmReg(rec);
  if (clear) v128.store(d, n == 8 ? v128.load64_zero(s) : v128.load32_zero(s));
  else if (n == 8) store<u64>(d, load<u64>(s));
  else store<u32>(d, load<u32>(s));
  return NEXT_CONTINUE;
}

/** Register to register, low bits. */
export function x_movss(rec: usize, ea: u64): i32 {
  return loadLow(rec, ea, 4, false);
}

export function x_movsd_xmm(rec: usize, ea: u64): i32 {
  return loadLow(rec, ea, 8, false);
}

export function x_movss_load(rec: usize, ea: u64): i32 {
  return loadLow(rec, ea, 4, true);
}

export function x_movsd_load(rec: usize, ea: u64): i32 {
  return loadLow(rec, ea, 8, true);
}

export function x_movss_store(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  if (!isRegister(rec)) return storeOperand(ea, xmmReg(rec), 4);
  store<u32>(xmmRm(rec), load<u32>(xmmReg(rec)));
  return NEXT_CONTINUE;
}

export function x_movsd_store(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  if (!isRegister(rec)) return storeOperand(ea, xmmReg(rec), 8);
  store<u64>(xmmRm(rec), load<u64>(xmmReg(rec)));
  return NEXT_CONTINUE;
}

/** MOVQ from xmm/m64; the upper half is cleared. */
export function x_movq_xmm(rec: usize, ea: u64): i32 {
  return loadLow(rec, ea, 8, true);
}

/** MOVQ to xmm/m64: a register's upper half is cleared. */
export function x_movq_store(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  if (!isRegister(rec)) return storeOperand(ea, xmmReg(rec), 8);
  v128.store(xmmRm(rec), v128.load64_zero(xmmReg(rec)));
  return NEXT_CONTINUE;
}

/** MOVLPS, MOVLPD from memory. */
export function x_movlps_load(rec: usize, ea: u64): i32 {
  return loadLow(rec, ea, 8, false);
}

export function x_movlps_store(rec: usize, ea: u64): i32 {
  return sseReady() ? storeOperand(ea, xmmReg(rec), 8) : NEXT_FAULT;
}

/** MOVHPS, MOVHPD from memory. */
export function x_movhps_load(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  if (!s) return NEXT_FAULT;
  store<u64>(xmmReg(rec), load<u64>(s), 8);
  return NEXT_CONTINUE;
}

export function x_movhps_store(rec: usize, ea: u64): i32 {
  return sseReady() ? storeOperand(ea, xmmReg(rec) + 8, 8) : NEXT_FAULT;
}

export function x_movhlps(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  store<u64>(xmmReg(rec), load<u64>(xmmRm(rec), 8));
  return NEXT_CONTINUE;
}

export function x_movlhps(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  store<u64>(xmmReg(rec), load<u64>(xmmRm(rec)), 8);
  return NEXT_CONTINUE;
}

export function x_movddup(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 8);
  return s ? setXmm(rec, i64x2.splat(load<u64>(s))) : NEXT_FAULT;
}

export function x_movsldup(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const v = v128.load(s);
  return setXmm(rec, v128.shuffle<i32>(v, v, 0, 0, 2, 2));
}

export function x_movshdup(rec: usize, ea: u64): i32 {
  const s = xmmSource(rec, ea);
  if (!s) return NEXT_FAULT;
  const v = v128.load(s);
  return setXmm(rec, v128.shuffle<i32>(v, v, 1, 1, 3, 3));
}

// ---- general registers ----

/** Whether the general operand has 64 bits: REX.W. */
@inline
function isWide(rec: usize): bool {
  return (load<u8>(rec + R_PREFIX) & 3) == 2;
}

/** Address of the general source operand; 0: an exception is pending. */
@inline
function generalSource(rec: usize, ea: u64): usize {
  return isRegister(rec) ? STATE + <usize>load<u8>(rec + R_RM) : memorySource(ea, isWide(rec) ? 8 : 4);
}

@inline
function generalStore(rec: usize, ea: u64, from: usize): i32 {
  const wide = isWide(rec);
  if (!isRegister(rec)) return storeOperand(ea, from, wide ? 8 : 4);
  store<u64>(STATE + <usize>load<u8>(rec + R_RM), wide ? load<u64>(from) : load<u32>(from));
  return NEXT_CONTINUE;
}

export function x_movd_to_xmm(rec: usize, ea: u64): i32 {
  const s = sseReady() ? generalSource(rec, ea) : 0;
  if (!s) return NEXT_FAULT;
  return setXmm(rec, isWide(rec) ? v128.load64_zero(s) : v128.load32_zero(s));
}

export function x_movd_from_xmm(rec: usize, ea: u64): i32 {
  return sseReady() ? generalStore(rec, ea, xmmReg(rec)) : NEXT_FAULT;
}

export function x_movd_to_mmx(rec: usize, ea: u64): i32 {
  const s = mmxReady() ? generalSource(rec, ea) : 0;
  if (!s) return NEXT_FAULT;
  enterMmx();
  writeMmx(mmxReg(rec), isWide(rec) ? load<u64>(s) : load<u32>(s));
  return NEXT_CONTINUE;
}

export function x_movd_from_mmx(rec: usize, ea: u64): i32 {
  if (!mmxReady() || generalStore(rec, ea, mmxReg(rec))) return NEXT_FAULT;
  enterMmx();
  return NEXT_CONTINUE;
}

// ---- MMX ----

export function x_movq_mmx(rec: usize, ea: u64): i32 {
  const s = mmxSource(rec, ea);
  if (!s) return NEXT_FAULT;
  writeMmx(mmxReg(rec), load<u64>(s));
  return NEXT_CONTINUE;
}

export function x_movq_mmx_store(rec: usize, ea: u64): i32 {
  if (!mmxReady()) return NEXT_FAULT;
  if (!isRegister(rec)) return x_movntq(rec, ea);
  enterMmx();
  writeMmx(mmxRm(rec), load<u64>(mmxReg(rec)));
  return NEXT_CONTINUE;
}

export function x_movntq(rec: usize, ea: u64): i32 {
  if (!mmxReady() || storeOperand(ea, mmxReg(rec), 8)) return NEXT_FAULT;
  enterMmx();
  return NEXT_CONTINUE;
}

export function x_movq2dq(rec: usize, ea: u64): i32 {
  if (!sseReady() || !mmxReady()) return NEXT_FAULT;
  enterMmx();
  return setXmm(rec, v128.load64_zero(mmxRm(rec)));
}

export function x_movdq2q(rec: usize, ea: u64): i32 {
  if (!sseReady() || !mmxReady()) return NEXT_FAULT;
  enterMmx();
  writeMmx(mmxReg(rec), load<u64>(xmmRm(rec)));
  return NEXT_CONTINUE;
}

/** All registers empty. */
export function x_emms(rec: usize, ea: u64): i32 {
  if (!mmxReady()) return NEXT_FAULT;
  enterMmx();
  store<u32>(STATE + S_FTW, 0);
  return NEXT_CONTINUE;
}

// ---- byte-masked stores to DS:rDI ----

/** Stores the bytes of `from` whose mask byte is negative. A fault in the middle is taken again when the instruction is. */
function storeMasked(rec: usize, from: usize, mask: usize, n: u32): bool {
  const offset = load<u64>(STATE + S_GPR + 7 * 8) & addressMask(rec);
  // The whole operand is checked against its segment, whatever the mask.
  const to = stringAddress(load<u8>(rec + R_SEG), offset, n, true);
  if (to == ~(<u64>0) && faulted()) return false;
  for (let i: usize = 0; i < n; i++) {
    if (load<i8>(mask + i) < 0 && !st8(to + i, load<u8>(from + i))) return false;
  }
  return true;
}

export function x_maskmovdqu(rec: usize, ea: u64): i32 {
  return sseReady() && storeMasked(rec, xmmReg(rec), xmmRm(rec), 16) ? NEXT_CONTINUE : NEXT_FAULT;
}

export function x_maskmovq(rec: usize, ea: u64): i32 {
  if (!mmxReady() || !storeMasked(rec, mmxReg(rec), mmxRm(rec), 8)) return NEXT_FAULT;
  enterMmx();
  return NEXT_CONTINUE;
}
