// FXSAVE, FXRSTOR and the XSAVE family with the components x87 and SSE: SDM vol. 1 §10.5 and chapter 13.
import { STATE } from './env';
import { gp0, nm, notCanonical, ud } from './faults';
import {
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_PREFIX,
  R_SEG,
  S_BOUNCE,
  S_CPL,
  S_CR0,
  S_CR4,
  S_FCS,
  S_FCW,
  S_FDP,
  S_FDS,
  S_FIP,
  S_FOP,
  S_FPR,
  S_FSW,
  S_FTW,
  S_GPR,
  S_MODE_KEY,
  S_MXCSR,
  S_SCRATCH,
  S_XCR0,
  S_XMM,
  S_XSS,
} from './generated/layout';
import { isCanonical, ldBytes, rmw_commit, rmw_slow, stBytes } from './mmu';
import { segBase } from './modes';
import { checkSegment } from './segments';

const CR0_EM: u32 = 1 << 2;
const CR0_TS: u32 = 1 << 3;
const CR4_OSXSAVE: u32 = 1 << 18;

/** Components, as bits of XCR0. */
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
/** What XCR0 may hold; bit 0 is always set. */
const XCR0_MASK: u64 = X87 | SSE;
/** XCOMP_BV bit 63: the compacted format. */
const COMPACTED: u64 = 1 << 63;

/** Bits of MXCSR that exist: what FXSAVE stores as MXCSR_MASK. */
const MXCSR_MASK: u32 = 0xffff;
const MXCSR_INIT: u32 = 0x1f80;

/** Offsets in the legacy region, SDM vol. 1 table 10-2; and of the XSAVE header. */
const MXCSR_AT: usize = 24;
const ST_AT: usize = 32;
const XMM_AT: usize = 160;
/** Bytes of FXSAVE's image, of which the last 96 are the program's own. */
const IMAGE_SIZE: i32 = 512;
const HEADER_AT: usize = 512;
const AREA_SIZE: i32 = 576;

/** An image is put together or looked at here. */
const IMAGE: usize = S_SCRATCH;

@inline
function image(): usize {
  return STATE + IMAGE;
}

@inline
function in64BitMode(): bool {
  return (load<u32>(STATE + S_MODE_KEY) & 3) == 2;
}

/** With REX.W instruction and data pointers are 64-bit offsets without selectors. */
@inline
function isWide(rec: usize): bool {
  return (load<u8>(rec + R_PREFIX) & 3) == 2;
}

/** XMM registers that the mode can name, in bytes. */
@inline
function xmmBytes(): i32 {
  return in64BitMode() ? 256 : 128;
}

@inline
function stRegister(i: u32): usize {
  return STATE + S_FPR + (((i + (load<u32>(STATE + S_FSW) >> 11)) & 7) << 4);
}

// ---- to the image ----

/** Control words, pointers and ST(0) … ST(7). */
function x87ToImage(wide: bool): void {
  const at = image();
  store<u16>(at, load<u16>(STATE + S_FCW));
  store<u16>(at, load<u16>(STATE + S_FSW), 2);
  store<u16>(at, load<u8>(STATE + S_FTW), 4);
  store<u16>(at, load<u16>(STATE + S_FOP), 6);
  if (wide) {
    store<u64>(at, load<u64>(STATE + S_FIP), 8);
    store<u64>(at, load<u64>(STATE + S_FDP), 16);
  } else {
    store<u64>(at, <u64>load<u32>(STATE + S_FIP) | ((<u64>load<u16>(STATE + S_FCS)) << 32), 8);
    store<u64>(at, <u64>load<u32>(STATE + S_FDP) | ((<u64>load<u16>(STATE + S_FDS)) << 32), 16);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const from = stRegister(i);
    store<u64>(at + ST_AT + (i << 4), load<u64>(from));
    store<u64>(at + ST_AT + (i << 4), load<u16>(from, 8), 8);
  }
}

function mxcsrToImage(): void {
  store<u32>(image(), load<u32>(STATE + S_MXCSR), MXCSR_AT);
  store<u32>(image(), MXCSR_MASK, MXCSR_AT + 4);
}

