/**
 * Packed ADD, SUB, MUL, DIV, SQRT, MIN, MAX. All lanes at once on the host where nothing but a precision exception already recorded
 * can come of it, else lane by lane.
 */
import { NEXT_CONTINUE, NEXT_FAULT } from './generated/layout';
import { add32, add64, div32, div64, mul32, mul64, sqrt32, sqrt64, sub32, sub64 } from './sse-float-native';
import { isNativeInexact, mxcsr, settled } from './sse-float-state';
import { maximum, minimum } from './sse-float-compare';

export const OP_ADD: i32 = 0;
export const OP_SUB: i32 = 1;
export const OP_MUL: i32 = 2;
export const OP_DIV: i32 = 3;
export const OP_SQRT: i32 = 4;
export const OP_MIN: i32 = 5;
export const OP_MAX: i32 = 6;

/** All ones in lanes that hold a normal number. */
@inline
function normal4(v: v128): v128 {
  const magnitude = v128.and(v, i32x4.splat(0x7fffffff));
  return v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x007fffff)), i32x4.lt_s(magnitude, i32x4.splat(0x7f800000)));
}
/** Normal, and not the smallest one, to which a tiny result may have been rounded. */
@inline
function settled4(v: v128): v128 {
  const magnitude = v128.and(v, i32x4.splat(0x7fffffff));
  return v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x00800000)), i32x4.lt_s(magnitude, i32x4.splat(0x7f800000)));
}
@inline
function zero4(v: v128): v128 {
  return i32x4.eq(i32x4.shl(v, 1), i32x4.splat(0));
}
@inline
function normal2(v: v128): v128 {
  const magnitude = v128.and(v, i64x2.splat(0x7fffffffffffffff));
  return v128.and(
    i64x2.gt_s(magnitude, i64x2.splat(0x000fffffffffffff)),
    i64x2.lt_s(magnitude, i64x2.splat(0x7ff0000000000000)),
  );
}
@inline
function settled2(v: v128): v128 {
  const magnitude = v128.and(v, i64x2.splat(0x7fffffffffffffff));
  return v128.and(
    i64x2.gt_s(magnitude, i64x2.splat(0x0010000000000000)),
    i64x2.lt_s(magnitude, i64x2.splat(0x7ff0000000000000)),
  );
}
@inline
function zero2(v: v128): v128 {
  return i64x2.eq(i64x2.shl(v, 1), i64x2.splat(0));
}

/** Four lanes at once; false: not possible. */
function tryFour(op: i32, to: usize, s: usize): bool {
  const a = v128.load(to);
  const b = v128.load(s);
  let r: v128;
  let fine: v128;
  const nb = normal4(b);
  const zb = zero4(b);
  if (op == OP_SQRT) {
    r = f32x4.sqrt(b);
    fine = v128.or(zb, v128.andnot(nb, i32x4.lt_s(b, i32x4.splat(0))));
  } else {
    const na = normal4(a);
    const za = zero4(a);
    if (op < OP_MUL) {
      r = op == OP_ADD ? f32x4.add(a, b) : f32x4.sub(a, b);
      fine = v128.and(v128.and(v128.or(na, za), v128.or(nb, zb)), v128.or(normal4(r), zero4(r)));
    } else if (op == OP_MUL) {
      r = f32x4.mul(a, b);
      const both = v128.and(v128.or(na, za), v128.or(nb, zb));
      fine = v128.and(both, v128.or(settled4(r), v128.or(za, zb)));
    } else {
      r = f32x4.div(a, b);
      fine = v128.and(nb, v128.or(za, v128.and(na, settled4(r))));
    }
  }
  if (!i32x4.all_true(fine)) return false;
  v128.store(to, r);
  return true;
}

/** Two lanes at once. */
function tryTwo(op: i32, to: usize, s: usize): bool {
  const a = v128.load(to);
  const b = v128.load(s);
  let r: v128;
  let fine: v128;
  const nb = normal2(b);
  const zb = zero2(b);
  if (op == OP_SQRT) {
    r = f64x2.sqrt(b);
    fine = v128.or(zb, v128.andnot(nb, i64x2.lt_s(b, i64x2.splat(0))));
  } else {
    const na = normal2(a);
    const za = zero2(a);
    if (op < OP_MUL) {
      r = op == OP_ADD ? f64x2.add(a, b) : f64x2.sub(a, b);
      fine = v128.and(v128.and(v128.or(na, za), v128.or(nb, zb)), v128.or(normal2(r), zero2(r)));
    } else if (op == OP_MUL) {
      r = f64x2.mul(a, b);
      const both = v128.and(v128.or(na, za), v128.or(nb, zb));
      fine = v128.and(both, v128.or(settled2(r), v128.or(za, zb)));
    } else {
      r = f64x2.div(a, b);
      fine = v128.and(nb, v128.or(za, v128.and(na, settled2(r))));
    }
  }
  if (!i64x2.all_true(fine)) return false;
  v128.store(to, r);
  return true;
}

function lane32(m: u32, op: i32, a: u32, b: u32): u32 {
  switch (op) {
    case OP_ADD:
      return add32(m, a, b);
    case OP_SUB:
      return sub32(m, a, b);
    case OP_MUL:
      return mul32(m, a, b);
    case OP_DIV:
      return div32(m, a, b);
    case OP_SQRT:
      return sqrt32(m, b);
    case OP_MIN:
      return <u32>minimum(m, 0, a, b);
    default:
      return <u32>maximum(m, 0, a, b);
  }
}

function lane64(m: u32, op: i32, a: u64, b: u64): u64 {
  switch (op) {
    case OP_ADD:
      return add64(m, a, b);
    case OP_SUB:
      return sub64(m, a, b);
    case OP_MUL:
      return mul64(m, a, b);
    case OP_DIV:
      return div64(m, a, b);
    case OP_SQRT:
      return sqrt64(m, b);
    case OP_MIN:
      return minimum(m, 1, a, b);
    default:
      return maximum(m, 1, a, b);
  }
}

/** Four binary32 lanes: the register at `to` op the operand at `s`. */
export function packedSingle(op: i32, to: usize, s: usize): i32 {
  const m = mxcsr();
  if (isNativeInexact(m) && op <= OP_SQRT && tryFour(op, to, s)) return NEXT_CONTINUE;
  const a = lane32(m, op, load<u32>(to), load<u32>(s));
  const b = lane32(m, op, load<u32>(to, 4), load<u32>(s, 4));
  const c = lane32(m, op, load<u32>(to, 8), load<u32>(s, 8));
  const d = lane32(m, op, load<u32>(to, 12), load<u32>(s, 12));
  if (!settled()) return NEXT_FAULT;
  store<u32>(to, a);
  store<u32>(to, b, 4);
  store<u32>(to, c, 8);
  store<u32>(to, d, 12);
  return NEXT_CONTINUE;
}

/** Two binary64 lanes. */
export function packedDouble(op: i32, to: usize, s: usize): i32 {
  const m = mxcsr();
  if (isNativeInexact(m) && op <= OP_SQRT && tryTwo(op, to, s)) return NEXT_CONTINUE;
  const a = lane64(m, op, load<u64>(to), load<u64>(s));
  const b = lane64(m, op, load<u64>(to, 8), load<u64>(s, 8));
  if (!settled()) return NEXT_FAULT;
  store<u64>(to, a);
  store<u64>(to, b, 8);
  return NEXT_CONTINUE;
}
