/** The CPUs of a board with their local APICs. */
import { assert } from '../../base/assert.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { ApicBus } from '../../devices/apic/apic-bus.js';
import { LocalApicDevice } from '../../devices/apic/local-apic.js';
import type { GuestIo } from '../../iface/bus.js';
import type { Clock, Entropy } from '../../iface/clock.js';
import type { Vcpu, VcpuEnvironment, Vm } from '../../iface/vcpu.js';

export interface BoardCpuParts extends Pick<VcpuEnvironment, 'setFerr' | 'acknowledgeExtInt'> {
  readonly model: CpuModel;
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  readonly vm: Vm;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly io: GuestIo;
  readonly apicBus: ApicBus;
}

/** Makes so many CPUs, and adds their APICs to a list. APIC ids are the indexes; 0 is the bootstrap processor. */
export const createBoardCpus = (count: number, apics: LocalApicDevice[], parts: BoardCpuParts): readonly Vcpu[] =>
  Array.from({ length: count }, (_, index) => {
    const { cpu, apic } = createBoardCpu(index, parts);
    apics.push(apic);
    return cpu;
  });

function createBoardCpu(index: number, parts: BoardCpuParts): { readonly cpu: Vcpu; readonly apic: LocalApicDevice } {
  const { model, tscHz, vm, clock, entropy, io, apicBus, setFerr, acknowledgeExtInt } = parts;
  // The APIC and its CPU know each other: the CPU comes second.
  const late: { cpu?: Vcpu } = {};
  const cpu = (): Vcpu => {
    assert(late.cpu !== undefined, 'the CPU exists when its APIC speaks to it');
    return late.cpu;
  };
  const apic = new LocalApicDevice({
    apicId: index,
    bsp: index === 0,
    cpu: {
      notify: () => late.cpu?.notifyInterrupt(),
      nmi: () => cpu().nmi(),
      init: () => cpu().init(),
      startup: (page) => cpu().startup(page),
      readTsc: () => late.cpu?.readTsc() ?? 0n,
      tscFrequency: tscHz,
    },
    bus: apicBus,
    clock,
    physicalAddressBits: model.physicalBits,
    x2apic: model.features.has('x2apic'),
    tscDeadline: model.features.has('tsc_deadline_timer'),
  });
  const created = vm.createVcpu(index, {
    io,
    apic,
    now: () => clock.now(),
    fillRandom: (target) => {
      entropy.fill(target);
    },
    ...(setFerr && { setFerr }),
    acknowledgeExtInt,
  });
  late.cpu = created;
  return { cpu: created, apic };
}
