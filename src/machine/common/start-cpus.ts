import { bootVcpuState, type BootState } from '../../arch/x86/boot-state.js';
import { resetIdentity, type CpuModel } from '../../arch/x86/cpu-models.js';
import type { Vcpu } from '../../iface/vcpu.js';

/**
 * Puts all CPUs into the state in which firmware hands over to a loaded kernel: the first is about to run it, the others wait
 * for their SIPI. The machine's clock must stand still: time-stamp counters, which have been counting since power came on, stay in step.
 */
export function startCpus(cpus: readonly Vcpu[], model: CpuModel, boot: BootState): void {
  const identity = resetIdentity(model);
  const tsc = cpus[0].readTsc();
  cpus.forEach((cpu, index) => cpu.restoreState({ ...bootVcpuState(identity, boot, index === 0), tsc }));
}
