/**
 * CPUID as a table: `cpuidLeaves` makes a model's answers once (KVM takes them as they are), `cpuid` looks one up and
 * fills in what depends on the CPU's state.
 */
import type { CpuModel } from './cpu-models.js';
import type { CpuidBit } from './cpuid-features.js';
import { CPUID_FEATURES } from './cpuid-features.js';
import { CR4 } from './control-registers.js';
import { APIC_BASE } from './msrs.js';

export interface CpuidRegisters {
  /** Unsigned 32-bit numbers. */
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

export interface CpuidEntry extends CpuidRegisters {
  readonly leaf: number;
  readonly subleaf: number;
  /** The answer depends on ECX. */
  readonly indexed: boolean;
}

/** What CPUID says of the machine around one CPU. */
export interface CpuTopology {
  /** CPUs in the machine: one package of single-threaded cores. */
  readonly cpus: number;
  /** This CPU's APIC id, 0 … cpus - 1. */
  readonly apicId: number;
  /** Ticks of the time-stamp counter in a second. */
  readonly tscHz: number;
  /** Input of the local APIC's timer before its divider, which leaf 15h calls the crystal. */
  readonly crystalHz: number;
}

/** Signature of the hypervisor leaves. */
export const HYPERVISOR_SIGNATURE = 'VitrineVitri';
/** The same, where KVM's interfaces for guests are to be found behind it. */
const KVM_SIGNATURE = 'KVMKVMKVM\0\0\0';
const MAX_HYPERVISOR_LEAF = 0x4000_0010;

/** Bytes of the XSAVE area's legacy region and header, SDM vol. 1 §13.4. */
const XSAVE_LEGACY_SIZE = 576;

/** Four characters as a little-endian number. */
function word(text: string, at: number): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = value * 256 + (at + i < text.length ? text.charCodeAt(at + i) : 0);
  return value;
}

/** ceil(log2(n)) */
const bitsFor = (n: number): number => 32 - Math.clz32(n - 1);

/** By how much the rate that leaf 15h tells may be another one: KVM tells the host's in kHz, which is as much. */
const RATE_TOLERANCE = 1e-6;

interface Ratio {
  readonly numerator: number;
  readonly denominator: number;
}

/**
 * Ticks of the time-stamp counter for each of the crystal's, of the best fraction that guests can take; undefined: there is none. Linux multiplies the crystal's kHz by the
 * numerator in 32 bits (native_calibrate_tsc), and goes by whatever is left.
 */
function tscRatio({ tscHz, crystalHz }: CpuTopology): Ratio | undefined {
  if (crystalHz > 0xffff_ffff) return undefined;
  const most = Math.floor(0xffff_ffff / Math.ceil(crystalHz / 1000));
  // Convergents of the continued fraction.
  let [before, now]: Ratio[] = [
    { numerator: 0, denominator: 1 },
    { numerator: 1, denominator: 0 },
  ];
  for (let [a, b] = [tscHz, crystalHz]; b !== 0; [a, b] = [b, a % b]) {
    const term = Math.floor(a / b);
    const room = now.numerator === 0 ? term : Math.floor((most - before.numerator) / now.numerator);
    const factor = Math.min(term, room);
    [before, now] = [
      now,
      {
        numerator: factor * now.numerator + before.numerator,
        denominator: factor * now.denominator + before.denominator,
      },
    ];
    if (factor < term) break;
  }
  const error = ({ numerator, denominator }: Ratio): number =>
    Math.abs((numerator / denominator) * (crystalHz / tscHz) - 1);
  const best = error(now) <= error(before) ? now : before;
  return error(best) <= RATE_TOLERANCE ? best : undefined;
}

/** A feature word of a model. */
function featureWord(model: CpuModel, leaf: number, subleaf: number, register: CpuidBit['register']): number {
  let word = 0;
  for (const name of model.features) {
    const where = CPUID_FEATURES[name];
    if (where.leaf === leaf && where.subleaf === subleaf && where.register === register) word |= 1 << where.bit;
  }
  return word >>> 0;
}

