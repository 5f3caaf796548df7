/** Sums, products, quotients, roots and comparisons of the x87 in the common case; `x87-fast.ts` of the helpers computes. */
import type { FunctionRef, Node } from '../../../ir/nodes.js';
import { guestLoad } from '../../../ir/softmmu.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import { doubleOf, integerOf, isOrdinary, singleOf } from './x87-formats.js';
import { product, sum, type Kernel } from './x87-kernels.js';
import { FSW, X87, type Extended, type StackRegister } from './x87-stack.js';

/** (register, FSW, sign and exponent of a, significand of a, of b) → FSW, or REFUSED with nothing done. */
const binary = (name: string): FunctionRef => ({
  name,
  params: ['i32', 'i32', 'i32', 'i64', 'i32', 'i64'],
  result: 'i32',
});
const SUM = binary('x87_sum');
const PRODUCT = binary('x87_product');
const QUOTIENT = binary('x87_quotient');
const ROOT: FunctionRef = { name: 'x87_root', params: ['i32', 'i32'], result: 'i32' };
const REFUSED = -1;
const NEGATIVE = 0x8000;

type Operation = 'add' | 'mul' | 'sub' | 'subr' | 'div' | 'divr';
const OPERATIONS: readonly Operation[] = ['add', 'mul', 'sub', 'subr', 'div', 'divr'];

/** The register `a` becomes p op q by a helper, which does more than the kernels: the new status word. */
function callOperation(x: Lift, unit: X87, callee: FunctionRef, a: StackRegister, p: Extended, q: Extended): Node {
  const { b } = x;
  const status = b.call(callee, a.address, unit.status, p.se, p.sig, q.se, q.sig);
  b.if(b.op('i32.eq', status, b.i32(REFUSED)), () => {
    x.fallback();
  });
  return status;
}

/** The same without a call where the kernel allows it, and the block has not too many of them. */
function kernelOperation(
  x: Lift,
  unit: X87,
  kernel: Kernel,
  callee: FunctionRef,
  a: StackRegister,
  p: Extended,
  q: Extended,
): Node {
  const { b } = x;
  if (!x.facts.x87.inlines) {
    const answer = callOperation(x, unit, callee, a, p, q);
    a.changed();
    return answer;
  }
  const [status, se, sig] = [b.variable('i32'), b.variable('i32'), b.variable('i64')];
  const before = unit.without(FSW.C1);
  const precise = unit.hasFullPrecision;
  a.locate();
  b.set(status, b.i32(REFUSED));
  b.if(precise, () => {
    kernel(b, p, q, (result) => {
      b.set(se, result.se);
      b.set(sig, result.sig);
      b.set(status, b.or(before, b.or(b.shl(result.up, b.i32(9)), b.shl(result.inexact, b.i32(5)))));
    });
  });
  b.if(
    b.op('i32.eq', b.get(status), b.i32(REFUSED)),
    () => {
      b.set(status, callOperation(x, unit, callee, a, p, q));
      const written = a.load();
      b.set(se, written.se);
      b.set(sig, written.sig);
    },
    () => {
      a.store({ se: b.get(se), sig: b.get(sig) });
    },
  );
  a.holds({ se: b.get(se), sig: b.get(sig) });
  return b.get(status);
}

/** The register `a` becomes a op b: the new status word. */
function operate(x: Lift, unit: X87, op: Operation, a: StackRegister, right: Extended): Node {
  const { b } = x;
  const left = a.read();
  const negated = (value: Extended): Extended => ({ ...value, se: b.xor(value.se, b.i32(NEGATIVE)) });
  if (op === 'add') return kernelOperation(x, unit, sum, SUM, a, left, right);
  if (op === 'sub') return kernelOperation(x, unit, sum, SUM, a, left, negated(right));
  if (op === 'subr') return kernelOperation(x, unit, sum, SUM, a, negated(left), right);
  if (op === 'mul') return kernelOperation(x, unit, product, PRODUCT, a, left, right);
  const status = callOperation(
    x,
    unit,
    QUOTIENT,
    a,
    ...(op === 'div' ? ([left, right] as const) : ([right, left] as const)),
  );
  a.changed();
  return status;
}

/** ST(0) op memory. */
function withMemory(op: Operation, opcode: number, read: (x: Lift) => Extended): Semantics {
  return (x) => {
    const unit = X87.rounding(x);
    const top = unit.st(0);
    unit.require(top);
    const status = operate(x, unit, op, top, read(x));
    unit.note(opcode);
    unit.leave(0, status);
  };
}

/** Between registers: D8 into ST(0), DC into ST(i), DE too and pops. */
function withRegister(op: Operation, opcode: 0xd8 | 0xdc | 0xde): Semantics {
  return (x) => {
    const unit = X87.rounding(x);
    const [top, other] = [unit.st(0), unit.operand()];
    unit.require(top, other);
    const [a, right] = opcode === 0xd8 ? [top, other] : [other, top];
    const status = operate(x, unit, op, a, right.read());
    unit.note(opcode);
    unit.leave(opcode === 0xde ? 1 : 0, status);
  };
}

