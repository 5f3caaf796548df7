/** A machine's memory and CPUs on the interpreter. */
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { Dma, MemorySlot } from '../../iface/guest-memory.js';
import type { CarriedCode, CpuSignals, VcpuEnvironment, Vm } from '../../iface/vcpu.js';
import { assert } from '../../base/assert.js';
import { PAGE_SIZE } from '../../base/units.js';
import { ATTN, STATE } from '../../cpu/x86/state-layout.js';
import { cpuOrigin, LAYOUT, REMOTE_FLAG } from '../../memory/layout.js';
import { SlotDma } from '../common/slot-dma.js';
import { adoptCode, takeCode } from './carried-code.js';
import type { InterpImage } from './image.js';
import { MachineMemory } from './memory.js';
import { InterpVcpu, type InterpVcpuOptions } from './vcpu.js';
import type { WasmCpu } from './wasm-cpu.js';

export interface InterpVmOptions {
  readonly image: InterpImage;
  readonly model: CpuModel;
  /** CPUID of the CPU with an index. */
  readonly cpuid: (index: number) => readonly CpuidEntry[];
  /** Ticks of the guest's time-stamp counter per second. */
  readonly tscHz: number;
  /** RAM and ROM together, in bytes; a multiple of the page size. */
  readonly backingSize: number;
  /** Virtual CPUs; absent: one. */
  readonly cpus?: number;
  /** The machine's memory, when another thread has made it: then that one fills it. */
  readonly memory?: WebAssembly.Memory;
  readonly createTranslator?: InterpVcpuOptions['createTranslator'];
  /** Made of the same image, for a machine of one CPU: `WasmCpu.ahead`. */
  readonly wasm?: WasmCpu | undefined;
}

export class InterpVm implements Vm {
  readonly backing: Uint8Array;
  readonly staging: Uint8Array;
  readonly dma: Dma;
  private readonly memory: MachineMemory;
  private readonly slotDma: SlotDma;
  /** Until there is a CPU. */
  private wasm: WasmCpu | undefined;
  /** Those on this thread, by index. */
  private readonly cpus: (InterpVcpu | undefined)[] = [];

  constructor(private readonly options: InterpVmOptions) {
    const { image, backingSize, cpus = 1, memory, wasm } = options;
    assert(image.anyCpu || cpus === 1, 'the interpreter is for as many CPUs');
    assert(wasm === undefined || cpus === 1, 'what is made ahead is for one CPU');
    this.wasm = wasm;
    this.memory = new MachineMemory(backingSize, cpus, { memory, ahead: wasm?.memory });
    if (!memory && !wasm) this.memory.bytes.set(image.decoderTables, LAYOUT.DECODER_TABLES);
    this.backing = this.memory.backing;
    this.staging = this.memory.staging;
    const written = (offset: number, length: number): void => {
      this.backingWritten(offset, length);
    };
    this.slotDma = new SlotDma({
      memory: this.memory.memory,
      backing: this.backing,
      written,
      ...(memory && { slots: () => this.memory.readSlots() }),
    });
    this.dma = this.slotDma;
  }

  backingWritten(offset: number, length: number): void {
    const host = this.memory.hostAddress(offset);
    // One of them tells the others.
    for (const cpu of this.cpus) cpu?.memoryWritten(host, length);
  }

  setSlots(slots: readonly MemorySlot[]): void {
    this.memory.writeSlots(slots);
    this.slotDma.setSlots(slots);
    for (let index = 0; index < this.memory.cpus; index++) {
      const own = this.cpus.at(index);
      if (own) own.memoryMapChanged();
      else this.memory.leave(index, REMOTE_FLAG.MAP);
    }
  }

  createVcpu(index: number, environment: VcpuEnvironment): InterpVcpu {
    const { image, model, cpuid, tscHz, createTranslator } = this.options;
    // A reset makes the CPU anew.
    const { wasm } = this;
    this.wasm = undefined;
    const cpu = new InterpVcpu({
      index,
      environment,
      image,
      model,
      cpuid: cpuid(index),
      tscHz,
      memory: this.memory,
      createTranslator,
      wasm,
    });
    this.cpus[index] = cpu;
    return cpu;
  }

  /** What other threads make their CPUs of this machine with. */
  get share(): WebAssembly.Memory {
    return this.memory.memory;
  }

  readonly signals: CpuSignals = {
    interrupt: (index) => {
      this.memory.attend(index, ATTN.INTR);
    },
    kick: (index) => {
      this.memory.attend(index, ATTN.KICK);
    },
    setA20: (index, enabled) => {
      this.memory.view.setBigUint64(
        LAYOUT.STATES + cpuOrigin(index) + STATE.A20_MASK,
        BigInt.asUintN(64, enabled ? ~0n : ~0x10_0000n),
        true,
      );
      this.memory.leave(index, REMOTE_FLAG.MAP);
    },
  };

  forget(): readonly Uint8Array[] {
    const { bytes } = this.memory;
    return this.cpus.flatMap((cpu, index) => {
      if (!cpu) return [];
      cpu.forget();
      const origin = cpuOrigin(index);
      // The pool begins with what says how full it is.
      return [
        bytes.subarray(origin + LAYOUT.JUMP_CACHE, origin + LAYOUT.JUMP_CACHE_END),
        bytes.subarray(origin + LAYOUT.CODE_POOL + PAGE_SIZE, origin + LAYOUT.CODE_POOL_END),
      ];
    });
  }

  /** As carried code has it: handlers of the interpreter are numbered by what there are. */
  private get name(): string {
    return this.options.createTranslator ? 'wasm' : 'interp';
  }

  takeCode(earlier: CarriedCode | undefined, write: (bytes: Uint8Array) => void): CarriedCode | undefined {
    if (this.memory.cpus > 1) return undefined;
    return takeCode({ memory: this.memory.view, accelerator: this.name }, earlier, write);
  }

  adoptCode(code: CarriedCode, read: (into: Uint8Array, offset: number) => void): void {
    if (code.accelerator !== this.name) return;
    adoptCode(this.memory.view, code, read);
    this.cpus[0]?.carryCode();
  }

  dispose(): void {
    for (const cpu of this.cpus) cpu?.dispose();
    this.cpus.length = 0;
  }
}
