/**
 * Named CPU models: what a virtual CPU says it is. A model never exceeds what every accelerator implements, so that a
 * machine can move between them.
 */
import type { ResetIdentity } from './boot-state.js';
import type { Feature } from './cpuid-features.js';
import { initialMsrs } from './msr-policy.js';
import { UsageError } from '../../base/errors.js';

export interface CpuModel {
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  /** 12 characters of leaf 0. */
  readonly vendor: string;
  /** CPUID.1:EAX. */
  readonly signature: number;
  /** At most 47 characters (leaves 8000_0002h … 8000_0004h); empty without these leaves. */
  readonly brand: string;
  readonly features: ReadonlySet<Feature>;
  /** Highest basic and extended leaf; 0 for no extended leaves. */
  readonly maxLeaf: number;
  readonly maxExtendedLeaf: number;
  /** Bits of a physical and of a linear address. */
  readonly physicalBits: number;
  readonly linearBits: number;
  /** XCR0 bits that can be set; 0 without XSAVE. */
  readonly xcr0: number;
  /** The cache descriptors of leaf 2: EAX, EBX, ECX, EDX. */
  readonly cacheDescriptors: readonly [number, number, number, number];
  /** IA32_ARCH_CAPABILITIES. */
  readonly archCapabilities: bigint;
  /** IA32_PLATFORM_ID. */
  readonly platformId: bigint;
}

const features = (...lists: readonly (readonly Feature[])[]): ReadonlySet<Feature> => new Set(lists.flat());

const I486: readonly Feature[] = ['fpu', 'vme'];

const PENTIUM4: readonly Feature[] = [
  ...I486,
  ...(['de', 'pse', 'tsc', 'msr', 'pae', 'mce', 'cx8', 'apic', 'sep', 'mtrr', 'pge', 'mca', 'cmov', 'pat'] as const),
  ...(['pse36', 'clflush', 'mmx', 'fxsr', 'sse', 'sse2', 'ss'] as const),
];

/** What x86-64-v2 of the psABI adds to the baseline, and the system's side of a processor of that time. */
const X86_64_V2: readonly Feature[] = [
  ...(['syscall', 'nx', 'lm', 'lahf_lm', 'cx16', 'sse3', 'ssse3', 'sse4_1', 'sse4_2', 'popcnt'] as const),
  ...(['x2apic', 'tsc_deadline_timer', 'constant_tsc', 'arat', 'hypervisor', '3dnowprefetch'] as const),
];

/** What the default model offers beyond the level of its name: cheap for us, and guests run better with it. */
const BEYOND_V2: readonly Feature[] = [
  ...(['movbe', 'rdtscp', 'fsgsbase', 'rdrand', 'rdseed', 'xsave', 'xsaveopt', 'xsavec', 'xgetbv1', 'xsaves'] as const),
  ...([
    'invpcid',
    'pcid',
    'smep',
    'smap',
    'umip',
    'clflushopt',
    'adx',
    'sha_ni',
    'aes',
    'pclmulqdq',
    'pdpe1gb',
  ] as const),
  // Linux keeps the TSC as its clock on a busy host when it can see that nobody moved it.
  'tsc_adjust',
  // REP MOVSB and STOSB are one bulk operation in an interpreter: there is no faster way to copy.
  ...(['erms', 'fsrm', 'arch_capabilities'] as const),
];

/** IA32_ARCH_CAPABILITIES bits that say "not affected" (SDM vol. 4 table 2-2): nothing here runs ahead of the program. */
const ARCH_CAPABILITIES_UNAFFECTED = [
  0, // RDCL_NO
  3, // SKIP_L1DFL_VMENTRY
  4, // SSB_NO
  5, // MDS_NO
  6, // IF_PSCHANGE_MC_NO
  8, // TAA_NO
  13, // SBDR_SSDP_NO
  14, // FBSDP_NO
  15, // PSDP_NO
  20, // BHI_NO
  24, // PBRSB_NO
  26, // GDS_NO
  27, // RFDS_NO
].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);

const model = (described: CpuModel): CpuModel => Object.freeze(described);

