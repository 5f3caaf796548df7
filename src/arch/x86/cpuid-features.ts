/**
 * CPU features by the names that Linux gives them, and where CPUID reports them (SDM vol. 2A, CPUID, revision 083;
 * AMD64 APM vol. 3 appendix E for the extended leaves). CPU models are sets of these names.
 */

/** Where CPUID reports a feature. */
export interface CpuidBit {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: 'eax' | 'ebx' | 'ecx' | 'edx';
  /** 0 … 31. */
  readonly bit: number;
}

function bits<Name extends string>(
  leaf: number,
  subleaf: number,
  register: CpuidBit['register'],
  names: Readonly<Record<Name, number>>,
): Record<Name, CpuidBit> {
  const entries = Object.entries<number>(names).map(([name, bit]) => [name, { leaf, subleaf, register, bit }]);
  return Object.fromEntries(entries) as Record<Name, CpuidBit>;
}

/** Every feature that a CPU model may have. */
export const CPUID_FEATURES = {
  ...bits(1, 0, 'edx', {
    fpu: 0,
    vme: 1,
    de: 2,
    pse: 3,
    tsc: 4,
    msr: 5,
    pae: 6,
    mce: 7,
    cx8: 8,
    apic: 9,
    sep: 11,
    mtrr: 12,
    pge: 13,
    mca: 14,
    cmov: 15,
    pat: 16,
    pse36: 17,
    clflush: 19,
    mmx: 23,
    fxsr: 24,
    sse: 25,
    sse2: 26,
    ss: 27,
    ht: 28,
  }),
  ...bits(1, 0, 'ecx', {
    sse3: 0,
    pclmulqdq: 1,
    monitor: 3,
    ssse3: 9,
    cx16: 13,
    pcid: 17,
    sse4_1: 19,
    sse4_2: 20,
    x2apic: 21,
    movbe: 22,
    popcnt: 23,
    tsc_deadline_timer: 24,
    aes: 25,
    xsave: 26,
    rdrand: 30,
    hypervisor: 31,
  }),
  ...bits(6, 0, 'eax', { arat: 2 }),
  ...bits(7, 0, 'ebx', {
    fsgsbase: 0,
    tsc_adjust: 1,
    smep: 7,
    erms: 9,
    invpcid: 10,
    rdseed: 18,
    adx: 19,
    smap: 20,
    clflushopt: 23,
    sha_ni: 29,
  }),
  ...bits(7, 0, 'ecx', { umip: 2 }),
  ...bits(7, 0, 'edx', { fsrm: 4, spec_ctrl: 26, arch_capabilities: 29 }),
  ...bits(0xd, 1, 'eax', { xsaveopt: 0, xsavec: 1, xgetbv1: 2, xsaves: 3 }),
  ...bits(0x8000_0001, 0, 'edx', { syscall: 11, nx: 20, pdpe1gb: 26, rdtscp: 27, lm: 29 }),
  ...bits(0x8000_0001, 0, 'ecx', { lahf_lm: 0, '3dnowprefetch': 8 }),
  ...bits(0x8000_0007, 0, 'edx', { constant_tsc: 8 }),
  // Linux 6.1, Documentation/virt/kvm/x86/cpuid.rst.
  ...bits(0x4000_0001, 0, 'eax', { kvm_nopiodelay: 1, kvm_clocksource2: 3, kvm_clock_stable: 24 }),
} as const;

export type Feature = keyof typeof CPUID_FEATURES;

/** All names, in a fixed order: a feature's index is its bit number in the FEATURES field of the CPU's state. */
export const FEATURE_NAMES = Object.keys(CPUID_FEATURES) as readonly Feature[];

/** Bit number of a feature in the FEATURES field of the CPU's state, 0 … 255. */
export function featureIndex(name: Feature): number {
  return FEATURE_NAMES.indexOf(name);
}

/** The FEATURES field of a CPU with these features: 32 bytes. */
export function featureBitmap(features: ReadonlySet<Feature>): Uint8Array {
  const bitmap = new Uint8Array(32);
  FEATURE_NAMES.forEach((name, index) => {
    if (features.has(name)) bitmap[index >> 3] |= 1 << (index & 7);
  });
  return bitmap;
}
