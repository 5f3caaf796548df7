/**
 * x87 arithmetic of two operands and its comparisons with memory: opcodes D8, DA, DC and DE. SDM vol. 2. The semantics over the
 * intermediate form do the common case.
 */
import * as B from '../../../ir/assembly/softfloat/binary';
import * as C from '../../../ir/assembly/softfloat/context';
import * as X from '../../../ir/assembly/softfloat/extended';
import { NEXT_FAULT, R_MODRM } from './generated/layout';
import { faulted } from './faults';
import { ld16 } from './mmu';
import {
  BEFORE,
  done,
  isEmpty,
  loadDouble,
  loadInteger32,
  loadSingle,
  note,
  noteMemory,
  pop,
  precisionDrop,
  prepare,
  put,
  ready,
  seOf,
  settle,
  sigOf,
  st,
  underflow,
} from './x87-state';
import { compareMemory } from './x87-compare';

/** Operations; the first four are the soft float's. */
const ADD: i32 = B.OP_ADD;
const SUB: i32 = B.OP_SUB;
const MUL: i32 = B.OP_MUL;
const DIV: i32 = B.OP_DIV;
/** With the operands exchanged. */
const SUBR: i32 = 4;
const DIVR: i32 = 5;

/** Register at `a` becomes itself op (bSe, bSig). False: an exception keeps it. */
function operate(op: i32, a: usize, bSe: u32, bSig: u64): bool {
  prepare();
  const drop = precisionDrop();
  if (op < SUBR) X.arithmetic(op, seOf(a), sigOf(a), bSe, bSig, drop);
  else X.arithmetic(op == SUBR ? SUB : DIV, bSe, bSig, seOf(a), sigOf(a), drop);
  if (!settle(BEFORE)) return false;
  put(a, X.se, X.sig);
  return true;
}

/** ST(0) becomes ST(0) op the operand that has been loaded. */
function withMemory(rec: usize, ea: u64, opcode: u32, op: i32): i32 {
  noteMemory(rec, opcode, ea);
  if (isEmpty(0)) {
    C.setFlags(0);
    return underflow(0, 0);
  }
  operate(op, st(0), X.se, X.sig);
  return done();
}

function single(rec: usize, ea: u64, op: i32): i32 {
  return ready() && loadSingle(ea) ? withMemory(rec, ea, 0xd8, op) : NEXT_FAULT;
}
function double(rec: usize, ea: u64, op: i32): i32 {
  return ready() && loadDouble(ea) ? withMemory(rec, ea, 0xdc, op) : NEXT_FAULT;
}
function integer32(rec: usize, ea: u64, op: i32): i32 {
  return ready() && loadInteger32(ea) ? withMemory(rec, ea, 0xda, op) : NEXT_FAULT;
}
function integer16(rec: usize, ea: u64, op: i32): i32 {
  return ready() && loadInteger16(ea) ? withMemory(rec, ea, 0xde, op) : NEXT_FAULT;
}

function loadInteger16(ea: u64): bool {
  const v = <i16>ld16(ea);
  if (faulted()) return false;
  X.fromInteger(v);
  return true;
}

/** ST(0) becomes ST(0) op ST(i). */
function toTop(rec: usize, op: i32): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xd8);
  const i = <u32>load<u8>(rec + R_MODRM) & 7;
  if (isEmpty(0) || isEmpty(i)) return underflow(0, 0);
  const b = st(i);
  operate(op, st(0), seOf(b), sigOf(b));
  return done();
}

/** ST(i) becomes ST(i) op ST(0). */
function toOther(rec: usize, op: i32): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xdc);
  const i = <u32>load<u8>(rec + R_MODRM) & 7;
  if (isEmpty(0) || isEmpty(i)) return underflow(i, 0);
  const b = st(0);
  operate(op, st(i), seOf(b), sigOf(b));
  return done();
}

/** The same, then pops. */
function andPop(rec: usize, op: i32): i32 {
  if (!ready()) return NEXT_FAULT;
  note(rec, 0xde);
  const i = <u32>load<u8>(rec + R_MODRM) & 7;
  if (isEmpty(0) || isEmpty(i)) return underflow(i, 1);
  const b = st(0);
  if (operate(op, st(i), seOf(b), sigOf(b))) pop();
  return done();
}

// ---- FADD ----

export function x_fadd_m32(rec: usize, ea: u64): i32 {
  return single(rec, ea, ADD);
}
export function x_fadd_m64(rec: usize, ea: u64): i32 {
  return double(rec, ea, ADD);
}
export function x_fiadd_m32(rec: usize, ea: u64): i32 {
  return integer32(rec, ea, ADD);
}
export function x_fiadd_m16(rec: usize, ea: u64): i32 {
  return integer16(rec, ea, ADD);
}
export function x_fadd_st0_sti(rec: usize, ea: u64): i32 {
  return toTop(rec, ADD);
}
export function x_fadd_sti_st0(rec: usize, ea: u64): i32 {
  return toOther(rec, ADD);
}
export function x_faddp(rec: usize, ea: u64): i32 {
  return andPop(rec, ADD);
}

// ---- FMUL ----

