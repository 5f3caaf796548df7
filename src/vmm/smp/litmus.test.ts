import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { VitrineProcess } from '../../testing/machine-process.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { litmusKernel, readCounts, wrongCounts, type LitmusOptions } from '../../testing/smp/litmus.js';

const kvm = await requireKvm();

/** `npm run verify` asks for more. */
const FEW = { rounds: 400, sums: 50_000, splits: 500, wides: 5000 } as const;

function prepare(options: LitmusOptions): { readonly snapshot: string; readonly run: readonly string[] } {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-smp-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const kernel = path.join(folder, 'kernel');
  writeFileSync(kernel, litmusKernel(options));
  const run = ['run', '--kernel', kernel, '--smp', String(options.cpus), '--memory', '64M', '--net', 'none'];
  return { snapshot: path.join(folder, 'snapshot'), run: [...run, '--debug-exit'] };
}

describe('what CPUs see of each other', () => {
  it.each([
    { accel: 'interp', cpus: 2, clock: 'host' },
    { accel: 'wasm', cpus: 2, clock: 'host' },
    { accel: 'wasm', cpus: 4, clock: 'host' },
    { accel: 'wasm', cpus: 4, clock: 'virtual' },
  ])('is what x86 allows: $cpus on $accel, clock $clock', async ({ accel, cpus, clock }) => {
    const options = { cpus, ...FEW, rounds: FEW.rounds / cpus };
    const { output, code } = await new VitrineProcess([...prepare(options).run, '--accel', accel, '--clock', clock])
      .ended;
    expect(code).toBe(1);
    expect(wrongCounts(readCounts(output), options)).toEqual([]);
  });

  it('stays so when the machine is saved amid all this, and goes on elsewhere', async () => {
    const options = { cpus: 2, ...FEW, sums: 20_000_000 };
    const { run, snapshot } = prepare(options);
    const first = new VitrineProcess([...run, '--accel', 'wasm', '--save-on-exit', snapshot]);
    await first.until(/@/);
    // It takes seconds.
    await new Promise((resolve) => setTimeout(resolve, 500));
    first.kill('SIGTERM');
    expect((await first.ended).errors).toContain('saved to');
    const second = await new VitrineProcess(['resume', snapshot, '--accel', 'interp']).ended;
    expect(second.errors).toContain('the guest ended with exit code 1');
    expect(wrongCounts(readCounts(second.output), options)).toEqual([]);
  });
});

describeWith([kvm], 'what CPUs on KVM see of each other', () => {
  it.each([
    [2, 'off'],
    [4, 'off'],
    [4, 'split'],
  ] as const)('is what x86 allows, in ring 3: %d, --kernel-irqchip %s', async (cpus, irqchip) => {
    const options = { cpus, ...FEW, rounds: 80 / cpus, ring3: true };
    const way = ['--accel', 'kvm', '--kernel-irqchip', irqchip];
    const { output, code } = await new VitrineProcess([...prepare(options).run, ...way]).ended;
    expect(code).toBe(1);
    expect(wrongCounts(readCounts(output), options)).toEqual([]);
  });

  it('stays so when the machine is saved amid all this, goes on with the translator, and comes back', async () => {
    const options = { cpus: 3, ...FEW, rounds: 20, sums: 250_000_000, ring3: true };
    const { run, snapshot } = prepare(options);
    const ways = [
      [...run, '--accel', 'kvm', '--kernel-irqchip', 'split'],
      ['resume', snapshot, '--accel', 'wasm', '--force-cpu'],
      ['resume', snapshot, '--accel', 'interp'],
      ['resume', snapshot, '--accel', 'kvm', '--kernel-irqchip', 'split', '--force-cpu'],
    ];
    for (const [step, way] of ways.entries()) {
      const isLast = step === ways.length - 1;
      const stopped = ['--save-on-exit', snapshot, '--qmp', 'tcp:127.0.0.1:0'];
      const machine = new VitrineProcess([...way, ...(isLast ? [] : stopped)]);
      if (!isLast) {
        // From this line on a signal has the machine saved.
        await machine.until(/qmp: /, 0, 'errors');
        if (step === 0) await machine.until(/@/);
        await new Promise((resolve) => setTimeout(resolve, 3000));
        machine.kill('SIGTERM');
      }
      const { output, errors } = await machine.ended;
      expect(errors).toContain(isLast ? 'the guest ended with exit code 1' : 'saved to');
      if (isLast) expect(wrongCounts(readCounts(output), options)).toEqual([]);
    }
  });
});
