/** LGDT, LLDT, LTR, their opposites; LAR, LSL, VERR, VERW, ARPL; MOV from segment registers. SDM vol. 2. */
import { STATE } from './env';
import { GP, NP, SS, faulted, gp0, raiseCode, ud } from './faults';
import {
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_REG,
  R_RM,
  R_SEG,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
  S_CR4,
  S_GDTR_BASE,
  S_GDTR_LIMIT,
  S_IDTR_BASE,
  S_IDTR_LIMIT,
  S_LDTR_BASE,
  S_SEG_ATTR,
  S_SEG_LIMIT,
  S_SEG_SELECTOR,
  S_TABLE_IMAGE,
  S_TR_BASE,
} from './generated/layout';
import { isCanonical, ld16, ld32, ld64, st16, stBytes } from './mmu';
import { cpl, is64, isLong, isRealStyle } from './modes';
import { CR4_UMIP, isRegister, operandSize, setZero, wordOperand, writeSlot } from './registers';
import {
  ATTR_UNUSABLE,
  descAttr,
  descBase,
  descDpl,
  descHigh,
  descIsCode,
  descIsConforming,
  descIsReadable,
  descIsUser,
  descIsWritable,
  descLimit,
  descPresent,
  descType,
  fetchDescriptor,
  fetchUpper,
  markBusy,
  raiseSelector,
  readDescriptor,
} from './segments';

/** SGDT and the like above ring 0 with CR4.UMIP. */
@inline
function isHidden(): bool {
  return cpl() != 0 && (load<u64>(STATE + S_CR4) & CR4_UMIP) != 0;
}

const image: usize = STATE + S_TABLE_IMAGE;

function storeTable(base: u64, limit: u32, ea: u64): i32 {
  if (isHidden()) return gp0();
  store<u16>(image, <u16>limit);
  store<u64>(image + 2, base);
  return stBytes(ea, image, is64() ? 10 : 6) ? NEXT_CONTINUE : NEXT_FAULT;
}

export function x_sgdt(rec: usize, ea: u64): i32 {
  return storeTable(load<u64>(STATE + S_GDTR_BASE), load<u32>(STATE + S_GDTR_LIMIT), ea);
}
export function x_sidt(rec: usize, ea: u64): i32 {
  return storeTable(load<u64>(STATE + S_IDTR_BASE), load<u32>(STATE + S_IDTR_LIMIT), ea);
}

function loadTable(rec: usize, ea: u64, baseField: usize, limitField: usize): i32 {
  if (cpl() != 0) return gp0();
  const limit = ld16(ea);
  if (faulted()) return NEXT_FAULT;
  let base: u64;
  if (is64()) {
    base = ld64(ea + 2);
    if (faulted()) return NEXT_FAULT;
    if (!isCanonical(base)) return gp0();
  } else {
    base = ld32(ea + 2);
    if (faulted()) return NEXT_FAULT;
    if (operandSize(rec) == 0) base &= 0xff_ffff;
  }
  store<u64>(STATE + baseField, base);
  store<u32>(STATE + limitField, limit);
  return NEXT_CONTINUE;
}

export function x_lgdt(rec: usize, ea: u64): i32 {
  return loadTable(rec, ea, S_GDTR_BASE, S_GDTR_LIMIT);
}
export function x_lidt(rec: usize, ea: u64): i32 {
  return loadTable(rec, ea, S_IDTR_BASE, S_IDTR_LIMIT);
}

/** A selector into a register as wide as the operand, or 16 bits of memory. */
function storeSelector(rec: usize, ea: u64, seg: u32): i32 {
  const selector = load<u32>(STATE + S_SEG_SELECTOR + seg * 4);
  if (!isRegister(rec)) return st16(ea, selector) ? NEXT_CONTINUE : NEXT_FAULT;
  writeSlot(rec + R_RM, operandSize(rec), selector);
  return NEXT_CONTINUE;
}

export function x_mov_from_sreg(rec: usize, ea: u64): i32 {
  const seg: u32 = load<u8>(rec + R_REG);
  return seg > 5 ? ud() : storeSelector(rec, ea, seg);
}
export function x_sldt(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  return isHidden() ? gp0() : storeSelector(rec, ea, SEG_LDTR);
}
export function x_str(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  return isHidden() ? gp0() : storeSelector(rec, ea, SEG_TR);
}

function setSystem(seg: u32, selector: u32, baseField: usize): void {
  store<u32>(STATE + S_SEG_SELECTOR + seg * 4, selector);
  store<u32>(STATE + S_SEG_ATTR + seg * 4, descAttr());
  store<u32>(STATE + S_SEG_LIMIT + seg * 4, descLimit());
  store<u64>(STATE + baseField, descBase());
}

