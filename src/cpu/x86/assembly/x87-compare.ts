/** x87 comparisons and classification: FCOM, FUCOM, FCOMI, FUCOMI, FTST, FXAM. SDM vol. 1 §8.1.3.1, tables 8-6 … 8-8. */
import * as B from '../../../ir/assembly/softfloat/binary';
import * as C from '../../../ir/assembly/softfloat/context';
import * as N from '../../../ir/assembly/softfloat/number';
import * as X from '../../../ir/assembly/softfloat/extended';
import { NEXT_CONTINUE, NEXT_FAULT, R_MODRM } from './generated/layout';
import { setFlags } from './sse-operands';
import {
  BEFORE,
  done,
  FSW_C0,
  FSW_C1,
  FSW_C2,
  FSW_C3,
  fsw,
  isEmpty,
  note,
  noteMemory,
  pop,
  ready,
  seOf,
  setFsw,
  settle,
  sigOf,
  st,
  stackFault,
} from './x87-state';

const CONDITION: u32 = FSW_C0 | FSW_C2 | FSW_C3;

/** C3, C2, C0: 000 greater, 001 less, 100 equal, 111 unordered. */
function setCondition(order: i32): void {
  const codes = order == B.GREATER ? 0 : order == B.LESS ? FSW_C0 : order == B.EQUAL ? FSW_C3 : CONDITION;
  setFsw((fsw() & ~CONDITION) | codes);
}

/** Added to an order: an exception is not masked. */
const TRAPPED: i32 = 4;

/** Orders ST(0) and a number. */
function order(bSe: u32, bSig: u64, signalling: bool): i32 {
  const a = st(0);
  C.setRoundedUp(false);
  const found = X.compare(seOf(a), sigOf(a), bSe, bSig, signalling);
  return settle(BEFORE) ? found : found | TRAPPED;
}

/** Compares ST(0), or finds it empty, with the operand that has been loaded. */
export function compareMemory(rec: usize, ea: u64, opcode: u32, pops: i32): i32 {
  noteMemory(rec, opcode, ea);
  let found: i32;
  if (isEmpty(0)) {
    C.setFlags(0);
    found = unorderedEmpty();
  } else found = order(X.se, X.sig, true);
  return conclude(found, pops);
}

function conclude(found: i32, pops: i32): i32 {
  // Processors set the codes even if an exception that is not masked keeps the registers from being popped.
  setCondition(found & 3);
  if (found < TRAPPED) {
    if (pops > 0) pop();
    if (pops > 1) pop();
  }
  return done();
}

function unorderedEmpty(): i32 {
  return stackFault(false) ? B.UNORDERED : B.UNORDERED | TRAPPED;
}

/** Orders ST(0) and ST(i), stack faults included. */
function orderRegister(i: u32, signalling: bool): i32 {
  if (isEmpty(0) || isEmpty(i)) return unorderedEmpty();
  const b = st(i);
  return order(seOf(b), sigOf(b), signalling);
}

function compareRegister(rec: usize, opcode: u32, i: u32, signalling: bool, pops: i32): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, opcode);
  return conclude(orderRegister(i, signalling), pops);
}

@inline
function index(rec: usize): u32 {
  return <u32>load<u8>(rec + R_MODRM) & 7;
}

export function x_fcom_sti(rec: usize, ea: u64): i32 {
  return compareRegister(rec, 0xd8, index(rec), true, 0);
}
export function x_fcomp_sti(rec: usize, ea: u64): i32 {
  return compareRegister(rec, 0xd8, index(rec), true, 1);
}
export function x_fcompp(rec: usize, ea: u64): i32 {
  return compareRegister(rec, 0xde, 1, true, 2);
}
export function x_fucom(rec: usize, ea: u64): i32 {
  return compareRegister(rec, 0xdd, index(rec), false, 0);
}
export function x_fucomp(rec: usize, ea: u64): i32 {
  return compareRegister(rec, 0xdd, index(rec), false, 1);
}
export function x_fucompp(rec: usize, ea: u64): i32 {
  return compareRegister(rec, 0xda, 1, false, 2);
}

/** The outcome goes to ZF, PF and CF. */
function compareFlags(rec: usize, opcode: u32, signalling: bool, pops: i32): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, opcode);
  // C1 changes with a stack fault only.
  const i = index(rec);
  const c1 = isEmpty(0) || isEmpty(i) ? 0 : fsw() & FSW_C1;
  const found = orderRegister(i, signalling);
  setFsw(fsw() | c1);
  const outcome = found & 3;
  const unordered = u32(outcome == B.UNORDERED);
  setFlags(unordered | u32(outcome == B.LESS), unordered, 0, unordered | u32(outcome == B.EQUAL), 0, 0);
  if (found < TRAPPED && pops) pop();
  return done();
}

export function x_fcomi(rec: usize, ea: u64): i32 {
  return compareFlags(rec, 0xdb, true, 0);
}
export function x_fcomip(rec: usize, ea: u64): i32 {
  return compareFlags(rec, 0xdf, true, 1);
}
export function x_fucomi(rec: usize, ea: u64): i32 {
  return compareFlags(rec, 0xdb, false, 0);
}
export function x_fucomip(rec: usize, ea: u64): i32 {
  return compareFlags(rec, 0xdf, false, 1);
}

export function x_ftst(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  let found: i32;
  if (isEmpty(0)) found = unorderedEmpty();
  else found = order(0, 0, true);
  return conclude(found, 0);
}

/** C3, C2, C0: 000 unsupported, 001 NaN, 010 normal, 011 infinity, 100 zero, 101 empty, 110 subnormal. C1 is the sign. */
export function x_fxam(rec: usize, ea: u64): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd9);
  const at = st(0);
  const se = seOf(at);
  let codes: u32 = (se & 0x8000) != 0 ? FSW_C1 : 0;
  if (isEmpty(0)) codes |= FSW_C3 | FSW_C0;
  else {
    const c = X.classify(se, sigOf(at));
    if (c == N.CLASS_ZERO) codes |= FSW_C3;
    else if (c == N.CLASS_INFINITE) codes |= FSW_C2 | FSW_C0;
    else if (c == N.CLASS_NAN) codes |= FSW_C0;
    else if (c == N.CLASS_FINITE) codes |= se & 0x7fff ? FSW_C2 : FSW_C3 | FSW_C2;
  }
  setFsw((fsw() & ~(CONDITION | FSW_C1)) | codes);
  return NEXT_CONTINUE;
}
