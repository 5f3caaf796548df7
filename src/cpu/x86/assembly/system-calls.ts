/** SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the segment-base instructions: SDM vol. 2. */
import { DEBUG_STEP } from './debug';
import { STATE } from './env';
import { gp0, ud } from './faults';
import { changeFlags, nextRip } from './flag-control';
import {
  NEXT_CONTINUE,
  NEXT_JUMP,
  NEXT_JUMP_ATTENTION,
  R_RM,
  S_CPL,
  S_CR4,
  S_DEBUG_FLAGS,
  S_EFER,
  S_EFLAGS,
  S_FMASK,
  S_KERNEL_GS_BASE,
  S_LSTAR,
  S_RIP,
  S_SEG_ATTR,
  S_SEG_BASE,
  S_SEG_LIMIT,
  S_SEG_SELECTOR,
  S_STAR,
  S_SYSENTER_CS,
  S_SYSENTER_EIP,
  S_SYSENTER_ESP,
  SEG_CS,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from './generated/layout';
import { isCanonical } from './mmu';
import { cpl, is64, isLong, isReal, updateMode } from './modes';
import {
  CR4_FSGSBASE,
  FLAG_IF,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  RCX,
  RDX,
  RSP,
  gpr,
  operandSize,
  readFlags,
  readSlot,
  setGpr,
  writeSlot,
} from './registers';

const CODE64: u32 = 0xa09b;
const CODE32: u32 = 0xc09b;
const DATA: u32 = 0xc093;
const R11: usize = 11;

/** Loads a flat segment without a look at any table. */
@inline
function setFlat(seg: u32, selector: u32, attr: u32, level: u32): void {
  store<u32>(STATE + S_SEG_SELECTOR + seg * 4, selector & 0xffff);
  store<u32>(STATE + S_SEG_ATTR + seg * 4, attr | (level << 5));
  store<u32>(STATE + S_SEG_LIMIT + seg * 4, 0xffff_ffff);
  store<u64>(STATE + S_SEG_BASE + seg * 8, 0);
}

/** Flat CS and SS at a level. */
function setFlatPair(cs: u32, ss: u32, code: u32, level: u32): void {
  setFlat(SEG_CS, cs, code, level);
  setFlat(SEG_SS, ss, DATA, level);
  store<u32>(STATE + S_CPL, level);
}

function arrive(rip: u64): i32 {
  store<u64>(STATE + S_RIP, rip);
  return updateMode() ? NEXT_JUMP_ATTENTION : NEXT_JUMP;
}

export function x_syscall(rec: usize, ea: u64): i32 {
  // As Intel's processors: in 64-bit mode only.
  if (!is64() || !(load<u64>(STATE + S_EFER) & 1)) return ud();
  const flags = readFlags();
  setGpr(RCX, nextRip(rec));
  setGpr(R11, flags & ~FLAG_RF);
  const mask = <u32>load<u64>(STATE + S_FMASK);
  changeFlags(0, mask & ~2);
  store<u32>(STATE + S_EFLAGS, load<u32>(STATE + S_EFLAGS) & ~FLAG_RF);
  if (mask & FLAG_TF) store<u32>(STATE + S_DEBUG_FLAGS, load<u32>(STATE + S_DEBUG_FLAGS) & ~DEBUG_STEP);
  const cs = <u32>(load<u64>(STATE + S_STAR) >> 32) & 0xfffc;
  setFlatPair(cs, cs + 8, CODE64, 0);
  return arrive(load<u64>(STATE + S_LSTAR));
}

export function x_sysret(rec: usize, ea: u64): i32 {
  if (!is64() || !(load<u64>(STATE + S_EFER) & 1)) return ud();
  if (cpl() != 0) return gp0();
  const wide = operandSize(rec) == 2;
  let rip = gpr(RCX);
  if (wide) {
    if (!isCanonical(rip)) return gp0();
  } else rip &= 0xffff_ffff;
  const base = <u32>(load<u64>(STATE + S_STAR) >> 48);
  setFlatPair((base + (wide ? 16 : 0)) | 3, (base + 8) | 3, wide ? CODE64 : CODE32, 3);
  // RF and VM come out clear.
  changeFlags(<u32>gpr(R11) & ~(FLAG_RF | FLAG_VM), 0x3f_7fd5);
  return arrive(rip);
}

export function x_sysenter(rec: usize, ea: u64): i32 {
  const cs = <u32>load<u64>(STATE + S_SYSENTER_CS) & 0xfffc;
  if (isReal() || cs == 0) return gp0();
  changeFlags(0, FLAG_VM | FLAG_IF | FLAG_RF);
  const wide = isLong();
  setFlatPair(cs, cs + 8, wide ? CODE64 : CODE32, 0);
  const rsp = load<u64>(STATE + S_SYSENTER_ESP);
  const rip = load<u64>(STATE + S_SYSENTER_EIP);
  setGpr(RSP, wide ? rsp : rsp & 0xffff_ffff);
  return arrive(wide ? rip : rip & 0xffff_ffff);
}

export function x_sysexit(rec: usize, ea: u64): i32 {
  const cs = <u32>load<u64>(STATE + S_SYSENTER_CS) & 0xfffc;
  if (isReal() || cpl() != 0 || cs == 0) return gp0();
  const wide = operandSize(rec) == 2;
  const rsp = gpr(RCX);
  const rip = gpr(RDX);
  if (wide) {
    if (!isCanonical(rsp) || !isCanonical(rip)) return gp0();
    setFlatPair((cs + 32) | 3, (cs + 40) | 3, CODE64, 3);
    setGpr(RSP, rsp);
    return arrive(rip);
  }
  setFlatPair((cs + 16) | 3, (cs + 24) | 3, CODE32, 3);
  setGpr(RSP, rsp & 0xffff_ffff);
  return arrive(rip & 0xffff_ffff);
}

export function x_swapgs(rec: usize, ea: u64): i32 {
  if (!is64()) return ud();
  if (cpl() != 0) return gp0();
  const gs = STATE + S_SEG_BASE + SEG_GS * 8;
  const value = load<u64>(gs);
  store<u64>(gs, load<u64>(STATE + S_KERNEL_GS_BASE));
  store<u64>(STATE + S_KERNEL_GS_BASE, value);
  return NEXT_CONTINUE;
}

/** Whether RDFSBASE and its kin may run. */
@inline
function hasBases(): bool {
  return is64() && (load<u64>(STATE + S_CR4) & CR4_FSGSBASE) != 0;
}

function readBase(rec: usize, seg: u32): i32 {
  if (!hasBases()) return ud();
  writeSlot(rec + R_RM, operandSize(rec) == 2 ? 2 : 1, load<u64>(STATE + S_SEG_BASE + seg * 8));
  return NEXT_CONTINUE;
}

function writeBase(rec: usize, seg: u32): i32 {
  if (!hasBases()) return ud();
  const value = readSlot(rec + R_RM, operandSize(rec) == 2 ? 2 : 1);
  if (!isCanonical(value)) return gp0();
  store<u64>(STATE + S_SEG_BASE + seg * 8, value);
  return NEXT_CONTINUE;
}

export function x_rdfsbase(rec: usize, ea: u64): i32 {
  return readBase(rec, SEG_FS);
}
export function x_rdgsbase(rec: usize, ea: u64): i32 {
  return readBase(rec, SEG_GS);
}
export function x_wrfsbase(rec: usize, ea: u64): i32 {
  return writeBase(rec, SEG_FS);
}
export function x_wrgsbase(rec: usize, ea: u64): i32 {
  return writeBase(rec, SEG_GS);
}
