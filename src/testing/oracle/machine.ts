/** A machine for the oracle: one CPU, 64 MiB of memory, nothing else. */
import { InterpVm } from '../../accel/interp/vm.js';
import type { ResetIdentity } from '../../arch/x86/boot-state.js';
import { cpuModel, resetIdentity } from '../../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../../arch/x86/cpuid.js';
import type { Gpa } from '../../base/units.js';
import type { GuestIo } from '../../iface/bus.js';
import { quietApic } from '../quiet-apic.js';
import type { Vcpu, Vm } from '../../iface/vcpu.js';
import { accelerate, type TestedAccelerator } from '../accelerators.js';
import { GUEST } from './guest-program.js';

const noIo: GuestIo = {
  portRead: () => 0xffff_ffff,
  portWrite: () => undefined,
  mmioRead: () => 0xffff_ffff,
  mmioWrite: () => undefined,
};

const TSC_HZ = 1_000_000_000;

/** `index`: of the CPU that runs the cases; with another than 0 the machine has several. */
export function machineForOracle(
  accelerator: TestedAccelerator,
  index = 0,
): { vm: Vm; vcpu: Vcpu; identity: ResetIdentity } {
  const model = cpuModel('x86-64-v2');
  const vm = new InterpVm({
    ...accelerate(accelerator, 1, undefined, {}, index + 1),
    cpus: index + 1,
    model,
    cpuid: () => cpuidLeaves(model, { cpus: 1, apicId: 0, tscHz: TSC_HZ, crystalHz: TSC_HZ }),
    tscHz: TSC_HZ,
    backingSize: GUEST.MEMORY_SIZE,
  });
  vm.setSlots([{ start: 0 as Gpa, size: GUEST.MEMORY_SIZE, offset: 0, kind: 'ram' }]);
  let nanoseconds = 0;
  const vcpu = vm.createVcpu(index, {
    io: noIo,
    apic: quietApic(),
    now: () => (nanoseconds += 1000),
    fillRandom: (target) => target.fill(0x5a),
    acknowledgeExtInt: () => 0,
  });
  return { vm, vcpu, identity: resetIdentity(model) };
}
