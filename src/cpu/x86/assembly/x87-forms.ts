/**
 * Whole x87 instructions in the common case, to be inlined: sums and products of ST(0) or ST(i) and memory or a register. Each answers
 * false, with nothing done, where that is not so. A flip is NEGATIVE or 0, for a difference.
 */
import { STATE } from './env';
import { R_MODRM, S_FSW, TLB_READ } from './generated/layout';
import { probe } from './tlb';
import {
  areFull,
  exponentOfDouble,
  exponentOfSingle,
  isFull,
  isPlain,
  leave,
  product,
  REFUSED,
  register,
  sum,
} from './x87-fast';
import { note, noteMemory, seOf, sigOf } from './x87-state';

/** The sign of a register's number. */
export const NEGATIVE: u32 = 0x8000;
const INTEGER_BIT: u64 = 0x8000000000000000;

@inline
export function sumDouble(rec: usize, ea: u64, aFlip: u32, bFlip: u32): bool {
  const s = STATE;
  const f = load<u32>(s, S_FSW);
  const host = probe(TLB_READ, ea, 8);
  if (host == 0) return false;
  if (!isPlain(s, f)) return false;
  if (!isFull(s, f, 0)) return false;
  const v = load<u64>(host);
  const se = exponentOfDouble(v);
  if (se == REFUSED) return false;
  const a = register(s, f, 0);
  const status = sum(s, f, a, seOf(a) ^ aFlip, sigOf(a), se ^ bFlip, (v << 11) | INTEGER_BIT);
  if (status == REFUSED) return false;
  leave(s, status, false);
  noteMemory(rec, 0xdc, ea);
  return true;
}

@inline
export function sumSingle(rec: usize, ea: u64, aFlip: u32, bFlip: u32): bool {
  const s = STATE;
  const f = load<u32>(s, S_FSW);
  const host = probe(TLB_READ, ea, 4);
  if (host == 0) return false;
  if (!isPlain(s, f)) return false;
  if (!isFull(s, f, 0)) return false;
  const v = load<u32>(host);
  const se = exponentOfSingle(v);
  if (se == REFUSED) return false;
  const a = register(s, f, 0);
  const status = sum(s, f, a, seOf(a) ^ aFlip, sigOf(a), se ^ bFlip, ((<u64>v) << 40) | INTEGER_BIT);
  if (status == REFUSED) return false;
  leave(s, status, false);
  noteMemory(rec, 0xd8, ea);
  return true;
}

@inline
export function productDouble(rec: usize, ea: u64): bool {
  const s = STATE;
  const f = load<u32>(s, S_FSW);
  const host = probe(TLB_READ, ea, 8);
  if (host == 0) return false;
  if (!isPlain(s, f)) return false;
  if (!isFull(s, f, 0)) return false;
  const v = load<u64>(host);
  const se = exponentOfDouble(v);
  if (se == REFUSED) return false;
  const a = register(s, f, 0);
  const status = product(s, f, a, seOf(a), sigOf(a), se, (v << 11) | INTEGER_BIT);
  if (status == REFUSED) return false;
  leave(s, status, false);
  noteMemory(rec, 0xdc, ea);
  return true;
}

@inline
export function productSingle(rec: usize, ea: u64): bool {
  const s = STATE;
  const f = load<u32>(s, S_FSW);
  const host = probe(TLB_READ, ea, 4);
  if (host == 0) return false;
  if (!isPlain(s, f)) return false;
  if (!isFull(s, f, 0)) return false;
  const v = load<u32>(host);
  const se = exponentOfSingle(v);
  if (se == REFUSED) return false;
  const a = register(s, f, 0);
  const status = product(s, f, a, seOf(a), sigOf(a), se, ((<u64>v) << 40) | INTEGER_BIT);
  if (status == REFUSED) return false;
  leave(s, status, false);
  noteMemory(rec, 0xd8, ea);
  return true;
}

/** Between registers: `toTop` as D8 has it, else as DC and DE. */
@inline
export function sumRegisters(rec: usize, toTop: bool, aFlip: u32, bFlip: u32, pops: bool): bool {
  const s = STATE;
  const f = load<u32>(s, S_FSW);
  const i = (<u32>load<u8>(rec, R_MODRM)) & 7;
  if (!isPlain(s, f)) return false;
  if (!areFull(s, f, i)) return false;
  const a = register(s, f, toTop ? 0 : i);
  const b = register(s, f, toTop ? i : 0);
  const status = sum(s, f, a, seOf(a) ^ aFlip, sigOf(a), seOf(b) ^ bFlip, sigOf(b));
  if (status == REFUSED) return false;
  leave(s, status, pops);
  note(rec, toTop ? 0xd8 : pops ? 0xde : 0xdc);
  return true;
}

@inline
export function productRegisters(rec: usize, toTop: bool, pops: bool): bool {
  const s = STATE;
  const f = load<u32>(s, S_FSW);
  const i = (<u32>load<u8>(rec, R_MODRM)) & 7;
  if (!isPlain(s, f)) return false;
  if (!areFull(s, f, i)) return false;
  const a = register(s, f, toTop ? 0 : i);
  const b = register(s, f, toTop ? i : 0);
  const status = product(s, f, a, seOf(a), sigOf(a), seOf(b), sigOf(b));
  if (status == REFUSED) return false;
  leave(s, status, pops);
  note(rec, toTop ? 0xd8 : pops ? 0xde : 0xdc);
  return true;
}
