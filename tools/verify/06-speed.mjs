import { cpus, loadavg } from 'node:os';
import { bootAmd64, describeBoot, MIB } from '../bench/lib.mjs';
import { expect } from './lib.mjs';

export const title = 'Speed: the amd64 boot at 80 MIPS or more, userland in 20 s, guest RAM and 150 MB';

const RUNS = 3;

export async function run(log) {
  log(`${cpus()[0].model}, ${cpus().length} CPUs, load ${loadavg()[0].toFixed(1)}`);
  // The best of a few: what else the machine does is not what is measured.
  let best = { userland: Infinity };
  for (let i = 0; i < RUNS; i++) {
    const boot = await bootAmd64();
    log(describeBoot(boot));
    if (boot.userland < best.userland) best = boot;
  }
  // By CPU time, all threads': where others run too, it says more of one core than the clock does.
  const mips = best.instructions / 1e6 / best.cpuTime;
  expect(mips >= 80, `${mips.toFixed(0)} MIPS`);
  expect(best.userland <= 20, `userland after ${best.userland.toFixed(1)} s`);
  const limit = (512 * MIB + 150e6) / MIB;
  expect(best.peak <= limit, `${best.peak.toFixed(0)} MiB, more than guest RAM and 150 MB`);
}
