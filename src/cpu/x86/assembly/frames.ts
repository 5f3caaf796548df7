/**
 * Stack frames of events, gates and far returns: pushes and pops that leave RSP alone until everything has been checked.
 * One frame is open at a time.
 */
import { noteAccess } from './debug';
import { STATE } from './env';
import { PF_U, PF_W, SS, TS, faulted, raiseCode } from './faults';
import {
  SEG_SS,
  SEG_TR,
  S_FRAME_BUFFER,
  S_GPR,
  S_SEG_BASE,
  S_SEG_LIMIT,
  S_SEG_SELECTOR,
  S_TR_BASE,
} from './generated/layout';
import { checkAlignment, isCanonical, loadAs, storeAs, sysLd16, sysLd32, sysLd64 } from './mmu';
import { cpl, is64, segAttr, segLimit } from './modes';
import { RSP, gpr } from './registers';
import {
  descAttr,
  descBase,
  descDpl,
  descIsWritable,
  descLimit,
  descPresent,
  ext,
  fetchDescriptor,
  raiseSelector,
} from './segments';

let sp: u64 = 0;
let base: u64 = 0;
let limit: u32 = 0;
let attr: u32 = 0;
let mask: u64 = 0;
let access: i32 = 0;
let wide: bool = false;
/** Selector in the error code of #SS: that of a new stack, 0 for the current one. */
let selector: u32 = 0;

const buffer: usize = STATE + S_FRAME_BUFFER;

/** Opens a frame on the current stack, with the current privilege. */
export function openCurrent(): void {
  wide = is64();
  sp = gpr(RSP);
  base = load<u64>(STATE + S_SEG_BASE + SEG_SS * 8);
  limit = load<u32>(STATE + S_SEG_LIMIT + SEG_SS * 4);
  attr = segAttr(SEG_SS);
  mask = wide ? ~(<u64>0) : attr & 0x4000 ? 0xffff_ffff : 0xffff;
  access = cpl() == 3 ? PF_U : 0;
  selector = 0;
}

/** Opens a frame on the stack whose descriptor was read last. */
export function openNew(newSelector: u32, newSp: u64, level: u32): void {
  wide = false;
  sp = newSp;
  base = descBase();
  limit = descLimit();
  attr = descAttr();
  mask = attr & 0x4000 ? 0xffff_ffff : 0xffff;
  access = level == 3 ? PF_U : 0;
  selector = newSelector & 0xfffc;
}

/** Opens a frame in 64-bit mode. */
export function openWide(newSp: u64, level: u32): void {
  wide = true;
  sp = newSp;
  mask = ~(<u64>0);
  access = level == 3 ? PF_U : 0;
  selector = 0;
}

/** The linear address of `size` bytes at an offset; -1 with #SS pending. */
function place(offset: u64, size: u32): u64 {
  let good: bool;
  let lin: u64;
  if (wide) {
    lin = offset;
    good = isCanonical(lin) && isCanonical(lin + size - 1);
  } else {
    const last = offset + size - 1;
    if (attr & 0x10000) good = false;
    else if ((attr & 12) == 4) good = offset > limit && last <= <u64>(attr & 0x4000 ? 0xffff_ffff : 0xffff);
    else good = last <= <u64>limit;
    lin = (base + offset) & 0xffff_ffff;
  }
  if (!good) {
    raiseCode(SS, <i32>selector | ext);
    return ~(<u64>0);
  }
  return lin;
}

/** Pushes `size` bytes (2, 4 or 8). */
export function framePush(value: u64, size: u32): bool {
  const at = (sp - size) & mask;
  const lin = place(at, size);
  if (lin == ~(<u64>0) || (access && !checkAlignment(lin, size))) return false;
  store<u64>(buffer, value);
  if (!storeAs(lin, buffer, size, access)) return false;
  noteAccess(lin, size, true);
  sp = (sp & ~mask) | at;
  return true;
}

