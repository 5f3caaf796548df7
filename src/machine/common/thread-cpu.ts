/** A CPU of the board on a thread of its own, which reaches the APICs of the others by words of shared memory. */
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { ApicBus } from '../../devices/apic/apic-bus.js';
import { ApicInbox, RemoteApic } from '../../devices/apic/apic-link.js';
import { createCpu, type BoardCpu, type CpuOptions } from './cpu.js';

export { APIC_LINK_WORDS, ApicInbox, RemoteApic } from '../../devices/apic/apic-link.js';
export { apicStateSchema } from '../../devices/apic/apic-state.js';

export interface ThreadCpuOptions extends Omit<CpuOptions, 'model' | 'apicBus' | 'inbox'> {
  /** Name of the CPU model. */
  readonly model: string;
  /** CPUs of the machine. */
  readonly cpus: number;
  /** The words of a CPU's APIC: APIC_LINK_WORDS. */
  apicWords(index: number): Int32Array;
  /** Makes a CPU look, see `RemoteApic`. */
  ring(index: number, how: 'interrupt' | 'kick'): void;
  /** Tells the I/O APIC of the end of a level-triggered interrupt. */
  endOfInterrupt(vector: number): void;
}

export function createThreadCpu(options: ThreadCpuOptions): BoardCpu {
  const { index, cpus, model } = options;
  const apicBus = new ApicBus();
  for (let other = 0; other < cpus; other++)
    if (other !== index)
      apicBus.attach(
        new RemoteApic(other, options.apicWords(other), (how) => {
          options.ring(other, how);
        }),
      );
  apicBus.attachIoApic({
    endOfInterrupt: (vector) => {
      options.endOfInterrupt(vector);
    },
    // Timers tick on the first CPU.
    edgeEnded: () => {},
  });
  return createCpu({
    ...options,
    model: cpuModel(model),
    apicBus,
    inbox: new ApicInbox(options.apicWords(index)),
  });
}