/** Whether a component is not in its initial configuration, SDM vol. 1 §13.6. MXCSR does not count. */
function inUse(): u64 {
  let mask: u64 = 0;
  if (
    load<u32>(STATE + S_FCW) != 0x37f ||
    load<u32>(STATE + S_FSW) |
      load<u32>(STATE + S_FTW) |
      load<u32>(STATE + S_FOP) |
      load<u32>(STATE + S_FCS) |
      load<u32>(STATE + S_FDS) ||
    load<u64>(STATE + S_FIP) | load<u64>(STATE + S_FDP)
  )
    mask |= X87;
  for (let i: usize = 0; i < 128; i += 16) {
    if (load<u64>(STATE + S_FPR + i) | load<u16>(STATE + S_FPR + i, 8)) mask |= X87;
  }
  for (let i: usize = 0; i < 256; i += 16) {
    if (v128.any_true(v128.load(STATE + S_XMM + i))) mask |= SSE;
  }
  return mask;
}

// ---- from the image ----

function x87FromImage(wide: bool): void {
  const at = image();
  const control: u32 = load<u16>(at);
  let status: u32 = load<u16>(at, 2);
  // ES and B follow from the exceptions that are flagged and not masked (SDM vol. 1 §8.1.3.3).
  status = status & ~control & 0x3f ? status | 0x8080 : status & ~0x8080;
  store<u32>(STATE + S_FCW, (control & 0x1f3f) | 0x40);
  store<u32>(STATE + S_FSW, status);
  store<u32>(STATE + S_FTW, load<u8>(at, 4));
  store<u32>(STATE + S_FOP, load<u16>(at, 6) & 0x7ff);
  if (wide) {
    store<u64>(STATE + S_FIP, load<u64>(at, 8));
    store<u64>(STATE + S_FDP, load<u64>(at, 16));
    store<u32>(STATE + S_FCS, 0);
    store<u32>(STATE + S_FDS, 0);
  } else {
    store<u64>(STATE + S_FIP, load<u32>(at, 8));
    store<u64>(STATE + S_FDP, load<u32>(at, 16));
    store<u32>(STATE + S_FCS, load<u16>(at, 12));
    store<u32>(STATE + S_FDS, load<u16>(at, 20));
  }
  for (let i: u32 = 0; i < 8; i++) {
    const to = stRegister(i);
    store<u64>(to, load<u64>(at + ST_AT + (i << 4)));
    store<u64>(to, load<u16>(at + ST_AT + (i << 4), 8), 8);
  }
}

function initX87(): void {
  store<u32>(STATE + S_FCW, 0x37f);
  store<u32>(STATE + S_FSW, 0);
  store<u32>(STATE + S_FTW, 0);
  store<u32>(STATE + S_FOP, 0);
  store<u32>(STATE + S_FCS, 0);
  store<u32>(STATE + S_FDS, 0);
  store<u64>(STATE + S_FIP, 0);
  store<u64>(STATE + S_FDP, 0);
  memory.fill(STATE + S_FPR, 0, 128);
}

// ---- FXSAVE, FXRSTOR ----

/** Both need CR0.EM = 0 and CR0.TS = 0 (#NM) and an address that is a multiple of 16 (#GP). */
function fxReady(rec: usize, ea: u64, isWrite: bool): bool {
  if (load<u32>(STATE + S_CR0) & (CR0_EM | CR0_TS)) {
    nm();
    return false;
  }
  if (!isCanonical(ea)) notCanonical();
  else if (ea & 15) gp0();
  else return inSegment(rec, ea, IMAGE_SIZE, isWrite);
  return false;
}

/** Whether all of an area lies in its segment: the check that comes with the address looks at its beginning only. */
function inSegment(rec: usize, ea: u64, size: u32, isWrite: bool): bool {
  if (in64BitMode()) return true;
  const segment: u32 = load<u8>(rec + R_SEG);
  return checkSegment(segment, (ea - segBase(segment)) & 0xffff_ffff, size, isWrite);
}

export function x_fxsave(rec: usize, ea: u64): i32 {
  if (!fxReady(rec, ea, true)) return NEXT_FAULT;
  x87ToImage(isWide(rec));
  mxcsrToImage();
  memory.copy(image() + XMM_AT, STATE + S_XMM, xmmBytes());
  // What lies above the registers is left as it is, but must be writable like the rest.
  if ((ea & 0xfff) > 0x1000 - IMAGE_SIZE && !rmw_slow(ea + IMAGE_SIZE - 1, 1)) return NEXT_FAULT;
  return stBytes(ea, image(), <i32>XMM_AT + xmmBytes()) ? NEXT_CONTINUE : NEXT_FAULT;
}

