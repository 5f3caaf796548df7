/** x87 loads, stores, constants, exchanges and conditional moves. SDM vol. 2. */
import * as B from '../../../ir/assembly/softfloat/binary';
import * as C from '../../../ir/assembly/softfloat/context';
import * as X from '../../../ir/assembly/softfloat/extended';
import { STATE } from './env';
import { faulted } from './faults';
import { NEXT_CONTINUE, NEXT_FAULT, R_MODRM, S_FLAG_AUX, S_FLAG_RES, S_FTW } from './generated/layout';
import { ld16, ld64, ldBytes, st16, st32, st64, stBytes } from './mmu';
import { WORK } from './sse-operands';
import { fastToDouble, fastToSingle, narrowed, narrowedStatus } from './x87-fast';
import {
  abandon,
  BEFORE,
  BEFORE_STORE,
  blocksStore,
  done,
  fcw,
  FSW_C1,
  fsw,
  INDEFINITE,
  INDEFINITE_SE,
  isEmpty,
  loadDouble,
  loadInteger32,
  loadSingle,
  note,
  noteMemory,
  pop,
  prepare,
  push,
  pushOrFault,
  put,
  ready,
  seOf,
  setFsw,
  setSt,
  settle,
  sigOf,
  st,
  stackFault,
  top,
} from './x87-state';

@inline
function index(rec: usize): u32 {
  return (<u32>load<u8>(rec + R_MODRM)) & 7;
}

// ---- FLD ----

/** Pushes what has been loaded from a narrower format, whose conversion may have raised exceptions. */
function pushLoaded(rec: usize, opcode: u32, ea: u64): i32 {
  noteMemory(rec, opcode, ea);
  if (C.flags == 0 && (X.se & 0x7fff) != 0x7fff && isEmpty(7)) {
    setFsw(fsw() & ~FSW_C1);
    push(X.se, X.sig);
    return NEXT_CONTINUE;
  }
  if (!isEmpty(7)) {
    C.setFlags(0);
    if (stackFault(true)) push(INDEFINITE_SE, INDEFINITE);
    return done();
  }
  if ((X.se & 0x7fff) == 0x7fff && X.sig << 1 != 0 && (X.sig & 0x4000000000000000) == 0) {
    C.raiseFlags(C.INVALID);
    X.setResult(X.se, X.sig | 0x4000000000000000);
  }
  C.setRoundedUp(false);
  // A subnormal is loaded even if DM is 0.
  if (settle(C.INVALID)) push(X.se, X.sig);
  return done();
}

export function x_fld_m32(rec: usize, ea: u64): i32 {
  return ready() && loadSingle(ea) ? pushLoaded(rec, 0xd9, ea) : NEXT_FAULT;
}
export function x_fld_m64(rec: usize, ea: u64): i32 {
  return ready() && loadDouble(ea) ? pushLoaded(rec, 0xdd, ea) : NEXT_FAULT;
}
export function x_fild_m32(rec: usize, ea: u64): i32 {
  return ready() && loadInteger32(ea) ? pushLoaded(rec, 0xdb, ea) : NEXT_FAULT;
}
export function x_fild_m16(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const v = <i16>ld16(ea);
  if (faulted()) return NEXT_FAULT;
  X.fromInteger(v);
  return pushLoaded(rec, 0xdf, ea);
}
export function x_fild_m64(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const v = <i64>ld64(ea);
  if (faulted()) return NEXT_FAULT;
  X.fromInteger(v);
  return pushLoaded(rec, 0xdf, ea);
}

export function x_fld_m80(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const work = STATE + WORK;
  if (!ldBytes(ea, work, 10)) return NEXT_FAULT;
  noteMemory(rec, 0xdb, ea);
  pushOrFault(load<u16>(work, 8), load<u64>(work));
  return done();
}

export function x_fld_sti(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  const i = index(rec);
  if (isEmpty(i)) {
    if (stackFault(false)) push(INDEFINITE_SE, INDEFINITE);
  } else if (!isEmpty(7)) {
    if (stackFault(true)) push(INDEFINITE_SE, INDEFINITE);
  } else {
    const from = st(i);
    setFsw(fsw() & ~FSW_C1);
    push(seOf(from), sigOf(from));
  }
  return done();
}

