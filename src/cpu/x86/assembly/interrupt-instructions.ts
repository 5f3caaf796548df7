/** INT n, INT3, INTO, INT1 and IRET: SDM vol. 2. */

import { takePending } from './debug';
import { EVENT_FAULT, EVENT_SOFTWARE, EVENT_SOFTWARE_TRAP, EVENT_TRAP, deliver, deliverAll } from './deliver';
import { STATE } from './env';
import { BP, DB, OF, faulted, gp0, ud } from './faults';
import { checkEntry, checkReturn, checkReturnStack, setReturnPointer, setReturnStack } from './far';
import { changeFlags, iopl, loadResumeFlag, nextRip } from './flag-control';
import { frameCommit, framePop, openCurrent } from './frames';
import {
  ATTN_NMI,
  NEXT_CONTINUE,
  NEXT_FAULT,
  NEXT_JUMP,
  NEXT_JUMP_ATTENTION,
  R_IMM,
  S_CR4,
  S_EFLAGS,
  S_EXC_ERROR,
  S_EXC_VECTOR,
  S_NMI_MASKED,
  S_RIP,
  S_TR_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
  TLB_READ,
} from './generated/layout';
import { sysLd16 } from './mmu';
import { cpl, is64, isLong, isReal, isV86, releaseEvents, segLimit, setCpl, updateMode } from './modes';
import {
  CR4_VME,
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_DF,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  RSP,
  arithmeticFlags,
  gpr,
  operandSize,
  readFlags,
} from './registers';
import {
  descHigh,
  dropPrivilegedSegments,
  holdDescriptor,
  markAccessed,
  setCs,
  setParagraph,
  takeHeld,
} from './segments';
import { TASK_IRET, switchTask, taskCommitted } from './task';
import { probeAs } from './tlb';

/** What a task switch that an instruction asked for leads to: an exception of the new task is delivered there. */
export function afterTaskSwitch(done: bool): i32 {
  if (done) return NEXT_JUMP_ATTENTION;
  if (!taskCommitted) return NEXT_FAULT;
  const vector = load<i32>(STATE + S_EXC_VECTOR);
  deliverAll(vector, EVENT_FAULT, load<i32>(STATE + S_EXC_ERROR), load<u64>(STATE + S_RIP));
  return NEXT_JUMP_ATTENTION;
}

/** Delivers a software interrupt with RIP behind the instruction; its faults are the instruction's. */
function software(vector: i32, kind: i32, rec: usize): i32 {
  return afterTaskSwitch(deliver(vector, kind, -1, nextRip(rec)));
}

export function x_int(rec: usize, ea: u64): i32 {
  return software(<i32>load<u8>(rec + R_IMM), EVENT_SOFTWARE, rec);
}
export function x_int3(rec: usize, ea: u64): i32 {
  return software(BP, EVENT_SOFTWARE_TRAP, rec);
}
export function x_into(rec: usize, ea: u64): i32 {
  return arithmeticFlags() & (1 << 11) ? software(OF, EVENT_SOFTWARE_TRAP, rec) : NEXT_CONTINUE;
}
/**
 * INT1: a debug trap without a check of the gate's DPL, which leaves DR6 alone. Breakpoints that MOV SS met and that wait behind
 * this instruction are told with it: one exception is delivered.
 */
export function x_int1(rec: usize, ea: u64): i32 {
  const next = software(DB, EVENT_TRAP, rec);
  if (next != NEXT_FAULT) takePending();
  return next;
}

/** Flags that every IRET loads. */
const IRET_ALWAYS: u32 = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;

/** After an IRET at which nothing can fault any more: NMIs may come again. */
function finish(rip: u64): i32 {
  store<u64>(STATE + S_RIP, rip);
  if (load<u32>(STATE + S_NMI_MASKED)) {
    store<u32>(STATE + S_NMI_MASKED, 0);
    releaseEvents(ATTN_NMI);
  }
  // RIP is set and ATTN is polled at this jump; only a change of decoding needs more.
  return updateMode() ? NEXT_JUMP_ATTENTION : NEXT_JUMP;
}

/** In real mode, and in V86 mode with IOPL 3 or VME. */
function returnParagraph(size: u32, virtual: bool): i32 {
  openCurrent();
  const rip = framePop(size);
  if (faulted()) return NEXT_FAULT;
  const selector = <u32>framePop(size) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  let image = <u32>framePop(size);
  if (faulted()) return NEXT_FAULT;
  if (rip > <u64>segLimit(SEG_CS)) return gp0();
  let mask = IRET_ALWAYS;
  if (size == 4) mask |= FLAG_AC | FLAG_ID;
  if (virtual) {
    if (image & FLAG_TF || (image & FLAG_IF && load<u32>(STATE + S_EFLAGS) & FLAG_VIP)) return gp0();
    image = (image & ~FLAG_VIF) | (image & FLAG_IF ? FLAG_VIF : 0);
    mask |= FLAG_VIF;
  } else {
    mask |= FLAG_IF;
    if (isReal()) mask |= FLAG_IOPL;
  }
  frameCommit();
  setParagraph(SEG_CS, selector);
  changeFlags(image, mask);
  if (size == 4) loadResumeFlag(image);
  return finish(rip);
}

