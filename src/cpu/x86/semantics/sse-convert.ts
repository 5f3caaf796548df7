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
  nativeRounding,
  requireExact,
  requireSse,
  storeXmm,
  xmmSlot,
} from './sse-operands.js';

/** CVT(T)SD2SI, CVT(T)SS2SI. */
function toInteger(f: typeof DOUBLE, truncate: boolean): Semantics {
  return (x) => {
    const { b } = x;
    requireSse(x);
    const value = readFloat(x, f, 1);
    requirePlain(x, f, [value]);
    const type = f.kind === 'f64' ? 'f64' : 'f32';
    const integral = truncate ? value : b.op(`${type}.nearest`, value);
    const width = x.width(0) === 64 ? 'i64' : 'i32';
    const result = b.op(`${width}.trunc_sat_${type}_s`, integral);
    // The least and the greatest integer become 1 and 0: there the conversion may have saturated. MXCSR raises the limit.
    const fromLeast = b.sub(result, b.constant(width, width === 'i64' ? 2n ** 63n - 1n : 0x7fff_ffff));
    const limit = b.or(b.sub(nativeRounding(x), b.i32(1)), b.i32(1));
    b.if(b.op(`${width}.le_u`, fromLeast, width === 'i64' ? b.extendS(limit) : limit), () => {
      b.if(b.op(`${width}.le_u`, fromLeast, b.constant(width, 1)), () => {
        x.fallback();
      });
      requireExact(x, () => b.op(`${type}.eq`, b.op(`${type}.convert_${width}_s`, result), value));
    });
    x.write(0, result);
  };
}

/** Falls back when a saturating conversion may have saturated: a result is the least or the greatest integer. */
function requireInRange(x: Lift, result: Node): void {
  const { b } = x;
  const fromLeast = b.op('i32x4.add', result, repeated(b, 32, 0x8000_0001));
  b.if(b.op('v128.any_true', b.op('i32x4.lt_u', fromLeast, repeated(b, 32, 2))), () => {
    x.fallback();
  });
}

/** Packed, to doublewords; those above two of doubles are cleared. */
function toDoublewords(f: FloatFormat, truncate: boolean): Semantics {
  return (x) => {
    const { b } = x;
    requireSse(x);
    const value = readVector(x, 1);
    requirePlain(x, f, [value]);
    const isDouble = f === DOUBLES;
    const integral = truncate ? value : b.op(isDouble ? 'f64x2.nearest' : 'f32x4.nearest', value);
    const result = b.op(isDouble ? 'i32x4.trunc_sat_f64x2_s_zero' : 'i32x4.trunc_sat_f32x4_s', integral);
    requireInRange(x, result);
    const back = isDouble ? 'f64x2.convert_low_i32x4_s' : 'f32x4.convert_i32x4_s';
    requireExact(x, () => f.all(b, f.op(b, 'eq', b.op(back, result), value)));
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
    requireSse(x);
    const value = x.read(1);
    const type = value.type === 'i32' ? 'i32' : 'i64';
    const result = b.op(`f32.convert_${type}_s`, value);
    // All integers of 24 bits are exact.
    const limit = (times: number): Node => b.constant(type, times * 2 ** 24);
    requireExact(x, () => b.op(`${type}.le_u`, b.add(value, limit(1)), limit(2)));
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
    const { b } = x;
    requireSse(x);
    const value = readFloat(x, DOUBLE, 1);
    const result = b.op('f32.demote_f64', value);
    // An ordinary result has an ordinary operand.
    requireSettled(
      x,
      SINGLE,
      [],
      result,
      () => isZero(x, DOUBLE, value),
      () => b.op('f64.eq', b.op('f64.promote_f32', result), value),
    );
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
    requireSse(x);
    const { b } = x;
    const value = readVector(x, 1);
    const result = b.op('f32x4.convert_i32x4_s', value);
    const fromLeast = (): Node => b.op('i32x4.add', value, repeated(b, 32, 2 ** 24));
    requireExact(x, () => SINGLES.all(b, b.op('i32x4.le_u', fromLeast(), repeated(b, 32, 2 ** 25))));
    x.facts.markPlain(result, SINGLES.parts);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  },
  cvtpd2ps: (x) => {
    const { b } = x;
    requireSse(x);
    const value = readVector(x, 1);
    const result = b.op('f32x4.demote_f64x2_zero', value);
    // The upper lanes are looked at as copies of the lower ones.
    const twice = b.lanes('i8x16.shuffle', [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7], result, result);
    const exactZero = (): Node => {
      const zeros = isZero(x, DOUBLES, value);
      return b.lanes('i8x16.shuffle', [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11], zeros, zeros);
    };
    const isExact = (): Node => DOUBLES.all(b, b.op('f64x2.eq', b.op('f64x2.promote_low_f32x4', result), value));
    requireSettled(x, SINGLES, [], twice, exactZero, isExact);
    x.facts.markPlain(result, SINGLES.parts);
    storeXmm(x, 'v128', xmmSlot(x, 0), result);
  },
  cvtps2dq: toDoublewords(SINGLES, false),
  cvttps2dq: toDoublewords(SINGLES, true),
  cvtpd2dq: toDoublewords(DOUBLES, false),
  cvttpd2dq: toDoublewords(DOUBLES, true),
};
