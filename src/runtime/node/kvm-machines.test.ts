/** Machines on KVM in one process: each gives back what it had, and one that fails does not concern the others. */
import * as fs from 'node:fs';
import { expect, it, vi } from 'vitest';
import { buildDemo } from '../../cpu/x86/demo/image.js';
import { startMachine } from '../../testing/machine-process.js';
import { litmusKernel } from '../../testing/smp/litmus.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import type { MachineConfig } from '../../vmm/config.js';

const kvm = await requireKvm();

/** Waits for a reset that does not come. */
const quiet = Uint8Array.of(0xf4, 0xeb, 0xfd);

function bios(code: Uint8Array): Uint8Array {
  const rom = new Uint8Array(0x1_0000);
  rom.set(code, 0xff00);
  // jmp to it
  rom.set([0xe9, 0x0d, 0xff], 0xfff0);
  return rom;
}

const config = (changes: Partial<MachineConfig>): MachineConfig => ({
  cpu: 'x86-64-v2',
  memory: 16 << 20,
  boot: { bios: { name: 'test', image: bios(quiet) } },
  disks: [],
  debugExit: true,
  noReboot: true,
  clock: 'host',
  ...changes,
});

const kvms = (): number =>
  fs.readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`).includes('kvm');
    } catch {
      return false;
    }
  }).length;

describeWith([kvm], 'machines on KVM in one process', () => {
  it('give back what they had', async () => {
    for (let i = 0; i < 5; i++) {
      const machine = await startMachine({ kind: 'create', config: config({}) }, 'kvm');
      expect(kvms()).toBeGreaterThan(0);
      await machine.stop();
    }
    await vi.waitFor(() => expect(kvms()).toBe(0), 5000);
  });

  it('with several CPUs end wherever those are', async () => {
    for (const wait of [0, 20, 100, 300]) {
      const data = litmusKernel({ cpus: 3, rounds: 1, sums: 2e9, splits: 10, wides: 1, ring3: true });
      const boot = { kernel: { name: 'litmus', data, commandLine: '', modules: [] } };
      const machine = await startMachine({ kind: 'create', config: config({ cpus: 3, boot }) }, 'kvm');
      await new Promise((resolve) => setTimeout(resolve, wait));
      await machine.stop();
    }
    await vi.waitFor(() => expect(kvms()).toBe(0), 5000);
  });

  it('go on when one of them fails', async () => {
    const first = await startMachine({ kind: 'create', config: config({}) }, 'kvm');
    const running = kvms();
    // More than there is room for, which shows when the board is there.
    const modules = [{ name: 'large', data: new Uint8Array(32 << 20).fill(1) }];
    const boot = { kernel: { name: 'demo', data: buildDemo().image, commandLine: '', modules } };
    await expect(startMachine({ kind: 'create', config: config({ boot }) }, 'kvm')).rejects.toThrow(/large/);
    await vi.waitFor(() => expect(kvms()).toBe(running), 5000);
    await first.stop();
    await vi.waitFor(() => expect(kvms()).toBe(0), 5000);
  });
});
