/** Far jumps, calls and returns: SDM vol. 2, JMP, CALL, RET; vol. 3 §5.8. */
import { STATE } from './env';
import { GP, NP, SS, faulted, gp0 } from './faults';
import { nextRip } from './flag-control';
import {
  checkStackSegment,
  frameCommit,
  framePeek,
  framePop,
  framePush,
  frameSkip,
  newSp,
  newSs,
  openCurrent,
  openNew,
  openWide,
  tssStack,
  tssStack64,
} from './frames';
import {
  NEXT_FAULT,
  NEXT_JUMP,
  NEXT_JUMP_ATTENTION,
  R_IMM,
  SEG_CS,
  SEG_SS,
  S_GATE_PARAMETERS,
  S_GPR,
  S_RIP,
  S_SEG_SELECTOR,
} from './generated/layout';
import { isCanonical, ld16, ld32, ld64 } from './mmu';
import { cpl, isLong, isRealStyle, segAttr, segLimit, setCpl, updateMode } from './modes';
import { RSP, gpr, operandSize, readFlags } from './registers';
import {
  descDpl,
  descHigh,
  descIsCode,
  descIsConforming,
  descIsUser,
  descIsWritable,
  descLimit,
  descLow,
  descPresent,
  descType,
  descUpper,
  dropPrivilegedSegments,
  fetchDescriptor,
  fetchUpper,
  holdDescriptor,
  markAccessed,
  raiseSelector,
  setCs,
  setNull,
  setParagraph,
  setSegment,
  swapHeld,
  takeHeld,
} from './segments';
import { TASK_CALL, TASK_JMP, switchTask } from './task';
import { afterTaskSwitch } from './interrupt-instructions';

@inline
function fail(vector: i32, selector: u32): bool {
  raiseSelector(vector, selector);
  return false;
}

/** Goes on at `rip` in the CS that has been loaded. */
function arrive(rip: u64): i32 {
  store<u64>(STATE + S_RIP, rip);
  return updateMode() ? NEXT_JUMP_ATTENTION : NEXT_JUMP;
}

/** Real and V86 mode: CS is a paragraph, and only the limit is looked at. */
function jumpParagraph(selector: u32, offset: u64): i32 {
  setParagraph(SEG_CS, selector);
  return arrive(offset);
}

/** Whether the code segment that was read can be the target of a far jump or call without a gate. */
function checkDirect(selector: u32): bool {
  if (descIsConforming() ? descDpl() > cpl() : (selector & 3) > cpl() || descDpl() != cpl()) return fail(GP, selector);
  if (isLong() && (descHigh & 0x60_0000) == 0x60_0000) return fail(GP, selector);
  return descPresent() || fail(NP, selector);
}

/** Whether `rip` lies within the code segment that was read. */
@inline
function isEntry(rip: u64): bool {
  return isLong() && descHigh & 0x20_0000 ? isCanonical(rip) : rip <= <u64>descLimit();
}

/** The same, with #GP(0) if not. */
export function checkEntry(rip: u64): bool {
  const good = isEntry(rip);
  if (!good) gp0();
  return good;
}