export function x_fxrstor(rec: usize, ea: u64): i32 {
  if (!fxReady(rec, ea, false) || !ldBytes(ea, image(), IMAGE_SIZE)) return NEXT_FAULT;
  if (load<u32>(image(), MXCSR_AT) & ~MXCSR_MASK) return gp0();
  x87FromImage(isWide(rec));
  store<u32>(STATE + S_MXCSR, load<u32>(image(), MXCSR_AT));
  memory.copy(STATE + S_XMM, image() + XMM_AT, xmmBytes());
  return NEXT_CONTINUE;
}

// ---- XSAVE and its relatives ----

/** All need CR4.OSXSAVE (#UD), CR0.TS = 0 (#NM) and an address that is a multiple of 64 (#GP). */
function xsaveReady(rec: usize, ea: u64, isWrite: bool): bool {
  if (!(load<u32>(STATE + S_CR4) & CR4_OSXSAVE)) ud();
  else if (load<u32>(STATE + S_CR0) & CR0_TS) nm();
  else if (ea & 63) gp0();
  else return inSegment(rec, ea, AREA_SIZE, isWrite);
  return false;
}

/** Components that EDX:EAX asks for. */
@inline
function requested(): u64 {
  return <u64>load<u32>(STATE + S_GPR) | ((<u64>load<u32>(STATE + S_GPR + 16)) << 32);
}

/** Stores the components in `mask`, MXCSR if asked. The end of the area comes first: it faults before anything is written. */
function storeComponents(ea: u64, mask: u64, mxcsr: bool, wide: bool): bool {
  if (mask & SSE) {
    if (!stBytes(ea + XMM_AT, STATE + S_XMM, xmmBytes())) return false;
  }
  if (mxcsr) {
    mxcsrToImage();
    if (!stBytes(ea + MXCSR_AT, image() + MXCSR_AT, 8)) return false;
  }
  if (mask & X87) {
    x87ToImage(wide);
    if (!stBytes(ea + ST_AT, image() + ST_AT, 128)) return false;
    if (!stBytes(ea, image(), <i32>MXCSR_AT)) return false;
  }
  return true;
}

/** XSAVE (everything asked for) and XSAVEOPT (what is in its initial configuration is left out). */
function saveStandard(rec: usize, ea: u64, optimised: bool): i32 {
  if (!xsaveReady(rec, ea, true)) return NEXT_FAULT;
  const mask = requested() & load<u64>(STATE + S_XCR0);
  const used = inUse();
  // Read with permission to write: an area that is only readable raises the fault of a write.
  const header = rmw_slow(ea + HEADER_AT, 8);
  if (!header) return NEXT_FAULT;
  store<u64>(header, (load<u64>(header) & ~mask) | (mask & used));
  if (header == STATE + S_BOUNCE) rmw_commit();
  const saved = optimised ? mask & used : mask;
  return storeComponents(ea, saved, (mask & (SSE | AVX)) != 0, isWide(rec)) ? NEXT_CONTINUE : NEXT_FAULT;
}

/** XSAVEC and XSAVES: the compacted format; components in their initial configuration are not stored. */
function saveCompacted(rec: usize, ea: u64, components: u64): i32 {
  const mask = requested() & components;
  let saved = mask & inUse();
  // MXCSR belongs to SSE here, so SSE counts as in use when MXCSR is not initial (SDM vol. 1 §13.10).
  if (mask & SSE && load<u32>(STATE + S_MXCSR) != MXCSR_INIT) saved |= SSE;
  const header = image();
  store<u64>(header, saved);
  store<u64>(header, mask | COMPACTED, 8);
  if (!stBytes(ea + HEADER_AT, header, 16)) return NEXT_FAULT;
  return storeComponents(ea, saved, (saved & SSE) != 0, isWide(rec)) ? NEXT_CONTINUE : NEXT_FAULT;
}

export function x_xsave(rec: usize, ea: u64): i32 {
  return saveStandard(rec, ea, false);
}

export function x_xsaveopt(rec: usize, ea: u64): i32 {
  return saveStandard(rec, ea, true);
}

export function x_xsavec(rec: usize, ea: u64): i32 {
  return xsaveReady(rec, ea, true) ? saveCompacted(rec, ea, load<u64>(STATE + S_XCR0)) : NEXT_FAULT;
}

