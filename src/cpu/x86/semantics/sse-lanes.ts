/** Lane numbers of shuffles. */

/** Byte numbers of lanes of `size` bytes. */
export function bytesOf(size: 2 | 4 | 8, lanes: readonly number[]): number[] {
  return lanes.flatMap((lane) => Array.from({ length: size }, (_, i) => lane * size + i));
}

/** Lanes of a vector of lanes of `size` bytes. */
export function lanesOf(size: 1 | 2 | 4 | 8): number[] {
  return Array.from({ length: 16 / size }, (_, i) => i);
}