/** From ring 0 into V86 mode; EFLAGS has been popped. */
function returnToV86(rip: u64, selector: u32, image: u32): i32 {
  const sp = framePop(4);
  if (faulted()) return NEXT_FAULT;
  const ss = <u32>framePop(4) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  const es = <u32>framePop(4) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  const ds = <u32>framePop(4) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  const fs = <u32>framePop(4) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  const gs = <u32>framePop(4) & 0xffff;
  if (faulted()) return NEXT_FAULT;
  if (rip > 0xffff) return gp0();
  changeFlags(image, IRET_ALWAYS | FLAG_AC | FLAG_ID | FLAG_IF | FLAG_IOPL | FLAG_VIF | FLAG_VIP | FLAG_VM);
  loadResumeFlag(image);
  setParagraph(SEG_CS, selector);
  setParagraph(SEG_SS, ss);
  setParagraph(SEG_ES, es);
  setParagraph(SEG_DS, ds);
  setParagraph(SEG_FS, fs);
  setParagraph(SEG_GS, gs);
  setCpl(3);
  setReturnPointer(sp & 0xffff_ffff, true);
  return finish(rip);
}

export function x_iret(rec: usize, ea: u64): i32 {
  const size: u32 = 2 << operandSize(rec);
  if (isReal()) return returnParagraph(size, false);
  if (isV86()) {
    if (iopl() == 3) return returnParagraph(size, false);
    if (size == 2 && load<u64>(STATE + S_CR4) & CR4_VME) return returnParagraph(size, true);
    return gp0();
  }
  const before = load<u32>(STATE + S_EFLAGS);
  if (before & FLAG_NT) {
    if (isLong()) return gp0();
    const link = sysLd16(load<u64>(STATE + S_TR_BASE));
    if (faulted()) return NEXT_FAULT;
    store<u64>(STATE + S_RIP, nextRip(rec));
    return afterTaskSwitch(switchTask(link, TASK_IRET, readFlags(), -1));
  }
  const from64 = is64();
  // All five words at once where they are at hand.
  const frame: usize = from64 && size == 8 && cpl() != 3 ? probeAs(TLB_READ, gpr(RSP), 40, false) : 0;
  let rip: u64;
  let selector: u32;
  let image: u32;
  if (frame) {
    rip = load<u64>(frame);
    selector = <u32>load<u16>(frame, 8);
    image = load<u32>(frame, 16);
  } else {
    openCurrent();
    rip = framePop(size);
    if (faulted()) return NEXT_FAULT;
    selector = <u32>framePop(size) & 0xffff;
    if (faulted()) return NEXT_FAULT;
    image = <u32>framePop(size);
    if (faulted()) return NEXT_FAULT;
  }
  if (image & FLAG_VM && size == 4 && cpl() == 0 && !isLong()) return returnToV86(rip, selector, image);
  if (!checkReturn(selector)) return NEXT_FAULT;
  const level = selector & 3;
  const to64 = isLong() && (descHigh & 0x20_0000) != 0;
  const outer = level != cpl();

  let mask = IRET_ALWAYS;
  if (size != 2) mask |= FLAG_AC | FLAG_ID;
  if (cpl() <= iopl()) mask |= FLAG_IF;
  if (cpl() == 0) mask |= FLAG_IOPL | (size != 2 ? FLAG_VIF | FLAG_VIP : 0);

  if (!outer && !from64) {
    if (!checkEntry(rip) || !markAccessed()) return NEXT_FAULT;
    frameCommit();
    setCs(selector, level);
  } else {
    let sp: u64;
    let ss: u32;
    if (frame) {
      sp = load<u64>(frame, 24);
      ss = <u32>load<u16>(frame, 32);
    } else {
      sp = framePop(size);
      if (faulted()) return NEXT_FAULT;
      ss = <u32>framePop(size) & 0xffff;
      if (faulted()) return NEXT_FAULT;
    }
    if (!checkEntry(rip) || !markAccessed()) return NEXT_FAULT;
    holdDescriptor();
    if (!checkReturnStack(ss, level, to64)) return NEXT_FAULT;
    setReturnStack(ss, level);
    takeHeld();
    setCs(selector, level);
    setReturnPointer(sp, to64);
    if (outer) dropPrivilegedSegments();
  }
  changeFlags(image, mask);
  if (size != 2) loadResumeFlag(image);
  return finish(rip);
}

/** UD0, UD1, UD2. */
export function x_ud(rec: usize, ea: u64): i32 {
  return ud();
}
