/** What a host offers to run guests, and which of it runs a guest for which nothing was asked for. */
import { HostError } from '../../base/errors.js';
import { hostFiles, whyNoKvmDevice, type HostFiles } from '../../host/node/virtualization.js';
import type { AcceleratorName } from './accelerator-names.js';
import type { CpuidWords } from '../../iface/vcpu.js';
import { missingFeatures } from '../../machine/common/cpu-features.js';
import { TSC_TOLERANCE } from './accelerators.js';
import type * as Kvm from './kvm.js';

/** What this host's KVM is good for. */
export interface KvmStatus {
  /** A machine can be made on it. */
  readonly opens: boolean;
  /** Operating systems run on it. */
  readonly works: boolean;
  /** Why not, or why not everything. */
  readonly reason?: string;
  /** Guests are told of the features of their CPU model alone. */
  readonly masksCpuid?: boolean;
  /** Ticks per second of the time-stamp counter that guests see. */
  readonly tscHz?: number;
  /** Of what Vitrine uses of it: whether it is there. */
  readonly capabilities?: Readonly<Record<string, boolean>>;
  /** What it can tell guests of the processor. */
  readonly supported?: readonly CpuidWords[];
}

/** What runs guests on KVM. It stands on a library that not every host has: throws a one-line error (HostError) without it. */
export async function loadKvm(): Promise<typeof Kvm> {
  try {
    return await import('./kvm.js');
  } catch (cause) {
    throw new HostError('KVM takes the npm package koffi, which is not here or does not work on this host', { cause });
  }
}

/** Takes some 50 ms where there is a KVM. */
export async function kvmStatus(host: HostFiles = hostFiles): Promise<KvmStatus> {
  const missing = whyNoKvmDevice(host);
  if (missing !== undefined) return { opens: false, works: false, reason: missing };
  try {
    const { examineKvm } = await loadKvm();
    const { lacking, masksCpuid, tscHz, capabilities, supported } = examineKvm();
    const works = lacking.length === 0;
    return {
      opens: true,
      works,
      ...(!works && { reason: `this host's KVM cannot do ${lacking.join(', ')}` }),
      masksCpuid,
      tscHz,
      capabilities,
      supported,
    };
  } catch (error) {
    return { opens: false, works: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** What a machine asks of an accelerator. */
export interface Needs {
  readonly clock: 'host' | 'virtual';
  /** Instructions are written down. */
  readonly tracesCode: boolean;
  /** Of a machine that was saved: ticks per second of the time-stamp counter that its guest knows. */
  readonly tscHz?: number;
  /** Of a machine that was saved: what its guest has seen of the processor's features. */
  readonly seen?: readonly CpuidWords[];
}

export interface Choice {
  readonly accel: AcceleratorName;
  /** Why, for people. */
  readonly reason: string;
}

/** Why such a machine is none for KVM, whatever the host. */
function unsuited({ clock, tracesCode }: Needs): string | undefined {
  if (clock === 'virtual') return 'virtual time is made of instructions, which KVM does not count';
  if (tracesCode) return 'KVM does not tell which instructions run';
  return undefined;
}

/** The best that works. */
export async function chooseAccelerator(needs: Needs, host: HostFiles = hostFiles): Promise<Choice> {
  const unfit = unsuited(needs);
  if (unfit !== undefined) return { accel: 'wasm', reason: unfit };
  const { works, reason, tscHz, capabilities, supported } = await kvmStatus(host);
  if (!works) return { accel: 'wasm', reason: reason ?? 'there is no KVM' };
  const isFixed = !capabilities?.['TSC_CONTROL'];
  if (isFixed && needs.tscHz !== undefined && tscHz !== undefined && Math.abs(tscHz / needs.tscHz - 1) > TSC_TOLERANCE)
    return { accel: 'wasm', reason: "the guest knows its time-stamp counter by another rate than KVM's here" };
  const missing = supported ? missingFeatures(needs.seen ?? [], supported) : [];
  if (missing.length > 0)
    return { accel: 'wasm', reason: `the guest has seen ${missing.join(', ')}, which this host's KVM does not have` };
  return { accel: 'kvm', reason: "this host's KVM runs operating systems" };
}