/** All models by name; the first is the default. */
export const CPU_MODELS: readonly CpuModel[] = [
  model({
    name: 'x86-64-v2',
    summary: '64-bit, SSE4.2 and AES; no AVX (the default)',
    vendor: 'GenuineIntel',
    // Family 6, model 36h, stepping 1. Processors of that model run in program order; Linux has it on its list of those
    // without speculation and leaves out all mitigations against it, which would only cost on interp and wasm.
    // DEVIATION: under KVM the hardware below does speculate; an accelerator that shows it to guests says so itself.
    signature: 0x0003_0661,
    brand: 'Vitrine x86-64-v2',
    features: features(PENTIUM4, X86_64_V2, BEYOND_V2),
    maxLeaf: 0x16,
    maxExtendedLeaf: 0x8000_0008,
    // The least of the hosts that KVM may have: reserved bits of page tables must be the same everywhere.
    physicalBits: 39,
    linearBits: 48,
    xcr0: 3,
    // Leaf 4 has the caches.
    cacheDescriptors: [0x00ff_ff01, 0, 0, 0],
    archCapabilities: ARCH_CAPABILITIES_UNAFFECTED,
    platformId: 0n,
  }),
  model({
    name: 'pentium4',
    summary: '32-bit, SSE2, PAE; no long mode, no NX',
    vendor: 'GenuineIntel',
    // Northwood: family 15, model 2, stepping 9.
    signature: 0xf29,
    brand: 'Vitrine Pentium 4',
    features: features(PENTIUM4),
    maxLeaf: 2,
    maxExtendedLeaf: 0x8000_0004,
    physicalBits: 36,
    linearBits: 32,
    xcr0: 0,
    cacheDescriptors: [0x665b_5001, 0, 0, 0x007a_7040],
    archCapabilities: 0n,
    platformId: 0n,
  }),
  model({
    name: '486',
    summary: '32-bit, x87; no MSRs, no local APIC',
    vendor: 'GenuineIntel',
    // IntelDX4 with CPUID: family 4, model 8, stepping 0.
    signature: 0x480,
    brand: '',
    features: features(I486),
    maxLeaf: 1,
    maxExtendedLeaf: 0,
    physicalBits: 32,
    linearBits: 32,
    xcr0: 0,
    cacheDescriptors: [0, 0, 0, 0],
    archCapabilities: 0n,
    platformId: 0n,
  }),
];

export const DEFAULT_CPU_MODEL = CPU_MODELS[0];

/** Behind a model's name and a comma: what is added to it. */
const KVMCLOCK = 'kvmclock';

/**
 * The model with KVM's clock for guests. They are not told that the time-stamp counter keeps its rate, nor given deadlines by it: so the machine can go on where
 * it has another one.
 */
function withKvmClock(of: CpuModel): CpuModel {
  const kept = [...of.features].filter((name) => name !== 'constant_tsc' && name !== 'tsc_deadline_timer');
  const added: readonly Feature[] = ['kvm_nopiodelay', 'kvm_clocksource2', 'kvm_clock_stable'];
  return model({ ...of, name: `${of.name},${KVMCLOCK}`, features: features(kept, added) });
}

const WITH_KVM_CLOCK = CPU_MODELS.filter(({ features: has }) => has.has('hypervisor')).map(withKvmClock);

/** Finds a model by name, which `,kvmclock` may follow; one line that lists them when there is none. */
export function cpuModel(name: string): CpuModel {
  const found = [...CPU_MODELS, ...WITH_KVM_CLOCK].find((each) => each.name === name);
  if (found !== undefined) return found;
  const base = CPU_MODELS.find((each) => `${each.name},${KVMCLOCK}` === name);
  if (base !== undefined)
    throw new UsageError(`the CPU model ${base.name} says nothing of hypervisors: no ${KVMCLOCK}`);
  throw new UsageError(`unknown CPU model "${name}"; there are ${CPU_MODELS.map((each) => each.name).join(', ')}`);
}

/** What resetting a CPU of this model needs. */
export const resetIdentity = (described: CpuModel): ResetIdentity => ({
  signature: described.signature,
  msrs: initialMsrs(described),
});
