import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { VitrineProcess } from '../../testing/machine-process.js';
import { ipiKernel } from '../../testing/smp/ipi.js';
import { describeWith, requireKvm } from '../../testing/tools.js';

const kvm = await requireKvm();
/** If each were found only when a run of 4 ms ends, they would take longer than the test may. */
const INTERRUPTS = 20_000;

async function interrupt(...accel: string[]): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-ipi-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const kernel = path.join(folder, 'kernel');
  writeFileSync(kernel, ipiKernel(INTERRUPTS));
  const run = ['run', '--accel', ...accel, '--kernel', kernel, '--smp', '2', '--memory', '16M', '--net', 'none'];
  const { code } = await new VitrineProcess([...run, '--debug-exit', '--no-reboot']).ended;
  expect(code).toBe(1);
}

describe('a CPU that halts', () => {
  it.each(['interp', 'wasm'])('is woken by each interrupt of another one: %s', interrupt);
});

describeWith([kvm], 'a CPU that halts on KVM', () => {
  it.each(['off', 'split', 'on'])(
    'is woken by each interrupt of another one: --kernel-irqchip %s',
    { timeout: 60_000 },
    (who) => interrupt('kvm', '--kernel-irqchip', who),
  );
});
