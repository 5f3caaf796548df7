/**
 * MSRs that only hold a value or report one: memory types, machine check, identification. What the core acts upon
 * (EFER, the SYSCALL and SYSENTER targets, segment bases, TSC, XSS) is the accelerator's, the local APIC's are the
 * APIC's; everything else is decided here, and what is not named here does not exist.
 */
import type { CpuModel } from './cpu-models.js';
import { MEMORY_TYPE, MISC_ENABLE, MSR, MTRR_DEF_TYPE, PAT_RESET } from './msrs.js';
import type { MsrState } from './state.js';

/** Variable memory type ranges, and machine check banks. */
export const MTRR_VARIABLE_COUNT = 8;
export const MACHINE_CHECK_BANKS = 4;

/** How an MSR behaves. `value` is the one at power-on. */
type Rule =
  /** Reads as `value`; a write raises #GP. */
  | { readonly kind: 'constant'; readonly value: bigint }
  /** Reads as `value`; a write does nothing. */
  | { readonly kind: 'ignored'; readonly value: bigint }
  /** Only written, to no effect; a read raises #GP. */
  | { readonly kind: 'command'; readonly allowed: bigint }
  /** Keeps what is written when `accepts` it; else #GP. */
  | { readonly kind: 'stored'; readonly value: bigint; accepts(value: bigint): boolean };

const stored = (value: bigint, accepts: (value: bigint) => boolean): Rule => ({ kind: 'stored', value, accepts });
const constant = (value: bigint): Rule => ({ kind: 'constant', value });

const BYTES = [0n, 8n, 16n, 24n, 32n, 40n, 48n, 56n];
const MTRR_TYPES = new Set<number>([MEMORY_TYPE.UC, MEMORY_TYPE.WC, MEMORY_TYPE.WT, MEMORY_TYPE.WP, MEMORY_TYPE.WB]);
const PAT_TYPES = new Set<number>([...MTRR_TYPES, MEMORY_TYPE.UC_MINUS]);

const mtrrType = (value: bigint): boolean => MTRR_TYPES.has(Number(value & 0xffn));
const onlyBits = (value: bigint, bits: bigint): boolean => (value & ~bits) === 0n;

/** Whether IA32_PAT takes a value (SDM vol. 3 §12.12.2). */
export const isValidPat = (value: bigint): boolean =>
  BYTES.every((shift) => PAT_TYPES.has(Number((value >> shift) & 0xffn)));

/** Bits of IA32_MISC_ENABLE that software may change; the others keep their value when written. */
const MISC_ENABLE_WRITABLE =
  BigInt(MISC_ENABLE.FAST_STRINGS | MISC_ENABLE.ENHANCED_SPEEDSTEP | MISC_ENABLE.LIMIT_CPUID) |
  (1n << BigInt(MISC_ENABLE.XD_DISABLE_BIT));

/** IA32_MISC_ENABLE at power-on: no branch trace store, no precise event sampling, no MONITOR. */
export const MISC_ENABLE_RESET = BigInt(
  MISC_ENABLE.FAST_STRINGS | MISC_ENABLE.BTS_UNAVAILABLE | MISC_ENABLE.PEBS_UNAVAILABLE,
);

/** What IA32_MISC_ENABLE holds after a write. */
export const miscEnableAfter = (before: bigint, written: bigint): bigint =>
  (before & ~MISC_ENABLE_WRITABLE) | (written & MISC_ENABLE_WRITABLE);

