import { SIMD_OPS } from './simd-opcodes.js';
import type { OpInfo, ValueType } from './types.js';

export { VALUE_TYPE, type OpInfo, type ValueType } from './types.js';

const I = 'i32';
const L = 'i64';
const F = 'f32';
const D = 'f64';

function unary(code: number, result: ValueType, param: ValueType): OpInfo {
  return { code: [code], result, params: [param] };
}

function binary(code: number, result: ValueType, param: ValueType): OpInfo {
  return { code: [code], result, params: [param, param] };
}

/**
 * Pure operations: same inputs, same result; none of them traps on the operands that we give them. Which NaN a floating
 * point operation makes is not determined, so results that may be NaNs are not to be used.
 */
export const PURE_OPS = {
  'i32.eqz': unary(0x45, I, I),
  'i32.eq': binary(0x46, I, I),
  'i32.ne': binary(0x47, I, I),
  'i32.lt_s': binary(0x48, I, I),
  'i32.lt_u': binary(0x49, I, I),
  'i32.gt_s': binary(0x4a, I, I),
  'i32.gt_u': binary(0x4b, I, I),
  'i32.le_s': binary(0x4c, I, I),
  'i32.le_u': binary(0x4d, I, I),
  'i32.ge_s': binary(0x4e, I, I),
  'i32.ge_u': binary(0x4f, I, I),
  'i64.eqz': unary(0x50, I, L),
  'i64.eq': binary(0x51, I, L),
  'i64.ne': binary(0x52, I, L),
  'i64.lt_s': binary(0x53, I, L),
  'i64.lt_u': binary(0x54, I, L),
  'i64.gt_s': binary(0x55, I, L),
  'i64.gt_u': binary(0x56, I, L),
  'i64.le_s': binary(0x57, I, L),
  'i64.le_u': binary(0x58, I, L),
  'i64.ge_s': binary(0x59, I, L),
  'i64.ge_u': binary(0x5a, I, L),
  'i32.clz': unary(0x67, I, I),
  'i32.ctz': unary(0x68, I, I),
  'i32.popcnt': unary(0x69, I, I),
  'i32.add': binary(0x6a, I, I),
  'i32.sub': binary(0x6b, I, I),
  'i32.mul': binary(0x6c, I, I),
  'i32.and': binary(0x71, I, I),
  'i32.or': binary(0x72, I, I),
  'i32.xor': binary(0x73, I, I),
  'i32.shl': binary(0x74, I, I),
  'i32.shr_s': binary(0x75, I, I),
  'i32.shr_u': binary(0x76, I, I),
  'i32.rotl': binary(0x77, I, I),
  'i32.rotr': binary(0x78, I, I),
  'i64.clz': unary(0x79, L, L),
  'i64.ctz': unary(0x7a, L, L),
  'i64.popcnt': unary(0x7b, L, L),
  'i64.add': binary(0x7c, L, L),
  'i64.sub': binary(0x7d, L, L),
  'i64.mul': binary(0x7e, L, L),
  'i64.and': binary(0x83, L, L),
  'i64.or': binary(0x84, L, L),
  'i64.xor': binary(0x85, L, L),
  'i64.shl': binary(0x86, L, L),
  'i64.shr_s': binary(0x87, L, L),
  'i64.shr_u': binary(0x88, L, L),
  'i64.rotl': binary(0x89, L, L),
  'i64.rotr': binary(0x8a, L, L),
  'i32.wrap_i64': unary(0xa7, I, L),
  'i64.extend_i32_s': unary(0xac, L, I),
  'i64.extend_i32_u': unary(0xad, L, I),
  'i32.extend8_s': unary(0xc0, I, I),
  'i32.extend16_s': unary(0xc1, I, I),
  'i64.extend8_s': unary(0xc2, L, L),
  'i64.extend16_s': unary(0xc3, L, L),
  'i64.extend32_s': unary(0xc4, L, L),
  'f32.eq': binary(0x5b, I, F),
  'f32.ne': binary(0x5c, I, F),
  'f32.lt': binary(0x5d, I, F),
  'f32.gt': binary(0x5e, I, F),
  'f32.le': binary(0x5f, I, F),
  'f32.ge': binary(0x60, I, F),
  'f32.abs': unary(0x8b, F, F),
  'f32.neg': unary(0x8c, F, F),
  'f32.ceil': unary(0x8d, F, F),
  'f32.floor': unary(0x8e, F, F),
  'f32.trunc': unary(0x8f, F, F),
  'f32.nearest': unary(0x90, F, F),
  'f32.sqrt': unary(0x91, F, F),
  'f32.add': binary(0x92, F, F),
  'f32.sub': binary(0x93, F, F),
  'f32.mul': binary(0x94, F, F),
  'f32.div': binary(0x95, F, F),
  'f32.min': binary(0x96, F, F),
  'f32.max': binary(0x97, F, F),
  'f32.copysign': binary(0x98, F, F),
  'f64.eq': binary(0x61, I, D),
  'f64.ne': binary(0x62, I, D),
  'f64.lt': binary(0x63, I, D),
  'f64.gt': binary(0x64, I, D),
  'f64.le': binary(0x65, I, D),
  'f64.ge': binary(0x66, I, D),
  'f64.abs': unary(0x99, D, D),
  'f64.neg': unary(0x9a, D, D),
  'f64.ceil': unary(0x9b, D, D),
  'f64.floor': unary(0x9c, D, D),
  'f64.trunc': unary(0x9d, D, D),
  'f64.nearest': unary(0x9e, D, D),
  'f64.sqrt': unary(0x9f, D, D),
  'f64.add': binary(0xa0, D, D),
  'f64.sub': binary(0xa1, D, D),
  'f64.mul': binary(0xa2, D, D),
  'f64.div': binary(0xa3, D, D),
  'f64.min': binary(0xa4, D, D),
  'f64.max': binary(0xa5, D, D),
  'f64.copysign': binary(0xa6, D, D),
  'f32.convert_i32_s': unary(0xb2, F, I),
  'f32.convert_i64_s': unary(0xb4, F, L),
  'f32.demote_f64': unary(0xb6, F, D),
  'f64.convert_i32_s': unary(0xb7, D, I),
  'f64.convert_i64_s': unary(0xb9, D, L),
  'f64.promote_f32': unary(0xbb, D, F),
  'i32.reinterpret_f32': unary(0xbc, I, F),
  'i64.reinterpret_f64': unary(0xbd, L, D),
  'f32.reinterpret_i32': unary(0xbe, F, I),
  'f64.reinterpret_i64': unary(0xbf, D, L),
  'i32.trunc_sat_f32_s': { code: [0xfc, 0], result: I, params: [F] },
  'i32.trunc_sat_f64_s': { code: [0xfc, 2], result: I, params: [D] },
  'i64.trunc_sat_f32_s': { code: [0xfc, 4], result: L, params: [F] },
  'i64.trunc_sat_f64_s': { code: [0xfc, 6], result: L, params: [D] },
  ...SIMD_OPS,
} as const satisfies Record<string, OpInfo>;