/** Reads the descriptor of the code segment that a call gate names, and checks it. */
function gateTarget(selector: u32): bool {
  if (!(selector & 0xfffc)) {
    gp0();
    return false;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  if (!descIsCode() || descDpl() > cpl()) return fail(GP, selector);
  // In long mode, gates lead into 64-bit code only.
  if (isLong() && (descHigh & 0x60_0000) != 0x20_0000) return fail(GP, selector);
  return descPresent() || fail(NP, selector);
}

/** What a call gate holds. */
let gateSelector: u32 = 0;
let gateOffset: u64 = 0;
let gateCount: u32 = 0;
let gateSize: u32 = 0;

/** Looks at the system descriptor that was read: 1 call gate, 2 task gate, 3 TSS, 0 with an exception pending. */
function classify(selector: u32): i32 {
  const type = descType();
  const isGate = type == 12 || (!isLong() && (type == 4 || type == 5));
  const isTss = !isLong() && (type == 1 || type == 9);
  if (!isGate && !isTss) {
    raiseSelector(GP, selector);
    return 0;
  }
  if (descDpl() < cpl() || descDpl() < (selector & 3)) {
    raiseSelector(GP, selector);
    return 0;
  }
  if (isLong() && !fetchUpper(selector, GP)) return 0;
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return 0;
  }
  if (isTss) return 3;
  gateSelector = descLow >> 16;
  if (type == 5) return 2;
  gateSize = isLong() ? 8 : type == 12 ? 4 : 2;
  gateOffset = descLow & 0xffff;
  if (type == 12) gateOffset |= descHigh & 0xffff_0000;
  if (isLong()) gateOffset |= (<u64>descUpper) << 32;
  gateCount = descHigh & 31;
  return 1;
}

/** A far jump. `offset` is cut to the operand size; `next` is RIP of the instruction behind. */
function farJump(selector: u32, offset: u64, next: u64): i32 {
  if (isRealStyle()) {
    if (offset > <u64>segLimit(SEG_CS)) return gp0();
    return jumpParagraph(selector, offset);
  }
  if (!(selector & 0xfffc)) return gp0();
  if (!fetchDescriptor(selector, GP)) return NEXT_FAULT;
  if (descIsCode()) {
    if (!checkDirect(selector) || !checkEntry(offset) || !markAccessed()) return NEXT_FAULT;
    setCs(selector, cpl());
    return arrive(offset);
  }
  if (descIsUser()) return raiseSelector(GP, selector);
  switch (classify(selector)) {
    case 1: {
      if (!gateTarget(gateSelector)) return NEXT_FAULT;
      // A jump does not change the privilege.
      if (!descIsConforming() && descDpl() != cpl()) return raiseSelector(GP, gateSelector);
      if (!checkEntry(gateOffset) || !markAccessed()) return NEXT_FAULT;
      setCs(gateSelector, cpl());
      return arrive(gateOffset);
    }
    case 2:
      selector = gateSelector;
    case 3:
      return taskTransfer(selector, TASK_JMP, next);
    default:
      return NEXT_FAULT;
  }
}

function taskTransfer(selector: u32, source: i32, next: u64): i32 {
  store<u64>(STATE + S_RIP, next);
  return afterTaskSwitch(switchTask(selector, source, readFlags(), -1));
}

@inline
function csSelector(): u32 {
  return load<u32>(STATE + S_SEG_SELECTOR + SEG_CS * 4);
}

/** A far call: `size` bytes for each of CS and RIP. */
function farCall(selector: u32, offset: u64, size: u32, next: u64): i32 {
  if (isRealStyle()) {
    openCurrent();
    if (!framePush(csSelector(), size) || !framePush(next, size)) return NEXT_FAULT;
    if (offset > <u64>segLimit(SEG_CS)) return gp0();
    frameCommit();
    return jumpParagraph(selector, offset);
  }
  if (!(selector & 0xfffc)) return gp0();
  if (!fetchDescriptor(selector, GP)) return NEXT_FAULT;
  if (descIsCode()) {
    if (!checkDirect(selector)) return NEXT_FAULT;
    openCurrent();
    if (!framePush(csSelector(), size) || !framePush(next, size)) return NEXT_FAULT;
    if (!checkEntry(offset) || !markAccessed()) return NEXT_FAULT;
    frameCommit();
    setCs(selector, cpl());
    return arrive(offset);
  }
  if (descIsUser()) return raiseSelector(GP, selector);
  switch (classify(selector)) {
    case 1:
      if (!gateTarget(gateSelector)) return NEXT_FAULT;
      return !descIsConforming() && descDpl() < cpl() ? callInner(next) : callSame(next);
    case 2:
      selector = gateSelector;
    case 3:
      return taskTransfer(selector, TASK_CALL, next);
    default:
      return NEXT_FAULT;
  }
}

