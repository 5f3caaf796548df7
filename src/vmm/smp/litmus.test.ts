import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { VitrineProcess } from '../../testing/machine-process.js';
import { litmusKernel, readCounts, wrongCounts, type LitmusOptions } from '../../testing/smp/litmus.js';

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
  ])('is what x86 allows: $cpus on $accel, clock $clock', { timeout: 60_000 }, async ({ accel, cpus, clock }) => {
    const options = { cpus, ...FEW, rounds: FEW.rounds / cpus };
    const { output, code } = await new VitrineProcess([...prepare(options).run, '--accel', accel, '--clock', clock])
      .ended;
    expect(code).toBe(1);
    expect(wrongCounts(readCounts(output), options)).toEqual([]);
  });

  it('stays so when the machine is saved amid all this, and goes on elsewhere', { timeout: 60_000 }, async () => {
    const options = { cpus: 2, ...FEW, sums: 20_000_000 };
    const { run, snapshot } = prepare(options);
    const first = new VitrineProcess([...run, '--accel', 'wasm', '--save-on-exit', snapshot]);
    // It takes seconds.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    first.kill('SIGTERM');
    expect((await first.ended).errors).toContain('saved to');
    const second = await new VitrineProcess(['resume', snapshot, '--accel', 'interp']).ended;
    expect(second.errors).toContain('the guest ended with exit code 1');
    expect(wrongCounts(readCounts(second.output), options)).toEqual([]);
  });
});
