/**
 * String instructions, SDM vol. 2. REP runs in chunks within a page on both sides; registers are right after each
 * chunk, so that a fault or an event finds the instruction ready to go on.
 */
import { STATE } from './env';
import { faulted } from './faults';
import { cutRip, ripOf } from './flag-control';
import {
  NEXT_CONTINUE,
  NEXT_FAULT,
  NEXT_JUMP,
  R_PREFIX,
  R_SEG,
  S_ATTN,
  S_EFLAGS,
  S_EXC_VECTOR,
  S_FLAG_AUX,
  S_FLAG_RES,
  S_GPR,
  S_RIP,
  SEG_ES,
  TLB_READ,
  TLB_WRITE,
} from './generated/layout';
import { deviceAccesses, ld16, ld32, ld64, ld8, st16, st32, st64, st8 } from './mmu';
import { is64, segBase } from './modes';
import { FLAG_DF, FLAG_TF, RAX, RCX, RDI, RSI, gpr, operandSize, setGpr } from './registers';
import { checkSegment } from './segments';
import { probe } from './tlb';

/** REP, REPE: F3. REPNE: F2. */
const REP: u32 = 1 << 4;
const REPNE: u32 = 1 << 5;

/**
 * After so many bytes events are looked at, as after any other instruction. That counts as an instruction, so it must not
 * depend on what happens to be in TLB or code cache: chunks and single elements cost the same. Where there are no chunks, an
 * element counts as more, and so does one that a device serves.
 */
const LIMIT: u64 = 0x10000;
const ELEMENT_COST: u64 = 64;
const DEVICE_COST: u64 = 1024;

/** What address size 16, 32 and 64 keep of an address. */
@inline
export function addressMask(rec: usize): u64 {
  const size = ((<u32>load<u8>(rec + R_PREFIX)) >> 2) & 3;
  return size == 2 ? ~(<u64>0) : size == 1 ? 0xffff_ffff : 0xffff;
}

/** Writes an address or count register as wide as the address size. */
@inline
export function setMasked(n: usize, value: u64, mask: u64): void {
  if (mask == 0xffff) store<u16>(STATE + S_GPR + n * 8, <u16>value);
  else setGpr(n, value & mask);
}

/** The linear address of a string operand, checked; ~0 with an exception pending. */
export function stringAddress(seg: u32, offset: u64, size: u32, isWrite: bool): u64 {
  if (is64()) return seg >= 4 ? segBase(seg) + offset : offset;
  if (!checkSegment(seg, offset, size, isWrite)) return ~(<u64>0);
  return (segBase(seg) + offset) & 0xffff_ffff;
}

/** Whether all of `bytes` from `offset` on pass the segment's checks; raises nothing. */
function spanFits(seg: u32, offset: u64, bytes: u64, isWrite: bool): bool {
  if (is64()) return true;
  if (checkSegment(seg, offset, <u32>bytes, isWrite)) return true;
  store<i32>(STATE + S_EXC_VECTOR, -1);
  return false;
}

@inline
export function loadElement(lin: u64, size: u32): u64 {
  return size == 1 ? <u64>ld8(lin) : size == 2 ? <u64>ld16(lin) : size == 4 ? <u64>ld32(lin) : ld64(lin);
}
@inline
export function storeElement(lin: u64, value: u64, size: u32): bool {
  return size == 1
    ? st8(lin, <u32>value)
    : size == 2
      ? st16(lin, <u32>value)
      : size == 4
        ? st32(lin, <u32>value)
        : st64(lin, value);
}

@inline
function prefixes(rec: usize): u32 {
  return load<u8>(rec + R_PREFIX);
}

/** How many elements an instruction has to go, and how far the pointers move for each. */
let left: u64 = 0;
let step: u64 = 0;
let isRepeated: bool = false;
let mask: u64 = 0;
/** Bytes until events are looked at. */
let room: u64 = 0;
/** deviceAccesses when goesOn last looked. */
let devicesBefore: u32 = 0;

