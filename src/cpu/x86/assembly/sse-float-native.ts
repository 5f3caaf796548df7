/**
 * ADD, SUB, MUL, DIV, SQRT of SSE and SSE2. Results of ordinary numbers come from the host's own arithmetic: operands that are normal
 * or 0 and a result that is normal (or an exact 0) can raise nothing but the precision exception, and whether that is due is
 * either known (PE is set and masked) or found by an exact test. Everything else is the soft float's.
 */
import * as C from '../../../ir/assembly/softfloat/context';
import * as B from '../../../ir/assembly/softfloat/binary';
import { isNative, MXCSR_PE, prepare } from './sse-float-state';

// Bits of a number shifted left by one drop the sign; less the smallest normal number, unsigned, they compare as below.
const MIN32: u32 = 0x01000000;
const SPAN32: u32 = 0xfe000000;
const MIN64: u64 = 0x0020000000000000;
const SPAN64: u64 = 0xffc0000000000000;

/** Normal. */
@inline
function normal32(v: u32): bool {
  return (v << 1) - MIN32 < SPAN32;
}
@inline
function normal64(v: u64): bool {
  return (v << 1) - MIN64 < SPAN64;
}
/** Normal, and not the smallest one, to which a tiny result may have been rounded. */
@inline
function settled32(v: u32): bool {
  return (v << 1) - (MIN32 + 1) < SPAN32 - 1;
}
@inline
function settled64(v: u64): bool {
  return (v << 1) - (MIN64 + 1) < SPAN64 - 1;
}
/** Normal or 0. */
@inline
export function plain32(v: u32): bool {
  return (v << 1) - MIN32 < SPAN32 || v << 1 == 0;
}
@inline
export function plain64(v: u64): bool {
  return (v << 1) - MIN64 < SPAN64 || v << 1 == 0;
}

function slow32(m: u32, op: i32, a: u32, b: u32): u32 {
  prepare(m);
  return <u32>B.arithmetic(B.BINARY32, op, a, b);
}
function slow64(m: u32, op: i32, a: u64, b: u64): u64 {
  prepare(m);
  return B.arithmetic(B.BINARY64, op, a, b);
}

/** Whether the product of two normal numbers, rounded to the normal number r, is inexact: by the significands' trailing zeros. */
function productInexact(a: u64, b: u64, r: u64): bool {
  const zeros = <u32>ctz(a | 0x0010000000000000) + <u32>ctz(b | 0x0010000000000000);
  // The product of the 53-bit significands has 106 bits if its exponent is one more than the sum, else 105.
  const carry = ((r >> 52) & 0x7ff) + 1023 != ((a >> 52) & 0x7ff) + ((b >> 52) & 0x7ff);
  return zeros < 52 + u32(carry);
}

/** a + b under MXCSR m. */
export function add32(m: u32, a: u32, b: u32): u32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  const z = x + y;
  const r = reinterpret<u32>(z);
  if (isNative(m) && plain32(a) && plain32(b) && plain32(r)) {
    if ((m & MXCSR_PE) == 0) {
      // The rounding error, exactly (Knuth); it cannot overflow where z is finite, and NaN compares unequal.
      const t = z - x;
      if (x - (z - t) + (y - t) != 0.0) C.raiseFlags(C.INEXACT);
    }
    return r;
  }
  return slow32(m, B.OP_ADD, a, b);
}

/** a - b under MXCSR m. */
export function sub32(m: u32, a: u32, b: u32): u32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  const z = x - y;
  const r = reinterpret<u32>(z);
  if (isNative(m) && plain32(a) && plain32(b) && plain32(r)) {
    if ((m & MXCSR_PE) == 0) {
      // The rounding error, exactly (Knuth); it cannot overflow where z is finite, and NaN compares unequal.
      const t = z - x;
      if (x - (z - t) + (-y - t) != 0.0) C.raiseFlags(C.INEXACT);
    }
    return r;
  }
  return slow32(m, B.OP_SUB, a, b);
}

/** a × b under MXCSR m. */
export function mul32(m: u32, a: u32, b: u32): u32 {
  const z = reinterpret<f32>(a) * reinterpret<f32>(b);
  const r = reinterpret<u32>(z);
  if (isNative(m)) {
    if (normal32(a) && normal32(b) && settled32(r)) {
      // The product of two binary32 numbers is exact in binary64.
      if ((m & MXCSR_PE) == 0 && <f64>reinterpret<f32>(a) * <f64>reinterpret<f32>(b) != <f64>z) C.raiseFlags(C.INEXACT);
      return r;
    }
    if (plain32(a) && plain32(b) && (a << 1 == 0 || b << 1 == 0)) return r;
  }
  return slow32(m, B.OP_MUL, a, b);
}

