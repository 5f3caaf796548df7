/**
 * The stack in any mode, for the interpreter's "segmented" variants and for helpers; PUSHA, POPA, ENTER, LEAVE and the
 * segment registers' PUSH and POP.
 */
import { STATE } from './env';
import { BR, faulted, gp0, raise, ss0, ud } from './faults';
import { setShadow } from './flag-control';
import { frameCommit, framePeek, framePop, framePush, frameProbe, frameSkip, openCurrent } from './frames';
import {
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_IMM,
  R_IMM2,
  R_REG,
  S_GPR,
  S_SEG_SELECTOR,
  SEG_CS,
  SEG_FS,
  SEG_SS,
} from './generated/layout';
import { isCanonical, ld16, ld32, ld64, st16, st32, st64 } from './mmu';
import { is64, segAttr, segBase, segLimit, updateMode } from './modes';
import { RBP, RSP, gpr, operandSize, readSlot, setGpr, wordOperand, writeSlot } from './registers';
import { checkSegment, loadSegment } from './segments';

/** What of RSP a stack access uses: all in 64-bit mode, ESP or SP by SS.B elsewhere. */
@inline
export function stackMask(): u64 {
  return is64() ? ~(<u64>0) : segAttr(SEG_SS) & 0x4000 ? 0xffff_ffff : 0xffff;
}

/** Sets the part of RSP that the stack uses: SP leaves the rest, ESP clears the upper half. */
@inline
export function setStackPointer(value: u64, mask: u64): void {
  if (mask == 0xffff) store<u16>(STATE + S_GPR + RSP * 8, <u16>value);
  else setGpr(RSP, value & mask);
}

/** The linear address of `size` bytes at a stack offset, checked; ~0 with #SS pending. */
function stackAddress(offset: u64, size: u32, isWrite: bool): u64 {
  if (is64()) {
    if (isCanonical(offset) && isCanonical(offset + size - 1)) return offset;
    ss0();
    return ~(<u64>0);
  }
  if (!checkSegment(SEG_SS, offset, size, isWrite)) return ~(<u64>0);
  return (segBase(SEG_SS) + offset) & 0xffff_ffff;
}

/** Pushes `size` 2, 4 or 8 bytes: 0, or NEXT_FAULT with an exception pending. */
export function push_seg(value: u64, size: i32): i32 {
  const mask = stackMask();
  const offset = (gpr(RSP) - size) & mask;
  const lin = stackAddress(offset, size, true);
  if (lin == ~(<u64>0)) return NEXT_FAULT;
  const done = size == 4 ? st32(lin, <u32>value) : size == 2 ? st16(lin, <u32>value) : st64(lin, value);
  if (!done) return NEXT_FAULT;
  setStackPointer(offset, mask);
  return NEXT_CONTINUE;
}

/** Pops `size` bytes; look at EXC_VECTOR afterwards, RSP is unchanged when an exception is pending. */
export function pop_seg(size: i32): u64 {
  const mask = stackMask();
  const offset = gpr(RSP) & mask;
  const lin = stackAddress(offset, size, false);
  if (lin == ~(<u64>0)) return 0;
  const value: u64 = size == 4 ? <u64>ld32(lin) : size == 2 ? <u64>ld16(lin) : ld64(lin);
  if (faulted()) return 0;
  setStackPointer(offset + size, mask);
  return value;
}

/** Checks the target of a near branch against the limit of CS, or for canonical form: 0, or NEXT_FAULT with #GP(0) pending. */
export function check_target(rip: u64): i32 {
  if (is64() ? isCanonical(rip) : rip <= <u64>segLimit(SEG_CS)) return NEXT_CONTINUE;
  return gp0();
}

/** Frees bytes of the stack: RET n. */
export function release_stack(count: i32): void {
  const mask = stackMask();
  setStackPointer(gpr(RSP) + count, mask);
}

/** PUSHA. */
export function x_pusha(rec: usize, ea: u64): i32 {
  const size: u32 = operandSize(rec) ? 4 : 2;
  openCurrent();
  for (let n: usize = 0; n < 8; n++) if (!framePush(gpr(n), size)) return NEXT_FAULT;
  frameCommit();
  return NEXT_CONTINUE;
}

/** POPA. The value of SP is skipped. */
export function x_popa(rec: usize, ea: u64): i32 {
  const size: u32 = operandSize(rec) ? 4 : 2;
  openCurrent();
  // All are read before any is written.
  for (let n: u32 = 0; n < 8; n++) {
    framePeek(n * size, size);
    if (faulted()) return NEXT_FAULT;
  }
  for (let n: usize = 7; n < 8; n--) {
    const value = framePop(size);
    if (n == RSP) continue;
    if (size == 4) setGpr(n, value);
    else store<u16>(STATE + S_GPR + n * 8, <u16>value);
  }
  frameCommit();
  return NEXT_CONTINUE;
}

/** PUSH of a segment register. REG is its number. 32 bits: the upper half of the slot stays as it is, as with recent processors. */
export function x_push_sreg(rec: usize, ea: u64): i32 {
  const size = 2 << operandSize(rec);
  const selector: u64 = load<u32>(STATE + S_SEG_SELECTOR + <usize>load<u8>(rec + R_REG) * 4);
  if (size != 4) return push_seg(selector, size);
  const mask = stackMask();
  const offset = (gpr(RSP) - 4) & mask;
  const lin = stackAddress(offset, 4, true);
  if (lin == ~(<u64>0) || !st16(lin, <u32>selector)) return NEXT_FAULT;
  setStackPointer(offset, mask);
  return NEXT_CONTINUE;
}

