/** Packed integer arithmetic, comparison and logic in XMM registers: SSE2, SSSE3, SSE4.1, SSE4.2; and the logic of SSE. */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import type { PureOp } from '../../../ir/wasm/opcodes.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import { repeated } from './sse-floats.js';
import { apart, bytesOf } from './sse-lanes.js';
import { loadXmm, readVector, requireSse, storeXmm, xmmSlot, zeroVector } from './sse-operands.js';

/** What destination and source give. */
type Binary = (b: Builder, left: Node, right: Node) => Node;

/** destination = of(destination, source). */
export function onVectors(of: Binary): Semantics {
  return (x) => {
    requireSse(x);
    const right = readVector(x, 1);
    const slot = xmmSlot(x, 0);
    storeXmm(x, 'v128', slot, of(x.b, loadXmm(x, 'v128', slot), right));
  };
}

const one = (op: PureOp): Semantics => onVectors((b, left, right) => b.op(op, left, right));

/** destination = of(source). */
function onVector(op: PureOp): Semantics {
  return (x) => {
    requireSse(x);
    const value = readVector(x, 1);
    storeXmm(x, 'v128', xmmSlot(x, 0), x.b.op(op, value));
  };
}

/** Whether both operands are known to be the same register. */
function isSameRegister(x: Lift): boolean {
  if (x.isMemory(1)) return false;
  const from = xmmSlot(x, 1);
  const to = xmmSlot(x, 0);
  return from.kind === 'const' && to.kind === 'const' && from.value === to.value;
}

/** The same, but a constant with a register and itself: how programs make one. */
function orConstant(of: Semantics, constant: (x: Lift) => Node): Semantics {
  return (x) => {
    if (!isSameRegister(x)) {
      of(x);
      return;
    }
    requireSse(x);
    storeXmm(x, 'v128', xmmSlot(x, 0), constant(x));
  };
}

const allOnes = (x: Lift): Node => x.b.v128(-1n);
const and = one('v128.and');
const andNot = onVectors((b, left, right) => b.op('v128.andnot', right, left));
const or = one('v128.or');
const xor = orConstant(one('v128.xor'), zeroVector);

const EVEN_WORDS = bytesOf(2, [0, 2, 4, 6, 8, 10, 12, 14]);
const ODD_WORDS = bytesOf(2, [1, 3, 5, 7, 9, 11, 13, 15]);
const EVEN_DOUBLEWORDS = bytesOf(4, [0, 2, 4, 6]);
const ODD_DOUBLEWORDS = bytesOf(4, [1, 3, 5, 7]);

const shuffle = (b: Builder, lanes: readonly number[], left: Node, right: Node): Node =>
  b.lanes('i8x16.shuffle', lanes, left, right);

/** Bits 31:16 of products. */
const mulHigh = (sign: 's' | 'u'): Semantics =>
  onVectors((b, left, right) =>
    shuffle(
      b,
      ODD_WORDS,
      b.op(`i32x4.extmul_low_i16x8_${sign}`, left, right),
      b.op(`i32x4.extmul_high_i16x8_${sign}`, left, right),
    ),
  );

/** 32 × 32 → 64 bits of doublewords 0 and 2. */
const mulEven = (sign: 's' | 'u'): Semantics =>
  onVectors((b, left, right) =>
    b.op(
      `i64x2.extmul_low_i32x4_${sign}`,
      shuffle(b, EVEN_DOUBLEWORDS, left, left),
      shuffle(b, EVEN_DOUBLEWORDS, right, right),
    ),
  );

/** As WebAssembly's, but -1 × -1 wraps to -1 where that saturates. */
const mulRounded: Binary = (b, left, right) => {
  const least = repeated(b, 32, 0x8000_8000);
  const wraps = b.op('v128.and', b.op('i16x8.eq', left, least), b.op('i16x8.eq', right, least));
  return b.op('v128.xor', b.op('i16x8.q15mulr_sat_s', apart(b, left), right), wraps);
};

/** Unsigned bytes by signed ones, neighbours added with saturation. */
const mulAddBytes: Binary = (b, left, right) => {
  const eight = b.i32(8);
  const even = b.op(
    'i16x8.mul',
    b.op('v128.and', left, repeated(b, 32, 0x00ff_00ff)),
    b.op('i16x8.shr_s', b.op('i16x8.shl', right, eight), eight),
  );
  const odd = b.op('i16x8.mul', b.op('i16x8.shr_u', left, eight), b.op('i16x8.shr_s', right, eight));
  return b.op('i16x8.add_sat_s', even, odd);
};

/** In each half the sum of eight absolute differences. */
const sumOfDifferences: Binary = (b, left, right) => {
  const differences = b.op('i8x16.sub', b.op('i8x16.max_u', left, right), b.op('i8x16.min_u', left, right));
  const sums = b.op('i32x4.extadd_pairwise_i16x8_u', b.op('i16x8.extadd_pairwise_i8x16_u', differences));
  const low = b.op('v128.and', sums, repeated(b, 64, 0xffff_ffff));
  return b.op('i64x2.add', low, b.op('i64x2.shr_u', sums, b.i32(32)));
};