const fromDouble = (x: Lift): Extended => doubleOf(x.b, guestLoad(x.b, x.mmu, x.linear(), 8)).value;
const fromSingle = (x: Lift): Extended => singleOf(x.b, guestLoad(x.b, x.mmu, x.linear(), 4)).value;
const fromInteger = (x: Lift): Extended => integerOf(x.b, x.b.extendS(guestLoad(x.b, x.mmu, x.linear(), 4)));

const arithmetic: Record<string, Semantics> = {};
for (const op of OPERATIONS) {
  arithmetic[`f${op}_m32`] = withMemory(op, 0xd8, fromSingle);
  arithmetic[`f${op}_m64`] = withMemory(op, 0xdc, fromDouble);
  arithmetic[`fi${op}_m32`] = withMemory(op, 0xda, fromInteger);
  arithmetic[`f${op}_st0_sti`] = withRegister(op, 0xd8);
  arithmetic[`f${op}_sti_st0`] = withRegister(op, 0xdc);
  arithmetic[`f${op}p`] = withRegister(op, 0xde);
}

// ---- comparisons ----

/** Orders two numbers, of which it falls back unless they are ordinary: 0 or 1 each. */
function order(x: Lift, p: Extended, q: Extended): { readonly less: Node; readonly equal: Node } {
  const { b } = x;
  b.if(b.eqz(b.and(isOrdinary(b, p), isOrdinary(b, q))), () => {
    x.fallback();
  });
  const negative = (v: Extended): Node => b.shru(v.se, b.i32(15));
  const exponent = (v: Extended): Node => b.and(v.se, b.i32(0x7fff));
  const [pNegative, qNegative] = [negative(p), negative(q)];
  const [pExponent, qExponent] = [exponent(p), exponent(q)];
  const sameSign = b.op('i32.eq', pNegative, qNegative);
  const sameExponent = b.op('i32.eq', pExponent, qExponent);
  const bothZero = b.eqz(b.or(pExponent, qExponent));
  const sameSize = b.and(sameExponent, b.op('i64.eq', p.sig, q.sig));
  const equal = b.and(sameSize, b.or(sameSign, bothZero));
  const smaller = b.or(b.op('i32.lt_u', pExponent, qExponent), b.and(sameExponent, b.op('i64.lt_u', p.sig, q.sig)));
  const less = b.select(sameSign, b.xor(smaller, pNegative), pNegative);
  return { less: b.and(less, b.eqz(equal)), equal };
}

const ZERO = (x: Lift): Extended => ({ se: x.b.i32(0), sig: x.b.i64(0) });

/** Compares ST(0) with an operand: into C3, C2 and C0. */
function compare(opcode: number, pops: number, right: (x: Lift, unit: X87) => Extended): Semantics {
  return (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    const top = unit.st(0);
    unit.require(top);
    const { less, equal } = order(x, top.read(), right(x, unit));
    const codes = b.or(b.shl(less, b.i32(8)), b.shl(equal, b.i32(14)));
    const status = b.or(unit.without(FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3), codes);
    unit.note(opcode);
    unit.leave(pops, status);
  };
}

/** Reads ST(i). */
const registerOperand = (_: Lift, unit: X87): Extended => {
  const other = unit.operand();
  unit.require(other);
  return other.read();
};
const secondRegister = (_: Lift, unit: X87): Extended => {
  const other = unit.st(1);
  unit.require(other);
  return other.read();
};

/** Into CF and ZF. */
function compareFlags(opcode: number, pops: number): Semantics {
  return (x) => {
    const unit = X87.waiting(x);
    const [top, other] = [unit.st(0), unit.operand()];
    unit.require(top, other);
    const { less, equal } = order(x, top.read(), other.read());
    x.flags.onlyCarryZero(less, equal);
    unit.note(opcode);
    // C1 changes with a stack fault only.
    if (pops > 0) unit.leave(pops, unit.status);
  };
}

export const x87Arithmetic: Readonly<Record<string, Semantics>> = {
  ...arithmetic,
  fcom_m32: compare(0xd8, 0, fromSingle),
  fcomp_m32: compare(0xd8, 1, fromSingle),
  fcom_m64: compare(0xdc, 0, fromDouble),
  fcomp_m64: compare(0xdc, 1, fromDouble),
  fcom_sti: compare(0xd8, 0, registerOperand),
  fcomp_sti: compare(0xd8, 1, registerOperand),
  fcompp: compare(0xde, 2, secondRegister),
  fucom: compare(0xdd, 0, registerOperand),
  fucomp: compare(0xdd, 1, registerOperand),
  fucompp: compare(0xda, 2, secondRegister),
  ftst: compare(0xd9, 0, ZERO),
  fcomi: compareFlags(0xdb, 0),
  fcomip: compareFlags(0xdf, 1),
  fucomi: compareFlags(0xdb, 0),
  fucomip: compareFlags(0xdf, 1),
  fsqrt: (x) => {
    const { b } = x;
    const unit = X87.rounding(x);
    const top = unit.st(0);
    unit.require(top);
    const status = b.call(ROOT, top.address, unit.status);
    b.if(b.op('i32.eq', status, b.i32(REFUSED)), () => {
      x.fallback();
    });
    top.changed();
    unit.note(0xd9);
    unit.leave(0, status);
  },
};
