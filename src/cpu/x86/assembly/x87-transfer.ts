/** x87 loads, constants, exchanges and conditional moves. SDM vol. 2. */
import * as C from '../../../ir/assembly/softfloat/context';
import * as X from '../../../ir/assembly/softfloat/extended';
import { STATE } from './env';
import { faulted } from './faults';
import { NEXT_CONTINUE, NEXT_FAULT, R_MODRM, S_FLAG_AUX, S_FLAG_RES, S_FTW } from './generated/layout';
import { ld16, ld64, ldBytes } from './mmu';
import { WORK } from './sse-operands';
import {
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
  return <u32>load<u8>(rec + R_MODRM) & 7;
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

// ---- FBLD, packed decimal: 18 digits, two to a byte, and the sign in bit 79. SDM vol. 1 §4.7 ----

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
  pushOrFault(X.se | ((<u32>load<u8>(work, 9) & 0x80) << 8), X.sig);
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
  const b = <u32>load<u8>(STATE + S_FLAG_RES) ^ ((load<u32>(STATE + S_FLAG_AUX) >> 8) & 0xff);
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
