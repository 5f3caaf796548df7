/**
 * What all string instructions share: addresses, the count, and when events are looked at. SDM vol. 2. REP runs in chunks within a page;
 * registers are right after each chunk, so that a fault or an event finds the instruction ready to go on.
 */
import { STATE } from './env';
import { cutRip, ripOf } from './flag-control';
import { NEXT_CONTINUE, NEXT_JUMP, R_PREFIX, S_ATTN, S_EFLAGS, S_EXC_VECTOR, S_GPR, S_RIP } from './generated/layout';
import { deviceAccesses, ld16, ld32, ld64, ld8, st16, st32, st64, st8 } from './mmu';
import { is64, segBase } from './modes';
import { FLAG_DF, FLAG_TF, RCX, RDI, RSI, gpr, setGpr } from './registers';
import { checkSegment } from './segments';

/** REP, REPE: F3. REPNE: F2. */
const REP: u32 = 1 << 4;
export const REPNE: u32 = 1 << 5;

/**
 * After so many bytes events are looked at, as after any other instruction. That counts as an instruction, so it must not
 * depend on what happens to be in TLB or code cache: chunks and single elements cost the same. Where there are no chunks, an
 * element counts as more, and so does one that a device serves.
 */
const LIMIT: u64 = 0x10000;
export const ELEMENT_COST: u64 = 64;
const DEVICE_COST: u64 = 1024;

/** What address size 16, 32 and 64 keep of an address. */
@inline
export function addressMask(rec: usize): u64 {
  const size = (<u32>load<u8>(rec + R_PREFIX) >> 2) & 3;
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
export function spanFits(seg: u32, offset: u64, bytes: u64, isWrite: bool): bool {
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
export function prefixes(rec: usize): u32 {
  return load<u8>(rec + R_PREFIX);
}

/** How many elements an instruction has to go, and how far the pointers move for each. */
export let left: u64 = 0;
let step: u64 = 0;
export let isRepeated: bool = false;
export let mask: u64 = 0;
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
  if (left != 0) return true;
  clearUpper(RCX);
  return false;
}

/**
 * With ECX = 0 nothing is done, yet Intel's processors clear the upper halves of RCX and, for MOVS and STOS, of the pointers, as a
 * 32-bit result would. The manual does not say so; AMD's leave them.
 */
export function clearUpper(n: usize): void {
  if (mask == 0xffff_ffff && is64()) setGpr(n, gpr(n) & mask);
}

@inline
export function countDown(n: u64): void {
  left -= n;
  if (isRepeated) setMasked(RCX, left, mask);
}

/** REPE or REPNE has found what it ends with. */
@inline
export function stopString(): void {
  left = 0;
}

/** After some elements: whether to go on at once. */
@inline
export function goesOn(bytes: u64): bool {
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
export function elementsAt(offset: u64, lin: u64, shift: u32): u64 {
  if (<i64>step < 0) return 0;
  let bytes: u64 = 4096 - (lin & 0xfff);
  if (mask != ~(<u64>0)) {
    const toWrap = mask - offset + 1;
    if (toWrap < bytes) bytes = toWrap;
  }
  return bytes >> shift;
}

@inline
export function cutToRoom(n: u64, shift: u32): u64 {
  const most = room >> shift;
  return n > most ? most : n;
}

@inline
export function linearOf(seg: u32, offset: u64): u64 {
  return is64() ? (seg >= 4 ? segBase(seg) + offset : offset) : (segBase(seg) + offset) & 0xffff_ffff;
}

/** How many elements lie in one page on both sides, up to `left`; fewer than 2: go element by element. */
@inline
export function elementsAtBoth(from: u64, linFrom: u64, to: u64, linTo: u64, shift: u32): u64 {
  let n = elementsAt(from, linFrom, shift);
  const other = elementsAt(to, linTo, shift);
  if (other < n) n = other;
  if (left < n) n = left;
  return cutToRoom(n, shift);
}