/** Through a call gate without a change of privilege. */
function callSame(next: u64): i32 {
  openCurrent();
  if (gateSize == 8) openWide(gpr(RSP), cpl());
  if (!framePush(csSelector(), gateSize) || !framePush(next, gateSize)) return NEXT_FAULT;
  if (!checkEntry(gateOffset) || !markAccessed()) return NEXT_FAULT;
  frameCommit();
  setCs(gateSelector, cpl());
  return arrive(gateOffset);
}

/** Parameters on their way from the old stack to the new. */
const parameters: usize = STATE + S_GATE_PARAMETERS;

/** Through a call gate to a more privileged level. */
function callInner(next: u64): i32 {
  const level = descDpl();
  const ss: u64 = load<u32>(STATE + S_SEG_SELECTOR + SEG_SS * 4);
  const sp = gpr(RSP);
  const size = gateSize;
  if (isLong()) {
    if (!tssStack64(level)) return NEXT_FAULT;
    openWide(newSp, level);
    if (!framePush(ss, 8) || !framePush(sp, 8) || !framePush(csSelector(), 8) || !framePush(next, 8)) return NEXT_FAULT;
    if (!checkEntry(gateOffset) || !markAccessed()) return NEXT_FAULT;
    frameCommit();
    setCs(gateSelector, level);
    setNull(SEG_SS, level);
    setCpl(level);
    return arrive(gateOffset);
  }
  const isValid = isEntry(gateOffset);
  holdDescriptor();
  openCurrent();
  for (let n: u32 = 0; n < gateCount; n++) {
    store<u32>(parameters + n * 4, <u32>framePeek(n * size, size));
    if (faulted()) return NEXT_FAULT;
  }
  if (!tssStack(level) || !checkStackSegment(newSs, level)) return NEXT_FAULT;
  openNew(newSs, newSp, level);
  if (!framePush(ss, size) || !framePush(sp, size)) return NEXT_FAULT;
  for (let n = gateCount; n > 0; n--) if (!framePush(load<u32>(parameters + (n - 1) * 4), size)) return NEXT_FAULT;
  if (!framePush(csSelector(), size) || !framePush(next, size)) return NEXT_FAULT;
  if (!isValid) return gp0();
  // Current is the stack's descriptor, held the code's: nothing may change before both are marked.
  if (!markAccessed()) return NEXT_FAULT;
  swapHeld();
  if (!markAccessed()) return NEXT_FAULT;
  swapHeld();
  setSegment(SEG_SS, newSs);
  setCpl(level);
  takeHeld();
  setCs(gateSelector, level);
  frameCommit();
  return arrive(gateOffset);
}

export function x_jmp_far_ptr(rec: usize, ea: u64): i32 {
  return farJump(pointerSelector(rec), pointerOffset(rec), nextRip(rec));
}
export function x_call_far_ptr(rec: usize, ea: u64): i32 {
  return farCall(pointerSelector(rec), pointerOffset(rec), 2 << operandSize(rec), nextRip(rec));
}

/** A far pointer immediate: the offset in the low half of IMM, the selector above. */
@inline
function pointerSelector(rec: usize): u32 {
  return <u32>(load<u64>(rec + R_IMM) >> 32) & 0xffff;
}
@inline
function pointerOffset(rec: usize): u64 {
  return load<u64>(rec + R_IMM) & (operandSize(rec) ? 0xffff_ffff : 0xffff);
}

/** The offset of a far pointer in memory; faulted() tells. */
function loadOffset(rec: usize, ea: u64): u64 {
  const size = operandSize(rec);
  return size == 2 ? ld64(ea) : size == 1 ? <u64>ld32(ea) : <u64>ld16(ea);
}