/** Neighbours of both operands. */
const horizontal = (op: PureOp, size: 2 | 4): Semantics =>
  onVectors((b, left, right) =>
    b.op(
      op,
      shuffle(b, size === 2 ? EVEN_WORDS : EVEN_DOUBLEWORDS, left, right),
      shuffle(b, size === 2 ? ODD_WORDS : ODD_DOUBLEWORDS, left, right),
    ),
  );

/** Negated where the source is negative, 0 where it is 0. */
const sign = (type: 'i8x16' | 'i16x8' | 'i32x4', bits: number): Semantics =>
  onVectors((b, left, right) => {
    const negative = b.op(`${type}.shr_s`, right, b.i32(bits - 1));
    const signed = b.op(`${type}.sub`, b.op('v128.xor', left, negative), negative);
    return b.op('v128.andnot', signed, b.op(`${type}.eq`, right, b.v128(0n)));
  });

const difference = (op: PureOp): Semantics => orConstant(one(op), zeroVector);
const equality = (op: PureOp): Semantics => orConstant(one(op), allOnes);

export const sseInteger: Readonly<Record<string, Semantics>> = {
  paddb: one('i8x16.add'),
  paddw: one('i16x8.add'),
  paddd: one('i32x4.add'),
  paddq: one('i64x2.add'),
  psubb: difference('i8x16.sub'),
  psubw: difference('i16x8.sub'),
  psubd: difference('i32x4.sub'),
  psubq: difference('i64x2.sub'),
  paddsb: one('i8x16.add_sat_s'),
  paddsw: one('i16x8.add_sat_s'),
  paddusb: one('i8x16.add_sat_u'),
  paddusw: one('i16x8.add_sat_u'),
  psubsb: one('i8x16.sub_sat_s'),
  psubsw: one('i16x8.sub_sat_s'),
  psubusb: one('i8x16.sub_sat_u'),
  psubusw: one('i16x8.sub_sat_u'),
  phaddw: horizontal('i16x8.add', 2),
  phaddd: horizontal('i32x4.add', 4),
  phaddsw: horizontal('i16x8.add_sat_s', 2),
  phsubw: horizontal('i16x8.sub', 2),
  phsubd: horizontal('i32x4.sub', 4),
  phsubsw: horizontal('i16x8.sub_sat_s', 2),

  pmullw: one('i16x8.mul'),
  pmulhw: mulHigh('s'),
  pmulhuw: mulHigh('u'),
  pmulhrsw: onVectors(mulRounded),
  pmuludq: mulEven('u'),
  pmuldq: mulEven('s'),
  pmulld: one('i32x4.mul'),
  pmaddwd: one('i32x4.dot_i16x8_s'),
  pmaddubsw: onVectors(mulAddBytes),
  psadbw: onVectors(sumOfDifferences),

  pcmpeqb: equality('i8x16.eq'),
  pcmpeqw: equality('i16x8.eq'),
  pcmpeqd: equality('i32x4.eq'),
  pcmpeqq: equality('i64x2.eq'),
  pcmpgtb: one('i8x16.gt_s'),
  pcmpgtw: one('i16x8.gt_s'),
  pcmpgtd: one('i32x4.gt_s'),
  pcmpgtq: one('i64x2.gt_s'),
  pminub: one('i8x16.min_u'),
  pminsb: one('i8x16.min_s'),
  pminuw: one('i16x8.min_u'),
  pminsw: one('i16x8.min_s'),
  pminud: one('i32x4.min_u'),
  pminsd: one('i32x4.min_s'),
  pmaxub: one('i8x16.max_u'),
  pmaxsb: one('i8x16.max_s'),
  pmaxuw: one('i16x8.max_u'),
  pmaxsw: one('i16x8.max_s'),
  pmaxud: one('i32x4.max_u'),
  pmaxsd: one('i32x4.max_s'),
  pavgb: one('i8x16.avgr_u'),
  pavgw: one('i16x8.avgr_u'),

  pand: and,
  andps: and,
  andpd: and,
  pandn: andNot,
  andnps: andNot,
  andnpd: andNot,
  por: or,
  orps: or,
  orpd: or,
  pxor: xor,
  xorps: xor,
  xorpd: xor,

  pabsb: onVector('i8x16.abs'),
  pabsw: onVector('i16x8.abs'),
  pabsd: onVector('i32x4.abs'),
  psignb: sign('i8x16', 8),
  psignw: sign('i16x8', 16),
  psignd: sign('i32x4', 32),

  /** ZF: no bit in common; CF: no bit of the source outside the destination. */
  ptest: (x) => {
    const { b } = x;
    requireSse(x);
    const right = readVector(x, 1);
    const left = loadXmm(x, 'v128', xmmSlot(x, 0));
    const outside = b.op('v128.any_true', b.op('v128.andnot', right, left));
    const common = b.op('v128.any_true', b.op('v128.and', left, right));
    x.flags.onlyCarryZero(b.eqz(outside), b.eqz(common));
  },
};
