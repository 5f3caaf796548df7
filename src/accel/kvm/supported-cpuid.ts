/** What guests on KVM are told of the processor's features: those of their CPU model that the host's KVM knows, too. */
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import { CPUID_FEATURES, type CpuidBit, type Feature } from '../../arch/x86/cpuid-features.js';
import { HostError } from '../../base/errors.js';
import type { CpuidWords } from '../../iface/vcpu.js';
import { KVM, SIZE } from './abi.js';
import { ERRNO, tryIoctl, SystemError } from './libc.js';
import { Structure } from './registers.js';

/** More leaves than any processor has. */
const MOST = 512;

/** Features that need nothing of KVM: that there is a hypervisor, several CPUs, and what local APICs of ours or of the kernel have in any case. */
const ALWAYS: readonly Feature[] = ['hypervisor', 'ht', 'apic', 'x2apic'];
/** KVM says that it has it, or not, whoever has the local APIC (api.rst, KVM_GET_SUPPORTED_CPUID). */
const DEADLINES: Feature = 'tsc_deadline_timer';

const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;
type Register = CpuidBit['register'];

/** Bits of a register of a leaf that are features of which KVM has to know. */
const known = new Map<string, number>();
const keyOf = ({ leaf, subleaf }: Pick<CpuidBit, 'leaf' | 'subleaf'>, register: Register): string =>
  `${leaf}.${subleaf}.${register}`;
for (const [name, where] of Object.entries(CPUID_FEATURES)) {
  if (ALWAYS.some((one) => one === name)) continue;
  const key = keyOf(where, where.register);
  known.set(key, (known.get(key) ?? 0) | (1 << where.bit));
}

/** Asks KVM, by the descriptor of /dev/kvm, what it can give guests. `hasDeadlines`: whoever has their local APICs gets to know what TSC deadlines they set. */
export function readSupportedCpuid(fd: number, hasDeadlines = true): CpuidWords[] {
  const list = new Structure(8 + SIZE.CPUID_ENTRY * MOST);
  list.view.setUint32(0, MOST, true);
  const result = tryIoctl(fd, KVM.GET_SUPPORTED_CPUID, list.bytes);
  if (result === -ERRNO.E2BIG) throw new HostError("the host's KVM knows more of processors than there is room for");
  if (result < 0) throw new SystemError('KVM_GET_SUPPORTED_CPUID', -result);
  const words = Array.from({ length: list.view.getUint32(0, true) }, (_, i): CpuidWords => {
    const word = (n: number): number => list.view.getUint32(8 + SIZE.CPUID_ENTRY * i + 4 * n, true);
    return { leaf: word(0), subleaf: word(1), eax: word(3), ebx: word(4), ecx: word(5), edx: word(6) };
  });
  return words.map((entry) => {
    const bits = { eax: entry.eax, ebx: entry.ebx, ecx: entry.ecx, edx: entry.edx };
    const set = (name: Feature, has: boolean): void => {
      const { leaf, subleaf, register, bit } = CPUID_FEATURES[name];
      if (leaf !== entry.leaf || subleaf !== entry.subleaf) return;
      bits[register] = (has ? bits[register] | (1 << bit) : bits[register] & ~(1 << bit)) >>> 0;
    };
    for (const name of ALWAYS) set(name, true);
    set(DEADLINES, hasDeadlines);
    return { ...entry, ...bits };
  });
}

/** A CPU model's answers without the features that KVM does not know. */
export function withSupported(entries: readonly CpuidEntry[], supported: readonly CpuidWords[]): CpuidEntry[] {
  return entries.map((entry) => {
    const offered = supported.find(({ leaf, subleaf }) => leaf === entry.leaf && subleaf === entry.subleaf);
    const registers = REGISTERS.map((register) => {
      const features = known.get(keyOf(entry, register)) ?? 0;
      return [register, (entry[register] & ~(features & ~(offered?.[register] ?? 0))) >>> 0] as const;
    });
    return { ...entry, ...Object.fromEntries(registers) };
  });
}
