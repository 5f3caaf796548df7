/**
 * Random programs on `interp` and `wasm` side by side: `node dist/testing/fuzz/main.js [--programs n] [--seed n]
 * [--instructions n] [--keep n]`. Prints every divergence, narrowed down to an instruction; exits with 1 when there is one.
 */
import { Divergence, type Lockstep } from './lockstep.js';
import { PAIRS } from './pairs.js';

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

const instructions = option('instructions', 4000);

/** Shortens the slice that differs until it does not, from the same beginning each time. */
function narrow(seed: number, make: () => Lockstep, found: Divergence): string {
  const attempt = (budget: number): Divergence | string => {
    try {
      return make().run(seed, instructions, { slice: found.at.slice, budget }).place;
    } catch (error) {
      if (error instanceof Divergence) return error;
      throw error;
    }
  };
  let shortest = found;
  let place = 'differs by itself no longer';
  for (let low = 0, high = found.at.budget; high - low > 1;) {
    const middle = (low + high) >> 1;
    const result = attempt(middle);
    if (result instanceof Divergence) {
      shortest = result;
      high = result.at.slice < found.at.slice ? low : middle;
    } else {
      place = result;
      low = middle;
    }
  }
  return `${shortest.message}\none less: ${place}`;
}

function main(): number {
  const programs = option('programs', 200);
  const first = option('seed', 1);
  const pairs = PAIRS.map(({ make }) => make());
  let failed = 0;
  let retired = 0;
  let faults = 0;
  const ends = new Map<string, number>();
  for (let seed = first; seed < first + programs && failed < option('keep', 10); seed++) {
    const n = seed % pairs.length;
    try {
      const run = pairs[n].run(seed, instructions);
      retired += run.retired;
      faults += run.faults;
      ends.set(run.end, (ends.get(run.end) ?? 0) + 1);
    } catch (error) {
      if (!(error instanceof Divergence)) throw error;
      failed++;
      console.log(narrow(seed, PAIRS[n].make, error));
      pairs[n] = PAIRS[n].make();
    }
  }
  const how = [...ends].map(([kind, times]) => `${kind} ${String(times)}`).join(', ');
  console.log(`${String(retired)} instructions, ${String(faults)} faults, ends: ${how}; ${String(failed)} diverge`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
