/**
 * When the host's floating point arithmetic gives what the guest's would. A value is plain when it is normal or zero. On plain
 * operands with a plain result nothing can be raised but the precision exception (which `requireExact` takes care of),
 * as long as the result is not one to which a tiny one was rounded. The fast test is for ordinary values: normal, and not next to
 * the least normal number; all else is looked at in detail only after that failed.
 */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import type { PureOp } from '../../../ir/wasm/opcodes.js';
import { PLAIN } from './facts.js';
import type { Lift } from './lift.js';
import { nativeRounding, requireExact } from './sse-operands.js';

/** Operations that exist in every format under the same name. */
export type FloatOp = 'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'abs' | 'neg' | 'eq' | 'lt' | 'le';

/**
 * A format: what tests are made of. A mask is i32 0 or 1 for scalars, a vector of lanes that are all zeros or all ones for
 * packed values.
 */
export interface FloatFormat {
  readonly kind: 'f32' | 'f64' | 'v128';
  /** PLAIN of all its parts. */
  readonly parts: number;
  op(b: Builder, name: FloatOp, ...args: readonly Node[]): Node;
  /** Something of a value that is 0 (in a lane) if it is not ordinary; of scalars also if `native`, 0 or 1, is 0. */
  exponent(b: Builder, value: Node, native?: Node): Node;
  /** Mask: where the exponent is 0. */
  odd(b: Builder, exponent: Node): Node;
  /** i32 0 or 1: whether a mask is all ones. */
  all(b: Builder, mask: Node): Node;
  zero(b: Builder): Node;
  infinity(b: Builder): Node;
  and(b: Builder, left: Node, right: Node): Node;
  or(b: Builder, left: Node, right: Node): Node;
}

/** The bits of a scalar, without a detour if it was made of them. */
export function bitsOf(b: Builder, value: Node): Node {
  const to: PureOp = value.type === 'f64' ? 'i64.reinterpret_f64' : 'i32.reinterpret_f32';
  const from: PureOp = value.type === 'f64' ? 'f64.reinterpret_i64' : 'f32.reinterpret_i32';
  return value.kind === 'pure' && value.op === from ? value.args[0] : b.op(to, value);
}

/** Exponent fields 0 … 2 and the greatest, plus one, have none of the ordinary bits. Of a double these are in the upper half. */
const DOUBLE_ONE = 0x0010_0000;
const DOUBLE_ORDINARY = 0x7fc0_0000;
const SINGLE_ONE = 0x0080_0000;
const SINGLE_ORDINARY = 0x7e00_0000;

/** The mask, or 0 where `native` is 0. */
const maskIf = (b: Builder, mask: number, native: Node | undefined): Node =>
  native ? b.and(b.sub(b.i32(0), native), b.i32(mask)) : b.i32(mask);

const scalarMasks = {
  and: (b: Builder, left: Node, right: Node) => b.and(left, right),
  or: (b: Builder, left: Node, right: Node) => b.or(left, right),
  odd: (b: Builder, exponent: Node) => b.eqz(exponent),
  all: (_: Builder, mask: Node) => mask,
};

const vectorMasks = {
  all: (b: Builder, mask: Node) => b.op('i32x4.all_true', mask),
  and: (b: Builder, left: Node, right: Node) => b.op('v128.and', left, right),
  or: (b: Builder, left: Node, right: Node) => b.op('v128.or', left, right),
};

/** One double. */
export const DOUBLE: FloatFormat = {
  kind: 'f64',
  parts: PLAIN.DOUBLE,
  op: (b, name, ...args) => b.op(`f64.${name}`, ...args),
  exponent: (b, value, native) =>
    b.and(b.add(b.wrap(b.shru(bitsOf(b, value), b.i64(32))), b.i32(DOUBLE_ONE)), maskIf(b, DOUBLE_ORDINARY, native)),
  zero: (b) => b.f64(0),
  infinity: (b) => b.f64(Infinity),
  ...scalarMasks,
};

/** One single. */
export const SINGLE: FloatFormat = {
  kind: 'f32',
  parts: PLAIN.SINGLE,
  op: (b, name, ...args) => b.op(`f32.${name}`, ...args),
  exponent: (b, value, native) => b.and(b.add(bitsOf(b, value), b.i32(SINGLE_ONE)), maskIf(b, SINGLE_ORDINARY, native)),
  zero: (b) => b.f32(0),
  infinity: (b) => b.f32(Infinity),
  ...scalarMasks,
};

/** The same value in all lanes of a vector. */
export function repeated(b: Builder, lane: 32 | 64, value: number): Node {
  const low = BigInt.asUintN(lane, BigInt(value));
  const half = lane === 64 ? low : low | (low << 32n);
  return b.v128(half | (half << 64n));
}

