/**
 * The common case of string instructions, and the loops of all string instructions over bytes of this memory. The common case: upwards, flat
 * segments, the operands within a page that is in the TLB. So the whole instruction is done at once, and as one.
 */
import { STATE } from './env';
import {
  R_PREFIX,
  R_SEG,
  S_EFLAGS,
  S_FLAG_AUX,
  S_FLAG_RES,
  S_GPR,
  S_MODE_KEY,
  TLB_READ,
  TLB_WRITE,
} from './generated/layout';
import { FLAG_DF, FLAG_TF, RAX, RCX, RDI, RSI } from './registers';
import { probe } from './tlb';

/** REP, REPE and REPNE. */
const ANY_REP: u32 = 3 << 4;
const REPNE: u32 = 1 << 5;
/** Of the mode key: ES, CS, SS and DS are flat. */
const FLAT: u32 = 1 << 2;

/** From so many bytes on a call of the host's copy or fill is worth it. */
const LONG: usize = 512;

/** Copies upwards; the target does not begin within the source. */
@inline
function copyUp(target: usize, source: usize, bytes: usize): void {
  if (bytes >= LONG) {
    memory.copy(target, source, bytes);
    return;
  }
  const end = target + (bytes & ~15);
  while (target < end) {
    v128.store(target, v128.load(source));
    target += 16;
    source += 16;
  }
  if (bytes & 8) {
    store<u64>(target, load<u64>(source));
    target += 8;
    source += 8;
  }
  if (bytes & 4) {
    store<u32>(target, load<u32>(source));
    target += 4;
    source += 4;
  }
  if (bytes & 2) {
    store<u16>(target, load<u16>(source));
    target += 2;
    source += 2;
  }
  if (bytes & 1) store<u8>(target, load<u8>(source));
}

/** Copies elements of `1 << shift` bytes upwards, each seeing what those before it wrote. */
export function moveUp(target: usize, source: usize, bytes: usize, shift: u32): void {
  const distance = target - source;
  if (distance == 0) return;
  if (distance >= bytes) {
    copyUp(target, source, bytes);
    return;
  }
  const end = target + bytes;
  if (shift == 0) for (; target < end; target++) store<u8>(target, load<u8>(target - distance));
  else if (shift == 1) for (; target < end; target += 2) store<u16>(target, load<u16>(target - distance));
  else if (shift == 2) for (; target < end; target += 4) store<u32>(target, load<u32>(target - distance));
  else for (; target < end; target += 8) store<u64>(target, load<u64>(target - distance));
}

/** An element in all of 64 bits. */
@inline
export function spread(value: u64, shift: u32): u64 {
  if (shift == 0) return (value & 0xff) * 0x0101010101010101;
  if (shift == 1) return (value & 0xffff) * 0x0001000100010001;
  if (shift == 2) return (value & 0xffffffff) * 0x0000000100000001;
  return value;
}

/** Fills with copies of an element that has been spread. */
export function fillUp(target: usize, value: u64, bytes: usize): void {
  if (bytes >= LONG && value == spread(value, 0)) {
    memory.fill(target, <u8>value, bytes);
    return;
  }
  const both = i64x2.splat(value);
  const end = target + (bytes & ~15);
  for (; target < end; target += 16) v128.store(target, both);
  if (bytes & 8) {
    store<u64>(target, value);
    target += 8;
  }
  if (bytes & 4) {
    store<u32>(target, <u32>value);
    target += 4;
  }
  if (bytes & 2) {
    store<u16>(target, <u16>value);
    target += 2;
  }
  if (bytes & 1) store<u8>(target, <u8>value);
}

@inline
function element(at: usize, shift: u32): u64 {
  return shift == 0 ? load<u8>(at) : shift == 1 ? load<u16>(at) : shift == 2 ? <u64>load<u32>(at) : load<u64>(at);
}

/** The bytes of 16 that differ (`differ`) or are equal. */
@inline
function bytesOf(a: v128, b: v128, differ: u32): u32 {
  return <u32>i8x16.bitmask(i8x16.eq(a, b)) ^ ((0 - differ) & 0xffff);
}

/**
 * How many of `n` elements SCAS looks at: up to the first that differs from `value`, or with `untilEqual` the first that is equal, and
 * all if there is none.
 */
export function search(at: usize, value: u64, n: usize, shift: u32, untilEqual: bool): usize {
  let done: usize = 0;
  if (shift == 0) {
    const all = i8x16.splat(<u8>value);
    const differ = u32(!untilEqual);
    for (; done + 16 <= n; done += 16) {
      const found = bytesOf(v128.load(at + done), all, differ);
      if (found != 0) return done + <usize>ctz(found) + 1;
    }
  }
  while (done < n) {
    const v = element(at + (done << shift), shift);
    done++;
    if ((v == value) == untilEqual) break;
  }
  return done;
}