export type PureOp = keyof typeof PURE_OPS;

/** Operations that can trap: the caller must have excluded zero divisors and overflow. */
export const DIVISIONS = {
  'i32.div_s': binary(0x6d, I, I),
  'i32.div_u': binary(0x6e, I, I),
  'i32.rem_s': binary(0x6f, I, I),
  'i32.rem_u': binary(0x70, I, I),
  'i64.div_s': binary(0x7f, L, L),
  'i64.div_u': binary(0x80, L, L),
  'i64.rem_s': binary(0x81, L, L),
  'i64.rem_u': binary(0x82, L, L),
} as const satisfies Record<string, OpInfo>;

export type Division = keyof typeof DIVISIONS;

/** How a memory access is encoded, and what it moves. `align` is log2 of the natural alignment. */
interface AccessInfo {
  readonly code: readonly number[];
  readonly type: ValueType;
  readonly align: number;
}

export const LOADS = {
  'i32.load': { code: [0x28], type: I, align: 2 },
  'i64.load': { code: [0x29], type: L, align: 3 },
  'f32.load': { code: [0x2a], type: F, align: 2 },
  'f64.load': { code: [0x2b], type: D, align: 3 },
  'i32.load8_s': { code: [0x2c], type: I, align: 0 },
  'i32.load8_u': { code: [0x2d], type: I, align: 0 },
  'i32.load16_s': { code: [0x2e], type: I, align: 1 },
  'i32.load16_u': { code: [0x2f], type: I, align: 1 },
  'i64.load8_s': { code: [0x30], type: L, align: 0 },
  'i64.load8_u': { code: [0x31], type: L, align: 0 },
  'i64.load16_s': { code: [0x32], type: L, align: 1 },
  'i64.load16_u': { code: [0x33], type: L, align: 1 },
  'i64.load32_s': { code: [0x34], type: L, align: 2 },
  'i64.load32_u': { code: [0x35], type: L, align: 2 },
  'v128.load': { code: [0xfd, 0], type: 'v128', align: 4 },
  'v128.load32_zero': { code: [0xfd, 92], type: 'v128', align: 2 },
  'v128.load64_zero': { code: [0xfd, 93], type: 'v128', align: 3 },
} as const satisfies Record<string, AccessInfo>;