/** Begins a string instruction. False: REP with a count of 0, nothing to do. */
export function beginString(rec: usize, size: u32): bool {
  mask = addressMask(rec);
  step = load<u32>(STATE + S_EFLAGS) & FLAG_DF ? 0 - <u64>size : size;
  isRepeated = (prefixes(rec) & (REP | REPNE)) != 0;
  left = isRepeated ? gpr(RCX) & mask : 1;
  // A debugger that steps sees each iteration.
  room = load<u32>(STATE + S_EFLAGS) & FLAG_TF ? 1 : LIMIT;
  devicesBefore = deviceAccesses;
  return left != 0;
}

@inline
function countDown(n: u64): void {
  left -= n;
  if (isRepeated) setMasked(RCX, left, mask);
}

/** After some elements: whether to go on at once. */
@inline
function goesOn(bytes: u64): bool {
  if (left == 0) return false;
  if (devicesBefore != deviceAccesses) {
    devicesBefore = deviceAccesses;
    bytes = DEVICE_COST;
  }
  if (bytes >= room || atomic.load<u32>(STATE + S_ATTN)) return false;
  room -= bytes;
  return true;
}

/** Ends a string instruction: with elements left it comes again after a look at events. */
export function endString(rec: usize): i32 {
  if (left == 0) return NEXT_CONTINUE;
  store<u64>(STATE + S_RIP, cutRip(ripOf(rec)));
  return NEXT_JUMP;
}

/** One element is done: pointers that `moves` names (1 RSI, 2 RDI) go on, the count goes down. */
@inline
export function advance(moves: u32): void {
  if (moves & 1) setMasked(RSI, gpr(RSI) + step, mask);
  if (moves & 2) setMasked(RDI, gpr(RDI) + step, mask);
  countDown(1);
}

export function stepDone(): bool {
  return !goesOn(ELEMENT_COST);
}

/** How many elements fit before a page or the address size ends on the pointer's way up. 0 on the way down. */
@inline
function elementsAt(offset: u64, lin: u64, size: u32): u64 {
  if (<i64>step < 0) return 0;
  let bytes: u64 = 4096 - (lin & 0xfff);
  if (mask != ~(<u64>0)) {
    const toWrap = mask - offset + 1;
    if (toWrap < bytes) bytes = toWrap;
  }
  return bytes / size;
}

@inline
function cutToRoom(n: u64, size: u32): u64 {
  const most = room / size;
  return n > most ? most : n;
}

/** Copies elements that lie in one page on both sides; how many. 0: go element by element. */
function moveChunk(seg: u32, size: u32): u64 {
  const from = gpr(RSI) & mask;
  const to = gpr(RDI) & mask;
  const linFrom = is64() ? (seg >= 4 ? segBase(seg) + from : from) : (segBase(seg) + from) & 0xffff_ffff;
  const linTo = is64() ? to : (segBase(SEG_ES) + to) & 0xffff_ffff;
  let n = elementsAt(from, linFrom, size);
  const other = elementsAt(to, linTo, size);
  if (other < n) n = other;
  if (left < n) n = left;
  n = cutToRoom(n, size);
  if (n < 2) return 0;
  const bytes = n * size;
  if (!spanFits(seg, from, bytes, false) || !spanFits(SEG_ES, to, bytes, true)) return 0;
  const source = probe(TLB_READ, linFrom, <u32>bytes);
  if (!source) return 0;
  const target = probe(TLB_WRITE, linTo, <u32>bytes);
  if (!target) return 0;
  const distance = target - source;
  if (distance >= <usize>bytes || distance == 0) {
    memory.copy(target, source, <usize>bytes);
  } else {
    // The target overlaps what is still to be read: each element sees what those before it wrote.
    const end = target + <usize>bytes;
    let at = target;
    if (size == 1) for (; at < end; at++) store<u8>(at, load<u8>(at - distance));
    else if (size == 2) for (; at < end; at += 2) store<u16>(at, load<u16>(at - distance));
    else if (size == 4) for (; at < end; at += 4) store<u32>(at, load<u32>(at - distance));
    else for (; at < end; at += 8) store<u64>(at, load<u64>(at - distance));
  }
  setMasked(RSI, from + bytes, mask);
  setMasked(RDI, to + bytes, mask);
  countDown(n);
  return n;
}

