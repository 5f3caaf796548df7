/** x87 stores: FST, FIST, FISTTP, FBSTP. SDM vol. 2. */
import * as B from '../../../ir/assembly/softfloat/binary';
import * as C from '../../../ir/assembly/softfloat/context';
import * as X from '../../../ir/assembly/softfloat/extended';
import { STATE } from './env';
import { NEXT_CONTINUE, NEXT_FAULT, R_MODRM, TLB_WRITE } from './generated/layout';
import { rmw_slow, st16, st32, st64, stBytes } from './mmu';
import { WORK } from './sse-operands';
import { probe } from './tlb';
import {
  abandon,
  BEFORE_STORE,
  blocksStore,
  done,
  fcw,
  FSW_C1,
  fsw,
  INDEFINITE,
  INDEFINITE_SE,
  isEmpty,
  note,
  noteMemory,
  pop,
  prepare,
  ready,
  seOf,
  setFsw,
  setSt,
  settle,
  sigOf,
  st,
  stackFault,
} from './x87-state';

@inline
function index(rec: usize): u32 {
  return <u32>load<u8>(rec + R_MODRM) & 7;
}

// ---- FST ----

/** ST(0) is empty: whether the indefinite is stored all the same. */
@inline
function storesIndefinite(): bool {
  return (fcw() & 1) != 0;
}

/** What follows an indefinite stored for an empty register. */
function afterEmpty(pops: bool): i32 {
  if (stackFault(false) && pops) pop();
  return done();
}

function storeSingle(rec: usize, ea: u64, opcode: u32, pops: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  if (isEmpty(0)) {
    if (!(storesIndefinite() ? st32(ea, 0xffc00000) : canStore(ea, 4))) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterEmpty(pops);
  }
  const from = st(0);
  prepare();
  const v = <u32>X.toBinary(B.BINARY32, seOf(from), sigOf(from));
  if (!(blocksStore() ? canStore(ea, 4) : st32(ea, v))) {
    abandon();
    return NEXT_FAULT;
  }
  noteMemory(rec, opcode, ea);
  if (settle(BEFORE_STORE) && pops) pop();
  return done();
}

function storeDouble(rec: usize, ea: u64, opcode: u32, pops: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  if (isEmpty(0)) {
    if (!(storesIndefinite() ? st64(ea, 0xfff8000000000000) : canStore(ea, 8))) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterEmpty(pops);
  }
  const from = st(0);
  prepare();
  const v = X.toBinary(B.BINARY64, seOf(from), sigOf(from));
  if (!(blocksStore() ? canStore(ea, 8) : st64(ea, v))) {
    abandon();
    return NEXT_FAULT;
  }
  noteMemory(rec, opcode, ea);
  if (settle(BEFORE_STORE) && pops) pop();
  return done();
}

export function x_fst_m32(rec: usize, ea: u64): i32 {
  return storeSingle(rec, ea, 0xd9, false);
}
export function x_fstp_m32(rec: usize, ea: u64): i32 {
  return storeSingle(rec, ea, 0xd9, true);
}
export function x_fst_m64(rec: usize, ea: u64): i32 {
  return storeDouble(rec, ea, 0xdd, false);
}
export function x_fstp_m64(rec: usize, ea: u64): i32 {
  return storeDouble(rec, ea, 0xdd, true);
}

export function x_fstp_m80(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const empty = isEmpty(0);
  const host = probe(TLB_WRITE, ea, 10);
  if (host && !empty) {
    const from = st(0);
    store<u64>(host, sigOf(from));
    store<u16>(host, seOf(from), 8);
    noteMemory(rec, 0xdb, ea);
    setFsw(fsw() & ~FSW_C1);
    pop();
    return NEXT_CONTINUE;
  }
  if (!empty || storesIndefinite()) {
    const from = st(0);
    const work = STATE + WORK;
    store<u64>(work, empty ? INDEFINITE : sigOf(from));
    store<u16>(work, empty ? INDEFINITE_SE : seOf(from), 8);
    if (!stBytes(ea, work, 10)) return NEXT_FAULT;
  } else if (!canStore(ea, 10)) return NEXT_FAULT;
  noteMemory(rec, 0xdb, ea);
  if (empty) return afterEmpty(true);
  setFsw(fsw() & ~FSW_C1);
  pop();
  return NEXT_CONTINUE;
}

