/** What guests on KVM are told of their processor. */
import { expect, it } from 'vitest';
import { DEFAULT_CPU_MODEL } from '../../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../../arch/x86/cpuid.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { withSupported } from './supported-cpuid.js';

const kvm = await requireKvm();
const PCID = 1 << 17;
const INVPCID = 1 << 10;
const leaves = cpuidLeaves(DEFAULT_CPU_MODEL, { cpus: 2, apicId: 1, tscHz: 1e9, crystalHz: 1e9 });
const find = (all: typeof leaves, leaf: number) => all.find((entry) => entry.leaf === leaf);

it('a feature that KVM does not know is not there, and all else is as it was', () => {
  const all = leaves.map((entry) => ({
    ...entry,
    eax: 0xffff_ffff,
    ebx: 0xffff_ffff,
    ecx: 0xffff_ffff,
    edx: 0xffff_ffff,
  }));
  expect(withSupported(leaves, all)).toEqual(leaves);
  // As processors of AMD's before Zen 3 are.
  const supported = all.map((entry) =>
    entry.leaf === 1 ? { ...entry, ecx: ~PCID >>> 0 } : entry.leaf === 7 ? { ...entry, ebx: ~INVPCID >>> 0 } : entry,
  );
  const [before, after] = [find(leaves, 1), find(withSupported(leaves, supported), 1)];
  expect((before?.ecx ?? 0) & PCID).not.toBe(0);
  expect(after).toEqual({ ...before, ecx: ((before?.ecx ?? 0) & ~PCID) >>> 0 });
  expect((find(withSupported(leaves, supported), 7)?.ebx ?? 0) & INVPCID).toBe(0);
});

it('what are no features, as numbers of CPUs are, stays whatever KVM knows', () => {
  const told = withSupported(leaves, []);
  expect(find(told, 1)?.ebx).toBe(find(leaves, 1)?.ebx);
  expect(find(told, 0x4000_0000)).toEqual(find(leaves, 0x4000_0000));
  // Several CPUs, and a local APIC.
  expect(find(told, 1)?.edx).toBe((1 << 28) | (1 << 9));
});

describeWith([kvm], 'the host’s KVM', () => {
  it('knows what every operating system needs, and what local APICs have', async () => {
    const { KvmSystem } = await import('./system.js');
    const { readSupportedCpuid } = await import('./supported-cpuid.js');
    const system = new KvmSystem();
    const told = withSupported(leaves, readSupportedCpuid(system.fd));
    system.close();
    const has = (leaf: number, register: 'ecx' | 'edx', bit: number): boolean =>
      (((find(told, leaf)?.[register] ?? 0) >>> bit) & 1) === 1;
    expect([has(1, 'edx', 26), has(1, 'edx', 9), has(1, 'ecx', 21), has(1, 'ecx', 24), has(1, 'ecx', 31)]).toEqual(
      Array(5).fill(true),
    );
    expect(has(0x8000_0001, 'edx', 29)).toBe(true);
  });

  it('tells of no TSC deadlines where they would be lost', async () => {
    const { KvmVm } = await import('./vm.js');
    const tells = (irqchip: 'off' | 'split', losesDeadlines: boolean): boolean => {
      const vm = new KvmVm({
        ...{ model: DEFAULT_CPU_MODEL, cpuid: () => leaves, tscHz: 1e9, backingSize: 1 << 20 },
        ...{ irqchip, losesDeadlines },
      });
      try {
        return (((vm.cpuid(0).find(({ leaf }) => leaf === 1)?.ecx ?? 0) >>> 24) & 1) === 1;
      } finally {
        vm.dispose();
      }
    };
    expect([tells('off', true), tells('split', true), tells('off', false)]).toEqual([false, true, true]);
  });
});