/** Reads a descriptor for LLDT or LTR: from the GDT, of type `type` (`other` outside long mode), present. */
function fetchSystem(selector: u32, type: u32, other: u32): bool {
  if (selector & 4) {
    raiseSelector(GP, selector);
    return false;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  if (descIsUser() || (descType() != type && (isLong() || descType() != other))) {
    raiseSelector(GP, selector);
    return false;
  }
  if (!descPresent()) {
    raiseSelector(NP, selector);
    return false;
  }
  if (!isLong()) return true;
  if (!fetchUpper(selector, GP)) return false;
  if (!isCanonical(descBase())) {
    raiseSelector(GP, selector);
    return false;
  }
  return true;
}

export function x_lldt(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  if (cpl() != 0) return gp0();
  const selector = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  if (!(selector & 0xfffc)) {
    store<u32>(STATE + S_SEG_SELECTOR + SEG_LDTR * 4, selector);
    store<u32>(STATE + S_SEG_ATTR + SEG_LDTR * 4, ATTR_UNUSABLE);
    return NEXT_CONTINUE;
  }
  if (!fetchSystem(selector, 2, 2)) return NEXT_FAULT;
  setSystem(SEG_LDTR, selector, S_LDTR_BASE);
  return NEXT_CONTINUE;
}

export function x_ltr(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  if (cpl() != 0) return gp0();
  const selector = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  if (!(selector & 0xfffc)) return gp0();
  if (!fetchSystem(selector, 9, 1) || !markBusy(true)) return NEXT_FAULT;
  setSystem(SEG_TR, selector, S_TR_BASE);
  return NEXT_CONTINUE;
}

/** What LAR and LSL accept: bit n for system type n. In long mode, LDT, TSS and (LAR) call gates. */
const LAR_TYPES: u32 = 0x1a3e;
const LAR_TYPES_LONG: u32 = 0x1a04;
const LSL_TYPES: u32 = 0x0a0e;
const LSL_TYPES_LONG: u32 = 0x0a04;

/** Whether the program may see a selector's descriptor, of a system type in `types` or not a system one. Raises only page faults. */
function isVisible(selector: u32, types: u32): bool {
  if (!(selector & 0xfffc) || readDescriptor(selector) != 0) return false;
  if (!descIsUser() && !((types >> descType()) & 1)) return false;
  if (descIsCode() && descIsConforming()) return true;
  return descDpl() >= cpl() && descDpl() >= (selector & 3);
}

export function x_lar(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  const selector = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const good = isVisible(selector, isLong() ? LAR_TYPES_LONG : LAR_TYPES);
  if (faulted()) return NEXT_FAULT;
  setZero(good);
  if (good) writeSlot(rec + R_REG, operandSize(rec), descHigh & (operandSize(rec) ? 0xf0_ff00 : 0xff00));
  return NEXT_CONTINUE;
}

export function x_lsl(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  const selector = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const good = isVisible(selector, isLong() ? LSL_TYPES_LONG : LSL_TYPES);
  if (faulted()) return NEXT_FAULT;
  setZero(good);
  if (good) writeSlot(rec + R_REG, operandSize(rec), descLimit());
  return NEXT_CONTINUE;
}

function verify(rec: usize, ea: u64, forWrite: bool): i32 {
  if (isRealStyle()) return ud();
  const selector = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const good = isVisible(selector, 0) && (forWrite ? descIsWritable() : descIsReadable());
  if (faulted()) return NEXT_FAULT;
  setZero(good);
  return NEXT_CONTINUE;
}

export function x_verr(rec: usize, ea: u64): i32 {
  return verify(rec, ea, false);
}
export function x_verw(rec: usize, ea: u64): i32 {
  return verify(rec, ea, true);
}

/**
 * ARPL: raises the RPL of the destination to that of the source; ZF says whether it did. The destination must be writable
 * only when it is written (the SDM does not say; processors do so).
 */
export function x_arpl(rec: usize, ea: u64): i32 {
  if (isRealStyle()) return ud();
  const source: u32 = load<u16>(STATE + <usize>load<u8>(rec + R_REG));
  const target = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const raised = (target & 3) < (source & 3);
  if (raised) {
    const value = (target & 0xfffc) | (source & 3);
    if (isRegister(rec)) writeSlot(rec + R_RM, 0, value);
    else {
      const seg: u32 = load<u8>(rec + R_SEG);
      // Real segments, in range: the operand was read. Only their type is left to check.
      if ((load<u32>(STATE + S_SEG_ATTR + seg * 4) & 10) != 2) return raiseCode(seg == SEG_SS ? SS : GP, 0);
      if (!st16(ea, value)) return NEXT_FAULT;
    }
  }
  setZero(raised);
  return NEXT_CONTINUE;
}
