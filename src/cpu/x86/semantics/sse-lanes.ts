/** Lanes of vectors. */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';

/** Byte numbers of lanes of `size` bytes. */
export function bytesOf(size: 2 | 4 | 8, lanes: readonly number[]): number[] {
  return lanes.flatMap((lane) => Array.from({ length: size }, (_, i) => lane * size + i));
}

/** Lanes of a vector of lanes of `size` bytes. */
export function lanesOf(size: 1 | 2 | 4 | 8): number[] {
  return Array.from({ length: 16 / size }, (_, i) => i);
}

/**
 * The same value, in a register of its own: V8's baseline compiler (11.3, in Node 20), on processors without AVX, copies the left operand
 * of `i8x16.swizzle` and `i16x8.q15mulr_sat_s` over the right one where the left is a local and the right is not.
 */
export const apart = (b: Builder, value: Node): Node => b.op('v128.or', value, value);
