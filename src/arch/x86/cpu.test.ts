import { describe, expect, it } from 'vitest';
import { bootVcpuState, descriptor, flatSegment, resetVcpuState, SEGMENT_ATTRIBUTES } from './boot-state.js';
import { CPU_MODELS, cpuModel, DEFAULT_CPU_MODEL, resetIdentity } from './cpu-models.js';
import { featureBitmap, featureIndex } from './cpuid-features.js';
import type { CpuTopology } from './cpuid.js';
import { cpuid, cpuidLeaves } from './cpuid.js';
import { firmwareMemoryTypes, initialMsrs, readMsr, writeMsr } from './msr-policy.js';
import { MSR } from './msrs.js';
import { vcpuStateSchema } from './state.js';

const topology: CpuTopology = { cpus: 4, apicId: 2, tscHz: 2_000_000_000, crystalHz: 25_000_000 };
const off = { cr4: 0, xcr0: 1, apicBase: 0xfee0_0800 };
const text = (...words: number[]): string =>
  String.fromCharCode(...words.flatMap((w) => [w & 255, (w >>> 8) & 255, (w >>> 16) & 255, w >>> 24]));

describe('CPU models', () => {
  it('are found by name, and a wrong name is one line', () => {
    expect(cpuModel('486').maxLeaf).toBe(1);
    expect(() => cpuModel('nonsense')).toThrow(/^unknown CPU model "nonsense"; there are x86-64-v2, pentium4, 486$/);
  });

  it('the default has all of x86-64-v2 and nothing of v3', () => {
    const needed = [
      'cmov',
      'cx8',
      'fpu',
      'fxsr',
      'mmx',
      'syscall',
      'sse',
      'sse2',
      'cx16',
      'lahf_lm',
      'popcnt',
    ] as const;
    for (const name of [...needed, 'sse3', 'sse4_1', 'sse4_2', 'ssse3'] as const)
      expect(DEFAULT_CPU_MODEL.features, name).toContain(name);
    const table = cpuidLeaves(DEFAULT_CPU_MODEL, topology);
    const avx = 1 << 28;
    expect(cpuid(table, 1, 0, off).ecx & avx).toBe(0);
    expect(cpuid(table, 7, 0, off).ebx & ((1 << 3) | (1 << 5) | (1 << 8))).toBe(0);
  });

  it('the feature bitmap has exactly the features of the model', () => {
    const bitmap = featureBitmap(DEFAULT_CPU_MODEL.features);
    const has = (index: number): boolean => ((bitmap[index >> 3] >> (index & 7)) & 1) !== 0;
    expect(has(featureIndex('sse4_2'))).toBe(true);
    expect(has(featureIndex('monitor'))).toBe(false);
    const count = bitmap.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);
    expect(count).toBe(DEFAULT_CPU_MODEL.features.size);
  });
});

