/** Machines on KVM. Loaded only when asked for: not every host has what it stands on. */
import { CAP } from '../../accel/kvm/abi.js';
import { readSupportedCpuid } from '../../accel/kvm/supported-cpuid.js';
import { KvmSystem } from '../../accel/kvm/system.js';
import { probeKvm, type KvmProbe } from '../../accel/kvm/probe.js';
import { KvmVm, type KvmShare } from '../../accel/kvm/vm.js';
import { UsageError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import type { CpuidWords, Vm } from '../../iface/vcpu.js';
import { GUEST_MEMORY_LIMIT } from '../../memory/layout.js';
import type { VmRequest } from '../../machine/common/board.js';
import type { KernelIrqchip } from './accelerator-names.js';
import { checkMemory, TSC_TOLERANCE } from './accelerators.js';

export interface KvmExamination extends KvmProbe {
  /** Ticks per second of the time-stamp counter that guests see. */
  readonly tscHz: number;
  /** Of what Vitrine uses of it: whether it is there. */
  readonly capabilities: Readonly<Record<string, boolean>>;
  /** What it can tell guests of the processor. */
  readonly supported: readonly CpuidWords[];
}

/** What the host's KVM can do. Throws a one-line error when there is none. */
export function examineKvm(): KvmExamination {
  const system = new KvmSystem();
  try {
    return {
      ...probeKvm(),
      tscHz: system.tscHz(),
      capabilities: system.capabilities,
      supported: readSupportedCpuid(system.fd),
    };
  } finally {
    system.close();
  }
}

/** Ticks per second of the time-stamp counter that guests see. Throws a one-line error when there is no KVM. */
export function kvmTscHz(): number {
  const system = new KvmSystem();
  try {
    return system.tscHz();
  } finally {
    system.close();
  }
}

/** Why a guest of a machine would tell the time wrongly here; nothing where it would not. */
function wrongTime({ model, tscHz }: VmRequest): string | undefined {
  // Guests with KVM's clock are told the rate by it.
  if (model.features.has('kvm_clocksource2')) return undefined;
  const system = new KvmSystem();
  try {
    const host = system.tscHz();
    if (Math.abs(host / tscHz - 1) <= TSC_TOLERANCE || system.has(CAP.TSC_CONTROL)) return undefined;
    return (
      `the machine was made for a time-stamp counter of ${(tscHz / 1e6).toFixed(0)} MHz, this host's has ` +
      `${(host / 1e6).toFixed(0)} MHz: a guest that tells the time by it will be wrong`
    );
  } finally {
    system.close();
  }
}

/**
 * Memory and CPUs for a machine. `irqchip`: who has the interrupt controllers; absent: KVM the local APICs where there are several CPUs, which interrupt each other, or where it
 * would lose deadlines of their timers otherwise. Throws a one-line error when the host cannot give them.
 */
export function createKvmVm(request: VmRequest, report: (text: string) => void, irqchip?: KernelIrqchip): Vm {
  if (request.backingSize > GUEST_MEMORY_LIMIT)
    throw new UsageError(`this machine has room for ${String(GUEST_MEMORY_LIMIT / MIB)} MiB of memory at most`);
  checkMemory(request.backingSize + (request.farSize ?? 0), request.cpus, 'kvm');
  const wrong = wrongTime(request);
  if (wrong !== undefined) report(wrong);
  const { lacking, seenCpuid, losesDeadlines } = probeKvm();
  if (lacking.length > 0)
    report(
      `this host's KVM cannot do ${lacking.join(', ')}: most operating systems do not run on it; --accel wasm can`,
    );
  const best = request.cpus > 1 || losesDeadlines ? 'split' : 'off';
  return new KvmVm({ ...request, seenCpuid, losesDeadlines, irqchip: irqchip ?? best });
}

/** The same machine's, for the thread of one of its CPUs. `share`: of the machine's own. */
export const joinKvmVm = (request: VmRequest, share: unknown): Vm => new KvmVm(request, share as KvmShare);
