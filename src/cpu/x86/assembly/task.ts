/** Hardware task switches, SDM vol. 3 chapter 7. */
import { pendTrap, updateBreakpoints } from './debug';
import { STATE } from './env';
import { GP, NP, SS, TS, faulted, raiseCode } from './faults';
import { frameCommit, framePush, openCurrent } from './frames';
import {
  ATTN_NMI,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
  S_CR0,
  S_CR3,
  S_CR4,
  S_DR,
  S_LDTR_BASE,
  S_NMI_MASKED,
  S_RIP,
  S_SEG_ATTR,
  S_SEG_LIMIT,
  S_SEG_SELECTOR,
  S_SHADOW,
  S_TASK_IMAGE,
  S_TR_BASE,
} from './generated/layout';
import { sysLd16, sysLd32, sysSt16, sysSt32 } from './mmu';
import { attend, releaseEvents, segAttr, segLimit, setCpl, updateFpTrap, updateMode } from './modes';
import { CR0_TS, FLAG_NT, FLAG_VM, gpr, setGpr, writeFlags } from './registers';
import { CR0_PG, CR4_PAE } from './paging';
import { loadPdptes } from './paging-control';
import {
  ATTR_UNUSABLE,
  descAttr,
  descBase,
  descDpl,
  descIsCode,
  descIsConforming,
  descIsReadable,
  descIsUser,
  descIsWritable,
  descLimit,
  descPresent,
  descType,
  ext,
  fetchDescriptor,
  markAccessed,
  markBusy,
  raiseSelector,
  setNull,
  setParagraph,
  setSegment,
} from './segments';
import { switchSpace } from './address-spaces';

export const TASK_JMP: i32 = 0;
export const TASK_CALL: i32 = 1;
export const TASK_IRET: i32 = 2;
export const TASK_INTERRUPT: i32 = 3;

/** Whether the switch that last failed had happened already: its exception belongs to the new task. */
export let taskCommitted: bool = false;
export function clearTaskCommitted(): void {
  taskCommitted = false;
}

/** What is read from the new TSS: EIP, EFLAGS, eight registers, six selectors, LDT; u32 each. */
const image: usize = STATE + S_TASK_IMAGE;

@inline
function setSelector(seg: u32, selector: u32): void {
  store<u32>(STATE + S_SEG_SELECTOR + seg * 4, selector);
}

/** Saves the running task in its TSS: EIP to the segment selectors. */
function saveTask(eip: u32, eflags: u32): bool {
  const at = load<u64>(STATE + S_TR_BASE);
  if (segAttr(SEG_TR) & 8) {
    if (!sysSt32(at + 32, eip) || !sysSt32(at + 36, eflags)) return false;
    for (let n: u32 = 0; n < 8; n++) if (!sysSt32(at + 40 + n * 4, <u32>gpr(n))) return false;
    for (let n: u32 = 0; n < 6; n++) {
      if (!sysSt16(at + 72 + n * 4, load<u32>(STATE + S_SEG_SELECTOR + n * 4))) return false;
    }
  } else {
    if (!sysSt16(at + 14, eip) || !sysSt16(at + 16, eflags)) return false;
    for (let n: u32 = 0; n < 8; n++) if (!sysSt16(at + 18 + n * 2, <u32>gpr(n))) return false;
    for (let n: u32 = 0; n < 4; n++) {
      if (!sysSt16(at + 34 + n * 2, load<u32>(STATE + S_SEG_SELECTOR + n * 4))) return false;
    }
  }
  return true;
}

/** Reads the new task's image. */
function readTask(at: u64, is32: bool): bool {
  memory.fill(image, 0, 17 * 4);
  if (is32) {
    for (let n: u32 = 0; n < 17; n++) {
      store<u32>(image + n * 4, n < 10 ? sysLd32(at + 32 + n * 4) : sysLd16(at + 32 + n * 4));
      if (faulted()) return false;
    }
  } else {
    for (let n: u32 = 0; n < 15; n++) {
      const value = n == 14 ? 0 : sysLd16(at + 14 + n * 2);
      if (faulted()) return false;
      // What a 16-bit TSS does not have of the registers is all ones (SDM vol. 3 §7.6: undefined).
      store<u32>(image + n * 4, n >= 2 && n < 10 ? value | 0xffff_0000 : value);
    }
    store<u32>(image + 16 * 4, sysLd16(at + 42));
    if (faulted()) return false;
  }
  return true;
}

