/** A CPU with local APIC, I/O APIC and an interrupt line as of an 8259, some of which KVM may have; for tests. */
import { resetVcpuState } from '../arch/x86/boot-state.js';
import { cpuModel, resetIdentity } from '../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../arch/x86/cpuid.js';
import { GPR_NAMES } from '../arch/x86/state.js';
import type { KvmVm, KvmVmOptions } from '../accel/kvm/vm.js';
import type { Gpa } from '../base/units.js';
import { Assembler } from '../cpu/x86/assembler/index.js';
import { ApicBus } from '../devices/apic/apic-bus.js';
import { IoApic } from '../devices/apic/io-apic.js';
import { hostTime } from '../host/node/clock.js';
import type { Vcpu } from '../iface/vcpu.js';
import { createCpu, type BoardApic } from '../machine/common/cpu.js';
import { MachineClock } from '../vmm/machine-clock.js';
import { segment, type Changes } from './x86-guest.js';

const TSC_HZ = 1e9;
const MEMORY = 1 << 20;
export const CODE = 0x1_0000;
/** Of handlers: below 64 KiB, where the vectors of real mode lead. */
export const HANDLERS = 0x8000;
const STACK = 0x7000;
const SECOND = 1e9;

type Options = Pick<KvmVmOptions, 'irqchip'> & {
  /** The vector of what the 8259 asks for. */
  readonly extInt?: number;
};

export class KvmChipsBench {
  readonly vm: KvmVm;
  readonly cpu: Vcpu;
  readonly apic: BoardApic;
  readonly clock: MachineClock;
  readonly ioApic: IoApic;
  readonly view: DataView;
  /** Times of the machine's clock at which the guest wrote to a port. */
  readonly outs: { readonly port: number; readonly time: number }[] = [];
  onPort: (port: number) => void = () => undefined;
  private readonly model = cpuModel('x86-64-v2');

  constructor(makeVm: typeof KvmVm | undefined, { irqchip = 'split', extInt = 8 }: Options = {}) {
    if (makeVm === undefined) throw new Error('there is no KVM');
    const { model } = this;
    this.clock = new MachineClock(hostTime);
    this.vm = new makeVm({
      model,
      irqchip,
      cpuid: (index) => cpuidLeaves(model, { cpus: 1, apicId: index, tscHz: TSC_HZ, crystalHz: TSC_HZ }),
      tscHz: TSC_HZ,
      backingSize: MEMORY,
    });
    this.view = new DataView(this.vm.backing.buffer);
    try {
      ({ cpu: this.cpu, apic: this.apic, ioApic: this.ioApic } = this.board(extInt));
    } catch (error) {
      this.vm.dispose();
      throw error;
    }
  }

  private board(extInt: number): Pick<KvmChipsBench, 'cpu' | 'apic' | 'ioApic'> {
    const { vm, model } = this;
    vm.setSlots([{ start: 0 as Gpa, size: MEMORY, offset: 0, kind: 'ram' }]);
    const { chips } = vm;
    const apicBus = new ApicBus(chips && ((message, destination) => chips.send(message, destination)));
    // Where KVM has one, this one is connected with nothing.
    const ioApic = new IoApic(apicBus, (entries) => {
      if (!chips?.controllers) chips?.setRedirections(entries);
    });
    const { cpu, apic } = createCpu({
      index: 0,
      model,
      tscHz: TSC_HZ,
      vm,
      clock: this.clock,
      poweredAt: this.clock.now(),
      entropy: { fill: (target) => target.fill(0x5a) },
      io: {
        portRead: () => 0,
        portWrite: (port) => {
          this.outs.push({ port, time: this.clock.now() });
          this.onPort(port);
        },
        mmioRead: () => 0xffff_ffff,
        mmioWrite: () => undefined,
      },
      apicBus,
      bus: {
        acknowledgeExtInt: () => extInt,
        endOfInterrupt: (vector) => {
          apicBus.broadcastEoi(vector);
        },
      },
    });
    return { cpu, apic, ioApic };
  }

  asm(origin: number, program: (asm: Assembler) => void): void {
    const asm = new Assembler({ bits: 16, origin });
    program(asm);
    this.vm.backing.set(asm.finish(), origin);
  }

  /** A vector of real mode leads to a handler. */
  handler(vector: number, program: (asm: Assembler) => void): void {
    const at = HANDLERS + vector * 0x40;
    this.view.setUint16(vector * 4, at, true);
    this.view.setUint16(vector * 4 + 2, 0, true);
    this.asm(at, program);
  }

  /** Real mode at CODE, with the local APIC's registers in DS. */
  start(changes: Changes = {}): void {
    const base = resetVcpuState(resetIdentity(this.model), true);
    this.cpu.restoreState({
      ...base,
      ...changes,
      rip: 0n,
      gpr: GPR_NAMES.map((name) => (name === 'rsp' ? BigInt(STACK) : 0n)),
      segments: {
        ...base.segments,
        cs: segment(CODE >> 4, BigInt(CODE), 0xffff, 0x9b),
        ds: segment(0, 0xfee0_0000n, 0xffff, 0x93),
      },
    });
  }

  /** Runs until the guest has written to ports so often; at most for 20 s. */
  runTo(outs: number): void {
    const end = performance.now() + 20_000;
    while (this.outs.length < outs && performance.now() < end) this.cpu.run(SECOND / 100);
    if (this.outs.length < outs) throw new Error(`${String(this.outs.length)} of ${String(outs)} came`);
  }
}
