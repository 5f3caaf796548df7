/** Delivery of exceptions and interrupts: SDM vol. 3 chapter 6, vol. 2 INT n, and §20.1.4, §20.3 for real and V86 mode. */
import { DEBUG_STEP } from './debug';
import { STATE, host_event } from './env';
import { BP, DB, DF, GP, NP, PF, TS, clearFault, faulted, raiseCode } from './faults';
import {
  checkStackSegment,
  frameCommit,
  framePush,
  newSp,
  newSs,
  openCurrent,
  openNew,
  openWide,
  tssStack,
  tssStack64,
} from './frames';
import {
  NEXT_JUMP_ATTENTION,
  S_ACTIVITY,
  S_CR2,
  S_CR4,
  S_DEBUG_FLAGS,
  S_EFLAGS,
  S_EXC_ADDR,
  S_EXC_ERROR,
  S_EXC_VECTOR,
  S_IDTR_BASE,
  S_IDTR_LIMIT,
  S_RETIRED,
  S_RIP,
  S_SEG_SELECTOR,
  S_SHADOW,
  S_TR_BASE,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
  SEG_TR,
  TLB_WRITE,
} from './generated/layout';
import { isCanonical, sysLd16, sysLd32, sysLd64, sysLd8 } from './mmu';
import { attend, cpl, isLong, isReal, isV86, segLimit, setCpl, updateMode } from './modes';
import {
  CR4_VME,
  FLAG_AC,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VM,
  RSP,
  gpr,
  readFlags,
  setGpr,
} from './registers';
import {
  descDpl,
  descHigh,
  descIsCode,
  descIsConforming,
  descLimit,
  descPresent,
  ext,
  fetchDescriptor,
  holdDescriptor,
  markAccessed,
  raiseSelector,
  setCs,
  setExt,
  setNull,
  setParagraph,
  setSegment,
  swapHeld,
  takeHeld,
} from './segments';
import { TASK_INTERRUPT, clearTaskCommitted, switchTask, taskCommitted } from './task';
import { probeAs } from './tlb';

/** What an event comes from: it decides EXT, the check of the gate's DPL and RF. */
export const EVENT_FAULT: i32 = 0;
export const EVENT_EXTERNAL: i32 = 1;
/** INT n. */
export const EVENT_SOFTWARE: i32 = 2;
/** INT3, INTO. */
export const EVENT_SOFTWARE_TRAP: i32 = 3;
/** INT1, and debug exceptions that are traps. */
export const EVENT_TRAP: i32 = 4;

@inline
function selectorOf(seg: u32): u32 {
  return load<u32>(STATE + S_SEG_SELECTOR + seg * 4);
}

/** Clears flags of EFLAGS that are not arithmetic. */
@inline
function clearFlags(flags: u32): void {
  store<u32>(STATE + S_EFLAGS, load<u32>(STATE + S_EFLAGS) & ~flags);
}

/** After an event has been delivered: what held for the interrupted instruction is over. */
function arrive(rip: u64): void {
  store<u64>(STATE + S_RIP, rip);
  store<u32>(STATE + S_SHADOW, 0);
  store<u32>(STATE + S_DEBUG_FLAGS, load<u32>(STATE + S_DEBUG_FLAGS) & ~DEBUG_STEP);
  updateMode();
}

/** Through the interrupt vector table: real mode, and V86 mode with VME. `flags`: the image to push. */
function deliverVector(at: u64, flags: u32, clear: u32, rip: u64): bool {
  const target = sysLd32(at);
  if (faulted()) return false;
  openCurrent();
  if (!framePush(flags & 0xffff, 2) || !framePush(selectorOf(SEG_CS), 2) || !framePush(rip & 0xffff, 2)) return false;
  frameCommit();
  clearFlags(clear);
  setParagraph(SEG_CS, target >> 16);
  arrive(target & 0xffff);
  return true;
}