/** Loads LDTR of the new task. */
function loadTaskLdt(selector: u32): bool {
  setSelector(SEG_LDTR, selector);
  store<u32>(STATE + S_SEG_ATTR + SEG_LDTR * 4, ATTR_UNUSABLE);
  if (!(selector & 0xfffc)) return true;
  if (selector & 4) {
    raiseSelector(TS, selector);
    return false;
  }
  if (!fetchDescriptor(selector, TS)) return false;
  if (descIsUser() || descType() != 2 || !descPresent()) {
    raiseSelector(TS, selector);
    return false;
  }
  store<u32>(STATE + S_SEG_ATTR + SEG_LDTR * 4, descAttr());
  store<u32>(STATE + S_SEG_LIMIT + SEG_LDTR * 4, descLimit());
  store<u64>(STATE + S_LDTR_BASE, descBase());
  return true;
}

function loadTaskCs(selector: u32): bool {
  const level = selector & 3;
  if (!(selector & 0xfffc)) {
    raiseCode(TS, ext);
    return false;
  }
  if (!fetchDescriptor(selector, TS)) return false;
  if (!descIsCode() || (descIsConforming() ? descDpl() > level : descDpl() != level)) {
    raiseSelector(TS, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return false;
  }
  if (!markAccessed()) return false;
  setSegment(SEG_CS, selector);
  return true;
}

function loadTaskSs(selector: u32, level: u32): bool {
  if (!(selector & 0xfffc)) {
    raiseCode(TS, ext);
    return false;
  }
  if (!fetchDescriptor(selector, TS)) return false;
  if (!descIsWritable() || descDpl() != level || (selector & 3) != level) {
    raiseSelector(TS, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(SS, selector);
    return false;
  }
  if (!markAccessed()) return false;
  setSegment(SEG_SS, selector);
  return true;
}

function loadTaskData(seg: u32, selector: u32, level: u32): bool {
  if (!(selector & 0xfffc)) return true;
  if (!fetchDescriptor(selector, TS)) return false;
  const guarded = !(descIsCode() && descIsConforming());
  if (!descIsReadable() || (guarded && ((selector & 3) > descDpl() || level > descDpl()))) {
    raiseSelector(TS, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return false;
  }
  if (!markAccessed()) return false;
  setSegment(seg, selector);
  return true;
}

/** The part of a switch that runs in the new task: segments, error code, T bit. */
function enterTask(eflags: u32, code: i32, is32: bool, trap: bool): bool {
  if (!loadTaskLdt(load<u32>(image + 64))) return false;
  if (eflags & FLAG_VM) {
    for (let seg: u32 = 0; seg < 6; seg++) setParagraph(seg, load<u32>(image + 40 + seg * 4));
    setCpl(3);
  } else {
    const cs = load<u32>(image + 44);
    const level = cs & 3;
    // Outside V86 mode: until they are checked, segments are there by selector only.
    for (let seg: u32 = 0; seg < 6; seg++) setNull(seg, load<u32>(image + 40 + seg * 4));
    setCpl(level);
    if (!loadTaskCs(cs)) return false;
    if (!loadTaskSs(load<u32>(image + 48), level)) return false;
    if (!loadTaskData(SEG_ES, load<u32>(image + 40), level)) return false;
    if (!loadTaskData(SEG_DS, load<u32>(image + 52), level)) return false;
    if (!loadTaskData(SEG_FS, load<u32>(image + 56), level)) return false;
    if (!loadTaskData(SEG_GS, load<u32>(image + 60), level)) return false;
  }
  if (load<u32>(image) > segLimit(SEG_CS)) {
    raiseCode(GP, ext);
    return false;
  }
  if (code >= 0) {
    openCurrent();
    if (!framePush(code, is32 ? 4 : 2)) return false;
    frameCommit();
  }
  if (trap) {
    // The T flag: a debug trap after the switch, before the first instruction (BT, bit 15 of DR6).
    pendTrap(1 << 15);
  }
  return true;
}

/**
 * Switches to the task of a TSS selector. RIP is what the old task goes on with, `eflags` the image that is saved for it,
 * `code` an error code to push or -1. Who jumps or calls has checked privilege. False with an exception pending; when
 * taskCommitted, it belongs to the new task and RIP is its own.
 */
export function switchTask(selector: u32, source: i32, eflags: u32, code: i32): bool {
  taskCommitted = false;
  // From a task's own back link, mistakes are #TS; from everything else #GP (SDM vol. 3 table 7-1).
  const vector = source == TASK_IRET ? TS : GP;
  if (selector & 4 || !(selector & 0xfffc)) {
    raiseSelector(vector, selector);
    return false;
  }
  if (!fetchDescriptor(selector, vector)) return false;
  // 1 and 9: available; 3 and 11: busy.
  const type = descType();
  if (descIsUser() || (type & 5) != 1 || ((type & 2) != 0) != (source == TASK_IRET)) {
    raiseSelector(vector, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return false;
  }
  const is32 = (type & 8) != 0;
  if (descLimit() < <u32>(is32 ? 0x67 : 0x2b)) {
    raiseSelector(TS, selector);
    return false;
  }
  const at = descBase();
  const newAttr = descAttr() | 2;
  const newLimit = descLimit();
  const oldSelector = load<u32>(STATE + S_SEG_SELECTOR + SEG_TR * 4);
  if (!readTask(at, is32)) return false;
  const newCr3: u64 = is32 ? sysLd32(at + 28) : 0;
  if (faulted()) return false;
  const trap = is32 && (sysLd16(at + 100) & 1) != 0;
  if (faulted()) return false;

  // IRET and JMP leave the old task for good: it is no longer busy, and IRET clears NT in what is saved of it.
  if (source == TASK_IRET) eflags &= ~FLAG_NT;
  if (!saveTask(<u32>load<u64>(STATE + S_RIP), eflags)) return false;
  if (source == TASK_CALL || source == TASK_INTERRUPT) {
    if (!sysSt16(at, oldSelector)) return false;
  }
  if (source != TASK_IRET && !markBusy(true)) return false;
  if (source == TASK_IRET || source == TASK_JMP) {
    if (!fetchDescriptor(oldSelector, TS) || !markBusy(false)) return false;
  }

  taskCommitted = true;
  if (source == TASK_IRET && load<u32>(STATE + S_NMI_MASKED)) {
    store<u32>(STATE + S_NMI_MASKED, 0);
    releaseEvents(ATTN_NMI);
  }
  setSelector(SEG_TR, selector);
  store<u32>(STATE + S_SEG_ATTR + SEG_TR * 4, newAttr);
  store<u32>(STATE + S_SEG_LIMIT + SEG_TR * 4, newLimit);
  store<u64>(STATE + S_TR_BASE, at);
  const cr0 = load<u64>(STATE + S_CR0) | CR0_TS;
  store<u64>(STATE + S_CR0, cr0);
  updateFpTrap();
  // Local breakpoints belong to the old task.
  store<u64>(STATE + S_DR + 56, load<u64>(STATE + S_DR + 56) & ~0x155);
  updateBreakpoints();
  if (is32 && cr0 & CR0_PG && newCr3 != load<u64>(STATE + S_CR3)) {
    store<u64>(STATE + S_CR3, newCr3);
    switchSpace(false);
    if (load<u64>(STATE + S_CR4) & CR4_PAE && !loadPdptes(newCr3)) {
      raiseCode(TS, <i32>(selector & 0xfffc) | ext);
      return false;
    }
  }
  let newFlags = load<u32>(image + 4);
  if (!is32) newFlags &= 0xffff;
  if (source == TASK_CALL || source == TASK_INTERRUPT) newFlags |= FLAG_NT;
  for (let n: u32 = 0; n < 8; n++) setGpr(n, load<u32>(image + 8 + n * 4));
  store<u64>(STATE + S_RIP, load<u32>(image));
  store<u32>(STATE + S_SHADOW, 0);
  writeFlags(newFlags);
  const done = enterTask(newFlags, code, is32, trap);
  updateMode();
  attend();
  return done;
}