export function x_fmul_m32(rec: usize, ea: u64): i32 {
  return single(rec, ea, MUL);
}
export function x_fmul_m64(rec: usize, ea: u64): i32 {
  return double(rec, ea, MUL);
}
export function x_fimul_m32(rec: usize, ea: u64): i32 {
  return integer32(rec, ea, MUL);
}
export function x_fimul_m16(rec: usize, ea: u64): i32 {
  return integer16(rec, ea, MUL);
}
export function x_fmul_st0_sti(rec: usize, ea: u64): i32 {
  return toTop(rec, MUL);
}
export function x_fmul_sti_st0(rec: usize, ea: u64): i32 {
  return toOther(rec, MUL);
}
export function x_fmulp(rec: usize, ea: u64): i32 {
  return andPop(rec, MUL);
}

// ---- FSUB ----

export function x_fsub_m32(rec: usize, ea: u64): i32 {
  return single(rec, ea, SUB);
}
export function x_fsub_m64(rec: usize, ea: u64): i32 {
  return double(rec, ea, SUB);
}
export function x_fisub_m32(rec: usize, ea: u64): i32 {
  return integer32(rec, ea, SUB);
}
export function x_fisub_m16(rec: usize, ea: u64): i32 {
  return integer16(rec, ea, SUB);
}
export function x_fsub_st0_sti(rec: usize, ea: u64): i32 {
  return toTop(rec, SUB);
}
export function x_fsub_sti_st0(rec: usize, ea: u64): i32 {
  return toOther(rec, SUB);
}
export function x_fsubp(rec: usize, ea: u64): i32 {
  return andPop(rec, SUB);
}

// ---- FSUBR ----

export function x_fsubr_m32(rec: usize, ea: u64): i32 {
  return single(rec, ea, SUBR);
}
export function x_fsubr_m64(rec: usize, ea: u64): i32 {
  return double(rec, ea, SUBR);
}
export function x_fisubr_m32(rec: usize, ea: u64): i32 {
  return integer32(rec, ea, SUBR);
}
export function x_fisubr_m16(rec: usize, ea: u64): i32 {
  return integer16(rec, ea, SUBR);
}
export function x_fsubr_st0_sti(rec: usize, ea: u64): i32 {
  return toTop(rec, SUBR);
}
export function x_fsubr_sti_st0(rec: usize, ea: u64): i32 {
  return toOther(rec, SUBR);
}
export function x_fsubrp(rec: usize, ea: u64): i32 {
  return andPop(rec, SUBR);
}

// ---- FDIV ----

export function x_fdiv_m32(rec: usize, ea: u64): i32 {
  return single(rec, ea, DIV);
}
export function x_fdiv_m64(rec: usize, ea: u64): i32 {
  return double(rec, ea, DIV);
}
export function x_fidiv_m32(rec: usize, ea: u64): i32 {
  return integer32(rec, ea, DIV);
}
export function x_fidiv_m16(rec: usize, ea: u64): i32 {
  return integer16(rec, ea, DIV);
}
export function x_fdiv_st0_sti(rec: usize, ea: u64): i32 {
  return toTop(rec, DIV);
}
export function x_fdiv_sti_st0(rec: usize, ea: u64): i32 {
  return toOther(rec, DIV);
}
export function x_fdivp(rec: usize, ea: u64): i32 {
  return andPop(rec, DIV);
}

// ---- FDIVR ----

export function x_fdivr_m32(rec: usize, ea: u64): i32 {
  return single(rec, ea, DIVR);
}
export function x_fdivr_m64(rec: usize, ea: u64): i32 {
  return double(rec, ea, DIVR);
}
export function x_fidivr_m32(rec: usize, ea: u64): i32 {
  return integer32(rec, ea, DIVR);
}
export function x_fidivr_m16(rec: usize, ea: u64): i32 {
  return integer16(rec, ea, DIVR);
}
export function x_fdivr_st0_sti(rec: usize, ea: u64): i32 {
  return toTop(rec, DIVR);
}
export function x_fdivr_sti_st0(rec: usize, ea: u64): i32 {
  return toOther(rec, DIVR);
}
export function x_fdivrp(rec: usize, ea: u64): i32 {
  return andPop(rec, DIVR);
}

// ---- FCOM, FICOM with memory ----

export function x_fcom_m32(rec: usize, ea: u64): i32 {
  return ready() && loadSingle(ea) ? compareMemory(rec, ea, 0xd8, 0) : NEXT_FAULT;
}
export function x_fcom_m64(rec: usize, ea: u64): i32 {
  return ready() && loadDouble(ea) ? compareMemory(rec, ea, 0xdc, 0) : NEXT_FAULT;
}
export function x_ficom_m32(rec: usize, ea: u64): i32 {
  return ready() && loadInteger32(ea) ? compareMemory(rec, ea, 0xda, 0) : NEXT_FAULT;
}
export function x_ficom_m16(rec: usize, ea: u64): i32 {
  return ready() && loadInteger16(ea) ? compareMemory(rec, ea, 0xde, 0) : NEXT_FAULT;
}
export function x_fcomp_m32(rec: usize, ea: u64): i32 {
  return ready() && loadSingle(ea) ? compareMemory(rec, ea, 0xd8, 1) : NEXT_FAULT;
}
export function x_fcomp_m64(rec: usize, ea: u64): i32 {
  return ready() && loadDouble(ea) ? compareMemory(rec, ea, 0xdc, 1) : NEXT_FAULT;
}
export function x_ficomp_m32(rec: usize, ea: u64): i32 {
  return ready() && loadInteger32(ea) ? compareMemory(rec, ea, 0xda, 1) : NEXT_FAULT;
}
export function x_ficomp_m16(rec: usize, ea: u64): i32 {
  return ready() && loadInteger16(ea) ? compareMemory(rec, ea, 0xde, 1) : NEXT_FAULT;
}
