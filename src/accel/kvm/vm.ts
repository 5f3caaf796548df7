/** A machine's memory and CPUs on Linux's KVM. The chips, the local APIC among them, are the same as on the others. */
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { KernelIrqchip } from '../common/kernel-irqchip.js';
import { assert } from '../../base/assert.js';
import { HostError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import { FAR_PIECE, type Dma, type MemorySlot } from '../../iface/guest-memory.js';
import type { CpuidWords, VcpuEnvironment, Vm } from '../../iface/vcpu.js';
import { withStaging } from '../../memory/layout.js';
import { SlotDma } from '../common/slot-dma.js';
import { CAP, KVM, MEM_LOG_DIRTY_PAGES, MEM_READONLY, SIZE } from './abi.js';
import { KvmChips } from './chips.js';
import { CpuWords } from './cpu-words.js';
import { addressOf, close, deleteTimer, ioctl, map, mapMemory, preferHugePages, viewAt } from './libc.js';
import { hasKvmClock, Structure } from './registers.js';
import { readSupportedCpuid, withSupported } from './supported-cpuid.js';
import { KvmSystem } from './system.js';
import { KvmVcpu } from './vcpu.js';
import { WriteLog } from './write-log.js';

const WASM_PAGE = 65536;

export interface KvmVmOptions {
  readonly model: CpuModel;
  /** CPUID of the CPU with an index. */
  readonly cpuid: (index: number) => readonly CpuidEntry[];
  /** Ticks of the guest's time-stamp counter per second. */
  readonly tscHz: number;
  /** RAM and ROM together, in bytes; a multiple of the page size. */
  readonly backingSize: number;
  /** RAM besides, in bytes; a multiple of the page size. Absent: none. */
  readonly farSize?: number | undefined;
  /** Virtual CPUs; absent: one. */
  readonly cpus?: number;
  /** Who has the interrupt controllers; absent: all are ours. */
  readonly irqchip?: KernelIrqchip | undefined;
  /** What guests see of CPUID where the host does not let it be chosen. */
  readonly seenCpuid?: readonly CpuidWords[] | undefined;
  /** See `KvmProbe`. */
  readonly losesDeadlines?: boolean | undefined;
}

/** A CPU of KVM's, in this process. */
export interface CpuHandle {
  readonly fd: number;
  /** Address of its struct kvm_run. */
  readonly run: bigint;
}

/** What the threads of CPUs make their Vm from: plain data. */
export interface KvmShare {
  readonly memory: WebAssembly.Memory;
  /** Of `CpuWords`. */
  readonly words: SharedArrayBuffer;
  readonly cpus: readonly CpuHandle[];
  /** KVM's machine. */
  readonly vm: number;
  readonly runSize: number;
  readonly capabilities: KvmCapabilities;
  readonly irqchip: KernelIrqchip;
  /** What it can tell guests of the processor. */
  readonly supported: readonly CpuidWords[];
  /** Where far memory is, and its bytes. Absent: there is none. */
  readonly far: { readonly address: bigint; readonly size: number } | undefined;
}

/** What a CPU's state is read and set by. */
export interface KvmCapabilities {
  readonly sregs2: boolean;
  readonly xcrs: boolean;
}

/** Memory that is page-aligned and never moves: shared, and WebAssembly's. `size`: of the backing, behind which comes memory for data on their way. */
function reserve(size: number): WebAssembly.Memory {
  const pages = Math.ceil(withStaging(size) / WASM_PAGE);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new HostError(`cannot reserve ${String(Math.ceil(size / MIB))} MiB of memory for the guest`, { cause });
  }
}

/** Views of more than 4 GiB end Node 20. */
function farPieces({ address, size }: NonNullable<KvmShare['far']>): Uint8Array[] {
  return Array.from({ length: Math.ceil(size / FAR_PIECE) }, (_, i) => {
    const { buffer } = viewAt(address + BigInt(i * FAR_PIECE), Math.min(FAR_PIECE, size - i * FAR_PIECE));
    return new Uint8Array(buffer);
  });
}