export type Load = keyof typeof LOADS;

export const STORES = {
  'i32.store': { code: [0x36], type: I, align: 2 },
  'i64.store': { code: [0x37], type: L, align: 3 },
  'f32.store': { code: [0x38], type: F, align: 2 },
  'f64.store': { code: [0x39], type: D, align: 3 },
  'i32.store8': { code: [0x3a], type: I, align: 0 },
  'i32.store16': { code: [0x3b], type: I, align: 1 },
  'i64.store8': { code: [0x3c], type: L, align: 0 },
  'i64.store16': { code: [0x3d], type: L, align: 1 },
  'i64.store32': { code: [0x3e], type: L, align: 2 },
  'v128.store': { code: [0xfd, 11], type: 'v128', align: 4 },
} as const satisfies Record<string, AccessInfo>;

export type Store = keyof typeof STORES;

/** Atomic compare-exchange (threads proposal); `align` must be natural, and a misaligned address traps. */
export const COMPARE_EXCHANGES = {
  'i64.atomic.rmw.cmpxchg': { code: [0xfe, 0x49], type: L, align: 3 },
  'i64.atomic.rmw8.cmpxchg_u': { code: [0xfe, 0x4c], type: L, align: 0 },
  'i64.atomic.rmw16.cmpxchg_u': { code: [0xfe, 0x4d], type: L, align: 1 },
  'i64.atomic.rmw32.cmpxchg_u': { code: [0xfe, 0x4e], type: L, align: 2 },
} as const satisfies Record<string, AccessInfo>;

export type CompareExchange = keyof typeof COMPARE_EXCHANGES;

/** A constant of 16 bytes. */
export const V128_CONST = [0xfd, 12] as const;

/** Control and parametric opcodes, core specification 2.0 §5.4.1. */
export const CONTROL = {
  UNREACHABLE: 0x00,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  ELSE: 0x05,
  END: 0x0b,
  BR: 0x0c,
  BR_IF: 0x0d,
  BR_TABLE: 0x0e,
  RETURN: 0x0f,
  CALL: 0x10,
  CALL_INDIRECT: 0x11,
  DROP: 0x1a,
  SELECT: 0x1b,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  LOCAL_TEE: 0x22,
  GLOBAL_GET: 0x23,
  I32_CONST: 0x41,
  I64_CONST: 0x42,
  F32_CONST: 0x43,
  F64_CONST: 0x44,
  VOID: 0x40,
} as const;
