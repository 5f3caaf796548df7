/**
 * MXCSR and what all SSE floating point instructions share. Sections: SDM vol. 1 §10.2.3 (MXCSR), §11.5 (exceptions), table 4-7
 * (NaNs). Between instructions the soft float's `flags` are 0; an instruction's own exceptions gather there.
 */
import * as C from '../../../ir/assembly/softfloat/context';
import { STATE } from './env';
import { faulted, gp0, ud, xm } from './faults';
import { NEXT_CONTINUE, NEXT_FAULT, R_RM, S_CR4, S_MXCSR, S_XMM } from './generated/layout';
import { ld32, ld64, st32 } from './mmu';
import { isRegister, sseReady } from './sse-operands';

/** Exception masks are the flags shifted by this. */
export const MASK_SHIFT: u32 = 7;
export const MXCSR_PE: u32 = 1 << 5;
export const MXCSR_DAZ: u32 = 1 << 6;
export const MXCSR_OM: u32 = 1 << 10;
export const MXCSR_UM: u32 = 1 << 11;
export const MXCSR_PM: u32 = 1 << 12;
export const MXCSR_RC: u32 = 3 << 13;
export const MXCSR_FTZ: u32 = 1 << 15;
/** Bits that may be set; MXCSR_MASK of FXSAVE. */
export const MXCSR_VALID: u32 = 0xffff;
const CR4_OSXMMEXCPT: u32 = 1 << 10;
/** Exceptions that are found before an operation: they keep others from being looked for. */
const BEFORE: u32 = 7;

/** MXCSR of the instruction that is being executed. */
@inline
export function mxcsr(): u32 {
  return load<u32>(STATE + S_MXCSR);
}

/** Native arithmetic of the host can stand in: to nearest, and a precision exception does not trap. */
@inline
export function isNative(m: u32): bool {
  return (m & (MXCSR_RC | MXCSR_PM)) == MXCSR_PM;
}

/** The same, with PE set already: inexact results need no attention. */
@inline
export function isNativeInexact(m: u32): bool {
  return (m & (MXCSR_RC | MXCSR_PM | MXCSR_PE)) == (MXCSR_PM | MXCSR_PE);
}

/** Sets the soft float's parameters as MXCSR says. */
export function prepare(m: u32): void {
  C.setRounding((m >> 13) & 3);
  C.setSubnormals((m & MXCSR_DAZ) != 0, (m & (MXCSR_FTZ | MXCSR_UM)) == (MXCSR_FTZ | MXCSR_UM));
  // With a bias that brings every exponent back into range: the result is not used, but whether it is exact is.
  C.setTraps((m & MXCSR_UM) == 0, (m & MXCSR_OM) == 0, 4096);
  C.setTinyBeforeRounding(false);
  C.setNanRule(C.NAN_FIRST, 1);
}

/**
 * Enters the instruction's exceptions in MXCSR. False: one is not masked, #XM (#UD without CR4.OSXMMEXCPT) is pending and
 * the destination stays as it is.
 */
@inline
export function settled(): bool {
  return C.flags == 0 || settleFlags();
}

function settleFlags(): bool {
  const m = mxcsr();
  let found: u32 = C.flags;
  C.setFlags(0);
  const trapping = ~(m >> MASK_SHIFT) & 0x3f;
  if (found & trapping & BEFORE) found &= BEFORE;
  store<u32>(STATE + S_MXCSR, m | found);
  if ((found & trapping) == 0) return true;
  if (load<u32>(STATE + S_CR4) & CR4_OSXMMEXCPT) xm();
  else ud();
  return false;
}

/** The last memory operand could not be read. */
export let sourceFaulted: bool = false;

/** Source operand xmm/m32. On a fault `sourceFaulted` is true. Check sseReady() before. */
@inline
export function source32(rec: usize, ea: u64): u32 {
  sourceFaulted = false;
  return isRegister(rec) ? load<u32>(STATE + S_XMM + <usize>load<u8>(rec + R_RM)) : memory32(ea);
}

/** Source operand xmm/m64. */
@inline
export function source64(rec: usize, ea: u64): u64 {
  sourceFaulted = false;
  return isRegister(rec) ? load<u64>(STATE + S_XMM + <usize>load<u8>(rec + R_RM)) : memory64(ea);
}

export function memory32(ea: u64): u32 {
  const v = ld32(ea);
  sourceFaulted = faulted();
  return v;
}

export function memory64(ea: u64): u64 {
  const v = ld64(ea);
  sourceFaulted = faulted();
  return v;
}

// ---- MXCSR itself ----

export function x_ldmxcsr(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  const v = memory32(ea);
  if (sourceFaulted) return NEXT_FAULT;
  if (v & ~MXCSR_VALID) return gp0();
  store<u32>(STATE + S_MXCSR, v);
  return NEXT_CONTINUE;
}

export function x_stmxcsr(rec: usize, ea: u64): i32 {
  if (!sseReady()) return NEXT_FAULT;
  return st32(ea, mxcsr()) ? NEXT_CONTINUE : NEXT_FAULT;
}
