/**
 * The x87's registers and what all its instructions share: readiness, stack, exceptions, pointers. SDM vol. 1 chapter 8.
 * Between instructions the soft float's `flags` are 0; an instruction's own exceptions gather there.
 */
import * as C from '../../../ir/assembly/softfloat/context';
import * as X from '../../../ir/assembly/softfloat/extended';
import { ferr, STATE } from './env';
import { faulted, mf, nm } from './faults';
import {
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  R_MODRM,
  R_OFFSET,
  R_SEG,
  S_CODE_BASE,
  S_CR0,
  S_FCS,
  S_FCW,
  S_FDP,
  S_FDS,
  S_FIP,
  S_FOP,
  S_FP_TRAP,
  S_FPR,
  S_FSW,
  S_FTW,
  S_SEG_BASE,
  S_SEG_SELECTOR,
} from './generated/layout';
import { ld32, ld64 } from './mmu';

const CR0_NE: u32 = 1 << 5;

/** Status word: exceptions are bits 5:0. */
export const FSW_IE: u32 = 1;
export const FSW_SF: u32 = 1 << 6;
export const FSW_ES: u32 = 1 << 7;
export const FSW_C0: u32 = 1 << 8;
export const FSW_C1: u32 = 1 << 9;
export const FSW_C2: u32 = 1 << 10;
export const FSW_C3: u32 = 1 << 14;
export const FSW_B: u32 = 1 << 15;
const TOP_SHIFT: u32 = 11;
/** Exceptions that keep a register destination from being written when they are not masked. */
export const BEFORE: u32 = 7;
/** Exceptions that keep memory from being written. */
export const BEFORE_STORE: u32 = 0x1f;

@inline
export function fsw(): u32 {
  return load<u32>(STATE + S_FSW);
}
@inline
export function setFsw(v: u32): void {
  store<u32>(STATE + S_FSW, v);
}
@inline
export function fcw(): u32 {
  return load<u32>(STATE + S_FCW);
}

// ---- readiness ----

/** Whether a waiting instruction may run: no #NM due, no exception pending. */
@inline
export function ready(): bool {
  return ((load<u32>(STATE + S_FP_TRAP) & 1) | (fsw() & FSW_ES)) == 0 || readySlow();
}

function readySlow(): bool {
  if (load<u32>(STATE + S_FP_TRAP) & 1) {
    nm();
    return false;
  }
  return !errorPending();
}

/** The same for instructions that do not wait. */
@inline
export function readyNoWait(): bool {
  if (load<u32>(STATE + S_FP_TRAP) & 1) {
    nm();
    return false;
  }
  return true;
}

/**
 * What a waiting instruction does while an exception is pending. True: #MF is pending. With CR0.NE = 0 the pin has told the interrupt
 * controller already when the exception was found; the instruction goes on as if IGNNE# were asserted.
 */
export function errorPending(): bool {
  if ((fsw() & FSW_ES) == 0) return false;
  if (load<u32>(STATE + S_CR0) & CR0_NE) {
    mf();
    return true;
  }
  ferr(1);
  return false;
}

// ---- pointers ----

/** Notes opcode and address of a non-control instruction; `opcode` is the first byte, D8 … DF. */
@inline
export function note(rec: usize, opcode: u32): void {
  const s = STATE;
  store<u64>(s, load<u64>(s, S_CODE_BASE) + <u64>load<u16>(rec, R_OFFSET), S_FIP);
  store<u32>(s, load<u32>(s, S_SEG_SELECTOR + 4), S_FCS);
  store<u32>(s, ((opcode & 7) << 8) | load<u8>(rec, R_MODRM), S_FOP);
}

/** The same with a memory operand at linear address `ea`. */
@inline
export function noteMemory(rec: usize, opcode: u32, ea: u64): void {
  note(rec, opcode);
  const s = STATE;
  const segment = <usize>load<u8>(rec, R_SEG);
  store<u64>(s, ea - load<u64>(s + (segment << 3), S_SEG_BASE), S_FDP);
  store<u32>(s, load<u32>(s + (segment << 2), S_SEG_SELECTOR), S_FDS);
}

// ---- stack ----

@inline
export function top(): u32 {
  return (fsw() >> TOP_SHIFT) & 7;
}

/** Address of ST(i). */
@inline
export function st(i: u32): usize {
  return STATE + S_FPR + ((((fsw() >> TOP_SHIFT) + i) & 7) << 4);
}

@inline
export function sigOf(at: usize): u64 {
  return load<u64>(at);
}
@inline
export function seOf(at: usize): u32 {
  return <u32>load<u16>(at, 8);
}

@inline
export function isEmpty(i: u32): bool {
  return ((load<u32>(STATE + S_FTW) >> ((top() + i) & 7)) & 1) == 0;
}

@inline
export function put(at: usize, se: u32, sig: u64): void {
  store<u64>(at, sig);
  store<u64>(at, se, 8);
}

/** Puts the soft float's result into a register and marks it valid. */
@inline
export function setSt(i: u32, se: u32, sig: u64): void {
  const physical = (top() + i) & 7;
  put(STATE + S_FPR + (physical << 4), se, sig);
  store<u32>(STATE + S_FTW, load<u32>(STATE + S_FTW) | (1 << physical));
}

@inline
export function pop(): void {
  const f = fsw();
  const physical = (f >> TOP_SHIFT) & 7;
  store<u32>(STATE + S_FTW, load<u32>(STATE + S_FTW) & ~(1 << physical));
  setFsw((f & ~(7 << TOP_SHIFT)) | (((physical + 1) & 7) << TOP_SHIFT));
}

