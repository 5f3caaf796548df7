/** What a board's CPUs and firmware tables say of the machine, whatever the board. */
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../../arch/x86/cpuid.js';
import { APIC_TIMER_HZ } from '../../devices/apic/registers.js';
import { splitRam } from '../../firmware/memory-map.js';
import { smbiosTable, type SmbiosTable } from '../../firmware/smbios/smbios.js';

/** CPUID of a board's CPUs. */
export const boardCpuid = (
  model: CpuModel,
  tscHz: number,
  cpus: number,
  index: number,
): ReturnType<typeof cpuidLeaves> => cpuidLeaves(model, { cpus, apicId: index, tscHz, crystalHz: APIC_TIMER_HZ });

export interface BoardIdentity {
  /** The board's name. */
  readonly product: string;
  readonly model: CpuModel;
  readonly cpus: number;
  /** Bytes. */
  readonly ramSize: number;
  /** RAM below 4 GiB ends here at the latest; the rest of it continues at 4 GiB. */
  readonly lowRamLimit: number;
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
}

/** `version` is the product's. */
export function boardSmbios(
  { product, model, cpus, ramSize, lowRamLimit, tscHz }: BoardIdentity,
  uuid: Uint8Array,
  version: string,
): SmbiosTable {
  const { low, high } = splitRam(ramSize, lowRamLimit);
  const ram = [{ start: 0, size: low }];
  if (high > 0) ram.push({ start: 2 ** 32, size: high });
  const features = boardCpuid(model, tscHz, cpus, 0).find((entry) => entry.leaf === 1)?.edx ?? 0;
  return smbiosTable({
    cpus,
    cpuSignature: model.signature,
    cpuFeatures: features,
    cpuBrand: model.brand,
    longMode: model.features.has('lm'),
    mhz: Math.round(tscHz / 1e6),
    ram,
    uuid,
    product,
    version,
  });
}