function moveString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const seg: u32 = load<u8>(rec + R_SEG);
  for (;;) {
    let n: u64 = left > 1 ? moveChunk(seg, size) : 0;
    if (n == 0) {
      const from = stringAddress(seg, gpr(RSI) & mask, size, false);
      if (faulted()) return NEXT_FAULT;
      const value = loadElement(from, size);
      if (faulted()) return NEXT_FAULT;
      const to = stringAddress(SEG_ES, gpr(RDI) & mask, size, true);
      if (faulted() || !storeElement(to, value, size)) return NEXT_FAULT;
      advance(3);
      n = 1;
    }
    if (!goesOn(n * size)) break;
  }
  return endString(rec);
}

export function x_movsb(rec: usize, ea: u64): i32 {
  return moveString(rec, 1);
}
export function x_movs(rec: usize, ea: u64): i32 {
  return moveString(rec, 2 << operandSize(rec));
}

/** Fills elements within one page; how many. */
function storeChunk(size: u32, value: u64): u64 {
  const to = gpr(RDI) & mask;
  const lin = is64() ? to : (segBase(SEG_ES) + to) & 0xffff_ffff;
  let n = elementsAt(to, lin, size);
  if (left < n) n = left;
  n = cutToRoom(n, size);
  if (n < 2) return 0;
  const bytes = n * size;
  if (!spanFits(SEG_ES, to, bytes, true)) return 0;
  let at = probe(TLB_WRITE, lin, <u32>bytes);
  if (!at) return 0;
  const byte = value & 0xff;
  const same = size == 1 ? byte : size == 2 ? byte * 0x101 : size == 4 ? byte * 0x1010101 : byte * 0x0101010101010101;
  if (value == same) {
    memory.fill(at, <u8>value, <usize>bytes);
  } else {
    const end = at + <usize>bytes;
    if (size == 2) for (; at < end; at += 2) store<u16>(at, <u16>value);
    else if (size == 4) for (; at < end; at += 4) store<u32>(at, <u32>value);
    else for (; at < end; at += 8) store<u64>(at, value);
  }
  setMasked(RDI, to + bytes, mask);
  countDown(n);
  return n;
}

function storeString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const all = gpr(RAX);
  const value = size == 8 ? all : all & (((<u64>1) << (size * 8)) - 1);
  for (;;) {
    let n: u64 = left > 1 ? storeChunk(size, value) : 0;
    if (n == 0) {
      const to = stringAddress(SEG_ES, gpr(RDI) & mask, size, true);
      if (faulted() || !storeElement(to, value, size)) return NEXT_FAULT;
      advance(2);
      n = 1;
    }
    if (!goesOn(n * size)) break;
  }
  return endString(rec);
}

export function x_stosb(rec: usize, ea: u64): i32 {
  return storeString(rec, 1);
}
export function x_stos(rec: usize, ea: u64): i32 {
  return storeString(rec, 2 << operandSize(rec));
}

function loadString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const seg: u32 = load<u8>(rec + R_SEG);
  do {
    const from = stringAddress(seg, gpr(RSI) & mask, size, false);
    if (faulted()) return NEXT_FAULT;
    const value = loadElement(from, size);
    if (faulted()) return NEXT_FAULT;
    const rax = STATE + S_GPR + RAX * 8;
    if (size == 1) store<u8>(rax, <u8>value);
    else if (size == 2) store<u16>(rax, <u16>value);
    else store<u64>(rax, value);
    advance(1);
  } while (goesOn(ELEMENT_COST));
  return endString(rec);
}

export function x_lodsb(rec: usize, ea: u64): i32 {
  return loadString(rec, 1);
}
export function x_lods(rec: usize, ea: u64): i32 {
  return loadString(rec, 2 << operandSize(rec));
}