/** INT n in V86 mode with VME, SDM vol. 3 §20.3: 1 delivered, 0 a fault is pending, -1 goes through the IDT. */
function deliverV86(vector: i32, rip: u64): i32 {
  const eflags = load<u32>(STATE + S_EFLAGS);
  const iopl3 = (eflags & FLAG_IOPL) == FLAG_IOPL;
  if (load<u64>(STATE + S_CR4) & CR4_VME) {
    // The redirection bitmap lies right below the I/O bitmap.
    const tss = load<u64>(STATE + S_TR_BASE);
    const limit = segLimit(SEG_TR);
    if (limit < 103) {
      raiseSelector(GP, 0);
      return 0;
    }
    const map = sysLd16(tss + 102);
    if (faulted()) return 0;
    const at = map - 32 + (vector >> 3);
    if (map < 32 || at > limit) {
      raiseCode(GP, 0);
      return 0;
    }
    const bits = sysLd8(tss + at);
    if (faulted()) return 0;
    if (!((bits >> (vector & 7)) & 1)) {
      let flags = readFlags();
      let clear = FLAG_TF | FLAG_NT | FLAG_RF;
      if (iopl3) {
        clear |= FLAG_IF;
      } else {
        // The program sees VIF as IF, and an IOPL of 3.
        flags = (flags & ~FLAG_IF) | FLAG_IOPL | (flags & FLAG_VIF ? FLAG_IF : 0);
        clear |= FLAG_VIF;
      }
      return deliverVector(<u64>vector * 4, flags, clear, rip) ? 1 : 0;
    }
  }
  if (!iopl3) {
    raiseCode(GP, 0);
    return 0;
  }
  return -1;
}

