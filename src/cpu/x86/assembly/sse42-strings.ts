// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: SDM vol. 2 §4.1.
import { STATE } from './env';
import { NEXT_CONTINUE, NEXT_FAULT, R_PREFIX, S_GPR, S_XMM } from './generated/layout';
import { setFlags, xmmReg, xmmSourceOf } from './sse-operands';
import { imm8 } from './sse-shuffle';

const RAX: usize = S_GPR;
const RCX: usize = S_GPR + 8;
const RDX: usize = S_GPR + 16;

/** Bit 0 of the control byte: words, not bytes. Bit 1: signed. */
const WORDS: u32 = 1;
const SIGNED: u32 = 2;

/** Element `i` of the operand at `at`, extended as the control byte says. */
@inline
function element(at: usize, i: i32, control: u32): i32 {
  if (control & WORDS) return control & SIGNED ? load<i16>(at + (i << 1)) : load<u16>(at + (i << 1));
  return control & SIGNED ? load<i8>(at + i) : load<u8>(at + i);
}

/** Elements before the first that is 0. */
function implicitLength(at: usize, control: u32): i32 {
  const count = control & WORDS ? 8 : 16;
  for (let i = 0; i < count; i++) if (!element(at, i, control)) return i;
  return count;
}

/** The absolute value of a length in RAX or RDX (EAX, EDX without REX.W), at most the number of elements. */
function explicitLength(register: usize, control: u32, wide: bool): i32 {
  const value: i64 = wide ? load<i64>(STATE + register) : <i64>load<i32>(STATE + register);
  const count: u64 = control & WORDS ? 8 : 16;
  // The least number is its own negative, and as an unsigned number it is large.
  return <i32>min<u64>(<u64>(value < 0 ? -value : value), count);
}

/** Any element of `a` equals element j of `b`. */
function equalAny(a: usize, b: usize, lengthA: i32, lengthB: i32, control: u32): u32 {
  let result: u32 = 0;
  for (let j = 0; j < lengthB; j++) {
    const value = element(b, j, control);
    for (let i = 0; i < lengthA; i++)
      if (element(a, i, control) == value) {
        result |= 1 << j;
        break;
      }
  }
  return result;
}

/** Element j of `b` lies in one of the ranges of which `a` holds lower and upper bounds in turn. */
function ranges(a: usize, b: usize, lengthA: i32, lengthB: i32, control: u32): u32 {
  let result: u32 = 0;
  for (let j = 0; j < lengthB; j++) {
    const value = element(b, j, control);
    // A range of which only the lower bound is valid counts as none.
    for (let i = 0; i + 1 < lengthA; i += 2)
      if (value >= element(a, i, control) && value <= element(a, i + 1, control)) {
        result |= 1 << j;
        break;
      }
  }
  return result;
}

/** Elements are equal at the same place; places after both ends count as equal. */
function equalEach(a: usize, b: usize, lengthA: i32, lengthB: i32, control: u32, count: i32): u32 {
  let result: u32 = 0;
  for (let i = 0; i < count; i++) {
    const validA = i < lengthA;
    const validB = i < lengthB;
    if (validA && validB ? element(a, i, control) == element(b, i, control) : validA == validB) result |= 1 << i;
  }
  return result;
}

/** `a` stands in `b` from element j on, as far as the register goes. */
function equalOrdered(a: usize, b: usize, lengthA: i32, lengthB: i32, control: u32, count: i32): u32 {
  let result: u32 = 0;
  for (let j = 0; j < count; j++) {
    let found = true;
    for (let i = 0; i < lengthA && i + j < count; i++)
      if (i + j >= lengthB || element(a, i, control) != element(b, i + j, control)) {
        found = false;
        break;
      }
    if (found) result |= 1 << j;
  }
  return result;
}

/** IntRes2; sets the flags. */
function compare(a: usize, b: usize, lengthA: i32, lengthB: i32, control: u32): u32 {
  const count = control & WORDS ? 8 : 16;
  const all: u32 = (1 << count) - 1;
  let result: u32;
  const aggregation = (control >> 2) & 3;
  if (aggregation == 0) result = equalAny(a, b, lengthA, lengthB, control);
  else if (aggregation == 1) result = ranges(a, b, lengthA, lengthB, control);
  else if (aggregation == 2) result = equalEach(a, b, lengthA, lengthB, control, count);
  else result = equalOrdered(a, b, lengthA, lengthB, control, count);
  // Polarity: bit 4 negates, with bit 5 only where the source's elements are valid.
  if (control & 0x10) result ^= control & 0x20 ? (1 << lengthB) - 1 : all;
  setFlags(result ? 1 : 0, 0, 0, lengthB < count ? 1 : 0, lengthA < count ? 1 : 0, result & 1);
  return result;
}

/** ECX becomes the number of the lowest or (bit 6) the highest bit that is set; without one the number of elements. */
function index(result: u32, control: u32): void {
  const none = control & WORDS ? 8 : 16;
  store<u64>(STATE + RCX, result ? (control & 0x40 ? 31 - clz<u32>(result) : ctz<u32>(result)) : none);
}

/** XMM0 becomes the bits, or (bit 6) elements of all ones. */
function mask(result: u32, control: u32): void {
  const at = STATE + S_XMM;
  if (!(control & 0x40)) {
    v128.store(at, i64x2(result, 0));
  } else if (control & WORDS) {
    const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
    v128.store(at, i16x8.eq(v128.and(i16x8.splat(<i16>result), bits), bits));
  } else {
    const bits = v128(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const bytes = v128.shuffle<i8>(
      i16x8.splat(<i16>result),
      i16x8.splat(<i16>result),
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      1,
      1,
      1,
      1,
      1,
      1,
      1,
      1,
    );
    v128.store(at, i8x16.eq(v128.and(bytes, bits), bits));
  }
}

@inline
function implicit(rec: usize, s: usize, control: u32): u32 {
  const a = xmmReg(rec);
  return compare(a, s, implicitLength(a, control), implicitLength(s, control), control);
}

@inline
function explicit(rec: usize, s: usize, control: u32): u32 {
  const wide = (load<u8>(rec + R_PREFIX) & 3) == 2;
  return compare(xmmReg(rec), s, explicitLength(RAX, control, wide), explicitLength(RDX, control, wide), control);
}

export function x_pcmpistri(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 16);
  if (!s) return NEXT_FAULT;
  index(implicit(rec, s, imm8(rec)), imm8(rec));
  return NEXT_CONTINUE;
}

export function x_pcmpistrm(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 16);
  if (!s) return NEXT_FAULT;
  mask(implicit(rec, s, imm8(rec)), imm8(rec));
  return NEXT_CONTINUE;
}

export function x_pcmpestri(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 16);
  if (!s) return NEXT_FAULT;
  index(explicit(rec, s, imm8(rec)), imm8(rec));
  return NEXT_CONTINUE;
}

export function x_pcmpestrm(rec: usize, ea: u64): i32 {
  const s = xmmSourceOf(rec, ea, 16);
  if (!s) return NEXT_FAULT;
  mask(explicit(rec, s, imm8(rec)), imm8(rec));
  return NEXT_CONTINUE;
}
