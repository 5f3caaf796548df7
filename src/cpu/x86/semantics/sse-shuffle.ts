/**
 * Shuffles, blends, packing, shifts, insertion and extraction in XMM registers. What an immediate decides is left to the helper
 * where the immediate is not known when the code is made, as in the interpreter.
 */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import type { PureOp } from '../../../ir/wasm/opcodes.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import { onVectors } from './sse-integer.js';
import { apart, bytesOf, lanesOf } from './sse-lanes.js';
import {
  constantImmediate,
  loadXmm,
  readLowLanes,
  readScalar,
  readVector,
  requireSse,
  storeXmm,
  xmmSlot,
  zeroVector,
} from './sse-operands.js';

/** Semantics that need the immediate as a constant. */
function byImmediate(of: (x: Lift, immediate: number) => void): Semantics {
  return (x) => {
    const immediate = constantImmediate(x);
    if (immediate === undefined) {
      x.fallback();
      return;
    }
    requireSse(x);
    of(x, immediate);
  };
}

const shuffle = (b: Builder, lanes: readonly number[], left: Node, right: Node): Node =>
  b.lanes('i8x16.shuffle', lanes, left, right);

/** Bytes of the source chosen by the immediate. */
function shuffleSource(lanes: (immediate: number) => readonly number[]): Semantics {
  return byImmediate((x, immediate) => {
    const value = readVector(x, 1);
    storeXmm(x, 'v128', xmmSlot(x, 0), shuffle(x.b, lanes(immediate), value, value));
  });
}

/** Bytes of destination (0 … 15) and source (16 … 31) chosen by the immediate. */
function shuffleBoth(lanes: (immediate: number) => readonly number[]): Semantics {
  return byImmediate((x, immediate) => {
    const right = readVector(x, 1);
    const slot = xmmSlot(x, 0);
    storeXmm(x, 'v128', slot, shuffle(x.b, lanes(immediate), loadXmm(x, 'v128', slot), right));
  });
}

/** Field `i` of a selector with fields of two bits. */
const field = (selector: number, i: number): number => (selector >> (2 * i)) & 3;

/** Lane `i` of the source where bit `i` of the immediate is set, else of the destination. */
const blend = (size: 2 | 4 | 8): Semantics =>
  shuffleBoth((mask) =>
    bytesOf(
      size,
      lanesOf(size).map((i) => ((mask >> i) & 1 ? i + 16 / size : i)),
    ),
  );

/** By the signs of XMM0's lanes. */
const blendByRegister =
  (type: 'i8x16' | 'i32x4' | 'i64x2', bits: number): Semantics =>
  (x) => {
    const { b } = x;
    requireSse(x);
    const right = readVector(x, 1);
    const slot = xmmSlot(x, 0);
    const mask = b.op(`${type}.shr_s`, loadXmm(x, 'v128', xmmSlot(x, 2)), b.i32(bits - 1));
    storeXmm(x, 'v128', slot, b.op('v128.bitselect', right, loadXmm(x, 'v128', slot), mask));
  };

/** Lanes of the low or high halves in turn. */
function interleave(size: 1 | 2 | 4 | 8, half: 'low' | 'high'): Semantics {
  const count = 16 / size;
  const first = half === 'low' ? 0 : count / 2;
  const lanes = lanesOf(size).map((i) => first + (i >> 1) + (i & 1 ? count : 0));
  const bytes = size === 1 ? lanes : bytesOf(size, lanes);
  return onVectors((b, left, right) => shuffle(b, bytes, left, right));
}

const pack = (op: PureOp): Semantics => onVectors((b, left, right) => b.op(op, left, right));

/** Lanes from `bytes` bytes of the source, widened step by step. */
function extend(bytes: 2 | 4 | 8, ...steps: readonly PureOp[]): Semantics {
  return (x) => {
    requireSse(x);
    const value = steps.reduce((wider, op) => x.b.op(op, wider), readLowLanes(x, 1, bytes));
    storeXmm(x, 'v128', xmmSlot(x, 0), value);
  };
}

/** The six extensions with a sign, by the suffix of their names. */
function extensions(prefix: string, sign: 's' | 'u'): Readonly<Record<string, Semantics>> {
  const words = `i16x8.extend_low_i8x16_${sign}` as const;
  const doublewords = `i32x4.extend_low_i16x8_${sign}` as const;
  const quadwords = `i64x2.extend_low_i32x4_${sign}` as const;
  return {
    [`${prefix}bw`]: extend(8, words),
    [`${prefix}bd`]: extend(4, words, doublewords),
    [`${prefix}bq`]: extend(2, words, doublewords, quadwords),
    [`${prefix}wd`]: extend(8, doublewords),
    [`${prefix}wq`]: extend(4, doublewords, quadwords),
    [`${prefix}dq`]: extend(8, quadwords),
  };
}

