/** What CPUID has told a guest, for whoever lets it go on elsewhere: a feature that was there once must stay. */
import { CPUID_FEATURES } from '../../arch/x86/cpuid-features.js';
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { CpuidWords } from '../../iface/vcpu.js';
import { array, struct, u32 } from '../../snapshot/schema.js';

export const cpuidSchema = array(struct({ leaf: u32, subleaf: u32, eax: u32, ebx: u32, ecx: u32, edx: u32 }), {
  max: 16,
});

interface Word {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: 'eax' | 'ebx' | 'ecx' | 'edx';
  /** Bits that are no features: they follow the CPU's state or the number of CPUs. */
  readonly besides: number;
}

/** The words of features: SDM vol. 2A, CPUID; AMD64 APM vol. 3 appendix E. */
const WORDS: readonly Word[] = [
  { leaf: 1, subleaf: 0, register: 'edx', besides: 1 << 28 },
  // OSXSAVE, and whether there is a hypervisor.
  { leaf: 1, subleaf: 0, register: 'ecx', besides: (1 << 27) | (1 << 31) },
  { leaf: 7, subleaf: 0, register: 'ebx', besides: 0 },
  // OSPKE, and RDPID's neighbour of nested translation widths.
  { leaf: 7, subleaf: 0, register: 'ecx', besides: (1 << 4) | (0x1f << 17) },
  { leaf: 7, subleaf: 0, register: 'edx', besides: 0 },
  { leaf: 0xd, subleaf: 1, register: 'eax', besides: 0 },
  { leaf: 0x8000_0001, subleaf: 0, register: 'ecx', besides: 0 },
  { leaf: 0x8000_0001, subleaf: 0, register: 'edx', besides: 0 },
  // KVM's interfaces for guests.
  { leaf: 0x4000_0001, subleaf: 0, register: 'eax', besides: 0 },
];

/** The leaves that say which features there are. */
export const featureLeaves = (all: readonly CpuidWords[]): CpuidWords[] =>
  all
    .filter(({ leaf, subleaf }) => WORDS.some((word) => word.leaf === leaf && word.subleaf === subleaf))
    .map(({ leaf, subleaf, eax, ebx, ecx, edx }) => ({ leaf, subleaf, eax, ebx, ecx, edx }));

function nameOf({ leaf, subleaf, register }: Word, bit: number): string {
  const known = Object.entries(CPUID_FEATURES).find(
    ([, where]) => where.leaf === leaf && where.subleaf === subleaf && where.register === register && where.bit === bit,
  );
  return known?.[0] ?? `${leaf.toString(16)}h:${register.toUpperCase()}[${bit}]`;
}

/** Names of the features that a guest has seen and would not find again; by leaf and bit where they have no name here. */
export function missingFeatures(seen: readonly CpuidWords[], offered: readonly CpuidWords[]): string[] {
  const valueOf = (all: readonly CpuidWords[], { leaf, subleaf, register }: Word): number =>
    all.find((entry) => entry.leaf === leaf && entry.subleaf === subleaf)?.[register] ?? 0;
  return WORDS.flatMap((word) => {
    const lost = valueOf(seen, word) & ~valueOf(offered, word) & ~word.besides;
    return Array.from({ length: 32 }, (_, bit) => bit)
      .filter((bit) => (lost >>> bit) & 1)
      .map((bit) => nameOf(word, bit));
  });
}

/**
 * CPUID of a CPU for a guest that goes on, `seen` being what it was told of features before: no more than that, or it could not go back to where there is no more. Leaves that nothing
 * was written down of are as they are.
 */
export function asSeen(offered: readonly CpuidEntry[], seen: readonly CpuidWords[]): CpuidEntry[] {
  return offered.map((entry) => {
    const before = seen.find(({ leaf, subleaf }) => leaf === entry.leaf && subleaf === entry.subleaf);
    const told = { ...entry };
    if (!before) return told;
    for (const { leaf, subleaf, register, besides } of WORDS)
      if (leaf === entry.leaf && subleaf === entry.subleaf)
        told[register] = (told[register] & (before[register] | besides)) >>> 0;
    return told;
  });
}
