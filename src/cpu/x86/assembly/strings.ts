/** MOVS, STOS, LODS, SCAS and CMPS. SDM vol. 2. */
import { STATE } from './env';
import { faulted } from './faults';
import { NEXT_CONTINUE, NEXT_FAULT, R_SEG, S_GPR, SEG_ES, TLB_READ, TLB_WRITE } from './generated/layout';
import { RAX, RDI, RSI, gpr, operandSize } from './registers';
import {
  advance,
  beginString,
  clearUpper,
  countDown,
  cutToRoom,
  ELEMENT_COST,
  elementsAt,
  elementsAtBoth,
  endString,
  goesOn,
  isRepeated,
  left,
  linearOf,
  loadElement,
  mask,
  prefixes,
  REPNE,
  setMasked,
  spanFits,
  stopString,
  storeElement,
  stringAddress,
} from './string-steps';
import {
  compareFast,
  compareOne,
  fillUp,
  loadOne,
  moveFast,
  moveUp,
  scanFast,
  scanOne,
  search,
  searchPair,
  setCompareFlags,
  spread,
  storeFast,
} from './strings-fast';
import { probe } from './tlb';

/** Copies elements that lie in one page on both sides; how many. 0: go element by element. */
function moveChunk(seg: u32, shift: u32): u64 {
  const from = gpr(RSI) & mask;
  const to = gpr(RDI) & mask;
  const linFrom = linearOf(seg, from);
  const linTo = linearOf(SEG_ES, to);
  const n = elementsAtBoth(from, linFrom, to, linTo, shift);
  if (n < 2) return 0;
  const bytes = n << shift;
  if (!spanFits(seg, from, bytes, false) || !spanFits(SEG_ES, to, bytes, true)) return 0;
  const source = probe(TLB_READ, linFrom, <u32>bytes);
  if (!source) return 0;
  const target = probe(TLB_WRITE, linTo, <u32>bytes);
  if (!target) return 0;
  moveUp(target, source, <usize>bytes, shift);
  setMasked(RSI, from + bytes, mask);
  setMasked(RDI, to + bytes, mask);
  countDown(n);
  return n;
}

