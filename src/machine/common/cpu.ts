/** A CPU of the board and its local APIC, on whatever thread. */
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { assert } from '../../base/assert.js';
import type { ApicBus } from '../../devices/apic/apic-bus.js';
import type { ApicInbox, RemoteApic } from '../../devices/apic/apic-link.js';
import type { ApicState } from '../../devices/apic/apic-state.js';
import { LocalApicDevice } from '../../devices/apic/local-apic.js';
import { OutsideApic } from '../../devices/apic/outside-apic.js';
import type { GuestIo } from '../../iface/bus.js';
import type { Clock, Entropy } from '../../iface/clock.js';
import type { ApicCpu, LocalApic } from '../../iface/local-apic.js';
import type { Vcpu, VcpuEnvironment, Vm } from '../../iface/vcpu.js';
import { KvmClock } from '../../paravirt/kvm/clock.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

export interface CpuOptions {
  readonly index: number;
  readonly model: CpuModel;
  /** Ticks of the time-stamp counter per second. */
  readonly tscHz: number;
  readonly vm: Vm;
  readonly clock: Clock;
  /** When power came on, by that clock. */
  readonly poweredAt: number;
  readonly entropy: Entropy;
  readonly io: GuestIo;
  readonly apicBus: ApicBus;
  /** Where other threads leave what they have for its APIC; absent: there are none. */
  readonly inbox?: ApicInbox | undefined;
  readonly bus: Pick<
    VcpuEnvironment,
    'lockBus' | 'unlockBus' | 'yield' | 'setFerr' | 'acknowledgeExtInt' | 'endOfInterrupt'
  >;
}

export type BoardApic = LocalApic & Snapshotable<ApicState>;

export interface BoardCpu {
  readonly cpu: Vcpu;
  readonly apic: BoardApic;
}

/** A CPU that runs on a thread of its own, as the board sees it. */
export interface RemoteCpu {
  readonly cpu: Vcpu;
  readonly apic: RemoteApic;
  /** The state of its APIC. */
  readonly part: Snapshotable;
}

/** What a board with CPUs on other threads needs besides. */
export interface CpuThreads {
  /** Of CPU 0, which stays on the machine's thread. */
  readonly inbox: ApicInbox;
  readonly lock: Pick<VcpuEnvironment, 'lockBus' | 'unlockBus' | 'yield'>;
  /** The CPU with an index from 1 on, in its power-on state. */
  power(index: number, poweredAt: number): RemoteCpu;
}

/** Makes a CPU and its APIC, which know each other. */
export function createCpu(options: CpuOptions): BoardCpu {
  const { index, model, tscHz, vm, clock, poweredAt, entropy, io, apicBus, inbox, bus } = options;
  // The CPU comes second.
  const late: { cpu?: Vcpu } = {};
  const cpu = (): Vcpu => {
    assert(late.cpu !== undefined, 'the CPU exists when its APIC speaks to it');
    return late.cpu;
  };
  const apicCpu: ApicCpu = {
    notify: () => late.cpu?.notifyInterrupt(),
    nmi: () => cpu().nmi(),
    init: () => cpu().init(),
    startup: (page) => cpu().startup(page),
    readTsc: () => late.cpu?.readTsc() ?? 0n,
    tscFrequency: tscHz,
  };
  const shared = { apicId: index, bsp: index === 0, cpu: apicCpu, clock, inbox };
  const apic: BoardApic = vm.chips
    ? new OutsideApic({ ...shared, registers: vm.chips.localApic(index) })
    : new LocalApicDevice({
        ...shared,
        bus: apicBus,
        physicalAddressBits: model.physicalBits,
        x2apic: model.features.has('x2apic'),
        tscDeadline: model.features.has('tsc_deadline_timer'),
      });
  const created = vm.createVcpu(index, {
    io,
    apic,
    now: () => clock.now(),
    poweredAt,
    guestClock: model.features.has('kvm_clocksource2')
      ? new KvmClock({ clock, dma: vm.dma, tscHz, tscAt: (now) => cpu().readTsc(now) })
      : undefined,
    fillRandom: (target) => {
      entropy.fill(target);
    },
    ...bus,
  });
  late.cpu = created;
  return { cpu: created, apic };
}