/** Moves TOP down and fills the new ST(0). */
@inline
export function push(se: u32, sig: u64): void {
  const f = fsw();
  setFsw((f & ~(7 << TOP_SHIFT)) | ((((f >> TOP_SHIFT) - 1) & 7) << TOP_SHIFT));
  setSt(0, se, sig);
}

@inline
export function moveTop(by: i32): void {
  const f = fsw();
  setFsw((f & ~((7 << TOP_SHIFT) | FSW_C1)) | (((((f >> TOP_SHIFT) & 7) + by) & 7) << TOP_SHIFT));
}

// ---- exceptions ----

/** Significand of the real indefinite, whose sign and exponent are 0xffff. */
export const INDEFINITE: u64 = 0xc000000000000000;
export const INDEFINITE_SE: u32 = 0xffff;

/** Sets the soft float's parameters as the control word says. */
export function prepare(): void {
  const c = fcw();
  C.setRounding((c >> 10) & 3);
  C.setSubnormals(false, false);
  C.setTraps((c & 16) == 0, (c & 8) == 0, 24576);
  C.setTinyBeforeRounding(false);
  C.setNanRule(C.NAN_LARGER, 1);
  C.setRoundedUp(false);
}

/** 64 less the precision that the control word asks for. */
@inline
export function precisionDrop(): i32 {
  const pc = (fcw() >> 8) & 3;
  return pc == 3 || pc == 1 ? 0 : pc == 2 ? 11 : 40;
}

/** An exception that is not masked has been entered: ES and B, and the pin where CR0.NE is 0. */
function report(): void {
  setFsw(fsw() | FSW_ES | FSW_B);
  if ((load<u32>(STATE + S_CR0) & CR0_NE) == 0) ferr(1);
}

/**
 * Enters the instruction's exceptions and C1 in the status word. False: one of `blocking` is not masked, and the destination stays
 * as it is.
 */
export function settle(blocking: u32): bool {
  let found: u32 = C.flags;
  let c1 = C.roundedUp ? FSW_C1 : 0;
  C.setFlags(0);
  const trapping = ~fcw() & 0x3f;
  if (found & trapping & BEFORE) {
    found &= BEFORE;
    c1 = 0;
  }
  setFsw((fsw() & ~FSW_C1) | found | c1);
  if ((found & trapping) == 0) return true;
  report();
  return (found & trapping & blocking) == 0;
}

/** Whether the exceptions found keep memory from being written; nothing is entered yet. */
export function blocksStore(): bool {
  if ((C.flags & ~fcw() & BEFORE_STORE) == 0) return false;
  // Nothing is stored, so nothing is inexact or rounded up.
  C.setFlags(C.flags & ~C.INEXACT);
  C.setRoundedUp(false);
  return true;
}

/** Forgets the instruction's exceptions: it faults. */
export function abandon(): void {
  C.setFlags(0);
}

/** A stack fault; C1 is 1 for an overflow. True: invalid operations are masked, the destination gets the real indefinite. */
export function stackFault(overflow: bool): bool {
  setFsw((fsw() & ~FSW_C1) | FSW_IE | FSW_SF | (overflow ? FSW_C1 : 0));
  if (fcw() & 1) return true;
  report();
  return false;
}

/** ST(i) was needed and is empty: it becomes the real indefinite, if exceptions are masked, and then `pops` happen. */
export function underflow(i: u32, pops: i32): i32 {
  if (stackFault(false)) {
    setSt(i, INDEFINITE_SE, INDEFINITE);
    if (pops > 0) pop();
    if (pops > 1) pop();
  }
  return done();
}

/** Pushes a value, or handles the overflow of the stack. C1 becomes 0. */
export function pushOrFault(se: u32, sig: u64): i32 {
  if (!isEmpty(7)) {
    if (stackFault(true)) push(INDEFINITE_SE, INDEFINITE);
    return done();
  }
  setFsw(fsw() & ~FSW_C1);
  push(se, sig);
  return NEXT_CONTINUE;
}

/** What an instruction returns that may have raised an exception: the pin may want attention. */
@inline
export function done(): i32 {
  return fsw() & FSW_ES && (load<u32>(STATE + S_CR0) & CR0_NE) == 0 ? NEXT_ATTENTION : NEXT_CONTINUE;
}

/** Drops the pin after ES has become 0. */
export function release(): void {
  if ((load<u32>(STATE + S_CR0) & CR0_NE) == 0) ferr(0);
}

// ---- memory operands: values go to X.se and X.sig; false: an exception is pending ----

/** A binary32 operand, exactly: DENORMAL may be raised; signalling NaNs stay so. */
export function loadSingle(ea: u64): bool {
  const v = ld32(ea);
  if (faulted()) return false;
  const e = (v >> 23) & 0xff;
  if (e - 1 < 0xfe) X.setResult(((v >> 16) & 0x8000) | (e + 16383 - 127), ((<u64>v) << 40) | 0x8000000000000000);
  else {
    C.setSubnormals(false, false);
    X.fromBinary(0, v);
  }
  return true;
}

/** A binary64 operand. */
export function loadDouble(ea: u64): bool {
  const v = ld64(ea);
  if (faulted()) return false;
  const e = <u32>(v >> 52) & 0x7ff;
  if (e - 1 < 0x7fe) X.setResult((<u32>(v >> 48) & 0x8000) | (e + 16383 - 1023), (v << 11) | 0x8000000000000000);
  else {
    C.setSubnormals(false, false);
    X.fromBinary(1, v);
  }
  return true;
}

/** An integer of 32 bits. */
export function loadInteger32(ea: u64): bool {
  const v = <i32>ld32(ea);
  if (faulted()) return false;
  X.fromInteger(v);
  return true;
}
