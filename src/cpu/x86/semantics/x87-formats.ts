/** Formats of numbers that the x87 loads and stores, over the intermediate form. SDM vol. 1 §4.2 and §8.2. */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import type { Extended } from './x87-stack.js';

export const BIAS = 16383;
const INTEGER_BIT = 1n << 63n;
/** Half a unit of the last place that is kept, as a fraction of 2^64. */
const HALF = INTEGER_BIT;

/** A number in an extended register, and whether it is normal or zero; the value says nothing where it is not. */
export interface Loaded {
  readonly value: Extended;
  readonly ordinary: Node;
}

/** What the bits of a binary64 (i64) are. */
export function doubleOf(b: Builder, v: Node): Loaded {
  const e = b.and(b.wrap(b.shru(v, b.i64(52))), b.i32(0x7ff));
  const normal = b.op('i32.lt_u', b.sub(e, b.i32(1)), b.i32(0x7fe));
  const zero = b.eqz(b.shl(v, b.i64(1)));
  const sign = b.and(b.wrap(b.shru(v, b.i64(48))), b.i32(0x8000));
  return extendedOf(b, normal, zero, sign, b.add(e, b.i32(BIAS - 1023)), b.shl(v, b.i64(11)));
}

/** What the bits of a binary32 (i32) are. */
export function singleOf(b: Builder, v: Node): Loaded {
  const e = b.and(b.shru(v, b.i32(23)), b.i32(0xff));
  const normal = b.op('i32.lt_u', b.sub(e, b.i32(1)), b.i32(0xfe));
  const zero = b.eqz(b.shl(v, b.i32(1)));
  const sign = b.and(b.shru(v, b.i32(16)), b.i32(0x8000));
  return extendedOf(b, normal, zero, sign, b.add(e, b.i32(BIAS - 127)), b.shl(b.extendU(v), b.i64(40)));
}

/** What is neither normal nor zero comes out with the largest exponent, so that nothing takes it for a number. */
function extendedOf(b: Builder, normal: Node, zero: Node, sign: Node, exponent: Node, fraction: Node): Loaded {
  const special = b.select(zero, b.i32(0), b.i32(0x7fff));
  const se = b.or(sign, b.select(normal, exponent, special));
  const sig = b.select(zero, b.i64(0), b.or(fraction, b.i64(INTEGER_BIT)));
  return { value: { se, sig }, ordinary: b.or(normal, zero) };
}

/** An integer (i64), exactly. */
export function integerOf(b: Builder, v: Node): Extended {
  const sign = b.shrs(v, b.i64(63));
  const magnitude = b.sub(b.xor(v, sign), sign);
  const shift = b.int('clz', magnitude);
  const se = b.or(b.and(b.wrap(sign), b.i32(0x8000)), b.sub(b.i32(BIAS + 63), b.wrap(shift)));
  return { se: b.select(b.eqz(v), b.i32(0), se), sig: b.shl(magnitude, shift) };
}

/** 0 or 1: whether a register's number is normal or zero. */
export function isOrdinary(b: Builder, { se, sig }: Extended): Node {
  const exponent = b.and(se, b.i32(0x7fff));
  const normal = b.and(b.op('i32.lt_u', b.sub(exponent, b.i32(1)), b.i32(0x7ffe)), b.op('i64.lt_s', sig, b.i64(0)));
  return b.or(normal, b.eqz(b.or(b.extendU(exponent), sig)));
}

/** 0 or 1: whether a register holds a zero. */
export function isZero(b: Builder, { se, sig }: Extended): Node {
  return b.eqz(b.or(b.extendU(b.and(se, b.i32(0x7fff))), sig));
}

/** A number narrowed, rounded to nearest. */
export interface Narrowed {
  /** Its bits: i64 or i32. */
  readonly bits: Node;
  /** 0 or 1: whether this is so; else it is zero, subnormal, near overflow, infinite or a NaN. */
  readonly fits: Node;
  /** 0 or 1: it is inexact; it has been rounded up. */
  readonly inexact: Node;
  readonly up: Node;
}

/** 0 or 1: whether `kept`, followed by `rest` in parts of 2^64, is rounded up to the nearest. */
export function roundsUp(b: Builder, kept: Node, rest: Node): Node {
  return b.op('i64.gt_u', rest, b.sub(b.i64(HALF), b.and(kept, b.i64(1))));
}

/** As a binary64 or binary32 with `fraction` bits behind the point and an exponent's bias. */
export function narrow(b: Builder, { se, sig }: Extended, fraction: 52 | 23, bias: 1023 | 127): Narrowed {
  // The integer bit adds the missing 1.
  const exponent = b.sub(b.and(se, b.i32(0x7fff)), b.i32(BIAS - bias + 1));
  const fits = b.and(b.op('i32.lt_u', exponent, b.i32(2 * bias - 1)), b.op('i64.lt_s', sig, b.i64(0)));
  const magnitude = b.add(b.shl(b.extendU(exponent), b.i64(fraction)), b.shru(sig, b.i64(63 - fraction)));
  const sign = b.shl(b.extendU(b.and(se, b.i32(0x8000))), b.i64(fraction === 52 ? 48 : 16));
  const rest = b.shl(sig, b.i64(fraction + 1));
  const up = roundsUp(b, magnitude, rest);
  const all = b.or(b.add(magnitude, b.extendU(up)), sign);
  return {
    bits: fraction === 52 ? all : b.wrap(all),
    fits,
    inexact: b.op('i64.ne', rest, b.i64(0)),
    up,
  };
}