/** Pops `size` bytes (2, 4 or 8); look at faulted() afterwards. */
export function framePop(size: u32): u64 {
  const at = sp & mask;
  const lin = place(at, size);
  if (lin == ~(<u64>0) || (access && !checkAlignment(lin, size))) return 0;
  store<u64>(buffer, 0);
  if (!loadAs(lin, buffer, size, access)) return 0;
  noteAccess(lin, size, false);
  sp = (sp & ~mask) | ((at + size) & mask);
  return load<u64>(buffer);
}

/** What lies `offset` bytes above the top, without popping. */
export function framePeek(offset: u32, size: u32): u64 {
  const lin = place((sp + offset) & mask, size);
  if (lin == ~(<u64>0) || (access && !checkAlignment(lin, size))) return 0;
  store<u64>(buffer, 0);
  if (!loadAs(lin, buffer, size, access)) return 0;
  return load<u64>(buffer);
}

/** Whether `size` bytes at the top can be written. */
export function frameProbe(size: u32): bool {
  const lin = place(sp & mask, size);
  return lin != ~(<u64>0) && loadAs(lin, buffer, size, access | PF_W);
}

/** Frees `count` bytes. */
export function frameSkip(count: u64): void {
  sp = (sp & ~mask) | ((sp + count) & mask);
}

/** Makes the frame's stack pointer RSP; a 16-bit stack leaves the rest of it alone. */
export function frameCommit(): void {
  const at = STATE + S_GPR + RSP * 8;
  if (wide) store<u64>(at, sp);
  else if (mask == 0xffff) {
    if (selector) store<u64>(at, sp & 0xffff_ffff);
    else store<u16>(at, <u16>sp);
  } else store<u64>(at, sp & 0xffff_ffff);
}

// ------------------------------------------------------------------------------------------ stacks that the TSS names

/** The stack that tssStack found. */
export let newSs: u32 = 0;
export let newSp: u64 = 0;

/** Reads SS:ESP for a privilege level from the current TSS (not in long mode). False with an exception pending. */
export function tssStack(level: u32): bool {
  const at = load<u64>(STATE + S_TR_BASE);
  const end = segLimit(SEG_TR);
  const tr = load<u32>(STATE + S_SEG_SELECTOR + SEG_TR * 4);
  if (segAttr(SEG_TR) & 8) {
    const offset = level * 8 + 4;
    if (offset + 5 > end) {
      raiseSelector(TS, tr);
      return false;
    }
    newSp = sysLd32(at + offset);
    if (faulted()) return false;
    newSs = sysLd16(at + offset + 4);
  } else {
    const offset = level * 4 + 2;
    if (offset + 3 > end) {
      raiseSelector(TS, tr);
      return false;
    }
    newSp = sysLd16(at + offset);
    if (faulted()) return false;
    newSs = sysLd16(at + offset + 2);
  }
  return !faulted();
}

/** Reads a stack pointer of the 64-bit TSS: RSP0 … RSP2, or IST1 … IST7 as level 4 … 10. False with an exception pending. */
export function tssStack64(level: u32): bool {
  // RSP0 … RSP2 at 4, IST1 … IST7 at 36: 8 bytes each.
  const offset = level * 8 + 4;
  if (offset + 7 > segLimit(SEG_TR)) {
    raiseSelector(TS, load<u32>(STATE + S_SEG_SELECTOR + SEG_TR * 4));
    return false;
  }
  newSp = sysLd64(load<u64>(STATE + S_TR_BASE) + offset);
  if (faulted()) return false;
  if (!isCanonical(newSp)) {
    raiseCode(SS, ext);
    return false;
  }
  return true;
}

/** Checks a stack segment that a TSS named for a level; its descriptor is then the current one. False with #TS or #SS pending. */
export function checkStackSegment(ss: u32, level: u32): bool {
  if (!(ss & 0xfffc)) {
    raiseCode(TS, ext);
    return false;
  }
  if (!fetchDescriptor(ss, TS)) return false;
  if ((ss & 3) != level || descDpl() != level || !descIsWritable()) {
    raiseSelector(TS, ss);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(SS, ss);
    return false;
  }
  return true;
}