type Shift = 'shl' | 'shr_u' | 'shr_s';
type Lanes = 'i16x8' | 'i32x4' | 'i64x2';
const BITS: Readonly<Record<Lanes, number>> = { i16x8: 16, i32x4: 32, i64x2: 64 };

/** By an immediate. Counts beyond the width clear, or fill with the sign. */
const shiftByImmediate = (type: Lanes, shift: Shift): Semantics =>
  byImmediate((x, count) => {
    const { b } = x;
    const slot = xmmSlot(x, 0);
    const bits = BITS[type];
    if (count >= bits && shift !== 'shr_s') {
      storeXmm(x, 'v128', slot, zeroVector(x));
      return;
    }
    const by = b.i32(Math.min(count, bits - 1));
    storeXmm(x, 'v128', slot, b.op(`${type}.${shift}`, loadXmm(x, 'v128', slot), by));
  });

/** By the low 64 bits of the source. */
const shiftByVector =
  (type: Lanes, shift: Shift): Semantics =>
  (x) => {
    const { b } = x;
    requireSse(x);
    const count = x.isMemory(1) ? b.lanes('i64x2.extract_lane', [0], readVector(x, 1)) : readScalar(x, 'i64', 1);
    const slot = xmmSlot(x, 0);
    const value = loadXmm(x, 'v128', slot);
    const last = BITS[type] - 1;
    const isBeyond = b.op('i64.gt_u', count, b.i64(last));
    if (shift === 'shr_s') {
      const by = b.select(isBeyond, b.i32(last), b.wrap(count));
      storeXmm(x, 'v128', slot, b.op(`${type}.${shift}`, value, by));
      return;
    }
    const kept = b.op('i32x4.splat', b.sub(isBeyond, b.i32(1)));
    storeXmm(x, 'v128', slot, b.op('v128.and', b.op(`${type}.${shift}`, value, b.wrap(count)), kept));
  };

function shifts(name: string, type: Lanes, shift: Shift): Readonly<Record<string, Semantics>> {
  return { [name]: shiftByVector(type, shift), [`${name}_imm`]: shiftByImmediate(type, shift) };
}

/** 16 bytes from byte `by` (0 … 16) on of two vectors in a row. */
const window = (by: number): number[] => lanesOf(1).map((i) => i + by);

/** PINSRx: a lane from a general register or memory. */
const insert = (type: 'i8x16' | 'i16x8'): Semantics =>
  byImmediate((x, immediate) => {
    const value = x.read(1);
    insertLane(x, type, immediate & (type === 'i8x16' ? 15 : 7), value);
  });

function insertLane(x: Lift, type: 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2', lane: number, value: Node): void {
  const slot = xmmSlot(x, 0);
  storeXmm(x, 'v128', slot, x.b.lanes(`${type}.replace_lane`, [lane], loadXmm(x, 'v128', slot), value));
}

const extract = (op: PureOp, count: number): Semantics =>
  byImmediate((x, immediate) => {
    x.write(0, x.b.lanes(op, [immediate & (count - 1)], loadXmm(x, 'v128', xmmSlot(x, 1))));
  });

/** Bits 7:6 choose the source's element (a register's only), 5:4 the destination's, 3:0 elements to clear. */
const insertSingle = byImmediate((x, immediate) => {
  const { b } = x;
  const isMemory = x.isMemory(1);
  const source = isMemory ? readLowLanes(x, 1, 4) : loadXmm(x, 'v128', xmmSlot(x, 1));
  const slot = xmmSlot(x, 0);
  const lanes = [0, 1, 2, 3];
  lanes[field(immediate, 2)] = 4 + (isMemory ? 0 : field(immediate, 3));
  const inserted = shuffle(b, bytesOf(4, lanes), loadXmm(x, 'v128', slot), source);
  const kept = [0, 1, 2, 3].map((i) => ((immediate >> i) & 1 ? 4 + i : i));
  storeXmm(x, 'v128', slot, immediate & 15 ? shuffle(b, bytesOf(4, kept), inserted, b.v128(0n)) : inserted);
});

