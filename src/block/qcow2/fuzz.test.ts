/** Hostile images; tools/verify tries far more. */
import { expect, it } from 'vitest';
import { fuzzQcow2 } from '../../testing/fuzz/qcow2.js';

/** Milliseconds that an image may take. */
const LIMIT = 2000;

it('a damaged image is refused in one line, or used as far as it goes', () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const before = performance.now();
    fuzzQcow2(seed);
    expect(performance.now() - before, `seed ${seed}`).toBeLessThan(LIMIT);
  }
});