// ---- Constants, rounded as the control word says: C1 stays 0 ----

/** Pushes a constant given rounded down; `up`: nearest rounds it up. */
function constant(rec: usize, exp: u32, sig: u64, up: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  const rc = (fcw() >> 10) & 3;
  const more = rc == C.UP || (rc == C.NEAREST_EVEN && up);
  pushOrFault(exp, sig + u64(more));
  return done();
}

function exactConstant(rec: usize, exp: u32, sig: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  pushOrFault(exp, sig);
  return done();
}

export function x_fld1(rec: usize, ea: u64): i32 {
  return exactConstant(rec, 0x3fff, 0x8000000000000000);
}
export function x_fldz(rec: usize, ea: u64): i32 {
  return exactConstant(rec, 0, 0);
}
/** log2 10 = 3.3219… */
export function x_fldl2t(rec: usize, ea: u64): i32 {
  return constant(rec, 0x4000, 0xd49a784bcd1b8afe, false);
}
/** log2 e */
export function x_fldl2e(rec: usize, ea: u64): i32 {
  return constant(rec, 0x3fff, 0xb8aa3b295c17f0bb, true);
}
export function x_fldpi(rec: usize, ea: u64): i32 {
  return constant(rec, 0x4000, 0xc90fdaa22168c234, true);
}
/** log10 2 */
export function x_fldlg2(rec: usize, ea: u64): i32 {
  return constant(rec, 0x3ffd, 0x9a209a84fbcff798, true);
}
/** ln 2 */
export function x_fldln2(rec: usize, ea: u64): i32 {
  return constant(rec, 0x3ffe, 0xb17217f7d1cf79ab, true);
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

/** A number narrowed on the fast path has been stored. */
@inline
function afterFast(pops: bool): i32 {
  setFsw((fsw() & ~FSW_C1) | narrowedStatus);
  if (pops) pop();
  return NEXT_CONTINUE;
}

function storeSingle(rec: usize, ea: u64, opcode: u32, pops: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  if (isEmpty(0)) {
    if (storesIndefinite() && !st32(ea, 0xffc00000)) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterEmpty(pops);
  }
  const from = st(0);
  if (fastToSingle(seOf(from), sigOf(from))) {
    if (!st32(ea, <u32>narrowed)) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterFast(pops);
  }
  prepare();
  const v = <u32>X.toBinary(B.BINARY32, seOf(from), sigOf(from));
  if (!blocksStore() && !st32(ea, v)) {
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
    if (storesIndefinite() && !st64(ea, 0xfff8000000000000)) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterEmpty(pops);
  }
  const from = st(0);
  if (fastToDouble(seOf(from), sigOf(from))) {
    if (!st64(ea, narrowed)) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterFast(pops);
  }
  prepare();
  const v = X.toBinary(B.BINARY64, seOf(from), sigOf(from));
  if (!blocksStore() && !st64(ea, v)) {
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
  if (!empty || storesIndefinite()) {
    const from = st(0);
    const work = STATE + WORK;
    store<u64>(work, empty ? INDEFINITE : sigOf(from));
    store<u16>(work, empty ? INDEFINITE_SE : seOf(from), 8);
    if (!stBytes(ea, work, 10)) return NEXT_FAULT;
  }
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

// ---- FIST, FISTTP ----

function storeBits(ea: u64, v: i64, bits: i32): bool {
  if (bits == 16) return st16(ea, (<u32>v) & 0xffff);
  return bits == 32 ? st32(ea, <u32>v) : st64(ea, <u64>v);
}

function storeInteger(rec: usize, ea: u64, opcode: u32, bits: i32, truncate: bool, pops: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  const indefinite = (<i64>-1) << (bits - 1);
  if (isEmpty(0)) {
    if (storesIndefinite() && !storeBits(ea, indefinite, bits)) return NEXT_FAULT;
    noteMemory(rec, opcode, ea);
    return afterEmpty(pops);
  }
  prepare();
  if (truncate) C.setRounding(C.TOWARD_ZERO);
  const from = st(0);
  let v = X.toInteger(seOf(from), sigOf(from), bits);
  if (C.flags & C.INVALID) v = indefinite;
  if (!blocksStore() && !storeBits(ea, v, bits)) {
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

// ---- Packed decimal: 18 digits, two to a byte, and the sign in bit 79. SDM vol. 1 §4.7 ----

export function x_fbld(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  const work = STATE + WORK;
  if (!ldBytes(ea, work, 10)) return NEXT_FAULT;
  noteMemory(rec, 0xdf, ea);
  let v: i64 = 0;
  for (let i: i32 = 8; i >= 0; i--) {
    const b = <i64>load<u8>(work + i);
    v = v * 100 + (b >> 4) * 10 + (b & 15);
  }
  X.fromInteger(v);
  pushOrFault(X.se | (((<u32>load<u8>(work, 9)) & 0x80) << 8), X.sig);
  return done();
}

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
  if ((empty ? storesIndefinite() : !blocksStore()) && !stBytes(ea, work, 10)) {
    abandon();
    return NEXT_FAULT;
  }
  noteMemory(rec, 0xdf, ea);
  if (empty) return afterEmpty(true);
  if (settle(BEFORE_STORE)) pop();
  return done();
}

// ---- FXCH, FCMOV ----

export function x_fxch(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  const i = index(rec);
  const a = st(0);
  const b = st(i);
  if (isEmpty(0) || isEmpty(i)) {
    if (!stackFault(false)) return done();
    if (isEmpty(0)) setSt(0, INDEFINITE_SE, INDEFINITE);
    if (isEmpty(i)) setSt(i, INDEFINITE_SE, INDEFINITE);
  } else setFsw(fsw() & ~FSW_C1);
  const se = seOf(a);
  const sig = sigOf(a);
  put(a, seOf(b), sigOf(b));
  put(b, se, sig);
  return done();
}

function moveIf(rec: usize, opcode: u32, condition: bool): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, opcode);
  const i = index(rec);
  if (isEmpty(0) || isEmpty(i)) {
    if (stackFault(false)) setSt(0, INDEFINITE_SE, INDEFINITE);
    return done();
  }
  if (condition) {
    const from = st(i);
    put(st(0), seOf(from), sigOf(from));
  }
  return NEXT_CONTINUE;
}

@inline
function carry(): bool {
  return load<i32>(STATE + S_FLAG_AUX) < 0;
}
@inline
function zero(): bool {
  return load<u64>(STATE + S_FLAG_RES) == 0;
}
@inline
function parity(): bool {
  const b = (<u32>load<u8>(STATE + S_FLAG_RES)) ^ ((load<u32>(STATE + S_FLAG_AUX) >> 8) & 0xff);
  return (popcnt<u32>(b) & 1) == 0;
}

export function x_fcmovb(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xda, carry());
}
export function x_fcmove(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xda, zero());
}
export function x_fcmovbe(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xda, carry() || zero());
}
export function x_fcmovu(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xda, parity());
}
export function x_fcmovnb(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xdb, !carry());
}
export function x_fcmovne(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xdb, !zero());
}
export function x_fcmovnbe(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xdb, !carry() && !zero());
}
export function x_fcmovnu(rec: usize, ea: u64): i32 {
  return moveIf(rec, 0xdb, !parity());
}

// ---- Tags and TOP ----

export function x_ffree(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xdd);
  setFsw(fsw() & ~FSW_C1);
  store<u32>(STATE + S_FTW, load<u32>(STATE + S_FTW) & ~(1 << ((top() + index(rec)) & 7)));
  return NEXT_CONTINUE;
}

export function x_ffreep(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xdf);
  setFsw(fsw() & ~FSW_C1);
  store<u32>(STATE + S_FTW, load<u32>(STATE + S_FTW) & ~(1 << ((top() + index(rec)) & 7)));
  pop();
  return NEXT_CONTINUE;
}
