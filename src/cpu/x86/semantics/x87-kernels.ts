/**
 * Sums and products of normal numbers with 64 bits of precision, rounded to nearest: what `x87-fast.ts` of the helpers does, without
 * a call. Few branches: signs, the order of operands and the direction of rounding are as good as random.
 */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import { BIAS, roundsUp } from './x87-formats.js';
import type { Extended } from './x87-stack.js';

/** A result before rounding: significand (hi:lo) with bit 127 set unless it is 0, exponent, and sign in place. */
interface Exact {
  readonly hi: Node;
  readonly lo: Node;
  readonly exponent: Node;
  readonly sign: Node;
}

/** A rounded result. */
export interface Rounded extends Extended {
  /** 0 or 1: the result is inexact; it has been rounded up. */
  readonly inexact: Node;
  readonly up: Node;
}

/** Builds a result. `then` builds what uses it where the numbers allow it; nothing happens where they do not. */
export type Kernel = (b: Builder, p: Extended, q: Extended, then: (result: Rounded) => void) => void;

const exponentOf = (b: Builder, v: Extended): Node => b.and(v.se, b.i32(0x7fff));
const haveIntegerBits = (b: Builder, p: Extended, q: Extended): Node => b.op('i64.lt_s', b.and(p.sig, q.sig), b.i64(0));

/** Shifts (hi:lo) to the left by n < 64, i64. */
function normalize(b: Builder, hi: Node, lo: Node, n: Node): { hi: Node; lo: Node } {
  const carried = b.shru(b.shru(lo, b.i64(1)), b.sub(b.i64(63), n));
  return { hi: b.or(b.shl(hi, n), carried), lo: b.shl(lo, n) };
}

function round(b: Builder, { hi, lo, exponent, sign }: Exact, then: (result: Rounded) => void): void {
  // Room for a carry at the upper end.
  const isInRange = b.op('i32.lt_u', b.sub(exponent, b.i32(1)), b.i32(0x7ffd));
  b.if(b.and(isInRange, b.op('i64.ne', hi, b.i64(0))), () => {
    const up = roundsUp(b, hi, lo);
    const rounded = b.add(hi, b.extendU(up));
    // A carry has left 0.
    then({
      se: b.or(sign, b.add(exponent, b.eqz(rounded))),
      sig: b.or(rounded, b.i64(1n << 63n)),
      inexact: b.op('i64.ne', lo, b.i64(0)),
      up,
    });
  });
}

export const sum: Kernel = (b, p, q, then) => {
  const [pExponent, qExponent] = [exponentOf(b, p), exponentOf(b, q)];
  const difference = b.sub(pExponent, qExponent);
  const isLess = b.op('i32.lt_s', difference, b.i32(0));
  const swap = b.or(isLess, b.and(b.eqz(difference), b.op('i64.lt_u', p.sig, q.sig)));
  const distance = b.select(isLess, b.sub(b.i32(0), difference), difference);
  const exponent = b.select(swap, qExponent, pExponent);
  const least = b.select(swap, pExponent, qExponent);
  const isNear = b.op('i32.le_u', distance, b.i32(62));
  const isNormal = b.and(b.op('i32.lt_u', exponent, b.i32(0x7fff)), b.op('i32.ne', least, b.i32(0)));
  b.if(b.and(b.and(haveIntegerBits(b, p, q), isNear), isNormal), () => {
    const large = b.select(swap, q.sig, p.sig);
    const small = b.select(swap, p.sig, q.sig);
    const sign = b.and(b.select(swap, q.se, p.se), b.i32(0x8000));
    const d = b.extendU(distance);
    // Both go one bit to the right, for a carry; a difference adds the complement.
    const differ = b.extendU(b.and(b.shru(b.xor(p.se, q.se), b.i32(15)), b.i32(1)));
    const flip = b.sub(b.i64(0), differ);
    const below = b.add(b.xor(b.shl(small, b.sub(b.i64(63), d)), flip), differ);
    const low = b.add(b.shl(large, b.i64(63)), below);
    const above = b.xor(b.shru(small, b.add(d, b.i64(1))), flip);
    const carries = b.add(b.extendU(b.op('i64.lt_u', below, differ)), b.extendU(b.op('i64.lt_u', low, below)));
    const high = b.add(b.add(b.shru(large, b.i64(1)), above), carries);
    const n = b.int('clz', high);
    const { hi, lo } = normalize(b, high, low, n);
    round(b, { hi, lo, exponent: b.sub(b.add(exponent, b.i32(1)), b.wrap(n)), sign }, then);
  });
};

/** The upper half of a product. */
function highProduct(b: Builder, p: Node, q: Node): Node {
  const mask = b.i64(0xffff_ffffn);
  const upper = (v: Node): Node => b.shru(v, b.i64(32));
  const lower = (v: Node): Node => b.and(v, mask);
  const times = (u: Node, v: Node): Node => b.int('mul', u, v);
  const [p0, p1, q0, q1] = [lower(p), upper(p), lower(q), upper(q)];
  const middle = b.add(times(p1, q0), upper(times(p0, q0)));
  const middle2 = b.add(times(p0, q1), lower(middle));
  return b.add(b.add(times(p1, q1), upper(middle)), upper(middle2));
}

export const product: Kernel = (b, p, q, then) => {
  const [pExponent, qExponent] = [exponentOf(b, p), exponentOf(b, q)];
  const isNormal = (exponent: Node): Node => b.op('i32.lt_u', b.sub(exponent, b.i32(1)), b.i32(0x7ffe));
  const areNormal = b.and(isNormal(pExponent), isNormal(qExponent));
  b.if(b.and(haveIntegerBits(b, p, q), areNormal), () => {
    const high = highProduct(b, p.sig, q.sig);
    const n = b.xor(b.shru(high, b.i64(63)), b.i64(1));
    const { hi, lo } = normalize(b, high, b.int('mul', p.sig, q.sig), n);
    const exponent = b.sub(b.sub(b.add(pExponent, qExponent), b.i32(BIAS - 1)), b.wrap(n));
    round(b, { hi, lo, exponent, sign: b.and(b.xor(p.se, q.se), b.i32(0x8000)) }, then);
  });
};
