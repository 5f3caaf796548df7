/**
 * What every operation of the soft float depends on besides its operands, and what it leaves behind besides its result.
 * The operations follow IEEE 754-2019; where the standard leaves a choice, the choice is a parameter here.
 * These are globals of the module: one instance serves one CPU at a time.
 */

/** Exceptions, also the bits of `flags`. DENORMAL: an operand was subnormal (not an exception of IEEE 754). */
export const INVALID: i32 = 1;
export const DENORMAL: i32 = 2;
export const DIV_BY_ZERO: i32 = 4;
export const OVERFLOW: i32 = 8;
export const UNDERFLOW: i32 = 16;
export const INEXACT: i32 = 32;

/** Rounding directions. */
export const NEAREST_EVEN: i32 = 0;
export const DOWN: i32 = 1;
export const UP: i32 = 2;
export const TOWARD_ZERO: i32 = 3;
export const NEAREST_AWAY: i32 = 4;

/** Which NaN a two-operand operation returns, quieted. */
/** The first operand if it is a NaN, else the second. */
export const NAN_FIRST: i32 = 0;
/** A quiet one before a signalling one, then the larger significand, then the positive one. */
export const NAN_LARGER: i32 = 1;
/** A signalling one before a quiet one, then the first. */
export const NAN_SIGNALLING: i32 = 2;
/** Always the default NaN. */
export const NAN_DEFAULT: i32 = 3;

/** Accumulated exceptions; operations only set bits. */
export let flags: i32 = 0;
/** Rounding direction. */
export let rounding: i32 = NEAREST_EVEN;
/** Underflow is detected before rounding rather than after it. */
export let tinyBeforeRounding: bool = false;
/** Subnormal operands count as zeros of their sign, without DENORMAL. Binary32 and binary64 only. */
export let denormalsAreZero: bool = false;
/** Tiny results become zeros of their sign, with UNDERFLOW and INEXACT. */
export let flushToZero: bool = false;
/**
 * Underflow or overflow is trapped: a tiny result raises UNDERFLOW even when it is exact, and the result is rounded as if
 * the exponent had no bounds, then `trapBias` is added to (underflow) or subtracted from its exponent.
 */
export let trapUnderflow: bool = false;
export let trapOverflow: bool = false;
export let trapBias: i32 = 0;
export let nanRule: i32 = NAN_FIRST;
/** Sign of the default NaN. */
export let defaultNanSign: u32 = 1;
/** The last rounding increased the magnitude. */
export let roundedUp: bool = false;

// Plain assignments from other files go through these.
@inline
export function setFlags(value: i32): void {
  flags = value;
}
@inline
export function raiseFlags(bits: i32): void {
  flags |= bits;
}
@inline
export function setRounding(value: i32): void {
  rounding = value;
}
@inline
export function setTinyBeforeRounding(value: bool): void {
  tinyBeforeRounding = value;
}
@inline
export function setSubnormals(asZero: bool, flush: bool): void {
  denormalsAreZero = asZero;
  flushToZero = flush;
}
@inline
export function setTraps(underflow: bool, overflow: bool, bias: i32): void {
  trapUnderflow = underflow;
  trapOverflow = overflow;
  trapBias = bias;
}
@inline
export function setNanRule(rule: i32, defaultSign: u32): void {
  nanRule = rule;
  defaultNanSign = defaultSign;
}
@inline
export function setRoundedUp(value: bool): void {
  roundedUp = value;
}