export const sseShuffle: Readonly<Record<string, Semantics>> = {
  pshufd: shuffleSource((s) =>
    bytesOf(
      4,
      [0, 1, 2, 3].map((i) => field(s, i)),
    ),
  ),
  pshuflw: shuffleSource((s) =>
    bytesOf(
      2,
      lanesOf(2).map((i) => (i < 4 ? field(s, i) : i)),
    ),
  ),
  pshufhw: shuffleSource((s) =>
    bytesOf(
      2,
      lanesOf(2).map((i) => (i < 4 ? i : 4 + field(s, i - 4))),
    ),
  ),
  shufps: shuffleBoth((s) =>
    bytesOf(
      4,
      [0, 1, 2, 3].map((i) => field(s, i) + (i < 2 ? 0 : 4)),
    ),
  ),
  shufpd: shuffleBoth((s) => bytesOf(8, [s & 1, 2 + ((s >> 1) & 1)])),
  pshufb: onVectors((b, left, right) =>
    // A byte with its top bit set gives 0; of others four bits count.
    b.op('i8x16.swizzle', apart(b, left), b.op('v128.and', right, b.op('i8x16.splat', b.i32(0x8f)))),
  ),
  /** Bytes from the immediate on of destination and source seen as one number, the destination above. */
  palignr: byImmediate((x, by) => {
    const { b } = x;
    const right = readVector(x, 1);
    const slot = xmmSlot(x, 0);
    const left = loadXmm(x, 'v128', slot);
    const value =
      by <= 16 ? shuffle(b, window(by), right, left) : shuffle(b, window(Math.min(by, 32) - 16), left, b.v128(0n));
    storeXmm(x, 'v128', slot, value);
  }),
  pslldq_imm: byImmediate((x, by) => {
    const slot = xmmSlot(x, 0);
    const lanes = window(16 - Math.min(by, 16));
    storeXmm(x, 'v128', slot, shuffle(x.b, lanes, x.b.v128(0n), loadXmm(x, 'v128', slot)));
  }),
  psrldq_imm: byImmediate((x, by) => {
    const slot = xmmSlot(x, 0);
    storeXmm(x, 'v128', slot, shuffle(x.b, window(Math.min(by, 16)), loadXmm(x, 'v128', slot), x.b.v128(0n)));
  }),

  pblendw: blend(2),
  blendps: blend(4),
  blendpd: blend(8),
  pblendvb: blendByRegister('i8x16', 8),
  blendvps: blendByRegister('i32x4', 32),
  blendvpd: blendByRegister('i64x2', 64),

  punpcklbw: interleave(1, 'low'),
  punpcklwd: interleave(2, 'low'),
  punpckldq: interleave(4, 'low'),
  punpcklqdq: interleave(8, 'low'),
  punpckhbw: interleave(1, 'high'),
  punpckhwd: interleave(2, 'high'),
  punpckhdq: interleave(4, 'high'),
  punpckhqdq: interleave(8, 'high'),
  unpcklps: interleave(4, 'low'),
  unpcklpd: interleave(8, 'low'),
  unpckhps: interleave(4, 'high'),
  unpckhpd: interleave(8, 'high'),
  packsswb: pack('i8x16.narrow_i16x8_s'),
  packuswb: pack('i8x16.narrow_i16x8_u'),
  packssdw: pack('i16x8.narrow_i32x4_s'),
  packusdw: pack('i16x8.narrow_i32x4_u'),
  ...extensions('pmovsx', 's'),
  ...extensions('pmovzx', 'u'),

  ...shifts('psllw', 'i16x8', 'shl'),
  ...shifts('pslld', 'i32x4', 'shl'),
  ...shifts('psllq', 'i64x2', 'shl'),
  ...shifts('psrlw', 'i16x8', 'shr_u'),
  ...shifts('psrld', 'i32x4', 'shr_u'),
  ...shifts('psrlq', 'i64x2', 'shr_u'),
  ...shifts('psraw', 'i16x8', 'shr_s'),
  ...shifts('psrad', 'i32x4', 'shr_s'),

  pinsrb: insert('i8x16'),
  pinsrw: insert('i16x8'),
  pinsrd: byImmediate((x, immediate) => {
    insertLane(x, 'i32x4', immediate & 3, x.read(1));
  }),
  pinsrq: byImmediate((x, immediate) => {
    insertLane(x, 'i64x2', immediate & 1, x.read(1));
  }),
  insertps: insertSingle,
  pextrb: extract('i8x16.extract_lane_u', 16),
  pextrw: extract('i16x8.extract_lane_u', 8),
  pextrw_mem: extract('i16x8.extract_lane_u', 8),
  pextrd: extract('i32x4.extract_lane', 4),
  pextrq: extract('i64x2.extract_lane', 2),
  extractps: extract('i32x4.extract_lane', 4),
};
