/** Moves between XMM registers, memory and general registers. A name that ends with `_store` has its destination in ModRM.rm. */
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import {
  loadXmm,
  readScalar,
  readVector,
  requireSse,
  storeXmm,
  storeXmmCleared,
  writeVector,
  xmmSlot,
} from './sse-operands.js';
import { guestLoad, guestStore } from '../../../ir/softmmu.js';

/** All 128 bits; whether memory must be aligned is in the table. */
const move: Semantics = (x) => {
  requireSse(x);
  writeVector(x, 0, readVector(x, 1));
};

/** The low half from memory, or from a register: the other stays. */
const moveLow: Semantics = (x) => {
  requireSse(x);
  storeXmm(x, 'f64', xmmSlot(x, 0), readScalar(x, 'f64', 1));
};

const storeLow =
  (kind: 'f64' | 'f32'): Semantics =>
  (x) => {
    requireSse(x);
    const value = loadXmm(x, kind, xmmSlot(x, 1));
    if (x.isMemory(0)) guestStore(x.b, x.mmu, x.linear(), kind === 'f64' ? 8 : 4, value);
    else storeXmm(x, kind, xmmSlot(x, 0), value);
  };

/** The low half, the other cleared. */
const moveCleared: Semantics = (x) => {
  requireSse(x);
  if (x.isMemory(1)) storeXmm(x, 'v128', xmmSlot(x, 0), guestLoad(x.b, x.mmu, x.linear(), 8, 'v128.load64_zero'));
  else storeXmmCleared(x, 'f64', xmmSlot(x, 0), readScalar(x, 'f64', 1));
};

/** Bits from lanes' signs to a general register. */
const signMask =
  (op: 'i8x16.bitmask' | 'i32x4.bitmask' | 'i64x2.bitmask'): Semantics =>
  (x) => {
    requireSse(x);
    x.write(0, x.b.op(op, loadXmm(x, 'v128', xmmSlot(x, 1))));
  };

/** Repeats each of these doublewords of the source. */
const duplicate =
  (lanes: readonly number[]): Semantics =>
  (x) => {
    requireSse(x);
    const value = readVector(x, 1);
    storeXmm(x, 'v128', xmmSlot(x, 0), x.b.lanes('i8x16.shuffle', lanes, value, value));
  };

const isWide = (x: Lift, index: number): boolean => x.width(index) === 64;

export const sseMoves: Readonly<Record<string, Semantics>> = {
  movaps: move,
  movups: move,
  movdqa: move,
  movdqu: move,
  lddqu: move,
  movntdqa: move,
  movaps_store: move,
  movups_store: move,
  movdqa_store: move,
  movdqu_store: move,
  movntps: move,
  movntdq: move,

  movss: (x) => {
    requireSse(x);
    storeXmm(x, 'f32', xmmSlot(x, 0), readScalar(x, 'f32', 1));
  },
  movss_load: (x) => {
    requireSse(x);
    storeXmm(x, 'v128', xmmSlot(x, 0), guestLoad(x.b, x.mmu, x.linear(), 4, 'v128.load32_zero'));
  },
  movss_store: storeLow('f32'),
  movsd_xmm: moveLow,
  movsd_load: moveCleared,
  movsd_store: storeLow('f64'),
  movq_xmm: moveCleared,
  movq_store: (x) => {
    requireSse(x);
    const value = loadXmm(x, 'f64', xmmSlot(x, 1));
    if (x.isMemory(0)) guestStore(x.b, x.mmu, x.linear(), 8, value);
    else storeXmmCleared(x, 'f64', xmmSlot(x, 0), value);
  },

  movlps_load: moveLow,
  movlps_store: storeLow('f64'),
  movhps_load: (x) => {
    requireSse(x);
    storeXmm(x, 'i64', xmmSlot(x, 0), guestLoad(x.b, x.mmu, x.linear(), 8), 'high');
  },
  movhps_store: (x) => {
    requireSse(x);
    guestStore(x.b, x.mmu, x.linear(), 8, loadXmm(x, 'i64', xmmSlot(x, 1), 'high'));
  },
  movhlps: (x) => {
    requireSse(x);
    storeXmm(x, 'f64', xmmSlot(x, 0), loadXmm(x, 'f64', xmmSlot(x, 1), 'high'));
  },
  movlhps: (x) => {
    requireSse(x);
    storeXmm(x, 'f64', xmmSlot(x, 0), loadXmm(x, 'f64', xmmSlot(x, 1)), 'high');
  },
  movddup: (x) => {
    requireSse(x);
    storeXmm(x, 'v128', xmmSlot(x, 0), x.b.op('f64x2.splat', readScalar(x, 'f64', 1)));
  },
  movsldup: duplicate([0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11]),
  movshdup: duplicate([4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15]),

  movd_to_xmm: (x) => {
    requireSse(x);
    storeXmmCleared(x, 'i64', xmmSlot(x, 0), x.b.extendU(x.read(1)));
  },
  movd_from_xmm: (x) => {
    requireSse(x);
    x.write(0, loadXmm(x, isWide(x, 0) ? 'i64' : 'i32', xmmSlot(x, 1)));
  },

  movmskps: signMask('i32x4.bitmask'),
  movmskpd: signMask('i64x2.bitmask'),
  pmovmskb: signMask('i8x16.bitmask'),
};