/** The rule of every MSR that a model has. */
function rules(model: CpuModel): Map<number, Rule> {
  const map = new Map<number, Rule>();
  if (!model.features.has('msr')) return map;
  const has = model.features;
  const physical = (1n << BigInt(model.physicalBits)) - 1n;

  map.set(MSR.P5_MC_ADDR, constant(0n));
  map.set(MSR.P5_MC_TYPE, constant(0n));
  map.set(MSR.PLATFORM_ID, constant(model.platformId));
  map.set(MSR.EBL_CR_POWERON, { kind: 'ignored', value: 0n });
  map.set(MSR.BIOS_UPDT_TRIG, { kind: 'command', allowed: (1n << 64n) - 1n });
  // Microcode revision 1 in the high half; software writes 0 before it reads, which changes nothing here.
  map.set(MSR.BIOS_SIGN_ID, { kind: 'ignored', value: 1n << 32n });
  map.set(MSR.PLATFORM_INFO, constant(0n));
  map.set(MSR.PERF_STATUS, constant(0n));
  map.set(
    MSR.DEBUGCTL,
    stored(0n, (value) => onlyBits(value, 3n)),
  );
  map.set(
    MSR.MISC_ENABLE,
    stored(MISC_ENABLE_RESET, () => true),
  );
  if (has.has('arch_capabilities')) map.set(MSR.ARCH_CAPABILITIES, constant(model.archCapabilities));
  if (has.has('pat')) map.set(MSR.PAT, stored(PAT_RESET, isValidPat));
  if (has.has('mtrr')) addMemoryTypes(map, physical);
  if (has.has('mca')) addMachineCheck(map);
  if (has.has('kvm_clocksource2'))
    // Addresses of multiples of four; bit 0 of the system time's switches it on.
    for (const index of [MSR.KVM_WALL_CLOCK, MSR.KVM_SYSTEM_TIME])
      map.set(
        index,
        stored(0n, (value) => onlyBits(value, (physical & ~3n) | 1n)),
      );
  return map;
}

/** SDM vol. 3 §12.11.1, §12.11.2. */
function addMemoryTypes(map: Map<number, Rule>, physical: bigint): void {
  const FIXED_SUPPORTED = 1 << 8;
  const WC_SUPPORTED = 1 << 10;
  map.set(MSR.MTRRCAP, constant(BigInt(MTRR_VARIABLE_COUNT | FIXED_SUPPORTED | WC_SUPPORTED)));
  map.set(
    MSR.MTRR_DEF_TYPE,
    stored(
      0n,
      (value) => mtrrType(value) && onlyBits(value, BigInt(0xff | MTRR_DEF_TYPE.FIXED_ENABLE | MTRR_DEF_TYPE.ENABLE)),
    ),
  );
  for (let n = 0; n < MTRR_VARIABLE_COUNT; n++) {
    map.set(
      MSR.MTRR_PHYSBASE0 + 2 * n,
      stored(0n, (value) => mtrrType(value) && onlyBits(value, (physical & ~0xfffn) | 0xffn)),
    );
    map.set(
      MSR.MTRR_PHYSMASK0 + 2 * n,
      stored(0n, (value) => onlyBits(value, (physical & ~0xfffn) | 0x800n)),
    );
  }
  for (const index of FIXED_MTRRS)
    map.set(
      index,
      stored(0n, (value) => BYTES.every((shift) => mtrrType(value >> shift))),
    );
}

/** The fixed ranges in the order of their addresses. */
export const FIXED_MTRRS: readonly number[] = [
  MSR.MTRR_FIX64K_00000,
  MSR.MTRR_FIX16K_80000,
  MSR.MTRR_FIX16K_A0000,
  ...Array.from({ length: 8 }, (_, i) => MSR.MTRR_FIX4K_C0000 + i),
];

/** SDM vol. 3 §16.3. */
function addMachineCheck(map: Map<number, Rule>): void {
  map.set(MSR.MCG_CAP, constant(BigInt(MACHINE_CHECK_BANKS)));
  map.set(
    MSR.MCG_STATUS,
    stored(0n, (value) => onlyBits(value, 7n)),
  );
  for (let bank = 0; bank < MACHINE_CHECK_BANKS; bank++) {
    const first = MSR.MC0_CTL + 4 * bank;
    map.set(
      first,
      stored(0n, () => true),
    );
    // STATUS, ADDR and MISC can only be cleared.
    for (const index of [first + 1, first + 2, first + 3])
      map.set(
        index,
        stored(0n, (value) => value === 0n),
      );
  }
}

