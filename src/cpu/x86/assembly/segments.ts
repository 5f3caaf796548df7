/** Descriptors and segment registers, SDM vol. 3 chapters 3 and 5; order of the checks as in the instruction pages of vol. 2. */
import { STATE } from './env';
import { GP, NP, SS, faulted, raiseCode } from './faults';
import {
  S_CPL,
  S_GDTR_BASE,
  S_GDTR_LIMIT,
  S_LDTR_BASE,
  S_SEG_ATTR,
  S_SEG_BASE,
  S_SEG_LIMIT,
  S_SEG_SELECTOR,
  SEG_CS,
  SEG_LDTR,
  SEG_SS,
} from './generated/layout';
import { sysLd64, sysSt8 } from './mmu';
import { cpl, is64, isLong, isReal, isRealStyle, isV86, segAttr, segLimit } from './modes';

export const ATTR_UNUSABLE: u32 = 1 << 16;

/** The descriptor that was read last: its two words, the upper half of a 16-byte one, and where it lies. */
export let descLow: u32 = 0;
export let descHigh: u32 = 0;
export let descUpper: u32 = 0;
let descAt: u64 = 0;

let heldLow: u32 = 0;
let heldHigh: u32 = 0;
let heldUpper: u32 = 0;
let heldAt: u64 = 0;

/** Keeps the descriptor that was read last while another is. */
export function holdDescriptor(): void {
  heldLow = descLow;
  heldHigh = descHigh;
  heldUpper = descUpper;
  heldAt = descAt;
}
/** Makes the kept descriptor the current one again. */
export function takeHeld(): void {
  descLow = heldLow;
  descHigh = heldHigh;
  descUpper = heldUpper;
  descAt = heldAt;
}

/** Exchanges the kept descriptor and the current one. */
export function swapHeld(): void {
  const low = descLow;
  const high = descHigh;
  const upper = descUpper;
  const at = descAt;
  takeHeld();
  heldLow = low;
  heldHigh = high;
  heldUpper = upper;
  heldAt = at;
}

/** EXT bit of error codes while an event is being delivered that is external to the program (SDM vol. 3 §6.13). */
export let ext: i32 = 0;
export function setExt(value: i32): void {
  ext = value;
}

/** Raises an exception with a selector error code. */
export function raiseSelector(vector: i32, selector: u32): i32 {
  return raiseCode(vector, <i32>(selector & 0xfffc) | ext);
}

export const DESC_OK: i32 = 0;
/** Beyond the table's limit, or in an LDT that is not there. */
export const DESC_LIMIT: i32 = 1;
/** Reading it faulted. */
export const DESC_FAULT: i32 = 2;

/** Reads the descriptor of a selector into descLow and descHigh. */
export function readDescriptor(selector: u32): i32 {
  let base: u64;
  let limit: u32;
  if (selector & 4) {
    if (segAttr(SEG_LDTR) & ATTR_UNUSABLE) return DESC_LIMIT;
    base = load<u64>(STATE + S_LDTR_BASE);
    limit = segLimit(SEG_LDTR);
  } else {
    base = load<u64>(STATE + S_GDTR_BASE);
    limit = load<u32>(STATE + S_GDTR_LIMIT);
  }
  const offset = selector & 0xfff8;
  if (offset + 7 > limit) return DESC_LIMIT;
  let at = base + offset;
  if (!isLong()) at &= 0xffff_ffff;
  const both = sysLd64(at);
  if (faulted()) return DESC_FAULT;
  descAt = at;
  descLow = <u32>both;
  descHigh = <u32>(both >> 32);
  descUpper = 0;
  return DESC_OK;
}

/** Reads it and raises `vector` with the selector when it is out of its table. */
export function fetchDescriptor(selector: u32, vector: i32): bool {
  const result = readDescriptor(selector);
  if (result == DESC_LIMIT) raiseSelector(vector, selector);
  return result == DESC_OK;
}