function storeRegister(rec: usize, pops: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xdd);
  const i = index(rec);
  if (isEmpty(0)) {
    if (stackFault(false)) {
      setSt(i, INDEFINITE_SE, INDEFINITE);
      if (pops) pop();
    }
    return done();
  }
  const from = st(0);
  setSt(i, seOf(from), sigOf(from));
  setFsw(fsw() & ~FSW_C1);
  if (pops) pop();
  return NEXT_CONTINUE;
}

export function x_fst_sti(rec: usize, ea: u64): i32 {
  return storeRegister(rec, false);
}
export function x_fstp_sti(rec: usize, ea: u64): i32 {
  return storeRegister(rec, true);
}

/** An undocumented FSTP: if ST(0) is empty it is popped, no more. */
export function x_fstpnce(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  if (!isEmpty(0)) return storeRegister(rec, true);
  note(rec, 0xd9);
  setFsw(fsw() & ~FSW_C1);
  pop();
  return NEXT_CONTINUE;
}

// ---- FIST, FISTTP ----

/** Memory that is not written because an exception is not masked must be writable all the same. */
@inline
function canStore(ea: u64, bytes: i32): bool {
  return rmw_slow(ea, bytes) != 0;
}

function storeBits(ea: u64, v: i64, bits: i32): bool {
  if (bits == 16) return st16(ea, <u32>v & 0xffff);
  return bits == 32 ? st32(ea, <u32>v) : st64(ea, <u64>v);
}

function storeInteger(rec: usize, ea: u64, opcode: u32, bits: i32, truncate: bool, pops: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  const indefinite = (<i64>-1) << (bits - 1);
  if (isEmpty(0)) {
    if (!(storesIndefinite() ? storeBits(ea, indefinite, bits) : canStore(ea, bits >> 3))) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterEmpty(pops);
  }
  prepare();
  if (truncate) C.setRounding(C.TOWARD_ZERO);
  const from = st(0);
  let v = X.toInteger(seOf(from), sigOf(from), bits);
  if (C.flags & C.INVALID) v = indefinite;
  if (!(blocksStore() ? canStore(ea, bits >> 3) : storeBits(ea, v, bits))) {
    abandon();
    return NEXT_FAULT;
  }
  noteMemory(rec, opcode, ea);
  if (settle(BEFORE_STORE) && pops) pop();
  return done();
}

export function x_fist_m16(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdf, 16, false, false);
}
export function x_fist_m32(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdb, 32, false, false);
}
export function x_fistp_m16(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdf, 16, false, true);
}
export function x_fistp_m32(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdb, 32, false, true);
}
export function x_fistp_m64(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdf, 64, false, true);
}
export function x_fisttp_m16(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdf, 16, true, true);
}
export function x_fisttp_m32(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdb, 32, true, true);
}
export function x_fisttp_m64(rec: usize, ea: u64): i32 {
  return storeInteger(rec, ea, 0xdd, 64, true, true);
}

// ---- FBSTP: 18 digits, two to a byte, and the sign in bit 79. SDM vol. 1 §4.7 ----

const DECIMAL_LIMIT: i64 = 1000000000000000000;

export function x_fbstp(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const work = STATE + WORK;
  const empty = isEmpty(0);
  prepare();
  let invalid = empty;
  if (!empty) {
    const from = st(0);
    const se = seOf(from);
    const v = X.toInteger(se, sigOf(from), 64);
    const magnitude = v < 0 ? 0 - v : v;
    if (C.flags & C.INVALID || magnitude >= DECIMAL_LIMIT || magnitude < 0) {
      C.setFlags(C.INVALID);
      C.setRoundedUp(false);
      invalid = true;
    } else {
      let rest = magnitude;
      for (let i: usize = 0; i < 9; i++) {
        const two = <u32>(rest % 100);
        rest /= 100;
        store<u8>(work + i, ((two / 10) << 4) | (two % 10));
      }
      store<u8>(work, (se >> 8) & 0x80, 9);
    }
  }
  if (invalid) {
    // The packed decimal indefinite.
    store<u64>(work, INDEFINITE);
    store<u16>(work, 0xffff, 8);
  }
  if (!((empty ? storesIndefinite() : !blocksStore()) ? stBytes(ea, work, 10) : canStore(ea, 10))) {
    abandon();
    return NEXT_FAULT;
  }
  noteMemory(rec, 0xdf, ea);
  if (empty) return afterEmpty(true);
  if (settle(BEFORE_STORE)) pop();
  return done();
}
