/** The CPUs of a board: on the machine's thread, or from the second one on where others run them. */
import type { ApicBus } from '../../devices/apic/apic-bus.js';
import type { Vcpu, VcpuEnvironment } from '../../iface/vcpu.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import { createCpu, type BoardApic, type CpuOptions, type CpuThreads } from './cpu.js';

export interface BoardCpuParts extends Omit<CpuOptions, 'index' | 'poweredAt' | 'inbox' | 'bus'> {
  readonly apicBus: ApicBus;
  readonly bus: Pick<VcpuEnvironment, 'setFerr' | 'acknowledgeExtInt' | 'endOfInterrupt'>;
  /** Absent: all CPUs run on this thread. */
  readonly threads?: CpuThreads | undefined;
}

interface Attached {
  readonly apic: Pick<BoardApic, 'setLint' | 'takeIn'>;
  readonly part: Snapshotable;
}

export class BoardCpus {
  /** By index, which is the APIC id; 0 is the bootstrap processor. */
  readonly all: readonly Vcpu[];
  private readonly apics: Attached[] = [];

  constructor(
    count: number,
    private readonly options: BoardCpuParts,
  ) {
    // Time-stamp counters of all of them begin now.
    const poweredAt = options.clock.now();
    this.all = Array.from({ length: count }, (_, index) => this.create(index, poweredAt));
  }

  private create(index: number, poweredAt: number): Vcpu {
    const { threads, apicBus, bus } = this.options;
    if (threads && index > 0) {
      const { cpu, apic, part } = threads.power(index, poweredAt);
      apicBus.attach(apic);
      this.apics.push({ apic, part });
      return cpu;
    }
    const { cpu, apic } = createCpu({
      ...this.options,
      index,
      poweredAt,
      inbox: threads?.inbox,
      bus: { ...bus, ...threads?.lock },
    });
    this.apics.push({ apic, part: apic });
    return cpu;
  }

  /** The local APICs, to be saved and restored. */
  get parts(): readonly Snapshotable[] {
    return this.apics.map(({ part }) => part);
  }

  /** Drives a pin of all local APICs. */
  setLint(pin: 0 | 1, asserted: boolean): void {
    for (const { apic } of this.apics) apic.setLint(pin, asserted);
  }

  /** Takes what CPUs on other threads have for those on this one. Called between slices. */
  takeIn(): void {
    for (const { apic } of this.apics) apic.takeIn?.();
  }
}