/** Reads the upper half of a system descriptor in long mode; `vector` when it is out of the table or not of type 0 above. */
export function fetchUpper(selector: u32, vector: i32): bool {
  const limit = selector & 4 ? segLimit(SEG_LDTR) : load<u32>(STATE + S_GDTR_LIMIT);
  if ((selector & 0xfff8) + 15 > limit) {
    raiseSelector(vector, selector);
    return false;
  }
  const both = sysLd64(descAt + 8);
  if (faulted()) return false;
  // Bits 12:8 of the last word, where a type would be, must be 0.
  if ((both >> 32) & 0x1f00) {
    raiseSelector(vector, selector);
    return false;
  }
  descUpper = <u32>both;
  return true;
}

@inline
export function descType(): u32 {
  return (descHigh >> 8) & 15;
}
/** S: code or data, not a system descriptor. */
@inline
export function descIsUser(): bool {
  return (descHigh & 0x1000) != 0;
}
@inline
export function descDpl(): u32 {
  return (descHigh >> 13) & 3;
}
@inline
export function descPresent(): bool {
  return (descHigh & 0x8000) != 0;
}
@inline
export function descIsCode(): bool {
  return (descHigh & 0x1800) == 0x1800;
}
/** Code: conforming. Data: expand-down. */
@inline
export function descIsConforming(): bool {
  return (descHigh & 0x400) != 0;
}
/** Data that can be written. */
@inline
export function descIsWritable(): bool {
  return (descHigh & 0x1a00) == 0x1200;
}
/** Data, or code that can be read. */
@inline
export function descIsReadable(): bool {
  return descIsUser() && (!(descHigh & 0x800) || (descHigh & 0x200) != 0);
}
@inline
export function descAttr(): u32 {
  return (descHigh >> 8) & 0xf0ff;
}
export function descBase(): u64 {
  return <u64>((descLow >> 16) | ((descHigh & 0xff) << 16) | (descHigh & 0xff00_0000)) | ((<u64>descUpper) << 32);
}
export function descLimit(): u32 {
  const limit = (descLow & 0xffff) | (descHigh & 0xf_0000);
  return descHigh & 0x80_0000 ? (limit << 12) | 0xfff : limit;
}

/** Sets the accessed bit of the descriptor in its table. False: writing it faulted. */
export function markAccessed(): bool {
  if (descHigh & 0x100) return true;
  descHigh |= 0x100;
  return sysSt8(descAt + 5, descHigh >> 8);
}

/** Sets or clears the busy bit of the TSS descriptor in its table. */
export function markBusy(busy: bool): bool {
  descHigh = busy ? descHigh | 0x200 : descHigh & ~0x200;
  return sysSt8(descAt + 5, descHigh >> 8);
}

/** Loads a segment register from the descriptor that was read. */
export function setSegment(seg: u32, selector: u32): void {
  store<u32>(STATE + S_SEG_SELECTOR + seg * 4, selector);
  store<u32>(STATE + S_SEG_ATTR + seg * 4, descAttr());
  store<u32>(STATE + S_SEG_LIMIT + seg * 4, descLimit());
  store<u64>(STATE + S_SEG_BASE + seg * 8, descBase());
}

/** Makes a segment register hold a null selector. */
export function setNull(seg: u32, selector: u32): void {
  store<u32>(STATE + S_SEG_SELECTOR + seg * 4, selector);
  store<u32>(STATE + S_SEG_ATTR + seg * 4, ATTR_UNUSABLE | (seg == SEG_SS ? load<u32>(STATE + S_CPL) << 5 : 0));
  store<u64>(STATE + S_SEG_BASE + seg * 8, 0);
}

/**
 * Loads a segment register as real and V86 mode do. Real mode keeps the limit ("unreal mode", SDM vol. 3 §10.9.1 has the
 * reason); V86 mode has fixed attributes.
 */
export function setParagraph(seg: u32, selector: u32): void {
  store<u32>(STATE + S_SEG_SELECTOR + seg * 4, selector);
  store<u64>(STATE + S_SEG_BASE + seg * 8, (<u64>selector) << 4);
  const attr = STATE + S_SEG_ATTR + seg * 4;
  if (isV86()) {
    store<u32>(attr, 0xf3);
    store<u32>(STATE + S_SEG_LIMIT + seg * 4, 0xffff);
  } else {
    const type: u32 = seg == SEG_CS ? 0x9b : 0x93;
    store<u32>(attr, (load<u32>(attr) & 0xc000) | type);
  }
}