export function x_jmp_far_mem(rec: usize, ea: u64): i32 {
  const offset = loadOffset(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const selector = ld16(ea + (2 << operandSize(rec)));
  return faulted() ? NEXT_FAULT : farJump(selector, offset, nextRip(rec));
}
export function x_call_far_mem(rec: usize, ea: u64): i32 {
  const offset = loadOffset(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const selector = ld16(ea + (2 << operandSize(rec)));
  return faulted() ? NEXT_FAULT : farCall(selector, offset, 2 << operandSize(rec), nextRip(rec));
}

/** Checks the code segment that a return goes to; its descriptor is then the current one. */
export function checkReturn(selector: u32): bool {
  if (!(selector & 0xfffc)) {
    gp0();
    return false;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  const rpl = selector & 3;
  if (!descIsCode() || rpl < cpl()) return fail(GP, selector);
  if (descIsConforming() ? descDpl() > rpl : descDpl() != rpl) return fail(GP, selector);
  if (isLong() && (descHigh & 0x60_0000) == 0x60_0000) return fail(GP, selector);
  return descPresent() || fail(NP, selector);
}

/** Whether a stack selector that was popped is a null one that 64-bit code below ring 3 may have. */
let returnNull: bool = false;

/**
 * Checks the stack segment that a return goes to, and marks it accessed; code's descriptor is held meanwhile. When it is not
 * null, its descriptor is the current one afterwards.
 */
export function checkReturnStack(ss: u32, level: u32, to64: bool): bool {
  returnNull = !(ss & 0xfffc);
  if (returnNull) {
    if (to64 && level != 3 && (ss & 3) == level) return true;
    gp0();
    return false;
  }
  if (!fetchDescriptor(ss, GP)) return false;
  if ((ss & 3) != level || !descIsWritable() || descDpl() != level) return fail(GP, ss);
  return (descPresent() || fail(SS, ss)) && markAccessed();
}

/** Loads the SS that checkReturnStack has passed. */
export function setReturnStack(ss: u32, level: u32): void {
  if (returnNull) setNull(SEG_SS, ss);
  else setSegment(SEG_SS, ss);
  setCpl(level);
}

/** RSP on a return to another stack: a 16-bit one leaves the upper part of ESP as it is. */
export function setReturnPointer(sp: u64, to64: bool): void {
  const at = STATE + S_GPR + RSP * 8;
  if (to64) store<u64>(at, sp);
  else if (segAttr(SEG_SS) & 0x4000) store<u64>(at, sp & 0xffff_ffff);
  else store<u16>(at, <u16>sp);
}

function farReturn(rec: usize, count: u64): i32 {
  const size: u32 = 2 << operandSize(rec);
  openCurrent();
  const rip = framePop(size);
  if (faulted()) return NEXT_FAULT;
  const selector = <u32>framePop(size) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  if (isRealStyle()) {
    if (rip > <u64>segLimit(SEG_CS)) return gp0();
    frameSkip(count);
    frameCommit();
    return jumpParagraph(selector, rip);
  }
  if (!checkReturn(selector)) return NEXT_FAULT;
  const level = selector & 3;
  const to64 = isLong() && (descHigh & 0x20_0000) != 0;
  if (level == cpl()) {
    if (!checkEntry(rip) || !markAccessed()) return NEXT_FAULT;
    frameSkip(count);
    frameCommit();
    setCs(selector, level);
    return arrive(rip);
  }
  frameSkip(count);
  const sp = framePop(size);
  if (faulted()) return NEXT_FAULT;
  const ss = <u32>framePop(size) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  if (!checkEntry(rip) || !markAccessed()) return NEXT_FAULT;
  holdDescriptor();
  if (!checkReturnStack(ss, level, to64)) return NEXT_FAULT;
  setReturnStack(ss, level);
  takeHeld();
  setCs(selector, level);
  setReturnPointer(sp + count, to64);
  dropPrivilegedSegments();
  return arrive(rip);
}

export function x_ret_far(rec: usize, ea: u64): i32 {
  return farReturn(rec, 0);
}
export function x_ret_far_imm(rec: usize, ea: u64): i32 {
  return farReturn(rec, load<u64>(rec + R_IMM) & 0xffff);
}
