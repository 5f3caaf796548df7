/** Arithmetic and comparison of SSE and SSE2 floating point. What is not ordinary is left to the helpers: see sse-floats.ts. */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import {
  bitsOf,
  DOUBLE,
  DOUBLES,
  isZero,
  requireComparable,
  requirePlain,
  requireSettled,
  SINGLE,
  SINGLES,
  type FloatFormat,
} from './sse-floats.js';
import { bytesOf, lanesOf } from './sse-lanes.js';
import { loadXmm, readScalar, readVector, requireExact, requireSse, storeXmm, xmmSlot } from './sse-operands.js';

/** A source operand in a format. From memory it comes as an integer, whose bits are looked at anyway. */
export function readFloat(x: Lift, f: FloatFormat, index: number): Node {
  const { b } = x;
  if (f.kind === 'v128') return readVector(x, index);
  if (!x.isMemory(index)) return readScalar(x, f.kind, index);
  return f.kind === 'f64'
    ? b.op('f64.reinterpret_i64', readScalar(x, 'i64', index))
    : b.op('f32.reinterpret_i32', readScalar(x, 'i32', index));
}

/** The four forms of an operation by its name without suffix. */
function four(name: string, of: (f: FloatFormat) => Semantics): Readonly<Record<string, Semantics>> {
  return {
    [`${name}ss`]: of(SINGLE),
    [`${name}sd`]: of(DOUBLE),
    [`${name}ps`]: of(SINGLES),
    [`${name}pd`]: of(DOUBLES),
  };
}

/** What can be said of an operation's result. Operands are plain; for `isExact` the result is plain too. */
interface Outcome {
  /** A mask: where a result that is not ordinary is right. */
  readonly exactZero: (x: Lift, f: FloatFormat, a: Node, b: Node, result: Node) => Node;
  /** i32 0 or 1: whether the result is exact. It may say no when it is. */
  readonly isExact: (x: Lift, f: FloatFormat, a: Node, b: Node, result: Node) => Node;
}

/** Whether significands have so many zeros that the product of two doubles, which is not tiny, is exact. */
function isShortProduct(b: Builder, left: Node, right: Node): Node {
  const zeros = (value: Node): Node => b.int('ctz', b.or(bitsOf(b, value), b.i64(1n << 52n)));
  return b.op('i64.ge_u', b.add(zeros(left), zeros(right)), b.i64(53));
}

/** Whether left × right is exactly `product`; that is plain, and close to it. */
function isProduct(x: Lift, f: FloatFormat, left: Node, right: Node, product: Node): Node {
  const { b } = x;
  if (f === SINGLE)
    return f64Equal(
      b,
      [left, right, product].map((value) => b.op('f64.promote_f32', value)),
    );
  if (f === SINGLES) {
    const wide = (value: Node): Node => b.op('f64x2.promote_low_f32x4', value);
    const high = (value: Node): Node => wide(b.op('i64x2.splat', b.lanes('i64x2.extract_lane', [1], value)));
    const values = [left, right, product];
    return b.and(f64x2Equal(b, values.map(wide)), f64x2Equal(b, values.map(high)));
  }
  if (f === DOUBLE) return b.and(isShortProduct(b, left, right), f64Equal(b, [left, right, product]));
  const lane = (value: Node, i: number): Node => b.lanes('f64x2.extract_lane', [i], value);
  const areShort = b.and(
    isShortProduct(b, lane(left, 0), lane(right, 0)),
    isShortProduct(b, lane(left, 1), lane(right, 1)),
  );
  return b.and(areShort, f64x2Equal(b, [left, right, product]));
}

/** Whether left × right is `product`, in doubles: exactly so if they were singles. */
const f64Equal = (b: Builder, [left, right, product]: readonly Node[]): Node =>
  b.op('f64.eq', b.op('f64.mul', left, right), product);

const f64x2Equal = (b: Builder, [left, right, product]: readonly Node[]): Node =>
  b.op('i32x4.all_true', b.op('f64x2.eq', b.op('f64x2.mul', left, right), product));

/** Sums of plain numbers are 0 only if they are exactly; the rounding error is a number too (Knuth). */
const sum = (sign: 'add' | 'sub'): Outcome => ({
  exactZero: (x, f, _a, _b, result) => isZero(x, f, result),
  isExact: (x, f, left, right, result) => {
    const { b } = x;
    const addend = sign === 'add' ? right : f.op(b, 'neg', right);
    const t = f.op(b, 'sub', result, left);
    const error = f.op(b, 'add', f.op(b, 'sub', left, f.op(b, 'sub', result, t)), f.op(b, 'sub', addend, t));
    return f.all(b, isZero(x, f, error));
  },
});

