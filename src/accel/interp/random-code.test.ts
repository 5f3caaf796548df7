import { describe, expect, it } from 'vitest';
import { MODES, runRandomCode } from '../../testing/random-code.js';
import { GuestBench } from '../../testing/x86-guest.js';

describe('random code in every mode', () => {
  it('never throws in the host, never runs past its budget, and leaves a state that can be saved', () => {
    const bench = new GuestBench();
    const seen = new Set<string>();
    let retired = 0;
    for (let seed = 0; seed < 400; seed++) {
      const run = runRandomCode(bench, seed, 2000);
      seen.add(run.mode);
      retired += run.retired;
    }
    expect([...seen].sort()).toEqual([...MODES].sort());
    expect(retired).toBeGreaterThan(20_000);
  });
});
