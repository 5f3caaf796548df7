import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ipiKernel } from '../../dist/testing/smp/ipi.js';
import { expect, vitrine, withFolder } from './lib.mjs';

export const title =
  'KVM: an interrupt between two CPUs, of which one halts, with local APICs of ours and in the kernel';

/** Of a short and a long run, whose difference is without the start. */
const [FEW, MANY] = [2000, 22_000];
const ROUNDS = 3;

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

export const run = (log) =>
  withFolder(async (folder) => {
    if (!existsSync('/dev/kvm')) {
      log('skipped: no /dev/kvm');
      return;
    }
    const kernels = [FEW, MANY].map((count) => {
      const file = path.join(folder, `ipi${count}`);
      writeFileSync(file, ipiKernel(count));
      return file;
    });
    const time = async (who, kernel) => {
      const args = ['run', '--accel', 'kvm', '--kernel-irqchip', who, '--kernel', kernel, '--smp', '2'];
      const since = performance.now();
      const { code } = await vitrine([...args, '--memory', '16M', '--net', 'none', '--debug-exit', '--no-reboot'], {
        limit: 60,
      });
      expect(code === 1, `--kernel-irqchip ${who}: the guest ended with ${code}`);
      return performance.now() - since;
    };
    const times = { off: [], split: [] };
    for (let round = 0; round < ROUNDS; round++)
      for (const who of round % 2 ? ['split', 'off'] : ['off', 'split']) {
        const few = await time(who, kernels[0]);
        times[who].push(((await time(who, kernels[1])) - few) / (MANY - FEW));
      }
    for (const [who, own] of Object.entries(times))
      log(`--kernel-irqchip ${who}: ${(median(own) * 1000).toFixed(1)} µs an interrupt`);
  });
