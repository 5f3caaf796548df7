// Operands of SSE and MMX instructions, and when such an instruction may not run at all.
import { STATE } from './env';
import { gp0, nm, ud } from './faults';
import {
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_MODRM,
  R_REG,
  R_RM,
  S_CR0,
  S_CR4,
  S_FLAG_AUX,
  S_FLAG_RES,
  S_FPR,
  S_FP_TRAP,
  S_FSW,
  S_FTW,
  S_SCRATCH,
  S_XMM,
  TLB_READ,
  TLB_WRITE,
} from './generated/layout';
import { load_slow, stBytes } from './mmu';
import { probe } from './tlb';
import { errorPending } from './x87-state';

const CR0_EM: u32 = 1 << 2;
const CR4_OSFXSR: u32 = 1 << 9;
const FSW_ES: u32 = 1 << 7;
const FSW_TOP: u32 = 7 << 11;

/** 16 bytes for a value on its way to memory. */
export const OPERAND: usize = S_SCRATCH + 768;
/** 64 bytes to put operands together in. */
export const WORK: usize = S_SCRATCH + 832;

/** SSE instructions need CR0.EM = 0, CR4.OSFXSR = 1 (#UD), CR0.TS = 0 (#NM): SDM vol. 3 table 14-2. True: may run. */
@inline
export function sseReady(): bool {
  return (load<u32>(STATE + S_FP_TRAP) & 2) == 0 || sseTrap();
}

function sseTrap(): bool {
  // #UD comes first.
  if (load<u32>(STATE + S_CR0) & CR0_EM || !(load<u32>(STATE + S_CR4) & CR4_OSFXSR)) ud();
  else nm();
  return false;
}

/** MMX instructions need CR0.EM = 0 (#UD), CR0.TS = 0 (#NM) and no x87 exception pending (#MF). True: may run. */
@inline
export function mmxReady(): bool {
  return ((load<u32>(STATE + S_FP_TRAP) & 1) | (load<u32>(STATE + S_FSW) & FSW_ES)) == 0 || mmxTrap();
}

function mmxTrap(): bool {
  if (load<u32>(STATE + S_FP_TRAP) & 1) {
    if (load<u32>(STATE + S_CR0) & CR0_EM) ud();
    else nm();
    return false;
  }
  return !errorPending();
}

/** What every MMX instruction but EMMS does to the x87 state: TOP = 0, all registers valid (SDM vol. 1 §9.5.2). */
@inline
export function enterMmx(): void {
  store<u32>(STATE + S_FSW, load<u32>(STATE + S_FSW) & ~FSW_TOP);
  store<u32>(STATE + S_FTW, 0xff);
}

/** Address of the XMM register that ModRM.reg names. */
@inline
export function xmmReg(rec: usize): usize {
  return STATE + S_XMM + <usize>load<u8>(rec + R_REG);
}

/** Address of the XMM register that ModRM.rm names. */
@inline
export function xmmRm(rec: usize): usize {
  return STATE + S_XMM + <usize>load<u8>(rec + R_RM);
}

/** Address of the MMX register that ModRM.reg names. */
@inline
export function mmxReg(rec: usize): usize {
  return STATE + S_FPR + ((<usize>load<u8>(rec + R_REG)) << 4);
}

/** Address of the MMX register that ModRM.rm names. */
@inline
export function mmxRm(rec: usize): usize {
  return STATE + S_FPR + ((<usize>load<u8>(rec + R_RM)) << 4);
}

@inline
export function isRegister(rec: usize): bool {
  return load<u8>(rec + R_MODRM) >= 0xc0;
}

/** Address where `n` bytes (at most 64) of a memory operand stand: the guest's memory or a copy. 0: an exception is pending. */
export function memorySource(ea: u64, n: i32): usize {
  const at = probe(TLB_READ, ea, n);
  return at ? at : load_slow(ea, n);
}

/** Address of a source operand xmm/m128; memory must be aligned to 16 bytes. 0: an exception is pending. */
export function xmmSource(rec: usize, ea: u64): usize {
  if (!sseReady()) return 0;
  if (isRegister(rec)) return xmmRm(rec);
  if (ea & 15) {
    gp0();
    return 0;
  }
  return memorySource(ea, 16);
}

/** Address of a source operand xmm/m of `n` bytes in memory, of any alignment. 0: an exception is pending. */
export function xmmSourceOf(rec: usize, ea: u64, n: i32): usize {
  if (!sseReady()) return 0;
  return isRegister(rec) ? xmmRm(rec) : memorySource(ea, n);
}

/** Address of a source operand mm/m64, the x87 state made MMX's. 0: an exception is pending. */
export function mmxSource(rec: usize, ea: u64): usize {
  return mmxSourceOf(rec, ea, 8);
}

/** The same with an operand of `n` bytes in memory. */
export function mmxSourceOf(rec: usize, ea: u64, n: i32): usize {
  if (!mmxReady()) return 0;
  const from = isRegister(rec) ? mmxRm(rec) : memorySource(ea, n);
  if (from) enterMmx();
  return from;
}

/** The destination's old value: XMM. */
@inline
export function xmmOld(rec: usize): v128 {
  return v128.load(xmmReg(rec));
}

/** The destination's old value: MMX, in the low half. */
@inline
export function mmxOld(rec: usize): v128 {
  return v128.load64_zero(mmxReg(rec));
}

@inline
export function setXmm(rec: usize, value: v128): i32 {
  v128.store(xmmReg(rec), value);
  return NEXT_CONTINUE;
}

/** Writes the low half of `value` to the MMX register at `at`; sign and exponent become all ones (SDM vol. 1 §9.2.4). */
@inline
export function writeMmx(at: usize, value: u64): void {
  store<u64>(at, value);
  store<u64>(at, 0xffff, 8);
}

@inline
export function setMmx(rec: usize, value: v128): i32 {
  writeMmx(mmxReg(rec), v128.extract_lane<u64>(value, 0));
  return NEXT_CONTINUE;
}

/** Stores `n` (1, 2, 4, 8, 16) bytes of a register to memory. */
export function storeOperand(ea: u64, from: usize, n: i32): i32 {
  const at = probe(TLB_WRITE, ea, n);
  if (!at) return stBytes(ea, from, n) ? NEXT_CONTINUE : NEXT_FAULT;
  if (n == 16) v128.store(at, v128.load(from));
  else if (n == 8) store<u64>(at, load<u64>(from));
  else if (n == 4) store<u32>(at, load<u32>(from));
  else if (n == 2) store<u16>(at, load<u16>(from));
  else store<u8>(at, load<u8>(from));
  return NEXT_CONTINUE;
}

/** Sets all six arithmetic flags; each argument is 0 or 1. */
export function setFlags(carry: u32, parity: u32, adjust: u32, zero: u32, sign: u32, overflow: u32): void {
  store<u64>(STATE + S_FLAG_RES, zero ^ 1);
  store<u32>(
    STATE + S_FLAG_AUX,
    (carry << 31) | ((carry ^ overflow) << 30) | ((parity ^ zero) << 8) | (adjust << 3) | sign,
  );
}