/** What a Vm has of KVM, and gives back at its end. */
class Resources {
  private readonly system = new KvmSystem();
  readonly fd: number;
  readonly cpus: CpuHandle[] = [];
  readonly far: KvmShare['far'];
  readonly runSize: number;
  readonly capabilities: KvmCapabilities;
  readonly supported: readonly CpuidWords[];
  private readonly given: (() => void)[] = [() => this.system.close()];

  constructor(cpus: number, { model, tscHz, irqchip = 'off', farSize = 0, losesDeadlines }: KvmVmOptions) {
    const { system, given } = this;
    try {
      this.capabilities = { sregs2: system.has(CAP.SREGS2), xcrs: system.has(CAP.XCRS) };
      this.supported = readSupportedCpuid(system.fd, irqchip !== 'off' || losesDeadlines !== true);
      this.runSize = system.runSize;
      if (farSize > 0) this.far = this.mapFar(farSize);
      this.fd = system.createVm();
      given.push(() => close(this.fd));
      system.createChips(this.fd, irqchip);
      system.routeMsrs(this.fd, model, irqchip);
      // Where the processor can, guests see the rate that they were told.
      const scales = system.has(CAP.TSC_CONTROL);
      for (let index = 0; index < cpus; index++) {
        const fd = ioctl(this.fd, KVM.CREATE_VCPU, index, 'KVM_CREATE_VCPU');
        given.push(() => close(fd));
        const run = map(fd, this.runSize);
        given.push(() => run.unmap());
        this.cpus.push({ fd, run: run.address });
        if (scales) ioctl(fd, KVM.SET_TSC_KHZ, Math.round(tscHz / 1000), 'KVM_SET_TSC_KHZ');
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private mapFar(size: number): KvmShare['far'] {
    try {
      const { address, unmap } = mapMemory(size);
      this.given.push(unmap);
      return { address, size };
    } catch (cause) {
      throw new HostError(`cannot reserve ${String(Math.ceil(size / MIB))} MiB of memory for the guest`, { cause });
    }
  }

  /** The last first. */
  close(): void {
    for (let giveBack = this.given.pop(); giveBack; giveBack = this.given.pop()) giveBack();
  }
}

export class KvmVm implements Vm {
  readonly backing: Uint8Array;
  readonly staging: Uint8Array;
  readonly far: readonly Uint8Array[] | undefined;
  readonly dma: Dma;
  readonly share: KvmShare;
  readonly signals: CpuWords;
  readonly chips: KvmChips | undefined;
  /** Absent: another thread's Vm has them. */
  private resources: Resources | undefined;
  private readonly slotDma: SlotDma;
  private readonly writes: WriteLog;
  /** Those on this thread. */
  private readonly cpus: (KvmVcpu | undefined)[] = [];
  /** By KVM's number. */
  private slots: (MemorySlot | undefined)[] = [];
  private readonly base: bigint;

  /** `share`: of the machine's Vm, for the thread of a CPU. Throws a one-line error when the host cannot do it. */
  constructor(
    readonly options: KvmVmOptions,
    share?: KvmShare,
  ) {
    const { backingSize, cpus = 1 } = options;
    const memory = share?.memory ?? reserve(backingSize);
    this.backing = new Uint8Array(memory.buffer, 0, backingSize);
    this.staging = new Uint8Array(memory.buffer, backingSize);
    this.base = addressOf(this.backing);
    this.signals = new CpuWords(cpus, share?.words);
    this.share = share ?? this.acquire(memory, options);
    const { vm, cpus: handles, irqchip, far } = this.share;
    this.far = far && farPieces(far);
    if (!share) for (const piece of this.far ?? []) preferHugePages(piece);
    this.writes = new WriteLog(vm);
    this.slotDma = new SlotDma({
      memory,
      backing: this.backing,
      far: this.far,
      written: (...range) => this.backingWritten(...range),
    });
    this.dma = this.slotDma;
    if (irqchip !== 'off') this.chips = new KvmChips(vm, handles, irqchip === 'on');
  }

  private acquire(memory: WebAssembly.Memory, options: KvmVmOptions): KvmShare {
    preferHugePages(this.backing);
    this.resources = new Resources(options.cpus ?? 1, options);
    const { fd, cpus, runSize, capabilities, supported, far } = this.resources;
    const { irqchip = 'off' } = options;
    return { memory, words: this.signals.buffer, vm: fd, cpus, runSize, capabilities, supported, irqchip, far };
  }

  get seenCpuid(): readonly CpuidWords[] {
    return this.options.seenCpuid ?? this.cpuid(0);
  }

  /** CPUID of a CPU, as KVM is told it. */
  cpuid(index: number): readonly CpuidEntry[] {
    return withSupported(this.options.cpuid(index), this.share.supported);
  }

  /** KVM sees changes of code by itself. */
  backingWritten(offset: number, length: number): void {
    this.writes.wrote(offset, length);
  }

  takeWritten(offset: number, into: Uint8Array): void {
    this.writes.take(offset, into);
  }

  setSlots(slots: readonly MemorySlot[]): void {
    const same = (a: MemorySlot | undefined, b: MemorySlot): boolean =>
      a?.start === b.start && a.size === b.size && a.offset === b.offset && a.kind === b.kind;
    // What goes first makes room for what comes.
    for (const [number, old] of this.slots.entries()) {
      if (old === undefined || slots.some((slot) => same(old, slot))) continue;
      this.writes.removing(number);
      this.setRegion(number, { ...old, size: 0 });
      this.slots[number] = undefined;
    }
    for (const slot of slots) {
      if (this.slots.some((old) => same(old, slot))) continue;
      const free = this.slots.indexOf(undefined);
      const number = free < 0 ? this.slots.length : free;
      this.setRegion(number, slot);
      this.writes.added(number, slot);
      this.slots[number] = slot;
    }
    this.slotDma.setSlots(slots);
  }

  /** Size 0: takes it away. */
  private setRegion(number: number, { start, size, offset, kind, watched }: MemorySlot): void {
    const region = new Structure(SIZE.MEMORY_REGION);
    region.view.setUint32(0, number, true);
    region.view.setUint32(4, (kind === 'rom' ? MEM_READONLY : 0) | (watched ? MEM_LOG_DIRTY_PAGES : 0), true);
    region.setU64(8, BigInt(start));
    region.setU64(16, BigInt(size));
    const { far } = this.share;
    const behind = offset - this.backing.length;
    region.setU64(24, far && behind >= 0 ? far.address + BigInt(behind) : this.base + BigInt(offset));
    assert(this.resources !== undefined, "the machine's thread has the memory map");
    ioctl(this.resources.fd, KVM.SET_USER_MEMORY_REGION, region.bytes, 'KVM_SET_USER_MEMORY_REGION');
  }

  /** KVM's clock for the guest is the machine's, which says `now`. */
  setGuestClock(now: number): void {
    if (!hasKvmClock(this.options.model)) return;
    const data = new Structure(SIZE.CLOCK_DATA);
    data.setU64(0, BigInt(Math.floor(now)));
    ioctl(this.share.vm, KVM.SET_CLOCK, data.bytes, 'KVM_SET_CLOCK');
  }

  createVcpu(index: number, environment: VcpuEnvironment): KvmVcpu {
    // A CPU of KVM lasts as long as its machine: a board that is built anew gets the same one.
    const known = this.cpus.at(index);
    if (known) {
      known.connect(environment);
      return known;
    }
    const isElsewhere = this.resources === undefined;
    if (isElsewhere) this.signals.start(index);
    try {
      const cpu = new KvmVcpu(this, index, environment);
      this.cpus[index] = cpu;
      return cpu;
    } finally {
      if (isElsewhere) this.signals.ready(index);
    }
  }

  /** On the machine's thread: ends the CPUs of other threads, wherever they are. On others nothing: they end with that one. */
  dispose(): void {
    const { resources, signals, cpus, share } = this;
    if (resources === undefined) return;
    this.resources = undefined;
    const elsewhere = [...share.cpus.keys()].filter((index) => cpus.at(index) === undefined);
    // What a CPU may still use is not given to others.
    if (!elsewhere.map((index) => signals.end(index)).every(Boolean)) return;
    for (const index of elsewhere) {
      const timer = signals.timer(index);
      if (timer !== undefined) deleteTimer(timer);
    }
    for (const cpu of cpus) cpu?.close();
    resources.close();
  }
}