/** The same for CMPS, which compares with other elements. */
export function searchPair(a: usize, b: usize, n: usize, shift: u32, untilEqual: bool): usize {
  let done: usize = 0;
  if (!untilEqual || shift == 0) {
    const differ = u32(!untilEqual);
    const inOne: usize = 16 >> shift;
    for (; done + inOne <= n; done += inOne) {
      const found = bytesOf(v128.load(a + (done << shift)), v128.load(b + (done << shift)), differ);
      if (found != 0) return done + (<usize>ctz(found) >> shift) + 1;
    }
  }
  while (done < n) {
    const at = done << shift;
    done++;
    if ((element(a + at, shift) == element(b + at, shift)) == untilEqual) break;
  }
  return done;
}

/** The flags of a - b, in their lazy form (docs/interpreter.md). */
export function setCompareFlags(a: u64, b: u64, size: u32): void {
  const r = a - b;
  const borrow = (~a & b) | (~(a ^ b) & r);
  const top = size * 8 - 1;
  const shift = 63 - top;
  store<i64>(STATE + S_FLAG_RES, <i64>(r << shift) >> shift);
  store<u32>(
    STATE + S_FLAG_AUX,
    ((<u32>((borrow >> top) & 1)) << 31) | ((<u32>((borrow >> (top - 1)) & 1)) << 30) | (<u32>borrow & 8),
  );
}

// ---- whole instructions; false: refused, with nothing done ----

/** Upwards, with flat segments, and no debugger that steps through the iterations. */
@inline
function isUpwardsAndFlat(s: usize): bool {
  return (load<u32>(s, S_EFLAGS) & (FLAG_DF | FLAG_TF)) == 0 && (load<u32>(s, S_MODE_KEY) & FLAT) != 0;
}

/** The bytes to move or fill; ~0: not the common case. */
@inline
function bytesToDo(s: usize, prefix: u32, mask: u64, shift: u32): u64 {
  if (!isUpwardsAndFlat(s)) return ~(<u64>0);
  if ((prefix & ANY_REP) == 0) return (<u64>1) << shift;
  const count = load<u64>(s, S_GPR + RCX * 8) & mask;
  return count > 4096 ? ~(<u64>0) : count << shift;
}

/** What address size 32 and 64 keep of an address; 0 for 16. */
@inline
function maskOf(prefix: u32): u64 {
  return prefix & 8 ? ~(<u64>0) : prefix & 4 ? 0xffffffff : 0;
}

export function moveFast(rec: usize, shift: u32): bool {
  const s = STATE;
  const prefix: u32 = load<u8>(rec, R_PREFIX);
  const mask = maskOf(prefix);
  if (mask == 0 || load<u8>(rec, R_SEG) >= 4) return false;
  const bytes = bytesToDo(s, prefix, mask, shift);
  const from = load<u64>(s, S_GPR + RSI * 8) & mask;
  const to = load<u64>(s, S_GPR + RDI * 8) & mask;
  // This is so for ~0 too. A count of 0 has more to it when addresses have 32 bits: see clearUpper.
  if (bytes - 1 >= 4096 - (from & 0xfff)) return bytes == 0 && (prefix & 8) != 0;
  if (bytes - 1 >= 4096 - (to & 0xfff)) return false;
  const source = probe(TLB_READ, from, <u32>bytes);
  if (source == 0) return false;
  const target = probe(TLB_WRITE, to, <u32>bytes);
  if (target == 0) return false;
  moveUp(target, source, <usize>bytes, shift);
  store<u64>(s, (from + bytes) & mask, S_GPR + RSI * 8);
  store<u64>(s, (to + bytes) & mask, S_GPR + RDI * 8);
  if (prefix & ANY_REP) store<u64>(s, 0, S_GPR + RCX * 8);
  return true;
}

export function storeFast(rec: usize, shift: u32): bool {
  const s = STATE;
  const prefix: u32 = load<u8>(rec, R_PREFIX);
  const mask = maskOf(prefix);
  if (mask == 0) return false;
  const bytes = bytesToDo(s, prefix, mask, shift);
  const to = load<u64>(s, S_GPR + RDI * 8) & mask;
  if (bytes - 1 >= 4096 - (to & 0xfff)) return bytes == 0 && (prefix & 8) != 0;
  const target = probe(TLB_WRITE, to, <u32>bytes);
  if (target == 0) return false;
  fillUp(target, spread(load<u64>(s, S_GPR + RAX * 8), shift), <usize>bytes);
  store<u64>(s, (to + bytes) & mask, S_GPR + RDI * 8);
  if (prefix & ANY_REP) store<u64>(s, 0, S_GPR + RCX * 8);
  return true;
}

/** Elements to look at: all, or those up to the end of the page, which begin at `at`. */
@inline
function elementsWithin(count: u64, at: u64, shift: u32): u64 {
  const most = (4096 - (at & 0xfff)) >> shift;
  return count < most ? count : most;
}

