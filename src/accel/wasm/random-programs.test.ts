import { describe, expect, it } from 'vitest';
import { Lockstep } from '../../testing/fuzz/lockstep.js';
import { GuestBench } from '../../testing/x86-guest.js';

/** `node dist/testing/fuzz/main.js` and `npm run verify` run many more. */
const PROGRAMS = 12;

describe.each([1, 3, 20])('random programs, translated after %i jumps to a place', (hotAfter) => {
  const lockstep = new Lockstep(
    new GuestBench({ accelerator: 'interp' }),
    new GuestBench({ accelerator: 'wasm', hotAfter }),
  );

  it('do the same as on interp, whatever happens to them', () => {
    let retired = 0;
    let faults = 0;
    for (let seed = 0; seed < PROGRAMS; seed++) {
      const run = lockstep.run(hotAfter * 1000 + seed, 4000);
      retired += run.retired;
      faults += run.faults;
    }
    expect(retired).toBeGreaterThan(PROGRAMS * 2000);
    expect(faults).toBeGreaterThan(PROGRAMS * 4);
  });
});