/** Loads CS from the descriptor that was read, at a privilege level. In 64-bit mode its base is 0. */
export function setCs(selector: u32, level: u32): void {
  setSegment(SEG_CS, (selector & 0xfffc) | level);
  if (isLong() && descHigh & 0x20_0000) store<u64>(STATE + S_SEG_BASE + SEG_CS * 8, 0);
  store<u32>(STATE + S_CPL, level);
}

/** MOV to, POP of, LDS … of SS: SDM vol. 2, MOV. False with an exception pending. */
export function loadSs(selector: u32): bool {
  if (!(selector & 0xfffc)) {
    // In 64-bit mode a null SS is fine below ring 3, with RPL = CPL.
    if (is64() && cpl() != 3 && (selector & 3) == cpl()) {
      setNull(SEG_SS, selector);
      return true;
    }
    raiseCode(GP, 0);
    return false;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  if ((selector & 3) != cpl() || !descIsWritable() || descDpl() != cpl()) {
    raiseSelector(GP, selector);
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

/** Loads ES, DS, FS or GS. False with an exception pending. */
export function loadData(seg: u32, selector: u32): bool {
  if (!(selector & 0xfffc)) {
    setNull(seg, selector);
    return true;
  }
  if (!fetchDescriptor(selector, GP)) return false;
  const guarded = !(descIsCode() && descIsConforming());
  if (!descIsReadable() || (guarded && ((selector & 3) > descDpl() || cpl() > descDpl()))) {
    raiseSelector(GP, selector);
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

/** Loads any segment register but CS as the mode wants it. The caller updates the mode. False with an exception pending. */
export function loadSegment(seg: u32, selector: u32): bool {
  if (isRealStyle()) {
    setParagraph(seg, selector);
    return true;
  }
  return seg == SEG_SS ? loadSs(selector) : loadData(seg, selector);
}

/**
 * After a return to a less privileged level: data segments it may not see become null, and null selectors 0 (SDM vol. 2, IRET and
 * RET; so a user program can see its own selector of 3 become 0 with an interrupt). The bases of FS and GS stay, which 64-bit code
 * goes on using; in other modes an unusable segment has none.
 */
export function dropPrivilegedSegments(): void {
  for (let seg: u32 = 0; seg < 6; seg++) {
    if (seg == SEG_CS || seg == SEG_SS) continue;
    const attr = segAttr(seg);
    // Data or non-conforming code with a DPL below CPL.
    const conforming = (attr & 0x1c) == 0x1c;
    const privileged = !(attr & ATTR_UNUSABLE) && !conforming && ((attr >> 5) & 3) < cpl();
    const selector = STATE + S_SEG_SELECTOR + seg * 4;
    if (load<u32>(selector) < 4 || privileged) {
      store<u32>(selector, 0);
      store<u32>(STATE + S_SEG_ATTR + seg * 4, ATTR_UNUSABLE);
    }
  }
}

/**
 * Checks an access of `size` bytes (1 at least) at an offset against a segment and its limit. Not for 64-bit mode. False with
 * #GP(0), or #SS(0) for SS, pending.
 */
export function checkSegment(seg: u32, offset: u64, size: u32, isWrite: bool): bool {
  const attr = segAttr(seg);
  let good = !(attr & ATTR_UNUSABLE);
  const isCode = (attr & 8) != 0;
  // Real mode does not look at the type.
  if (good && !isReal()) good = isWrite ? (attr & 10) == 2 : !isCode || (attr & 2) != 0;
  if (good) {
    const last = offset + size - 1;
    if ((attr & 12) == 4) {
      const top: u64 = attr & 0x4000 ? 0xffff_ffff : 0xffff;
      good = offset > segLimit(seg) && last <= top;
    } else {
      good = last <= <u64>segLimit(seg);
    }
  }
  if (!good) raiseCode(seg == SEG_SS ? SS : GP, 0);
  return good;
}
