/** What a CPU model allows, in the form in which the helpers look at it. */
import { CR4 } from '../../arch/x86/control-registers.js';
import { featureBitmap, type Feature } from '../../arch/x86/cpuid-features.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { StateView } from './state.js';

/** CR4 bits by the feature that brings them. */
const CR4_BY_FEATURE: readonly (readonly [Feature, number])[] = [
  ['vme', CR4.VME | CR4.PVI],
  ['tsc', CR4.TSD],
  ['de', CR4.DE],
  ['pse', CR4.PSE],
  ['pae', CR4.PAE],
  ['mce', CR4.MCE],
  ['pge', CR4.PGE],
  // RDPMC came with the Pentium Pro; CMOV marks it.
  ['cmov', CR4.PCE],
  ['fxsr', CR4.OSFXSR],
  ['sse', CR4.OSXMMEXCPT],
  ['umip', CR4.UMIP],
  ['fsgsbase', CR4.FSGSBASE],
  ['pcid', CR4.PCIDE],
  ['xsave', CR4.OSXSAVE],
  ['smep', CR4.SMEP],
  ['smap', CR4.SMAP],
];

/** IA32_EFER bits (SDM vol. 3 §2.2.1): SCE 0, LME 8, LMA 10, NXE 11. LMA is the processor's own. */
const EFER = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** Bits of CPU_CAPS. */
const CAPS = { GIB_PAGES: 1 << 0, I486: 1 << 1, TSC_ADJUST: 1 << 2 } as const;

export function describeModel(
  state: StateView,
  options: { readonly model: CpuModel; readonly tscHz: number; readonly index: number },
): void {
  const { model, tscHz, index } = options;
  const has = (feature: Feature): boolean => model.features.has(feature);
  state.part('FEATURES', 0, 32).set(featureBitmap(model.features));
  state.setF64('TSC_FREQUENCY', tscHz);
  let cr4 = 0;
  for (const [feature, bits] of CR4_BY_FEATURE) if (has(feature)) cr4 |= bits;
  state.setU64('CR4_ALLOWED', BigInt(cr4));
  const efer = (has('syscall') ? EFER.SCE : 0) | (has('lm') ? EFER.LME | EFER.LMA : 0) | (has('nx') ? EFER.NXE : 0);
  state.setU64('EFER_ALLOWED', BigInt(efer));
  state.setU32('CPU_SIGNATURE', model.signature);
  const caps =
    (has('pdpe1gb') ? CAPS.GIB_PAGES : 0) | (has('cmov') ? 0 : CAPS.I486) | (has('tsc_adjust') ? CAPS.TSC_ADJUST : 0);
  state.setU32('CPU_CAPS', caps);
  state.setU64('PHYS_MASK', (1n << BigInt(model.physicalBits)) - 1n);
  state.setU32('CPU_INDEX', index);
}
