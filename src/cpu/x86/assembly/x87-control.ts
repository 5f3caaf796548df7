/** x87 control: words, environment and state images. SDM vol. 1 §8.1.10 and figures 8-9 … 8-12. */
import * as N from '../../../ir/assembly/softfloat/number';
import * as X from '../../../ir/assembly/softfloat/extended';
import { STATE } from './env';
import { faulted, nm } from './faults';
import {
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_PREFIX,
  S_CR0,
  S_EFLAGS,
  S_FCS,
  S_FCW,
  S_FDP,
  S_FDS,
  S_FIP,
  S_FOP,
  S_FPR,
  S_FTW,
  S_GPR,
} from './generated/layout';
import { ld16, ldBytes, st16, stBytes } from './mmu';
import { WORK } from './sse-operands';
import {
  errorPending,
  fcw,
  FSW_B,
  FSW_ES,
  fsw,
  ready,
  readyNoWait,
  release,
  seOf,
  setFsw,
  sigOf,
  st,
} from './x87-state';

const CR0_PE: u32 = 1 << 0;
const CR0_MP: u32 = 1 << 1;
const CR0_TS: u32 = 1 << 3;
const EFLAGS_VM: u32 = 1 << 17;

/** Bits of the control word that hold a value; bit 6 reads 1. */
const FCW_MASK: u32 = 0x1f3f;
const FCW_ONE: u32 = 0x40;
const FCW_INIT: u32 = 0x37f;

/** An image of up to 108 bytes is put together here: the last kilobyte's worth of work space holds it. */
const IMAGE: usize = WORK;

/** Recomputes ES and B after the control or the exceptions have changed. */
function updateSummary(): void {
  const before = fsw();
  if (before & ~fcw() & 0x3f) setFsw(before | FSW_ES | FSW_B);
  else {
    setFsw(before & ~(FSW_ES | FSW_B));
    if (before & FSW_ES) release();
  }
}

function setFcw(v: u32): void {
  store<u32>(STATE + S_FCW, (v & FCW_MASK) | FCW_ONE);
}

function initialize(): void {
  setFcw(FCW_INIT);
  if (fsw() & FSW_ES) release();
  setFsw(0);
  store<u32>(STATE + S_FTW, 0);
  store<u64>(STATE + S_FIP, 0);
  store<u64>(STATE + S_FDP, 0);
  store<u32>(STATE + S_FCS, 0);
  store<u32>(STATE + S_FDS, 0);
  store<u32>(STATE + S_FOP, 0);
}

export function x_fnop(rec: usize, ea: u64): i32 {
  return ready() ? NEXT_CONTINUE : NEXT_FAULT;
}

/** FNENI, FNDISI, FNSETPM: nothing, without waiting. */
export function x_fneni(rec: usize, ea: u64): i32 {
  return readyNoWait() ? NEXT_CONTINUE : NEXT_FAULT;
}

/** FWAIT: #NM only with CR0.MP and TS. */
export function x_fwait(rec: usize, ea: u64): i32 {
  if ((load<u32>(STATE + S_CR0) & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) return nm();
  return errorPending() ? NEXT_FAULT : NEXT_CONTINUE;
}

export function x_fldcw(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const v = ld16(ea);
  if (faulted()) return NEXT_FAULT;
  setFcw(v);
  updateSummary();
  return NEXT_CONTINUE;
}

export function x_fnstcw(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  return st16(ea, fcw()) ? NEXT_CONTINUE : NEXT_FAULT;
}

export function x_fnstsw(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  return st16(ea, fsw()) ? NEXT_CONTINUE : NEXT_FAULT;
}

export function x_fnstsw_ax(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  store<u16>(STATE + S_GPR, fsw());
  return NEXT_CONTINUE;
}

export function x_fnclex(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  const before = fsw();
  setFsw(before & 0x7f00);
  if (before & FSW_ES) release();
  return NEXT_CONTINUE;
}

export function x_fninit(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  initialize();
  return NEXT_CONTINUE;
}

// ---- Images ----

/** Operand size 16: fields of 2 bytes, else of 4. */
@inline
function isShort(rec: usize): bool {
  return (load<u8>(rec + R_PREFIX) & 3) == 0;
}

@inline
function isRealFormat(): bool {
  return !(load<u32>(STATE + S_CR0) & CR0_PE) || (load<u32>(STATE + S_EFLAGS) & EFLAGS_VM) != 0;
}

/** The tag word: two bits per physical register, 0 valid, 1 zero, 2 special, 3 empty. */
export function fullTags(): u32 {
  const valid = load<u32>(STATE + S_FTW);
  let tags: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    let tag: u32 = 3;
    if ((valid >> i) & 1) {
      const at = STATE + S_FPR + (i << 4);
      const se = seOf(at);
      const c = X.classify(se, sigOf(at));
      if (c == N.CLASS_ZERO) tag = 1;
      else tag = c == N.CLASS_FINITE && (se & 0x7fff) != 0 ? 0 : 2;
    }
    tags |= tag << (i << 1);
  }
  return tags;
}

