/** Conversions between integers, singles and doubles. What is not ordinary is left to the helpers: see sse-floats.ts. */
import { guestLoad } from '../../../ir/softmmu.js';
import type { Node } from '../../../ir/nodes.js';
import { PLAIN } from './facts.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import { readFloat } from './sse-arithmetic.js';
import {
  DOUBLE,
  DOUBLES,
  isZero,
  repeated,
  requirePlain,
  requireSettled,
  SINGLE,
  SINGLES,
  type FloatFormat,
} from './sse-floats.js';
import {
  loadXmm,
  readLowLanes,
  readVector,
  requireNativeRounding,
  requireSse,
  storeXmm,
  xmmSlot,
} from './sse-operands.js';

/** Falls back when a saturating conversion may have saturated: the result is the least or the greatest integer. */
function requireInRange(x: Lift, result: Node): void {
  const { b } = x;
  const extreme =
    result.type === 'v128'
      ? b.op(
          'v128.any_true',
          b.op('i32x4.lt_u', b.op('i32x4.add', result, repeated(b, 32, 0x8000_0001)), repeated(b, 32, 2)),
        )
      : result.type === 'i64'
        ? b.op('i64.lt_u', b.add(result, b.i64(0x8000_0000_0000_0001n)), b.i64(2))
        : b.op('i32.lt_u', b.add(result, b.i32(0x8000_0001)), b.i32(2));
  b.if(extreme, () => {
    x.fallback();
  });
}

/** CVT(T)SD2SI, CVT(T)SS2SI. */
function toInteger(f: typeof DOUBLE, truncate: boolean): Semantics {
  return (x) => {
    const { b } = x;
    requireNativeRounding(x);
    const value = readFloat(x, f, 1);
    requirePlain(x, f, [value]);
    const type = f.kind === 'f64' ? 'f64' : 'f32';
    const integral = truncate ? value : b.op(`${type}.nearest`, value);
    const result = b.op(x.width(0) === 64 ? `i64.trunc_sat_${type}_s` : `i32.trunc_sat_${type}_s`, integral);
    requireInRange(x, result);
    x.write(0, result);
  };
}

/** Packed, to doublewords; those above two of doubles are cleared. */
function toDoublewords(f: FloatFormat, truncate: boolean): Semantics {
  return (x) => {
    const { b } = x;
    requireNativeRounding(x);
    const value = readVector(x, 1);
    requirePlain(x, f, [value]);
    const isDouble = f === DOUBLES;
    const integral = truncate ? value : b.op(isDouble ? 'f64x2.nearest' : 'f32x4.nearest', value);
    const result = b.op(isDouble ? 'i32x4.trunc_sat_f64x2_s_zero' : 'i32x4.trunc_sat_f32x4_s', integral);
    requireInRange(x, result);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  };
}

/** All integers that a double holds exactly lie between these, included. */
const EXACT = 2n ** 53n;

export const sseConvert: Readonly<Record<string, Semantics>> = {
  cvtsi2sd: (x) => {
    const { b } = x;
    requireSse(x);
    const value = x.read(1);
    let result: Node;
    if (value.type === 'i32') result = b.op('f64.convert_i32_s', value);
    else {
      b.if(b.op('i64.gt_u', b.add(value, b.i64(EXACT)), b.i64(2n * EXACT)), () => {
        x.fallback();
      });
      result = b.op('f64.convert_i64_s', value);
    }
    x.facts.markPlain(result, PLAIN.DOUBLE);
    storeXmm(x, 'f64', xmmSlot(x, 0), result);
  },
  cvtsi2ss: (x) => {
    const { b } = x;
    requireNativeRounding(x);
    const value = x.read(1);
    const result = b.op(value.type === 'i32' ? 'f32.convert_i32_s' : 'f32.convert_i64_s', value);
    x.facts.markPlain(result, PLAIN.SINGLE);
    storeXmm(x, 'f32', xmmSlot(x, 0), result);
  },
  cvtsd2si: toInteger(DOUBLE, false),
  cvttsd2si: toInteger(DOUBLE, true),
  cvtss2si: toInteger(SINGLE, false),
  cvttss2si: toInteger(SINGLE, true),

  cvtss2sd: (x) => {
    requireSse(x);
    const value = readFloat(x, SINGLE, 1);
    requirePlain(x, SINGLE, [value]);
    const result = x.b.op('f64.promote_f32', value);
    x.facts.markPlain(result, PLAIN.DOUBLE);
    storeXmm(x, 'f64', xmmSlot(x, 0), result);
  },
  cvtsd2ss: (x) => {
    requireNativeRounding(x);
    const value = readFloat(x, DOUBLE, 1);
    const result = x.b.op('f32.demote_f64', value);
    // An ordinary result has an ordinary operand.
    requireSettled(x, SINGLE, [], result, () => isZero(x, DOUBLE, value));
    storeXmm(x, 'f32', xmmSlot(x, 0), result);
  },

  cvtps2pd: (x) => {
    const { b } = x;
    requireSse(x);
    // The two singles twice, so that nothing else is looked at.
    const low = x.isMemory(1)
      ? guestLoad(b, x.mmu, x.linear(), 8, 'v128.load64_zero')
      : b.op('i64x2.splat', loadXmm(x, 'i64', xmmSlot(x, 1)));
    requirePlain(x, SINGLES, [low]);
    const result = b.op('f64x2.promote_low_f32x4', low);
    x.facts.markPlain(result, DOUBLES.parts);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  },
  cvtdq2pd: (x) => {
    requireSse(x);
    const result = x.b.op('f64x2.convert_low_i32x4_s', readLowLanes(x, 1, 8));
    x.facts.markPlain(result, DOUBLES.parts);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  },
  cvtdq2ps: (x) => {
    requireNativeRounding(x);
    const result = x.b.op('f32x4.convert_i32x4_s', readVector(x, 1));
    x.facts.markPlain(result, SINGLES.parts);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  },
  cvtpd2ps: (x) => {
    const { b } = x;
    requireNativeRounding(x);
    const value = readVector(x, 1);
    const result = b.op('f32x4.demote_f64x2_zero', value);
    // The upper lanes are looked at as copies of the lower ones.
    const twice = b.lanes('i8x16.shuffle', [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7], result, result);
    requireSettled(x, SINGLES, [], twice, () => {
      const zeros = isZero(x, DOUBLES, value);
      return b.lanes('i8x16.shuffle', [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11], zeros, zeros);
    });
    x.facts.markPlain(result, SINGLES.parts);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  },
  cvtps2dq: toDoublewords(SINGLES, false),
  cvttps2dq: toDoublewords(SINGLES, true),
  cvtpd2dq: toDoublewords(DOUBLES, false),
  cvttpd2dq: toDoublewords(DOUBLES, true),
};
