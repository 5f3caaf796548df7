import { describe, expect, it } from 'vitest';
import { PAIRS } from '../../testing/fuzz/pairs.js';

/** `node dist/testing/fuzz/main.js` and `npm run verify` run many more. */
const PROGRAMS = 8;

describe.each(PAIRS.map((pair, n) => ({ ...pair, n })))('random programs, $name', ({ make, n }) => {
  const lockstep = make();

  it('do the same as on interp, whatever happens to them', () => {
    let retired = 0;
    let faults = 0;
    for (let seed = 0; seed < PROGRAMS; seed++) {
      const run = lockstep.run((n + 1) * 1000 + seed, 4000);
      retired += run.retired;
      faults += run.faults;
    }
    expect(retired).toBeGreaterThan(PROGRAMS * 2000);
    expect(faults).toBeGreaterThan(PROGRAMS * 4);
  });
});