/** Through a 64-bit gate. */
function deliverLong(vector: i32, kind: i32, code: i32, rip: u64, flags: u32): bool {
  const slot: u32 = vector * 16;
  const idtError: i32 = vector * 8 + 2 + ext;
  if (slot + 15 > load<u32>(STATE + S_IDTR_LIMIT)) {
    raiseCode(GP, idtError);
    return false;
  }
  const at = load<u64>(STATE + S_IDTR_BASE) + slot;
  const low = sysLd64(at);
  if (faulted()) return false;
  const high = sysLd64(at + 8);
  if (faulted()) return false;
  const type = <u32>(low >> 40) & 0x1f;
  if (type != 0xe && type != 0xf) {
    raiseCode(GP, idtError);
    return false;
  }
  if ((kind == EVENT_SOFTWARE || kind == EVENT_SOFTWARE_TRAP) && (<u32>(low >> 45) & 3) < cpl()) {
    raiseCode(GP, idtError);
    return false;
  }
  if (!((low >> 47) & 1)) {
    raiseCode(NP, idtError);
    return false;
  }
  const selector = <u32>(low >> 16) & 0xffff;
  const target = (low & 0xffff) | ((low >> 32) & 0xffff_0000) | (high << 32);
  const ist = <u32>(low >> 32) & 7;
  if (!(selector & 0xfffc)) {
    raiseCode(GP, ext);
    return false;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  // Code, 64-bit (L and not D), DPL not above CPL.
  if (!descIsCode() || (descHigh & 0x60_0000) != 0x20_0000 || descDpl() > cpl()) {
    raiseSelector(GP, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return false;
  }
  const level = descIsConforming() ? cpl() : descDpl();
  let sp = gpr(RSP);
  if (ist) {
    if (!tssStack64(ist + 3)) return false;
    sp = newSp;
  } else if (level < cpl()) {
    if (!tssStack64(level)) return false;
    sp = newSp;
  }
  if (!isCanonical(target)) {
    raiseCode(GP, ext);
    return false;
  }
  if (!markAccessed()) return false;
  sp &= ~0xf;
  const size: u32 = code >= 0 ? 48 : 40;
  // All words at once where the stack is at hand.
  const frame: usize = level == 3 ? 0 : probeAs(TLB_WRITE, sp - size, size, false);
  if (frame) {
    if (code >= 0) store<u64>(frame, code);
    const rest = frame + size - 40;
    store<u64>(rest, rip);
    store<u64>(rest, selectorOf(SEG_CS), 8);
    store<u64>(rest, flags, 16);
    store<u64>(rest, gpr(RSP), 24);
    store<u64>(rest, selectorOf(SEG_SS), 32);
    setGpr(RSP, sp - size);
  } else {
    openWide(sp, level);
    if (
      !framePush(selectorOf(SEG_SS), 8) ||
      !framePush(gpr(RSP), 8) ||
      !framePush(flags, 8) ||
      !framePush(selectorOf(SEG_CS), 8) ||
      !framePush(rip, 8) ||
      (code >= 0 && !framePush(code, 8))
    )
      return false;
    frameCommit();
  }
  const outer = cpl();
  setCs(selector, level);
  if (level < outer) {
    setNull(SEG_SS, level);
    setCpl(level);
  }
  clearFlags(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (type == 0xe ? FLAG_IF : 0));
  arrive(target);
  return true;
}

/** Through a task, interrupt or trap gate of the 16- and 32-bit IDT. */
function deliverProtected(vector: i32, kind: i32, code: i32, rip: u64, flags: u32): bool {
  const slot: u32 = vector * 8;
  const idtError: i32 = vector * 8 + 2 + ext;
  if (slot + 7 > load<u32>(STATE + S_IDTR_LIMIT)) {
    raiseCode(GP, idtError);
    return false;
  }
  const gate = sysLd64((load<u64>(STATE + S_IDTR_BASE) + slot) & 0xffff_ffff);
  if (faulted()) return false;
  const type = <u32>(gate >> 40) & 0x1f;
  const isTask = type == 5;
  if (!isTask && (type & 0x17) != 6 && (type & 0x17) != 7) {
    raiseCode(GP, idtError);
    return false;
  }
  if ((kind == EVENT_SOFTWARE || kind == EVENT_SOFTWARE_TRAP) && (<u32>(gate >> 45) & 3) < cpl()) {
    raiseCode(GP, idtError);
    return false;
  }
  if (!((gate >> 47) & 1)) {
    raiseCode(NP, idtError);
    return false;
  }
  const selector = <u32>(gate >> 16) & 0xffff;
  if (isTask) {
    store<u64>(STATE + S_RIP, rip);
    return switchTask(selector, TASK_INTERRUPT, flags, code);
  }
  const is32 = (type & 8) != 0;
  const size: u32 = is32 ? 4 : 2;
  const target: u64 = is32 ? (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) : gate & 0xffff;
  if (!(selector & 0xfffc)) {
    raiseCode(GP, ext);
    return false;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  if (!descIsCode() || descDpl() > cpl()) {
    raiseSelector(GP, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return false;
  }
  const fromV86 = isV86();
  const level = descIsConforming() ? cpl() : descDpl();
  // V86 programs are interrupted into ring 0 only.
  if (fromV86 && level != 0) {
    raiseSelector(GP, selector);
    return false;
  }
  const codeLimit = descLimit();
  if (level < cpl()) {
    holdDescriptor();
    if (!tssStack(level) || !checkStackSegment(newSs, level)) return false;
    openNew(newSs, newSp, level);
    // The new CS limit is looked at after the room on the stack; a fault there is a fault on the new stack.
    if (fromV86) {
      if (
        !framePush(selectorOf(SEG_GS), size) ||
        !framePush(selectorOf(SEG_FS), size) ||
        !framePush(selectorOf(SEG_DS), size) ||
        !framePush(selectorOf(SEG_ES), size)
      )
        return false;
    }
    if (!framePush(selectorOf(SEG_SS), size) || !framePush(gpr(RSP), size)) return false;
    if (!framePush(flags, size) || !framePush(selectorOf(SEG_CS), size) || !framePush(rip, size)) return false;
    if (code >= 0 && !framePush(code, size)) return false;
    if (target > codeLimit) {
      raiseCode(GP, ext);
      return false;
    }
    // Current is the stack's descriptor, held the code's: nothing may change before both are marked.
    if (!markAccessed()) return false;
    swapHeld();
    if (!markAccessed()) return false;
    swapHeld();
    clearFlags(FLAG_VM);
    setSegment(SEG_SS, (newSs & 0xfffc) | level);
    setCpl(level);
    if (fromV86) {
      setNull(SEG_ES, 0);
      setNull(SEG_DS, 0);
      setNull(SEG_FS, 0);
      setNull(SEG_GS, 0);
    }
    takeHeld();
  } else {
    openCurrent();
    if (!framePush(flags, size) || !framePush(selectorOf(SEG_CS), size) || !framePush(rip, size)) return false;
    if (code >= 0 && !framePush(code, size)) return false;
    if (target > codeLimit) {
      raiseCode(GP, ext);
      return false;
    }
    if (!markAccessed()) return false;
  }
  frameCommit();
  setCs(selector, level);
  clearFlags(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (type & 1 ? 0 : FLAG_IF));
  arrive(target);
  return true;
}

/**
 * Delivers one event with `rip` to return to; `code` -1: no error code. False with another exception pending and nothing
 * changed (but memory that only the stack pointer makes valid).
 */
export function deliver(vector: i32, kind: i32, code: i32, rip: u64): bool {
  host_event(vector, kind, code, <u32>rip, <u32>(rip >> 32));
  const external = kind == EVENT_FAULT || kind == EVENT_EXTERNAL || kind == EVENT_TRAP;
  setExt(external ? 1 : 0);
  clearTaskCommitted();
  let flags = readFlags();
  let done: bool;
  if (isReal()) {
    const slot: u32 = vector * 4;
    if (slot + 3 > load<u32>(STATE + S_IDTR_LIMIT)) {
      raiseCode(GP, vector * 8 + 2 + ext);
      done = false;
    } else {
      const at = load<u64>(STATE + S_IDTR_BASE) + slot;
      done = deliverVector(at, flags, FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF, rip);
    }
  } else {
    // Faults return with RF set, so that an instruction breakpoint is not met again; instruction breakpoints do not.
    if (kind == EVENT_FAULT && vector != DB && vector != DF) flags |= FLAG_RF;
    if (isLong()) {
      done = deliverLong(vector, kind, code, rip, flags);
    } else {
      const v86 = kind == EVENT_SOFTWARE && isV86() ? deliverV86(vector, rip) : -1;
      done = v86 < 0 ? deliverProtected(vector, kind, code, rip, flags) : v86 == 1;
    }
  }
  setExt(0);
  return done;
}

/** Contributory exceptions, SDM vol. 3 table 6-4. */
@inline
function isContributory(vector: i32): bool {
  return vector == 0 || (vector >= TS && vector <= GP);
}

/** The processor stops until reset: SDM vol. 3 §6.15, double fault. */
function shutDown(): void {
  clearFault();
  store<u32>(STATE + S_ACTIVITY, 3);
  attend();
}

/** Delivers an event and whatever exceptions its delivery raises, up to shutdown. */
export function deliverAll(vector: i32, kind: i32, code: i32, rip: u64): void {
  for (;;) {
    if (vector == PF && kind == EVENT_FAULT) store<u64>(STATE + S_CR2, load<u64>(STATE + S_EXC_ADDR));
    clearFault();
    if (deliver(vector, kind, code, rip)) return;
    if (taskCommitted) rip = load<u64>(STATE + S_RIP);
    const second = load<i32>(STATE + S_EXC_VECTOR);
    if (vector == DF && kind == EVENT_FAULT) {
      shutDown();
      return;
    }
    const first = kind == EVENT_FAULT ? vector : BP;
    if (second == PF) store<u64>(STATE + S_CR2, load<u64>(STATE + S_EXC_ADDR));
    if (
      (isContributory(first) && isContributory(second)) ||
      (first == PF && (second == PF || isContributory(second)))
    ) {
      vector = DF;
      code = 0;
    } else {
      vector = second;
      code = load<i32>(STATE + S_EXC_ERROR);
    }
    // An exception met on the way is a fault of the interrupted instruction.
    kind = EVENT_FAULT;
  }
}

/** Delivers the pending exception as a fault at RIP. Without one, the loop was left for a breakpoint of the debugger. */
export function deliver_exception(): i32 {
  if (load<i32>(STATE + S_EXC_VECTOR) < 0) {
    // A delivery counts as an instruction; this does not.
    store<u64>(STATE + S_RETIRED, load<u64>(STATE + S_RETIRED) - 1);
    return NEXT_JUMP_ATTENTION;
  }
  deliverAll(load<i32>(STATE + S_EXC_VECTOR), EVENT_FAULT, load<i32>(STATE + S_EXC_ERROR), load<u64>(STATE + S_RIP));
  return NEXT_JUMP_ATTENTION;
}

/** Delivers an external interrupt (or an NMI) at an instruction boundary. */
export function deliver_interrupt(vector: i32): i32 {
  deliverAll(vector, EVENT_EXTERNAL, -1, load<u64>(STATE + S_RIP));
  return NEXT_JUMP_ATTENTION;
}
