/**
 * Operands of SSE instructions, and when they may run. An XMM register is accessed in the way that is natural to the
 * instruction (the low double as f64, all of it as v128 …), which decides how a translated region keeps it.
 */
import type { Node } from '../../../ir/nodes.js';
import { guestLoad, guestStore, type AccessSize } from '../../../ir/softmmu.js';
import type { Load, Store } from '../../../ir/wasm/opcodes.js';
import { PLAIN, type XmmKind } from './facts.js';
import type { Lift } from './lift.js';

/** Bit of FP_TRAP for SSE. */
const TRAP_SSE = 2;
/** MXCSR: rounding control, precision mask and precision flag; and what they are where the host's arithmetic can stand in. */
const ROUNDING_BITS = 0x7020;
const ROUNDING_NATIVE = 0x1020;
/** The same without the precision flag. */
const EXACT_BITS = 0x7000;
const EXACT_NATIVE = 0x1000;

/** Bytes from the low to the high half of a register. */
const HIGH = 8;

/** Falls back unless SSE instructions may run (CR0.EM, CR0.TS, CR4.OSFXSR). Comes first. */
export function requireSse(x: Lift): void {
  const { b, facts } = x;
  if (x.variant.form === 'mem') x.linear();
  if (facts.sseReady) return;
  b.if(b.and(x.loadState32('FP_TRAP'), b.i32(TRAP_SSE)), () => {
    x.fallback();
  });
  facts.sseReady = true;
}

/**
 * i32 0 or 1: whether the host's arithmetic can stand in without a look at whether a result is exact: MXCSR rounds to nearest, and the
 * precision exception is masked and recorded.
 */
export function nativeRounding(x: Lift): Node {
  const { b, facts } = x;
  facts.nativeRounding ??= b.op('i32.eq', b.and(x.loadState32('MXCSR'), b.i32(ROUNDING_BITS)), b.i32(ROUNDING_NATIVE));
  return facts.nativeRounding;
}

/**
 * Falls back unless native rounding is given, or only the recorded precision exception is missing from it and the result is
 * exact (i32 0 or 1).
 */
export function requireExact(x: Lift, isExact: () => Node): void {
  const { b } = x;
  b.if(b.eqz(nativeRounding(x)), () => {
    const isNearest = b.op('i32.eq', b.and(x.loadState32('MXCSR'), b.i32(EXACT_BITS)), b.i32(EXACT_NATIVE));
    b.if(b.eqz(b.and(isNearest, isExact())), () => {
      x.fallback();
    });
  });
}

/** Slot of an XMM register operand: 16 times its number. */
export function xmmSlot(x: Lift, index: number): Node {
  const { kind } = x.operand(index);
  switch (kind) {
    case 'V':
      return x.parts.byte('REG');
    case 'U':
    case 'W':
      return x.parts.byte('RM');
    case 'XMM0':
      return x.b.i32(0);
    default:
      throw new Error(`${x.variant.row.name}: operand ${String(index)} (${kind}) is not an XMM register`);
  }
}

/** Reads a register: all of it, or the low bits of its low or its high half. */
export function loadXmm(x: Lift, kind: XmmKind, slot: Node, half: 'low' | 'high' = 'low'): Node {
  const isLow = half === 'low';
  const node = x.b.load(`${kind}.load` satisfies Load, slot, x.at('XMM') + (isLow ? 0 : HIGH));
  if (isLow) x.facts.noteLoad(kind, slot, node);
  return node;
}

/** Writes a register: all of it, or the low bits of its low or its high half and nothing else. */
export function storeXmm(x: Lift, kind: XmmKind, slot: Node, value: Node, half: 'low' | 'high' = 'low'): void {
  const isLow = half === 'low';
  x.b.store(`${kind}.store` satisfies Store, slot, value, x.at('XMM') + (isLow ? 0 : HIGH));
  x.facts.noteStore(kind, slot, value, !isLow);
}

/** Writes the low half (f64 or i64) and clears the other. */
export function storeXmmCleared(x: Lift, kind: 'f64' | 'i64', slot: Node, value: Node): void {
  storeXmm(x, 'v128', slot, zeroVector(x));
  storeXmm(x, kind, slot, value);
}

/** The vector 0, which is plain in every format. */
export function zeroVector(x: Lift): Node {
  const zero = x.b.v128(0n);
  x.facts.markPlain(zero, PLAIN.DOUBLE | PLAIN.HIGH_DOUBLE | PLAIN.SINGLE | PLAIN.HIGH_SINGLES);
  return zero;
}

/** Falls back when a memory operand is not aligned to 16 bytes. */
function requireAligned(x: Lift): void {
  const { b } = x;
  b.if(b.and(b.wrap(x.linear()), b.i32(15)), () => {
    x.fallback();
  });
}

/** Operand of 128 bits. In memory it must be aligned if its size in the table is x. */
export function readVector(x: Lift, index: number): Node {
  if (!x.isMemory(index)) return loadXmm(x, 'v128', xmmSlot(x, index));
  if (x.operand(index).size === 'x') requireAligned(x);
  return guestLoad(x.b, x.mmu, x.linear(), 16);
}

/** Writes an operand of 128 bits. */
export function writeVector(x: Lift, index: number, value: Node): void {
  if (!x.isMemory(index)) {
    storeXmm(x, 'v128', xmmSlot(x, index), value);
    return;
  }
  if (x.operand(index).size === 'x') requireAligned(x);
  guestStore(x.b, x.mmu, x.linear(), 16, value);
}

const SCALAR_SIZE: Readonly<Record<Exclude<XmmKind, 'v128'>, AccessSize>> = { f64: 8, i64: 8, f32: 4, i32: 4 };

/** Scalar operand: the low bits of a register, or memory of that size. */
export function readScalar(x: Lift, kind: Exclude<XmmKind, 'v128'>, index: number): Node {
  if (!x.isMemory(index)) return loadXmm(x, kind, xmmSlot(x, index));
  return guestLoad(x.b, x.mmu, x.linear(), SCALAR_SIZE[kind], `${kind}.load` satisfies Load);
}

/** Scalar operand in the low lanes of a vector; what is in the others does not matter. `bytes` is its size in memory. */
export function readLowLanes(x: Lift, index: number, bytes: 2 | 4 | 8): Node {
  const { b } = x;
  if (!x.isMemory(index)) return loadXmm(x, 'v128', xmmSlot(x, index));
  if (bytes === 2) return b.op('i32x4.splat', guestLoad(b, x.mmu, x.linear(), 2));
  return guestLoad(b, x.mmu, x.linear(), bytes, bytes === 8 ? 'v128.load64_zero' : 'v128.load32_zero');
}

/** The instruction's immediate byte where it is known when the code is made; in the interpreter it is not. */
export function constantImmediate(x: Lift): number | undefined {
  const immediate = x.parts.immediate();
  return immediate.kind === 'const' ? Number(BigInt.asUintN(8, immediate.value)) : undefined;
}
