/** Value types of the intermediate form: those of WebAssembly. */
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** Their encodings, core specification 2.0 §5.3.1. */
export const VALUE_TYPE: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

interface OpInfo {
  /** Opcode bytes, prefix first. */
  readonly code: readonly number[];
  readonly result: ValueType;
  readonly params: readonly ValueType[];
}

const I = 'i32';
const L = 'i64';

function unary(code: number, result: ValueType, param: ValueType): OpInfo {
  return { code: [code], result, params: [param] };
}

function binary(code: number, result: ValueType, param: ValueType): OpInfo {
  return { code: [code], result, params: [param, param] };
}

/** SIMD opcodes have the prefix 0xfd and a LEB128 number. */
function simd(number: number, result: ValueType, ...params: ValueType[]): OpInfo {
  return { code: number < 0x80 ? [0xfd, number] : [0xfd, (number & 0x7f) | 0x80, number >> 7], result, params };
}

/** Pure operations: same inputs, same result; none of them traps on the operands that we give them. */
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
  'v128.and': simd(78, 'v128', 'v128', 'v128'),
  'v128.andnot': simd(79, 'v128', 'v128', 'v128'),
  'v128.or': simd(80, 'v128', 'v128', 'v128'),
  'v128.xor': simd(81, 'v128', 'v128', 'v128'),
  'i8x16.eq': simd(35, 'v128', 'v128', 'v128'),
  'i16x8.eq': simd(45, 'v128', 'v128', 'v128'),
  'i32x4.eq': simd(55, 'v128', 'v128', 'v128'),
  'i8x16.min_u': simd(119, 'v128', 'v128', 'v128'),
  'i8x16.max_u': simd(121, 'v128', 'v128', 'v128'),
  'i8x16.bitmask': simd(100, 'i32', 'v128'),
  'i8x16.add': simd(110, 'v128', 'v128', 'v128'),
  'i8x16.sub': simd(113, 'v128', 'v128', 'v128'),
  'i16x8.add': simd(142, 'v128', 'v128', 'v128'),
  'i16x8.sub': simd(145, 'v128', 'v128', 'v128'),
  'i32x4.add': simd(174, 'v128', 'v128', 'v128'),
  'i32x4.sub': simd(177, 'v128', 'v128', 'v128'),
  'i64x2.add': simd(206, 'v128', 'v128', 'v128'),
  'i64x2.sub': simd(209, 'v128', 'v128', 'v128'),
  'i64x2.splat': simd(18, 'v128', 'i64'),
  'i32x4.splat': simd(17, 'v128', 'i32'),
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
  I32_CONST: 0x41,
  I64_CONST: 0x42,
  VOID: 0x40,
} as const;
