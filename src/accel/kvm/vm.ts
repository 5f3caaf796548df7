/** A machine's memory and CPUs on Linux's KVM. The chips, the local APIC among them, are the same as on the others. */
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { HostError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import type { Dma, MemorySlot } from '../../iface/guest-memory.js';
import type { CpuidWords, VcpuEnvironment, Vm } from '../../iface/vcpu.js';
import { SlotDma } from '../common/slot-dma.js';
import { CAP, KVM, MEM_READONLY, SIZE } from './abi.js';
import { addressOf, close, ioctl, preferHugePages } from './libc.js';
import { Structure } from './registers.js';
import { KvmSystem } from './system.js';
import { KvmVcpu } from './vcpu.js';

const WASM_PAGE = 65536;

export interface KvmVmOptions {
  readonly model: CpuModel;
  /** CPUID of the CPU with an index. */
  readonly cpuid: (index: number) => readonly CpuidEntry[];
  /** Ticks of the guest's time-stamp counter per second. */
  readonly tscHz: number;
  /** RAM and ROM together, in bytes; a multiple of the page size. */
  readonly backingSize: number;
  /** What guests see of CPUID where the host does not let it be chosen. */
  readonly seenCpuid?: readonly CpuidWords[] | undefined;
}

/** Memory that is page-aligned and never moves: shared, and WebAssembly's. */
function reserve(size: number): Uint8Array {
  const pages = Math.ceil(size / WASM_PAGE);
  try {
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    return new Uint8Array(buffer, 0, size);
  } catch (cause) {
    throw new HostError(`cannot reserve ${String(Math.ceil(size / MIB))} MiB of memory for the guest`, { cause });
  }
}

export class KvmVm implements Vm {
  readonly backing: Uint8Array;
  readonly dma: Dma;
  readonly system = new KvmSystem();
  readonly fd: number;
  private readonly slotDma: SlotDma;
  private readonly cpus: KvmVcpu[] = [];
  /** By KVM's number. */
  private slots: (MemorySlot | undefined)[] = [];
  private readonly base: bigint;
  private isOpen = true;

  /** Throws a one-line error when the host cannot do it. */
  constructor(readonly options: KvmVmOptions) {
    try {
      this.backing = reserve(options.backingSize);
      preferHugePages(this.backing);
      this.base = addressOf(this.backing);
      this.slotDma = new SlotDma(this.backing, () => {});
      this.dma = this.slotDma;
      this.fd = this.system.createVm();
    } catch (error) {
      this.system.close();
      throw error;
    }
    try {
      this.system.routeMsrs(this.fd);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get seenCpuid(): readonly CpuidWords[] | undefined {
    return this.options.seenCpuid;
  }

  /** KVM sees writes to memory by itself. */
  backingWritten(): void {}

  setSlots(slots: readonly MemorySlot[]): void {
    const same = (a: MemorySlot | undefined, b: MemorySlot): boolean =>
      a?.start === b.start && a.size === b.size && a.offset === b.offset && a.kind === b.kind;
    // What goes first makes room for what comes.
    for (const [number, old] of this.slots.entries()) {
      if (old === undefined || slots.some((slot) => same(old, slot))) continue;
      this.setRegion(number, { ...old, size: 0 });
      this.slots[number] = undefined;
    }
    for (const slot of slots) {
      if (this.slots.some((old) => same(old, slot))) continue;
      const free = this.slots.indexOf(undefined);
      const number = free < 0 ? this.slots.length : free;
      this.setRegion(number, slot);
      this.slots[number] = slot;
    }
    this.slotDma.setSlots(slots);
  }

  /** Size 0: takes it away. */
  private setRegion(
    number: number,
    { start, size, offset, kind }: Pick<MemorySlot, 'start' | 'size' | 'offset' | 'kind'>,
  ): void {
    const region = new Structure(SIZE.MEMORY_REGION);
    region.view.setUint32(0, number, true);
    region.view.setUint32(4, kind === 'rom' ? MEM_READONLY : 0, true);
    region.setU64(8, BigInt(start));
    region.setU64(16, BigInt(size));
    region.setU64(24, this.base + BigInt(offset));
    ioctl(this.fd, KVM.SET_USER_MEMORY_REGION, region.bytes, 'KVM_SET_USER_MEMORY_REGION');
  }

  createVcpu(index: number, environment: VcpuEnvironment): KvmVcpu {
    // A CPU of KVM lasts as long as its machine: a board that is built anew gets the same one.
    const known = this.cpus.at(index);
    if (known) {
      known.connect(environment);
      return known;
    }
    const cpu = new KvmVcpu(this, index, environment);
    this.cpus[index] = cpu;
    return cpu;
  }

  dispose(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    for (const cpu of this.cpus) cpu.close();
    close(this.fd);
    this.system.close();
  }

  get capabilities(): { readonly sregs2: boolean; readonly xcrs: boolean } {
    return { sregs2: this.system.has(CAP.SREGS2), xcrs: this.system.has(CAP.XCRS) };
  }
}