/** Two doubles. */
export const DOUBLES: FloatFormat = {
  kind: 'v128',
  parts: PLAIN.DOUBLE | PLAIN.HIGH_DOUBLE,
  op: (b, name, ...args) => b.op(`f64x2.${name}`, ...args),
  exponent: (b, value) =>
    b.op(
      'v128.and',
      b.op('i64x2.add', value, repeated(b, 64, DOUBLE_ONE * 2 ** 32)),
      repeated(b, 64, DOUBLE_ORDINARY * 2 ** 32),
    ),
  odd: (b, exponent) => b.op('i64x2.eq', exponent, b.v128(0n)),
  zero: (b) => b.v128(0n),
  infinity: (b) => b.op('f64x2.splat', b.f64(Infinity)),
  ...vectorMasks,
};

/** Four singles. */
export const SINGLES: FloatFormat = {
  kind: 'v128',
  parts: PLAIN.SINGLE | PLAIN.HIGH_SINGLES,
  op: (b, name, ...args) => b.op(`f32x4.${name}`, ...args),
  exponent: (b, value) =>
    b.op('v128.and', b.op('i32x4.add', value, repeated(b, 32, SINGLE_ONE)), repeated(b, 32, SINGLE_ORDINARY)),
  odd: (b, exponent) => b.op('i32x4.eq', exponent, b.v128(0n)),
  zero: (b) => b.v128(0n),
  infinity: (b) => b.op('f32x4.splat', b.f32(Infinity)),
  ...vectorMasks,
};

/** A value, its exponent, and (a mask) where it may be as it is though it is not ordinary. */
interface Test {
  readonly exponent: Node;
  readonly otherwise: () => Node;
}

/** Falls back unless each value is ordinary or is excused. */
function requireEach(x: Lift, f: FloatFormat, tests: readonly Test[]): void {
  if (tests.length === 0) return;
  // Scalars one by one: a jump is cheaper than what puts two of them together. Of vectors, a jump is dear.
  if (f.kind === 'v128') requireAll(x, f, tests);
  else for (const test of tests) requireOne(x, test);
}

function requireOne(x: Lift, { exponent, otherwise }: Test): void {
  const { b } = x;
  b.if(b.eqz(exponent), () => {
    b.if(b.eqz(otherwise()), () => {
      x.fallback();
    });
  });
}

function requireAll(x: Lift, f: FloatFormat, tests: readonly Test[]): void {
  const { b } = x;
  const masks = tests.map(({ exponent }) => f.odd(b, exponent));
  const all = masks.reduce((left, right) => f.or(b, left, right));
  b.if(b.op('v128.any_true', all), () => {
    const bad = tests
      .map(({ otherwise }, i) => b.op('v128.andnot', masks[i], otherwise()))
      .reduce((left, right) => f.or(b, left, right));
    b.if(b.op('v128.any_true', bad), () => {
      x.fallback();
    });
  });
}

/** Tests of the operands that are not known to be plain. */
function testsOf(
  x: Lift,
  f: FloatFormat,
  operands: readonly Node[],
  otherwise: (value: Node) => Node,
): readonly Test[] {
  return operands
    .filter((value) => !x.facts.isPlain(value, f.parts))
    .map((value) => ({ exponent: f.exponent(x.b, value), otherwise: () => otherwise(value) }));
}

/** A mask: where a value is 0. */
export const isZero = (x: Lift, f: FloatFormat, value: Node): Node => f.op(x.b, 'eq', value, f.zero(x.b));

/**
 * Falls back unless all operands are plain and the result of the operation on them is what the guest's would be: ordinary, or
 * `exactZero` (a mask, of plain operands) holds; and MXCSR allows it, which may depend on `isExact` (i32 0 or 1, of such operands and
 * result). The result is plain then.
 */
export function requireSettled(
  x: Lift,
  f: FloatFormat,
  operands: readonly Node[],
  result: Node,
  exactZero: () => Node,
  isExact: () => Node,
): void {
  const { b } = x;
  const tests = testsOf(x, f, operands, (value) => isZero(x, f, value));
  if (f.kind === 'v128') {
    requireEach(x, f, [...tests, { exponent: f.exponent(b, result), otherwise: exactZero }]);
    requireExact(x, isExact);
  } else {
    requireEach(x, f, tests);
    // One jump for the result's value and for MXCSR.
    b.if(b.eqz(f.exponent(b, result, nativeRounding(x))), () => {
      b.if(b.eqz(f.exponent(b, result)), () => {
        b.if(b.eqz(exactZero()), () => {
          x.fallback();
        });
      });
      requireExact(x, isExact);
    });
  }
  for (const value of [...operands, result]) x.facts.markPlain(value, f.parts);
}

/** Falls back unless all operands are plain. */
export function requirePlain(x: Lift, f: FloatFormat, operands: readonly Node[]): void {
  requireEach(
    x,
    f,
    testsOf(x, f, operands, (value) => isZero(x, f, value)),
  );
  for (const value of operands) x.facts.markPlain(value, f.parts);
}

/** Falls back when an operand is a NaN or a denormal: what comparisons care for. */
export function requireComparable(x: Lift, f: FloatFormat, operands: readonly Node[]): void {
  const { b } = x;
  const isInfinite = (value: Node): Node => f.op(b, 'eq', f.op(b, 'abs', value), f.infinity(b));
  requireEach(
    x,
    f,
    testsOf(x, f, operands, (value) => f.or(b, isZero(x, f, value), isInfinite(value))),
  );
}