/** The caches that leaf 4 describes: type, level, KiB, ways, whether all CPUs share it. Lines are 64 bytes. */
const CACHES = [
  { type: 1, level: 1, kib: 32, ways: 8, shared: false },
  { type: 2, level: 1, kib: 32, ways: 8, shared: false },
  { type: 3, level: 2, kib: 1024, ways: 16, shared: false },
  { type: 3, level: 3, kib: 16384, ways: 16, shared: true },
] as const;

/** SDM vol. 2 table 3-17, leaf 04h. */
function cacheEntry(index: number, cpus: number): CpuidRegisters {
  if (index >= CACHES.length) return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  const cache = CACHES[index];
  const ids = 1 << bitsFor(cpus);
  const sharing = cache.shared ? ids - 1 : 0;
  const selfInitialising = 1 << 8;
  return {
    eax: (cache.type | (cache.level << 5) | selfInitialising | (sharing << 14) | (Math.min(ids - 1, 63) << 26)) >>> 0,
    ebx: (63 | ((cache.ways - 1) << 22)) >>> 0,
    ecx: (cache.kib * 1024) / 64 / cache.ways - 1,
    // Not inclusive of lower levels, direct indexing.
    edx: 0,
  };
}

/** All leaves of a model in ascending order. State-dependent bits (OSXSAVE) are 0. */
export function cpuidLeaves(model: CpuModel, topology: CpuTopology): CpuidEntry[] {
  const entries: CpuidEntry[] = [];
  const add = (leaf: number, registers: Partial<CpuidRegisters>, subleaf?: number): void => {
    const whole = { eax: 0, ebx: 0, ecx: 0, edx: 0, ...registers };
    entries.push({ leaf, subleaf: subleaf ?? 0, indexed: subleaf !== undefined, ...whole });
  };
  const features = (leaf: number, subleaf: number, register: CpuidBit['register']): number =>
    featureWord(model, leaf, subleaf, register);
  const has = model.features;
  const { cpus, apicId } = topology;

  const vendor = (at: number): number => word(model.vendor, at);
  add(0, { eax: model.maxLeaf, ebx: vendor(0), ecx: vendor(8), edx: vendor(4) });
  const htt = cpus > 1 && has.has('apic') ? 1 << 28 : 0;
  const ids = Math.min(1 << bitsFor(cpus), 255);
  const clflushLine = has.has('clflush') ? 64 / 8 : 0;
  add(1, {
    eax: model.signature,
    ebx: has.has('apic') ? ((apicId << 24) | (ids << 16) | (clflushLine << 8)) >>> 0 : 0,
    ecx: features(1, 0, 'ecx'),
    edx: (features(1, 0, 'edx') | htt) >>> 0,
  });
  if (model.maxLeaf >= 2) {
    const [eax, ebx, ecx, edx] = model.cacheDescriptors;
    add(2, { eax, ebx, ecx, edx });
  }
  if (model.maxLeaf >= 4) {
    add(3, {});
    for (let i = 0; i <= CACHES.length; i++) add(4, cacheEntry(i, cpus), i);
  }
  if (model.maxLeaf >= 7) {
    add(5, {});
    add(6, { eax: features(6, 0, 'eax') });
    add(7, { eax: 0, ebx: features(7, 0, 'ebx'), ecx: features(7, 0, 'ecx'), edx: features(7, 0, 'edx') }, 0);
  }
  if (model.maxLeaf >= 0xd) {
    // No performance counters (leaf 0Ah, version 0).
    for (const leaf of [8, 9, 0xa]) add(leaf, {});
    if (has.has('x2apic')) {
      add(0xb, { eax: 0, ebx: 1, ecx: 0x100, edx: apicId }, 0);
      add(0xb, { eax: bitsFor(cpus), ebx: cpus, ecx: 0x201, edx: apicId }, 1);
      add(0xb, { ecx: 2, edx: apicId }, 2);
    } else add(0xb, {});
    add(0xc, {});
    add(0xd, { eax: model.xcr0, ebx: XSAVE_LEGACY_SIZE, ecx: XSAVE_LEGACY_SIZE }, 0);
    add(0xd, { eax: features(0xd, 1, 'eax'), ebx: has.has('xsaves') ? XSAVE_LEGACY_SIZE : 0 }, 1);
  }
  if (model.maxLeaf >= 0x16) {
    for (let leaf = 0xe; leaf <= 0x14; leaf++) add(leaf, {});
    // A rate that cannot be told is not reported: guests then measure it.
    const ratio = tscRatio(topology);
    add(0x15, ratio ? { eax: ratio.denominator, ebx: ratio.numerator, ecx: topology.crystalHz } : {});
    const mhz = Math.min(Math.round(topology.tscHz / 1e6), 0xffff);
    add(0x16, { eax: mhz, ebx: mhz, ecx: 100 });
  }
  if (has.has('hypervisor')) {
    const isKvm = has.has('kvm_clocksource2');
    const name = (at: number): number => word(isKvm ? KVM_SIGNATURE : HYPERVISOR_SIGNATURE, at);
    add(0x4000_0000, { eax: MAX_HYPERVISOR_LEAF, ebx: name(0), ecx: name(4), edx: name(8) });
    if (isKvm) add(0x4000_0001, { eax: features(0x4000_0001, 0, 'eax') });
    // The rates in kHz, where VMware's and KVM's guests look for them.
    add(MAX_HYPERVISOR_LEAF, {
      eax: Math.round(topology.tscHz / 1000),
      ebx: Math.round(topology.crystalHz / 1000),
    });
  }
  if (model.maxExtendedLeaf !== 0) {
    add(0x8000_0000, { eax: model.maxExtendedLeaf });
    add(0x8000_0001, { ecx: features(0x8000_0001, 0, 'ecx'), edx: features(0x8000_0001, 0, 'edx') });
    for (let i = 0; i < 3; i++) {
      const [a, b, c, d] = [0, 4, 8, 12].map((at) => word(model.brand, i * 16 + at));
      add(0x8000_0002 + i, { eax: a, ebx: b, ecx: c, edx: d });
    }
    if (model.maxExtendedLeaf >= 0x8000_0008) {
      add(0x8000_0005, {});
      // L2: 1 MiB, 16 ways (code 8), lines of 64 bytes.
      add(0x8000_0006, { ecx: (1024 << 16) | (8 << 12) | 64 });
      add(0x8000_0007, { edx: features(0x8000_0007, 0, 'edx') });
      add(0x8000_0008, { eax: model.physicalBits | (model.linearBits << 8) });
    }
  }
  return entries.sort((a, b) => a.leaf - b.leaf || a.subleaf - b.subleaf);
}