describe('CPUID', () => {
  const table = cpuidLeaves(DEFAULT_CPU_MODEL, topology);

  it('names vendor, hypervisor and brand', () => {
    const vendor = cpuid(table, 0, 0, off);
    expect(text(vendor.ebx, vendor.edx, vendor.ecx)).toBe('GenuineIntel');
    const hypervisor = cpuid(table, 0x4000_0000, 0, off);
    expect(text(hypervisor.ebx, hypervisor.ecx, hypervisor.edx)).toBe('VitrineVitri');
    const brand = [2, 3, 4].map((i) => cpuid(table, 0x8000_0000 + i, 0, off));
    expect(text(...brand.flatMap((r) => [r.eax, r.ebx, r.ecx, r.edx]))).toBe('Vitrine x86-64-v2'.padEnd(48, '\0'));
  });

  it('leaf 15h and 16h give the rate of the TSC', () => {
    const { eax, ebx, ecx } = cpuid(table, 0x15, 0, off);
    expect((ecx * ebx) / eax).toBe(topology.tscHz);
    expect(cpuid(table, 0x16, 0, off).eax).toBe(2000);
  });

  it.each([
    [2_500_000_000, 1e9, true],
    [2_893_202_000, 1e9, true],
    [2_499_998_000, 1e9, true],
    [3_333_333_000, 1e9, true],
    [33_000_000, 1e9, true],
    // No fraction of small numbers comes near it.
    [2_500_145_000, 1e9, false],
    [2_000_000_000, 5e9, false],
  ])(
    'leaf 15h tells a rate of %d Hz at a crystal of %d as Linux can compute it, or not at all',
    (tscHz, crystalHz, told) => {
      const { eax, ebx, ecx } = cpuid(cpuidLeaves(DEFAULT_CPU_MODEL, { ...topology, tscHz, crystalHz }), 0x15, 0, off);
      if (!told) {
        expect([eax, ebx, ecx]).toEqual([0, 0, 0]);
        return;
      }
      const product = (ecx / 1000) * ebx;
      expect(product).toBeLessThan(2 ** 32);
      expect(Math.abs((product / eax) * (1000 / tscHz) - 1)).toBeLessThan(1e-6);
    },
  );

  it('shows OSXSAVE and the APIC as the CPU stands', () => {
    expect(cpuid(table, 1, 0, off).ecx & (1 << 27)).toBe(0);
    expect(cpuid(table, 1, 0, { ...off, cr4: 1 << 18 }).ecx & (1 << 27)).not.toBe(0);
    expect(cpuid(table, 1, 0, { ...off, apicBase: 0 }).edx & (1 << 9)).toBe(0);
  });

  it('leaf 0Bh enumerates the CPUs, and any sub-leaf gives the APIC id', () => {
    expect(cpuid(table, 0xb, 1, off)).toEqual({ eax: 2, ebx: 4, ecx: 0x201, edx: 2 });
    expect(cpuid(table, 0xb, 7, off)).toEqual({ eax: 0, ebx: 0, ecx: 7, edx: 2 });
  });

  it('beyond the last leaf answers as the highest basic leaf, unknown sub-leaves with 0', () => {
    expect(cpuid(table, 0x1000, 0, off)).toEqual(cpuid(table, 0x16, 0, off));
    expect(cpuid(table, 0x9000_0000, 0, off)).toEqual(cpuid(table, 0x16, 0, off));
    expect(cpuid(table, 7, 1, off)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
  });

  it('older models have neither extended nor hypervisor leaves', () => {
    const old = cpuidLeaves(cpuModel('486'), { ...topology, cpus: 1, apicId: 0 });
    expect(cpuid(old, 0x8000_0000, 0, off)).toEqual(cpuid(old, 1, 0, off));
    const p4 = cpuidLeaves(cpuModel('pentium4'), topology);
    expect(cpuid(p4, 0x8000_0001, 0, off).edx).toBe(0);
    expect(cpuid(p4, 0x4000_0000, 0, off)).toEqual(cpuid(p4, 2, 0, off));
  });

  it.each(CPU_MODELS.map((m) => [m.name, m] as const))('%s: every register is an unsigned 32-bit number', (_, m) => {
    for (const entry of cpuidLeaves(m, topology))
      for (const value of [entry.eax, entry.ebx, entry.ecx, entry.edx]) expect(value >>> 0).toBe(value);
  });
});

describe('MSRs outside the core', () => {
  it('memory types: reserved types and bits fault (SDM vol. 3 §12.11)', () => {
    const values = new Map<number, bigint>();
    const write = (index: number, value: bigint): boolean => writeMsr(DEFAULT_CPU_MODEL, values, index, value);
    expect(write(MSR.MTRR_DEF_TYPE, 0xc06n)).toBe(true);
    expect(readMsr(DEFAULT_CPU_MODEL, values, MSR.MTRR_DEF_TYPE)).toBe(0xc06n);
    expect(write(MSR.MTRR_DEF_TYPE, 0xc02n)).toBe(false);
    expect(write(MSR.MTRR_PHYSBASE0, 1n << 39n)).toBe(false);
    expect(write(MSR.MTRR_PHYSMASK0 + 14, 0x7f_c000_0800n)).toBe(true);
    expect(write(MSR.MTRR_PHYSBASE0 + 16, 0n)).toBe(false);
    expect(write(MSR.MTRR_FIX64K_00000, 0x0606_0606_0606_0602n)).toBe(false);
    expect(write(MSR.PAT, 0x0407_0600_0407_0106n)).toBe(true);
    expect(write(MSR.PAT, 2n)).toBe(false);
    expect(write(MSR.MTRRCAP, 0n)).toBe(false);
  });

  it('machine check status can only be cleared', () => {
    const values = new Map<number, bigint>();
    expect(writeMsr(DEFAULT_CPU_MODEL, values, MSR.MC0_CTL + 1, 1n)).toBe(false);
    expect(writeMsr(DEFAULT_CPU_MODEL, values, MSR.MC0_CTL + 1, 0n)).toBe(true);
    expect(writeMsr(DEFAULT_CPU_MODEL, values, MSR.MC0_CTL, (1n << 64n) - 1n)).toBe(true);
    expect(readMsr(DEFAULT_CPU_MODEL, values, MSR.MC0_CTL)).toBe((1n << 64n) - 1n);
  });

  it('MISC_ENABLE keeps its read-only bits', () => {
    const values = new Map<number, bigint>();
    expect(writeMsr(DEFAULT_CPU_MODEL, values, MSR.MISC_ENABLE, 0n)).toBe(true);
    expect(readMsr(DEFAULT_CPU_MODEL, values, MSR.MISC_ENABLE)).toBe(0x1800n);
  });

  it('what a model lacks does not exist', () => {
    expect(readMsr(cpuModel('pentium4'), new Map(), MSR.ARCH_CAPABILITIES)).toBeUndefined();
    expect(readMsr(cpuModel('486'), new Map(), MSR.MTRRCAP)).toBeUndefined();
    expect(readMsr(DEFAULT_CPU_MODEL, new Map(), 0x1234)).toBeUndefined();
    expect(initialMsrs(cpuModel('486'))).toEqual([]);
  });

  it('firmware covers the PCI hole exactly, with values that WRMSR takes', () => {
    for (const hole of [0xc000_0000, 0x8000_0000, 0xb000_0000, 0xe000_0000]) {
      const values = new Map<number, bigint>();
      let at = hole;
      for (const { index, value } of firmwareMemoryTypes(DEFAULT_CPU_MODEL, hole)) {
        expect(writeMsr(DEFAULT_CPU_MODEL, values, index, value)).toBe(true);
        if (index < MSR.MTRR_FIX64K_00000 && index % 2 === 1) {
          expect(values.get(index - 1)).toBe(BigInt(at));
          at += Number((1n << 39n) - (value & ~0xfffn));
        }
      }
      expect(at).toBe(0x1_0000_0000);
    }
  });
});

describe('initial state', () => {
  const identity = resetIdentity(DEFAULT_CPU_MODEL);

  it('at power-on fits the schema and stands at the reset vector', () => {
    const state = vcpuStateSchema.check(resetVcpuState(identity, true), 'vcpu');
    expect(state.segments.cs.base + state.rip).toBe(0xffff_fff0n);
    expect(state.cr0).toBe(0x6000_0010n);
    expect(state.gpr[2]).toBe(BigInt(identity.signature));
    expect(resetVcpuState(identity, false).activity).toBe('wait-for-sipi');
  });

  it('a loader changes what it names; its MSRs go to every CPU', () => {
    const boot = { rip: 0x10_0000n, gpr: { rsi: 7n }, msrs: [{ index: MSR.MTRR_DEF_TYPE, value: 0xc06n }] };
    const first = vcpuStateSchema.check(bootVcpuState(identity, boot), 'vcpu');
    expect(first.rip).toBe(0x10_0000n);
    expect(first.gpr[6]).toBe(7n);
    expect(first.msrs.find((msr) => msr.index === MSR.MTRR_DEF_TYPE)?.value).toBe(0xc06n);
    const second = bootVcpuState(identity, boot, false);
    expect(second.rip).toBe(0xfff0n);
    expect(second.msrs).toEqual(first.msrs);
  });

  it('descriptors are those of the classic flat GDT', () => {
    expect(descriptor(flatSegment(8, SEGMENT_ATTRIBUTES.CODE32))).toBe(0x00cf_9b00_0000_ffffn);
    expect(descriptor(flatSegment(16, SEGMENT_ATTRIBUTES.CODE64))).toBe(0x00af_9b00_0000_ffffn);
    expect(descriptor({ base: 0x1234_5678n, limit: 0x67, attributes: 0x8b })).toBe(0x1200_8b34_5678_0067n);
  });
});