function moveString(rec: usize, shift: u32): i32 {
  if (moveFast(rec, shift)) return NEXT_CONTINUE;
  const size: u32 = 1 << shift;
  if (!beginString(rec, size)) {
    clearUpper(RSI);
    clearUpper(RDI);
    return NEXT_CONTINUE;
  }
  const seg: u32 = load<u8>(rec + R_SEG);
  for (;;) {
    let n: u64 = left > 1 ? moveChunk(seg, shift) : 0;
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
  return moveString(rec, 0);
}
export function x_movs(rec: usize, ea: u64): i32 {
  return moveString(rec, 1 + operandSize(rec));
}

/** Fills elements within one page; how many. */
function storeChunk(shift: u32, value: u64): u64 {
  const to = gpr(RDI) & mask;
  const lin = linearOf(SEG_ES, to);
  let n = elementsAt(to, lin, shift);
  if (left < n) n = left;
  n = cutToRoom(n, shift);
  if (n < 2) return 0;
  const bytes = n << shift;
  if (!spanFits(SEG_ES, to, bytes, true)) return 0;
  const at = probe(TLB_WRITE, lin, <u32>bytes);
  if (!at) return 0;
  fillUp(at, spread(value, shift), <usize>bytes);
  setMasked(RDI, to + bytes, mask);
  countDown(n);
  return n;
}

function storeString(rec: usize, shift: u32): i32 {
  if (storeFast(rec, shift)) return NEXT_CONTINUE;
  const size: u32 = 1 << shift;
  if (!beginString(rec, size)) {
    clearUpper(RDI);
    return NEXT_CONTINUE;
  }
  const all = gpr(RAX);
  const value = size == 8 ? all : all & (((<u64>1) << (size * 8)) - 1);
  for (;;) {
    let n: u64 = left > 1 ? storeChunk(shift, value) : 0;
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
  return storeString(rec, 0);
}
export function x_stos(rec: usize, ea: u64): i32 {
  return storeString(rec, 1 + operandSize(rec));
}

function loadString(rec: usize, shift: u32): i32 {
  if (loadOne(rec, shift)) return NEXT_CONTINUE;
  const size: u32 = 1 << shift;
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
  return loadString(rec, 0);
}
export function x_lods(rec: usize, ea: u64): i32 {
  return loadString(rec, 1 + operandSize(rec));
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

@inline
function elementIn(at: usize, shift: u32): u64 {
  return shift == 0
    ? <u64>load<u8>(at)
    : shift == 1
      ? <u64>load<u16>(at)
      : shift == 2
        ? <u64>load<u32>(at)
        : load<u64>(at);
}

/** Scans elements within one page; how many were looked at. */
function scanChunk(rec: usize, shift: u32, value: u64): u64 {
  const to = gpr(RDI) & mask;
  const lin = linearOf(SEG_ES, to);
  let n = elementsAt(to, lin, shift);
  if (left < n) n = left;
  n = cutToRoom(n, shift);
  if (n < 2 || !spanFits(SEG_ES, to, n << shift, false)) return 0;
  const at = probe(TLB_READ, lin, <u32>(n << shift));
  if (!at) return 0;
  const done = search(at, value, <usize>n, shift, (prefixes(rec) & REPNE) != 0);
  lastA = value;
  lastB = elementIn(at + ((done - 1) << shift), shift);
  compared = true;
  setMasked(RDI, to + ((<u64>done) << shift), mask);
  countDown(done);
  return done;
}

function scanString(rec: usize, shift: u32): i32 {
  if (scanOne(rec, shift) || scanFast(rec, shift)) return NEXT_CONTINUE;
  const size: u32 = 1 << shift;
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const all = gpr(RAX);
  const value = size == 8 ? all : all & (((<u64>1) << (size * 8)) - 1);
  compared = false;
  for (;;) {
    let n: u64 = left > 1 ? scanChunk(rec, shift, value) : 0;
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
      stopString();
      break;
    }
    if (!goesOn(n * size)) break;
  }
  settle(size);
  return endString(rec);
}

export function x_scasb(rec: usize, ea: u64): i32 {
  return scanString(rec, 0);
}
export function x_scas(rec: usize, ea: u64): i32 {
  return scanString(rec, 1 + operandSize(rec));
}

/** Compares elements that lie in one page on both sides; how many were looked at. */
function compareChunk(rec: usize, seg: u32, shift: u32): u64 {
  const from = gpr(RSI) & mask;
  const to = gpr(RDI) & mask;
  const linFrom = linearOf(seg, from);
  const linTo = linearOf(SEG_ES, to);
  const n = elementsAtBoth(from, linFrom, to, linTo, shift);
  if (n < 2) return 0;
  const bytes = n << shift;
  if (!spanFits(seg, from, bytes, false) || !spanFits(SEG_ES, to, bytes, false)) return 0;
  const a = probe(TLB_READ, linFrom, <u32>bytes);
  if (!a) return 0;
  const b = probe(TLB_READ, linTo, <u32>bytes);
  if (!b) return 0;
  const done = searchPair(a, b, <usize>n, shift, (prefixes(rec) & REPNE) != 0);
  const last = (done - 1) << shift;
  lastA = elementIn(a + last, shift);
  lastB = elementIn(b + last, shift);
  compared = true;
  setMasked(RSI, from + ((<u64>done) << shift), mask);
  setMasked(RDI, to + ((<u64>done) << shift), mask);
  countDown(done);
  return done;
}

/** One element by itself; false: an exception is pending. */
function compareElement(seg: u32, size: u32): bool {
  const from = stringAddress(seg, gpr(RSI) & mask, size, false);
  if (faulted()) return false;
  const a = loadElement(from, size);
  if (faulted()) return false;
  const to = stringAddress(SEG_ES, gpr(RDI) & mask, size, false);
  if (faulted()) return false;
  const b = loadElement(to, size);
  if (faulted()) return false;
  lastA = a;
  lastB = b;
  compared = true;
  advance(3);
  return true;
}

function compareString(rec: usize, shift: u32): i32 {
  if (compareOne(rec, shift) || compareFast(rec, shift)) return NEXT_CONTINUE;
  const size: u32 = 1 << shift;
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  const seg: u32 = load<u8>(rec + R_SEG);
  compared = false;
  for (;;) {
    let n: u64 = left > 1 ? compareChunk(rec, seg, shift) : 0;
    if (n == 0) {
      if (!compareElement(seg, size)) {
        settle(size);
        return NEXT_FAULT;
      }
      n = 1;
    }
    if (conditionEnds(rec, lastA == lastB)) {
      stopString();
      break;
    }
    if (!goesOn(n * size)) break;
  }
  settle(size);
  return endString(rec);
}

export function x_cmpsb(rec: usize, ea: u64): i32 {
  return compareString(rec, 0);
}
export function x_cmps(rec: usize, ea: u64): i32 {
  return compareString(rec, 1 + operandSize(rec));
}