/** A product is 0 without having been tiny if a factor is. */
const product: Outcome = {
  exactZero: (x, f, left, right) => f.or(x.b, isZero(x, f, left), isZero(x, f, right)),
  isExact: isProduct,
};

/** A quotient is 0 if the dividend is and the divisor is not. */
const quotient: Outcome = {
  exactZero: (x, f, left, _, result) => f.and(x.b, isZero(x, f, left), isZero(x, f, result)),
  isExact: (x, f, left, right, result) => isProduct(x, f, result, right, left),
};

/** Operands of an operation made of destination and source. */
type Arrange = (b: Builder, left: Node, right: Node) => readonly [Node, Node];

/** An operation on destination and source, or on what is made of them. */
function binary(
  name: 'add' | 'sub' | 'mul' | 'div',
  outcome: Outcome,
  arrange: Arrange = (_, left, right) => [left, right],
): (f: FloatFormat) => Semantics {
  return (f) => (x) => {
    requireSse(x);
    const source = readFloat(x, f, 1);
    const slot = xmmSlot(x, 0);
    const [left, right] = arrange(x.b, loadXmm(x, f.kind, slot), source);
    const result = f.op(x.b, name, left, right);
    requireSettled(
      x,
      f,
      [left, right],
      result,
      () => outcome.exactZero(x, f, left, right, result),
      () => outcome.isExact(x, f, left, right, result),
    );
    storeXmm(x, f.kind, slot, result);
  };
}

/** Even lanes of destination and source, and odd ones. */
const pairs =
  (size: 4 | 8): Arrange =>
  (b, left, right) => {
    const lanes = lanesOf(size).map((i) => 2 * i);
    const odd = lanes.map((i) => i + 1);
    return [
      b.lanes('i8x16.shuffle', bytesOf(size, lanes), left, right),
      b.lanes('i8x16.shuffle', bytesOf(size, odd), left, right),
    ];
  };

/** Even lanes of the source negated: what is added there is subtracted. */
const alternating =
  (lane: 32 | 64): Arrange =>
  (b, left, right) => [left, b.op('v128.xor', right, b.v128(lane === 64 ? 1n << 63n : (1n << 31n) | (1n << 95n)))];

const squareRoot =
  (f: FloatFormat): Semantics =>
  (x) => {
    requireSse(x);
    const value = readFloat(x, f, 1);
    const result = f.op(x.b, 'sqrt', value);
    requireSettled(
      x,
      f,
      [value],
      result,
      () => isZero(x, f, value),
      () => isProduct(x, f, result, result, value),
    );
    storeXmm(x, f.kind, xmmSlot(x, 0), result);
  };

/** MIN and MAX: the second operand where the first is not less or greater, which pmin and pmax give with operands exchanged. */
function extremum(name: 'pmin' | 'pmax'): (f: FloatFormat) => Semantics {
  return (f) => (x) => {
    const { b } = x;
    requireSse(x);
    const right = readFloat(x, f, 1);
    const slot = xmmSlot(x, 0);
    const left = loadXmm(x, f.kind, slot);
    const arePlain = x.facts.isPlain(left, f.parts) && x.facts.isPlain(right, f.parts);
    requireComparable(x, f, [left, right]);
    const result =
      f.kind === 'v128' ? vectorExtremum(b, f, name, left, right) : scalarExtremum(b, f, name, left, right);
    if (arePlain) x.facts.markPlain(result, f.parts);
    storeXmm(x, f.kind, slot, result);
  };
}

function vectorExtremum(b: Builder, f: FloatFormat, name: 'pmin' | 'pmax', left: Node, right: Node): Node {
  return b.op(f === DOUBLES ? `f64x2.${name}` : `f32x4.${name}`, right, left);
}

/** By vectors: a choice between two scalars is a jump. */
function scalarExtremum(b: Builder, f: FloatFormat, name: 'pmin' | 'pmax', left: Node, right: Node): Node {
  if (f === DOUBLE) {
    const both = b.op(`f64x2.${name}`, b.op('f64x2.splat', right), b.op('f64x2.splat', left));
    return b.lanes('f64x2.extract_lane', [0], both);
  }
  const all = b.op(`f32x4.${name}`, b.op('f32x4.splat', right), b.op('f32x4.splat', left));
  return b.lanes('f32x4.extract_lane', [0], all);
}