/** a ÷ b under MXCSR m. */
export function div32(m: u32, a: u32, b: u32): u32 {
  const z = reinterpret<f32>(a) / reinterpret<f32>(b);
  const r = reinterpret<u32>(z);
  if (isNative(m) && normal32(b)) {
    if (normal32(a) && settled32(r)) {
      if ((m & MXCSR_PE) == 0 && <f64>z * <f64>reinterpret<f32>(b) != <f64>reinterpret<f32>(a)) C.raiseFlags(C.INEXACT);
      return r;
    }
    if (a << 1 == 0) return r;
  }
  return slow32(m, B.OP_DIV, a, b);
}

/** √a under MXCSR m. */
export function sqrt32(m: u32, a: u32): u32 {
  if (isNative(m) && plain32(a) && <i32>a >= 0) {
    const z = sqrt<f32>(reinterpret<f32>(a));
    const r = reinterpret<u32>(z);
    if ((m & MXCSR_PE) == 0 && <f64>z * <f64>z != <f64>reinterpret<f32>(a)) C.raiseFlags(C.INEXACT);
    return r;
  }
  prepare(m);
  return <u32>B.squareRoot(B.BINARY32, a);
}

/** a + b under MXCSR m. */
export function add64(m: u32, a: u64, b: u64): u64 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  const z = x + y;
  const r = reinterpret<u64>(z);
  if (isNative(m) && plain64(a) && plain64(b) && plain64(r)) {
    if ((m & MXCSR_PE) == 0) {
      // The rounding error, exactly (Knuth); it cannot overflow where z is finite, and NaN compares unequal.
      const t = z - x;
      if (x - (z - t) + (y - t) != 0.0) C.raiseFlags(C.INEXACT);
    }
    return r;
  }
  return slow64(m, B.OP_ADD, a, b);
}

/** a - b under MXCSR m. */
export function sub64(m: u32, a: u64, b: u64): u64 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  const z = x - y;
  const r = reinterpret<u64>(z);
  if (isNative(m) && plain64(a) && plain64(b) && plain64(r)) {
    if ((m & MXCSR_PE) == 0) {
      // The rounding error, exactly (Knuth); it cannot overflow where z is finite, and NaN compares unequal.
      const t = z - x;
      if (x - (z - t) + (-y - t) != 0.0) C.raiseFlags(C.INEXACT);
    }
    return r;
  }
  return slow64(m, B.OP_SUB, a, b);
}

/** a × b under MXCSR m. */
export function mul64(m: u32, a: u64, b: u64): u64 {
  const z = reinterpret<f64>(a) * reinterpret<f64>(b);
  const r = reinterpret<u64>(z);
  if (isNative(m)) {
    if (normal64(a) && normal64(b) && settled64(r)) {
      if ((m & MXCSR_PE) == 0 && productInexact(a, b, r)) C.raiseFlags(C.INEXACT);
      return r;
    }
    if (plain64(a) && plain64(b) && (a << 1 == 0 || b << 1 == 0)) return r;
  }
  return slow64(m, B.OP_MUL, a, b);
}

/** a ÷ b under MXCSR m. */
export function div64(m: u32, a: u64, b: u64): u64 {
  const z = reinterpret<f64>(a) / reinterpret<f64>(b);
  const r = reinterpret<u64>(z);
  if (isNative(m) && normal64(b)) {
    if (normal64(a) && settled64(r)) {
      // Exact if r × b is and gives a.
      if ((m & MXCSR_PE) == 0 && (productInexact(r, b, a) || z * reinterpret<f64>(b) != reinterpret<f64>(a)))
        C.raiseFlags(C.INEXACT);
      return r;
    }
    if (a << 1 == 0) return r;
  }
  return slow64(m, B.OP_DIV, a, b);
}

/** √a under MXCSR m. */
export function sqrt64(m: u32, a: u64): u64 {
  if (isNative(m) && plain64(a) && <i64>a >= 0) {
    const z = sqrt<f64>(reinterpret<f64>(a));
    const r = reinterpret<u64>(z);
    if ((m & MXCSR_PE) == 0 && a != 0 && (productInexact(r, r, a) || z * z != reinterpret<f64>(a)))
      C.raiseFlags(C.INEXACT);
    return r;
  }
  prepare(m);
  return <u64>B.squareRoot(B.BINARY64, a);
}