export function x_xsaves(rec: usize, ea: u64): i32 {
  if (!supervisorReady(rec, ea, true)) return NEXT_FAULT;
  return saveCompacted(rec, ea, load<u64>(STATE + S_XCR0) | load<u64>(STATE + S_XSS));
}

/** XSAVES and XRSTORS are for CPL 0 only; #UD and #NM go before that. */
function supervisorReady(rec: usize, ea: u64, isWrite: bool): bool {
  if (load<u32>(STATE + S_CR4) & CR4_OSXSAVE && !(load<u32>(STATE + S_CR0) & CR0_TS) && load<u32>(STATE + S_CPL)) {
    gp0();
    return false;
  }
  return xsaveReady(rec, ea, isWrite);
}

/** `components` are those that the image may have; `compactedOnly` is XRSTORS. */
function restore(rec: usize, ea: u64, components: u64, compactedOnly: bool): i32 {
  const at = image();
  if (!ldBytes(ea, at, AREA_SIZE)) return NEXT_FAULT;
  const present = load<u64>(at + HEADER_AT);
  const format = load<u64>(at + HEADER_AT, 8);
  const compacted = (format & COMPACTED) != 0;
  if (compacted) {
    // SDM vol. 1 §13.8.2: no component outside XCOMP_BV, none that is not enabled, header bytes 63:16 zero.
    if (present & ~format || format & ~(components | COMPACTED)) return gp0();
    for (let i: usize = 16; i < 64; i += 8) if (load<u64>(at + HEADER_AT + i)) return gp0();
  } else {
    // §13.8.1: header bytes 23:8 zero; the rest of the header is not looked at.
    if (compactedOnly || present & ~components) return gp0();
    if (format | load<u64>(at + HEADER_AT, 16)) return gp0();
  }
  const mask = requested() & components;
  // The standard format has MXCSR apart from SSE's bit in XSTATE_BV, the compacted one has not.
  const loadsMxcsr = compacted ? (mask & present & SSE) != 0 : (mask & (SSE | AVX)) != 0;
  if (loadsMxcsr && load<u32>(at, MXCSR_AT) & ~MXCSR_MASK) return gp0();

  if (mask & X87) {
    if (present & X87) x87FromImage(isWide(rec));
    else initX87();
  }
  if (loadsMxcsr) store<u32>(STATE + S_MXCSR, load<u32>(at, MXCSR_AT));
  else if (mask & SSE) store<u32>(STATE + S_MXCSR, MXCSR_INIT);
  if (mask & SSE) {
    if (present & SSE) memory.copy(STATE + S_XMM, at + XMM_AT, xmmBytes());
    else memory.fill(STATE + S_XMM, 0, xmmBytes());
  }
  return NEXT_CONTINUE;
}

export function x_xrstor(rec: usize, ea: u64): i32 {
  return xsaveReady(rec, ea, false) ? restore(rec, ea, load<u64>(STATE + S_XCR0), false) : NEXT_FAULT;
}

export function x_xrstors(rec: usize, ea: u64): i32 {
  if (!supervisorReady(rec, ea, false)) return NEXT_FAULT;
  return restore(rec, ea, load<u64>(STATE + S_XCR0) | load<u64>(STATE + S_XSS), true);
}

// ---- extended control registers ----

/** ECX 0: XCR0; 1: the components of XCR0 that are in use. */
export function x_xgetbv(rec: usize, ea: u64): i32 {
  if (!(load<u32>(STATE + S_CR4) & CR4_OSXSAVE)) return ud();
  const index = load<u32>(STATE + S_GPR + 8);
  if (index > 1) return gp0();
  let value = load<u64>(STATE + S_XCR0);
  if (index == 1) value &= inUse();
  store<u64>(STATE + S_GPR, value & 0xffffffff);
  store<u64>(STATE + S_GPR + 16, value >> 32);
  return NEXT_CONTINUE;
}

export function x_xsetbv(rec: usize, ea: u64): i32 {
  if (!(load<u32>(STATE + S_CR4) & CR4_OSXSAVE)) return ud();
  const value = requested();
  if (load<u32>(STATE + S_CPL) || load<u32>(STATE + S_GPR + 8) || !(value & X87) || value & ~XCR0_MASK) return gp0();
  store<u64>(STATE + S_XCR0, value);
  return NEXT_ATTENTION;
}