/** The flags of a - b, in their lazy form (docs/interpreter.md). */
export function setCompareFlags(a: u64, b: u64, size: u32): void {
  const r = a - b;
  const borrow = (~a & b) | (~(a ^ b) & r);
  const top = size * 8 - 1;
  const shift = 63 - top;
  store<i64>(STATE + S_FLAG_RES, (<i64>(r << shift)) >> shift);
  store<u32>(
    STATE + S_FLAG_AUX,
    ((<u32>((borrow >> top) & 1)) << 31) | ((<u32>((borrow >> (top - 1)) & 1)) << 30) | ((<u32>borrow) & 8),
  );
}

/** Whether REPE or REPNE ends after a comparison. */
@inline
function conditionEnds(rec: usize, equal: bool): bool {
  return isRepeated && equal == ((prefixes(rec) & REPNE) != 0);
}

/** The values that were compared last: their flags are set when the instruction stops, faults included. */
let lastA: u64 = 0;
let lastB: u64 = 0;
let compared: bool = false;

function settle(size: u32): void {
  if (compared) setCompareFlags(lastA, lastB, size);
}

/** Scans elements within one page; how many were looked at. */
function scanChunk(rec: usize, size: u32, value: u64): u64 {
  const to = gpr(RDI) & mask;
  const lin = is64() ? to : (segBase(SEG_ES) + to) & 0xffff_ffff;
  let n = elementsAt(to, lin, size);
  if (left < n) n = left;
  n = cutToRoom(n, size);
  if (n < 2 || !spanFits(SEG_ES, to, n * size, false)) return 0;
  const at = probe(TLB_READ, lin, <u32>(n * size));
  if (!at) return 0;
  const stopOnEqual = (prefixes(rec) & REPNE) != 0;
  let done: u64 = 0;
  let element: u64 = 0;
  while (done < n) {
    const p = at + <usize>(done * size);
    element =
      size == 1 ? <u64>load<u8>(p) : size == 2 ? <u64>load<u16>(p) : size == 4 ? <u64>load<u32>(p) : load<u64>(p);
    done++;
    if ((element == value) == stopOnEqual) break;
  }
  lastA = value;
  lastB = element;
  compared = true;
  setMasked(RDI, to + done * size, mask);
  countDown(done);
  return done;
}

function scanString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const all = gpr(RAX);
  const value = size == 8 ? all : all & (((<u64>1) << (size * 8)) - 1);
  compared = false;
  for (;;) {
    let n: u64 = left > 1 ? scanChunk(rec, size, value) : 0;
    if (n == 0) {
      const to = stringAddress(SEG_ES, gpr(RDI) & mask, size, false);
      if (!faulted()) lastB = loadElement(to, size);
      if (faulted()) {
        settle(size);
        return NEXT_FAULT;
      }
      lastA = value;
      compared = true;
      advance(2);
      n = 1;
    }
    if (conditionEnds(rec, lastA == lastB)) {
      left = 0;
      break;
    }
    if (!goesOn(n * size)) break;
  }
  settle(size);
  return endString(rec);
}

export function x_scasb(rec: usize, ea: u64): i32 {
  return scanString(rec, 1);
}
export function x_scas(rec: usize, ea: u64): i32 {
  return scanString(rec, 2 << operandSize(rec));
}

function compareString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const seg: u32 = load<u8>(rec + R_SEG);
  compared = false;
  for (;;) {
    let a: u64 = 0;
    let b: u64 = 0;
    const from = stringAddress(seg, gpr(RSI) & mask, size, false);
    if (!faulted()) a = loadElement(from, size);
    if (!faulted()) {
      const to = stringAddress(SEG_ES, gpr(RDI) & mask, size, false);
      if (!faulted()) b = loadElement(to, size);
    }
    if (faulted()) {
      settle(size);
      return NEXT_FAULT;
    }
    lastA = a;
    lastB = b;
    compared = true;
    advance(3);
    if (conditionEnds(rec, a == b)) {
      left = 0;
      break;
    }
    if (!goesOn(ELEMENT_COST)) break;
  }
  settle(size);
  return endString(rec);
}

export function x_cmpsb(rec: usize, ea: u64): i32 {
  return compareString(rec, 1);
}
export function x_cmps(rec: usize, ea: u64): i32 {
  return compareString(rec, 2 << operandSize(rec));
}