/** Repeated SCAS that ends within the page. */
export function scanFast(rec: usize, shift: u32): bool {
  const s = STATE;
  const prefix: u32 = load<u8>(rec, R_PREFIX);
  const mask = maskOf(prefix);
  if (mask == 0 || (prefix & ANY_REP) == 0 || !isUpwardsAndFlat(s)) return false;
  const count = load<u64>(s, S_GPR + RCX * 8) & mask;
  const to = load<u64>(s, S_GPR + RDI * 8) & mask;
  const n = elementsWithin(count, to, shift);
  if (n == 0) return count == 0 && (prefix & 8) != 0;
  const at = probe(TLB_READ, to, <u32>(n << shift));
  if (at == 0) return false;
  const untilEqual = (prefix & REPNE) != 0;
  const value = element(s + S_GPR + RAX * 8, shift);
  const done = search(at, value, <usize>n, shift, untilEqual);
  const last = element(at + ((done - 1) << shift), shift);
  if (<u64>done != count && (last == value) != untilEqual) return false;
  setCompareFlags(value, last, 1 << shift);
  store<u64>(s, (to + ((<u64>done) << shift)) & mask, S_GPR + RDI * 8);
  store<u64>(s, count - done, S_GPR + RCX * 8);
  return true;
}

/** Repeated CMPS that ends within the pages. */
export function compareFast(rec: usize, shift: u32): bool {
  const s = STATE;
  const prefix: u32 = load<u8>(rec, R_PREFIX);
  const mask = maskOf(prefix);
  if (mask == 0 || (prefix & ANY_REP) == 0 || load<u8>(rec, R_SEG) >= 4 || !isUpwardsAndFlat(s)) return false;
  const count = load<u64>(s, S_GPR + RCX * 8) & mask;
  const from = load<u64>(s, S_GPR + RSI * 8) & mask;
  const to = load<u64>(s, S_GPR + RDI * 8) & mask;
  const n = elementsWithin(elementsWithin(count, from, shift), to, shift);
  if (n == 0) return count == 0 && (prefix & 8) != 0;
  const a = probe(TLB_READ, from, <u32>(n << shift));
  if (a == 0) return false;
  const b = probe(TLB_READ, to, <u32>(n << shift));
  if (b == 0) return false;
  const untilEqual = (prefix & REPNE) != 0;
  const done = searchPair(a, b, <usize>n, shift, untilEqual);
  const last = (done - 1) << shift;
  const lastA = element(a + last, shift);
  const lastB = element(b + last, shift);
  if (<u64>done != count && (lastA == lastB) != untilEqual) return false;
  setCompareFlags(lastA, lastB, 1 << shift);
  store<u64>(s, (from + ((<u64>done) << shift)) & mask, S_GPR + RSI * 8);
  store<u64>(s, (to + ((<u64>done) << shift)) & mask, S_GPR + RDI * 8);
  store<u64>(s, count - done, S_GPR + RCX * 8);
  return true;
}

/** A single LODS, SCAS or CMPS, upwards, with flat segments: the address mask; 0: not the common case. */
@inline
function maskOfOne(s: usize, rec: usize): u64 {
  const prefix: u32 = load<u8>(rec, R_PREFIX);
  if (prefix & ANY_REP || load<u8>(rec, R_SEG) >= 4) return 0;
  if (load<u32>(s, S_EFLAGS) & FLAG_DF || (load<u32>(s, S_MODE_KEY) & FLAT) == 0) return 0;
  return maskOf(prefix);
}

/** The address of a single element in this memory, or 0; then its pointer goes on with `pass`. */
@inline
function elementAddress(s: usize, register: usize, mask: u64, shift: u32): usize {
  return probe(TLB_READ, load<u64>(s + register * 8, S_GPR) & mask, 1 << shift);
}

@inline
function pass(s: usize, register: usize, mask: u64, shift: u32): void {
  const at = s + S_GPR + register * 8;
  store<u64>(at, (load<u64>(at) + ((<u64>1) << shift)) & mask);
}

export function loadOne(rec: usize, shift: u32): bool {
  const s = STATE;
  const mask = maskOfOne(s, rec);
  if (mask == 0) return false;
  const at = elementAddress(s, RSI, mask, shift);
  if (at == 0) return false;
  const rax = s + S_GPR + RAX * 8;
  if (shift == 0) store<u8>(rax, load<u8>(at));
  else if (shift == 1) store<u16>(rax, load<u16>(at));
  else store<u64>(rax, shift == 2 ? <u64>load<u32>(at) : load<u64>(at));
  pass(s, RSI, mask, shift);
  return true;
}

export function scanOne(rec: usize, shift: u32): bool {
  const s = STATE;
  const mask = maskOfOne(s, rec);
  if (mask == 0) return false;
  const at = elementAddress(s, RDI, mask, shift);
  if (at == 0) return false;
  setCompareFlags(element(s + S_GPR + RAX * 8, shift), element(at, shift), 1 << shift);
  pass(s, RDI, mask, shift);
  return true;
}

export function compareOne(rec: usize, shift: u32): bool {
  const s = STATE;
  const mask = maskOfOne(s, rec);
  if (mask == 0) return false;
  const a = elementAddress(s, RSI, mask, shift);
  if (a == 0) return false;
  const b = elementAddress(s, RDI, mask, shift);
  if (b == 0) return false;
  setCompareFlags(element(a, shift), element(b, shift), 1 << shift);
  pass(s, RSI, mask, shift);
  pass(s, RDI, mask, shift);
  return true;
}