const rulesOf = new WeakMap<CpuModel, Map<number, Rule>>();

function rule(model: CpuModel, index: number): Rule | undefined {
  let all = rulesOf.get(model);
  if (all === undefined) rulesOf.set(model, (all = rules(model)));
  return all.get(index);
}

/** Values of the MSRs that hold one. One for each CPU. */
export type MsrValues = Map<number, bigint>;

/** Power-on values of all MSRs that hold one, ascending by index: the start of a CPU's list in `VcpuState`. */
export function initialMsrs(model: CpuModel): MsrState[] {
  const all = [...rules(model)].flatMap(([index, each]) =>
    each.kind === 'stored' ? [{ index, value: each.value }] : [],
  );
  return all.sort((a, b) => a.index - b.index);
}

/** RDMSR. Undefined: #GP(0). */
export function readMsr(model: CpuModel, values: MsrValues, index: number): bigint | undefined {
  const found = rule(model, index);
  switch (found?.kind) {
    case undefined:
    case 'command':
      return undefined;
    case 'constant':
    case 'ignored':
      return found.value;
    case 'stored':
      return values.get(index) ?? found.value;
  }
}

/** WRMSR of an unsigned 64-bit value. False: #GP(0). */
export function writeMsr(model: CpuModel, values: MsrValues, index: number, value: bigint): boolean {
  const found = rule(model, index);
  switch (found?.kind) {
    case undefined:
    case 'constant':
      return false;
    case 'ignored':
      return true;
    case 'command':
      return (value & ~found.allowed) === 0n;
    case 'stored': {
      if (!found.accepts(value)) return false;
      const before = values.get(index) ?? found.value;
      values.set(index, index === MSR.MISC_ENABLE ? miscEnableAfter(before, value) : value);
      return true;
    }
  }
}

/**
 * Memory types as firmware leaves them: everything write-back but the PCI hole below 4 GiB and the VGA window.
 * `holeStart` is where the hole begins, in bytes, below 4 GiB; the hole is covered exactly with few naturally aligned ranges.
 */
export function firmwareMemoryTypes(model: CpuModel, holeStart: number): MsrState[] {
  if (!model.features.has('mtrr')) return [];
  const physical = (1n << BigInt(model.physicalBits)) - 1n;
  const msrs: MsrState[] = [];
  const FOUR_GIB = 0x1_0000_0000;
  let at = holeStart;
  for (let n = 0; n < MTRR_VARIABLE_COUNT && at < FOUR_GIB; n++) {
    let size = 4096;
    while (at % (size * 2) === 0 && at + size * 2 <= FOUR_GIB) size *= 2;
    msrs.push({ index: MSR.MTRR_PHYSBASE0 + 2 * n, value: BigInt(at) | BigInt(MEMORY_TYPE.UC) });
    msrs.push({ index: MSR.MTRR_PHYSMASK0 + 2 * n, value: (physical & ~(BigInt(size) - 1n)) | 0x800n });
    at += size;
  }
  const eight = (type: number): bigint => BYTES.reduce((word, shift) => word | (BigInt(type) << shift), 0n);
  for (const index of FIXED_MTRRS)
    msrs.push({ index, value: eight(index === MSR.MTRR_FIX16K_A0000 ? MEMORY_TYPE.UC : MEMORY_TYPE.WB) });
  const enabled = MTRR_DEF_TYPE.ENABLE | MTRR_DEF_TYPE.FIXED_ENABLE | MEMORY_TYPE.WB;
  msrs.push({ index: MSR.MTRR_DEF_TYPE, value: BigInt(enabled) });
  return msrs.sort((a, b) => a.index - b.index);
}
