/** A CPU on KVM for tests, with memory of which the end is read-only, and ports and devices that are written down. */
import { resetVcpuState } from '../arch/x86/boot-state.js';
import { cpuModel, resetIdentity, type CpuModel } from '../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../arch/x86/cpuid.js';
import { GPR_NAMES, vcpuStateSchema, type VcpuState } from '../arch/x86/state.js';
import type { KvmVm } from '../accel/kvm/vm.js';
import type { Gpa } from '../base/units.js';
import { Assembler, type Bits } from '../cpu/x86/assembler/index.js';
import type { Vcpu, VcpuEnvironment } from '../iface/vcpu.js';
import { quietApic } from './quiet-apic.js';
import { GUEST_MEMORY, segment, type Changes } from './x86-guest.js';

const TSC_HZ = 1e9;
export const CODE = 0x10_000;
export const READ_ONLY = 0x30_0000;
export const SECOND = 1e9;

export class KvmBench {
  readonly vm: KvmVm;
  readonly cpu: Vcpu;
  readonly view: DataView;
  readonly log: string[] = [];
  readonly pending: number[] = [];
  onPort: (port: number) => void = () => undefined;
  /** Nanoseconds of the machine's clock. */
  clock = (): number => performance.now() * 1e6;

  private readonly model: CpuModel;

  /** `makeVm`: the class, which is loaded only where there is KVM. */
  constructor(makeVm: typeof KvmVm | undefined, name = 'x86-64-v2') {
    if (makeVm === undefined) throw new Error('there is no KVM');
    const model = cpuModel(name);
    this.model = model;
    this.vm = new makeVm({
      model,
      cpuid: (index) => cpuidLeaves(model, { cpus: 1, apicId: index, tscHz: TSC_HZ, crystalHz: TSC_HZ }),
      tscHz: TSC_HZ,
      backingSize: GUEST_MEMORY,
    });
    this.view = new DataView(this.vm.backing.buffer);
    try {
      this.vm.setSlots([
        { start: 0 as Gpa, size: READ_ONLY, offset: 0, kind: 'ram' },
        { start: READ_ONLY as Gpa, size: GUEST_MEMORY - READ_ONLY, offset: READ_ONLY, kind: 'rom' },
      ]);
      this.cpu = this.vm.createVcpu(0, this.environment());
    } catch (error) {
      this.vm.dispose();
      throw error;
    }
  }

  private environment(): VcpuEnvironment {
    const { log, pending } = this;
    return {
      io: {
        portRead: (port, size) => {
          log.push(`in ${port.toString(16)}.${size}`);
          return 0x1122_3344;
        },
        portWrite: (port, size, value) => {
          log.push(`out ${port.toString(16)}.${size} ${value.toString(16)}`);
          this.onPort(port);
        },
        mmioRead: (address, size) => {
          log.push(`read ${address.toString(16)}.${size}`);
          return 0x5566_7788;
        },
        mmioWrite: (address, size, value) => {
          log.push(`write ${address.toString(16)}.${size} ${value.toString(16)}`);
        },
      },
      apic: quietApic(pending),
      now: () => this.clock(),
      fillRandom: (target) => target.fill(0x5a),
      acknowledgeExtInt: () => 0,
    };
  }

  asm(bits: Bits, origin: number, program: (asm: Assembler) => void): void {
    const asm = new Assembler({ bits, origin });
    program(asm);
    this.vm.backing.set(asm.finish(), origin);
  }

  set(changes: Changes): void {
    const base = resetVcpuState(resetIdentity(this.model), true);
    this.cpu.restoreState({
      ...base,
      ...changes,
      gpr: GPR_NAMES.map((name, n) => changes.gpr?.[name] ?? base.gpr[n]),
      segments: { ...base.segments, ...changes.segments },
    });
  }

  /** Real mode at CODE. */
  realMode(gpr: Changes['gpr'] = {}): void {
    this.set({ rip: 0n, gpr, segments: { cs: segment(CODE >> 4, BigInt(CODE), 0xffff, 0x9b) } });
  }

  get state(): VcpuState {
    return vcpuStateSchema.check(this.cpu.saveState(), 'cpu');
  }
}

/** Flat 64-bit code in ring 3 over pages of 2 MiB that map memory to itself. */
export function longRing3(backing: Uint8Array, rip: number): Changes {
  const [PML4, PDPT, PD] = [0x1000, 0x2000, 0x3000];
  const view = new DataView(backing.buffer, backing.byteOffset, backing.byteLength);
  view.setBigUint64(PML4, BigInt(PDPT | 7), true);
  view.setBigUint64(PDPT, BigInt(PD | 7), true);
  for (let i = 0; i < 2; i++) view.setBigUint64(PD + 8 * i, BigInt((i << 21) | 0x87), true);
  const data = segment(0x23, 0n, 0xffff_ffff, 0xc0f3);
  return {
    cr0: 0x8000_0033n,
    // PAE, OSFXSR, OSXMMEXCPT.
    cr4: 0x620n,
    cr3: BigInt(PML4),
    // SCE, LME, LMA.
    efer: 0x501n,
    rip: BigInt(rip),
    segments: { cs: segment(0x2b, 0n, 0xffff_ffff, 0xa0fb), ss: data, ds: data, es: data, fs: data, gs: data },
  };
}