function setFullTags(tags: u32): void {
  let valid: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) if (((tags >> (i << 1)) & 3) != 3) valid |= 1 << i;
  store<u32>(STATE + S_FTW, valid);
}

/** Writes field n of an image; the upper halves of 32-bit fields that hold 16 bits are ones. */
function field(n: usize, v: u32, short: bool): void {
  const at = STATE + IMAGE;
  if (short) store<u16>(at + (n << 1), v);
  else store<u32>(at + (n << 2), v);
}

function readField(n: usize, short: bool): u32 {
  const at = STATE + IMAGE;
  return short ? <u32>load<u16>(at + (n << 1)) : load<u32>(at + (n << 2));
}

/** Puts the environment into the image. */
function environmentToImage(short: bool): void {
  const ones: u32 = short ? 0 : 0xffff0000;
  const ip = load<u32>(STATE + S_FIP);
  const dp = load<u32>(STATE + S_FDP);
  const cs = load<u32>(STATE + S_FCS) & 0xffff;
  const ds = load<u32>(STATE + S_FDS) & 0xffff;
  const op = load<u32>(STATE + S_FOP) & 0x7ff;
  field(0, fcw() | ones, short);
  field(1, fsw() | ones, short);
  field(2, fullTags() | ones, short);
  if (isRealFormat()) {
    // Linear addresses, cut into bits 15:0 and the rest (to bit 19 or 31) from bit 12 up.
    const ipLinear = ip + (cs << 4);
    const dpLinear = dp + (ds << 4);
    const limit: u32 = short ? 0xf : 0xffff;
    field(3, (ipLinear & 0xffff) | ones, short);
    field(4, (((ipLinear >> 16) & limit) << 12) | op, short);
    field(5, (dpLinear & 0xffff) | ones, short);
    field(6, ((dpLinear >> 16) & limit) << 12, short);
    return;
  }
  field(3, ip, short);
  field(4, short ? cs : cs | (op << 16), short);
  field(5, dp, short);
  field(6, ds | ones, short);
}

/** Takes the environment from the image. */
function environmentFromImage(short: bool): void {
  setFcw(readField(0, short));
  const status = readField(1, short) & 0xffff;
  const before = fsw();
  setFsw((status & ~(FSW_ES | FSW_B)) | (before & FSW_ES));
  setFullTags(readField(2, short));
  const f3 = readField(3, short);
  const f4 = readField(4, short);
  const f5 = readField(5, short);
  const f6 = readField(6, short);
  if (isRealFormat()) {
    store<u64>(STATE + S_FIP, (f3 & 0xffff) | ((f4 << 4) & 0xffff0000));
    store<u64>(STATE + S_FDP, (f5 & 0xffff) | ((f6 << 4) & 0xffff0000));
    store<u32>(STATE + S_FCS, 0);
    store<u32>(STATE + S_FDS, 0);
    store<u32>(STATE + S_FOP, f4 & 0x7ff);
  } else {
    store<u64>(STATE + S_FIP, f3);
    store<u64>(STATE + S_FDP, f5);
    store<u32>(STATE + S_FCS, f4 & 0xffff);
    store<u32>(STATE + S_FDS, f6 & 0xffff);
    store<u32>(STATE + S_FOP, short ? 0 : (f4 >> 16) & 0x7ff);
  }
  updateSummary();
}

export function x_fnstenv(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  const short = isShort(rec);
  environmentToImage(short);
  if (!stBytes(ea, STATE + IMAGE, short ? 14 : 28)) return NEXT_FAULT;
  // All exceptions are masked now, so none is pending.
  setFcw(fcw() | 0x3f);
  updateSummary();
  return NEXT_CONTINUE;
}

export function x_fldenv(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const short = isShort(rec);
  if (!ldBytes(ea, STATE + IMAGE, short ? 14 : 28)) return NEXT_FAULT;
  environmentFromImage(short);
  return NEXT_CONTINUE;
}

export function x_fnsave(rec: usize, ea: u64): i32 {
  if (!readyNoWait()) return NEXT_FAULT;
  const short = isShort(rec);
  environmentToImage(short);
  const size: i32 = short ? 14 : 28;
  let to = STATE + IMAGE + size;
  for (let i: u32 = 0; i < 8; i++, to += 10) {
    const from = st(i);
    store<u64>(to, sigOf(from));
    store<u16>(to, seOf(from), 8);
  }
  if (!stBytes(ea, STATE + IMAGE, size + 80)) return NEXT_FAULT;
  initialize();
  return NEXT_CONTINUE;
}

export function x_frstor(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const short = isShort(rec);
  const size: i32 = short ? 14 : 28;
  if (!ldBytes(ea, STATE + IMAGE, size + 80)) return NEXT_FAULT;
  environmentFromImage(short);
  let from = STATE + IMAGE + size;
  for (let i: u32 = 0; i < 8; i++, from += 10) {
    const to = st(i);
    store<u64>(to, load<u64>(from));
    store<u64>(to, load<u16>(from, 8), 8);
  }
  return NEXT_CONTINUE;
}