/** The state that some answers depend on. */
export interface CpuidState {
  readonly cr4: number;
  /** Low half of XCR0. */
  readonly xcr0: number;
  /** Low half of IA32_APIC_BASE. */
  readonly apicBase: number;
}

const ZERO: CpuidRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/** What CPUID answers. Leaves out of range give the highest basic leaf, unknown ones inside give 0 (SDM vol. 2). */
export function cpuid(table: readonly CpuidEntry[], leaf: number, subleaf: number, state: CpuidState): CpuidRegisters {
  const find = (wantedLeaf: number): CpuidEntry | undefined =>
    table.find((entry) => entry.leaf === wantedLeaf && (!entry.indexed || entry.subleaf === subleaf));
  const max = (base: number): number => table.find((entry) => entry.leaf === base)?.eax ?? 0;
  const range = leaf >= 0x8000_0000 ? 0x8000_0000 : leaf >= 0x4000_0000 ? 0x4000_0000 : 0;
  const inRange = leaf <= max(range) || (range === 0 && leaf === 0);
  const wanted = inRange ? leaf : max(0);
  const found = find(wanted);
  // Sub-leaves beyond the last level of leaf 0Bh still give the APIC id and echo ECX.
  if (wanted === 0xb && found === undefined) {
    const first = table.find((entry) => entry.leaf === 0xb);
    return { eax: 0, ebx: 0, ecx: subleaf & 0xff, edx: first?.edx ?? 0 };
  }
  if (found === undefined) return ZERO;
  const { eax, ebx, ecx, edx } = found;
  if (wanted === 1) {
    const osxsave = (ecx & (1 << 26)) !== 0 && (state.cr4 & CR4.OSXSAVE) !== 0 ? 1 << 27 : 0;
    const apicOff = (state.apicBase & APIC_BASE.ENABLE) === 0 ? 1 << 9 : 0;
    return { eax, ebx, ecx: (ecx | osxsave) >>> 0, edx: (edx & ~apicOff) >>> 0 };
  }
  return { eax, ebx, ecx, edx };
}
