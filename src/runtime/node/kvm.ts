/** Machines on KVM. Loaded only when asked for: not every host has what it stands on. */
import { KvmSystem } from '../../accel/kvm/system.js';
import { KvmVm } from '../../accel/kvm/vm.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import { checkMemory } from './accelerators.js';

/** By so much may the rate of the guest's time-stamp counter differ from what it was told: parts of one. */
const TOLERANCE = 250e-6;

/** Ticks per second of the time-stamp counter that guests see. Throws a one-line error when there is no KVM. */
export function kvmTscHz(): number {
  const system = new KvmSystem();
  try {
    return system.tscHz();
  } finally {
    system.close();
  }
}

/** Memory and CPUs for a machine. Throws a one-line error when the host cannot give them. */
export function createKvmVm(request: VmRequest, report: (text: string) => void): Vm {
  checkMemory(request.backingSize);
  const host = kvmTscHz();
  if (Math.abs(host / request.tscHz - 1) > TOLERANCE)
    report(
      `the machine was made for a time-stamp counter of ${(request.tscHz / 1e6).toFixed(0)} MHz, this host's has ` +
        `${(host / 1e6).toFixed(0)} MHz: a guest that tells the time by it will be wrong`,
    );
  return new KvmVm(request);
}
