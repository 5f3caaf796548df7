/** Deterministic noise for fuzzing (xorshift32): each call gives the next unsigned 32-bit number of a seed's sequence. */
export function noise(seed: number): () => number {
  // 0 would stay 0.
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}