/** What a load of a segment register asks for next. */
@inline
function afterLoad(rec: usize, seg: u32): i32 {
  // Nothing follows from FS and GS.
  if (seg >= SEG_FS) return NEXT_CONTINUE;
  if (seg == SEG_SS) setShadow(rec, 2);
  return updateMode() ? NEXT_ATTENTION : NEXT_CONTINUE;
}

/** POP of a segment register. */
export function x_pop_sreg(rec: usize, ea: u64): i32 {
  const seg: u32 = load<u8>(rec + R_REG);
  openCurrent();
  const size: u32 = 2 << operandSize(rec);
  // Only the selector is read, but all of the slot is freed.
  const selector = framePeek(0, 2);
  if (faulted()) return NEXT_FAULT;
  frameSkip(size);
  // A new SS would change how RSP is written: commit first, take it back when the load fails.
  const before = gpr(RSP);
  frameCommit();
  if (!loadSegment(seg, <u32>selector)) {
    setGpr(RSP, before);
    return NEXT_FAULT;
  }
  return afterLoad(rec, seg);
}

/** MOV to a segment register: REG its number; the selector comes from register RM or memory. */
export function x_mov_to_sreg(rec: usize, ea: u64): i32 {
  const seg: u32 = load<u8>(rec + R_REG);
  if (seg == SEG_CS || seg > 5) return ud();
  const selector = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  if (!loadSegment(seg, selector)) return NEXT_FAULT;
  return afterLoad(rec, seg);
}

/** LES, LDS, LSS, LFS, LGS: offset and selector from memory. */
function loadFar(rec: usize, ea: u64, seg: u32): i32 {
  const size = operandSize(rec);
  const offset: u64 = size == 2 ? ld64(ea) : size == 1 ? <u64>ld32(ea) : <u64>ld16(ea);
  if (faulted()) return NEXT_FAULT;
  const selector = ld16(ea + (2 << size));
  if (faulted()) return NEXT_FAULT;
  if (!loadSegment(seg, selector)) return NEXT_FAULT;
  writeSlot(rec + R_REG, size, offset);
  // Unlike MOV and POP, LSS has no shadow: it loads ESP too.
  return updateMode() ? NEXT_ATTENTION : NEXT_CONTINUE;
}

export function x_les(rec: usize, ea: u64): i32 {
  return loadFar(rec, ea, 0);
}
export function x_lss(rec: usize, ea: u64): i32 {
  return loadFar(rec, ea, SEG_SS);
}
export function x_lds(rec: usize, ea: u64): i32 {
  return loadFar(rec, ea, 3);
}
export function x_lfs(rec: usize, ea: u64): i32 {
  return loadFar(rec, ea, 4);
}
export function x_lgs(rec: usize, ea: u64): i32 {
  return loadFar(rec, ea, 5);
}

/** ENTER: SDM vol. 2; the nesting level is in IMM2. */
export function x_enter(rec: usize, ea: u64): i32 {
  const osz = operandSize(rec);
  const size: u32 = 2 << osz;
  const level: u32 = load<u8>(rec + R_IMM2) & 31;
  const mask = stackMask();
  openCurrent();
  if (!framePush(gpr(RBP), size)) return NEXT_FAULT;
  // A 16-bit stack has only SP, but EBP takes all of ESP.
  const frame = (gpr(RSP) & ~mask) | ((gpr(RSP) - size) & mask);
  if (level) {
    for (let n: u32 = 1; n < level; n++) {
      const at = (gpr(RBP) - n * size) & mask;
      const lin = stackAddress(at, size, false);
      if (lin == ~(<u64>0)) return NEXT_FAULT;
      const value: u64 = size == 8 ? ld64(lin) : size == 4 ? <u64>ld32(lin) : <u64>ld16(lin);
      if (faulted() || !framePush(value, size)) return NEXT_FAULT;
    }
    if (!framePush(frame, size)) return NEXT_FAULT;
  }
  frameSkip(0 - (load<u64>(rec + R_IMM) & 0xffff));
  // The new top must be writable: the check is part of the instruction.
  if (!frameProbe(size)) return NEXT_FAULT;
  frameCommit();
  if (size == 2) store<u16>(STATE + S_GPR + RBP * 8, <u16>frame);
  else setGpr(RBP, size == 4 ? frame & 0xffff_ffff : frame);
  return NEXT_CONTINUE;
}

/** LEAVE. */
export function x_leave(rec: usize, ea: u64): i32 {
  const osz = operandSize(rec);
  const size: u32 = 2 << osz;
  const mask = stackMask();
  const offset = gpr(RBP) & mask;
  const lin = stackAddress(offset, size, false);
  if (lin == ~(<u64>0)) return NEXT_FAULT;
  const value: u64 = size == 8 ? ld64(lin) : size == 4 ? <u64>ld32(lin) : <u64>ld16(lin);
  if (faulted()) return NEXT_FAULT;
  setStackPointer(offset + size, mask);
  if (size == 2) store<u16>(STATE + S_GPR + RBP * 8, <u16>value);
  else setGpr(RBP, value);
  return NEXT_CONTINUE;
}

/** BOUND: #BR unless the signed index is within the two bounds in memory. */
export function x_bound(rec: usize, ea: u64): i32 {
  const size = operandSize(rec);
  let low: i32;
  let high: i32;
  if (size) {
    low = <i32>ld32(ea);
    if (faulted()) return NEXT_FAULT;
    high = <i32>ld32(ea + 4);
  } else {
    low = <i32>(<i16>ld16(ea));
    if (faulted()) return NEXT_FAULT;
    high = <i32>(<i16>ld16(ea + 2));
  }
  if (faulted()) return NEXT_FAULT;
  const index = size ? <i32>readSlot(rec + R_REG, 1) : <i32>(<i16>readSlot(rec + R_REG, 0));
  return index < low || index > high ? raise(BR) : NEXT_CONTINUE;
}