/** COMISx and UCOMISx differ in what they do with NaNs only. */
const order =
  (f: FloatFormat): Semantics =>
  (x) => {
    const { b } = x;
    requireSse(x);
    const right = readFloat(x, f, 1);
    const left = loadXmm(x, f.kind, xmmSlot(x, 0));
    requireComparable(x, f, [left, right]);
    x.flags.onlyCarryZero(f.op(b, 'lt', left, right), f.op(b, 'eq', left, right));
  };

/** CMPxx, predicate 0 … 7: EQ LT LE UNORD, and their opposites. No operand is a NaN here, so UNORD never holds. */
const compare =
  (f: FloatFormat): Semantics =>
  (x) => {
    const { b } = x;
    requireSse(x);
    const right = readFloat(x, f, 1);
    const slot = xmmSlot(x, 0);
    const left = loadXmm(x, f.kind, slot);
    requireComparable(x, f, [left, right]);
    const predicate = b.wrap(x.parts.immediate());
    // i32 -1 or 0: whether EQ, LT and NOT take part.
    const all = (bit: Node): Node => b.sub(b.i32(0), b.and(bit, b.i32(1)));
    const withEqual = all(b.not(predicate));
    const withLess = all(b.xor(predicate, b.shru(predicate, b.i32(1))));
    const opposite = all(b.shru(predicate, b.i32(2)));
    const equal = f.op(b, 'eq', left, right);
    const less = f.op(b, 'lt', left, right);
    if (f.kind === 'v128') {
      const spread = (mask: Node): Node => b.op('i32x4.splat', mask);
      const holds = b.op(
        'v128.or',
        b.op('v128.and', equal, spread(withEqual)),
        b.op('v128.and', less, spread(withLess)),
      );
      storeXmm(x, 'v128', slot, b.op('v128.xor', holds, spread(opposite)));
      return;
    }
    const holds = b.sub(b.i32(0), b.or(b.and(equal, withEqual), b.and(less, withLess)));
    const mask = b.xor(holds, opposite);
    if (f.kind === 'f64') storeXmm(x, 'i64', slot, b.extendS(mask));
    else storeXmm(x, 'i32', slot, mask);
  };

/** Rounding to an integral value; modes of the immediate, where the code is made for one. */
const ROUNDINGS = ['nearest', 'floor', 'ceil', 'trunc'] as const;

const round =
  (f: FloatFormat): Semantics =>
  (x) => {
    const { b } = x;
    const immediate = x.parts.immediate();
    if (immediate.kind !== 'const') {
      x.fallback();
      return;
    }
    requireSse(x);
    const value = readFloat(x, f, 1);
    requirePlain(x, f, [value]);
    const mode = Number(immediate.value & 15n);
    // Bit 2: as MXCSR says, which is to nearest if we get that far.
    const name = mode & 4 ? 'nearest' : ROUNDINGS[mode & 3];
    const lanes = { [DOUBLE.parts]: 'f64', [SINGLE.parts]: 'f32', [DOUBLES.parts]: 'f64x2', [SINGLES.parts]: 'f32x4' };
    const type = lanes[f.parts] as 'f64' | 'f32' | 'f64x2' | 'f32x4';
    const result = b.op(`${type}.${name}`, value);
    // Bit 3: without a precision exception. With a mode of its own nothing of MXCSR counts then.
    if ((mode & 12) !== 8) requireExact(x, () => f.all(b, f.op(b, 'eq', result, value)));
    x.facts.markPlain(result, f.parts);
    storeXmm(x, f.kind, xmmSlot(x, 0), result);
  };

const { cmpsd: cmpsdXmm, ...compares } = four('cmp', compare);

export const sseArithmetic: Readonly<Record<string, Semantics>> = {
  ...four('add', binary('add', sum('add'))),
  ...four('sub', binary('sub', sum('sub'))),
  ...four('mul', binary('mul', product)),
  ...four('div', binary('div', quotient)),
  haddps: binary('add', sum('add'), pairs(4))(SINGLES),
  haddpd: binary('add', sum('add'), pairs(8))(DOUBLES),
  hsubps: binary('sub', sum('sub'), pairs(4))(SINGLES),
  hsubpd: binary('sub', sum('sub'), pairs(8))(DOUBLES),
  addsubps: binary('add', sum('add'), alternating(32))(SINGLES),
  addsubpd: binary('add', sum('add'), alternating(64))(DOUBLES),
  ...four('sqrt', squareRoot),
  ...four('min', extremum('pmin')),
  ...four('max', extremum('pmax')),
  ...compares,
  // The string instruction has the name CMPSD too.
  cmpsd_xmm: cmpsdXmm,
  ...four('round', round),
  comiss: order(SINGLE),
  ucomiss: order(SINGLE),
  comisd: order(DOUBLE),
  ucomisd: order(DOUBLE),
};
