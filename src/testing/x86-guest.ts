/**
 * A machine for tests of processor behaviour: one CPU on an accelerator with 4 MiB of memory, port accesses that are
 * written down, and interrupts that the test raises. Programs end with HLT.
 */
import type { TranslatorSettings } from '../accel/wasm/translator.js';
import { InterpVm } from '../accel/interp/vm.js';
import type { InterpVcpu } from '../accel/interp/vcpu.js';
import { descriptor, resetVcpuState } from '../arch/x86/boot-state.js';
import { cpuModel, resetIdentity } from '../arch/x86/cpu-models.js';
import { cpuidLeaves } from '../arch/x86/cpuid.js';
import { GPR_NAMES, vcpuStateSchema, type GprName, type SegmentState, type VcpuState } from '../arch/x86/state.js';
import { MIB, type Gpa } from '../base/units.js';
import { Assembler, type Bits } from '../cpu/x86/assembler/index.js';
import type { Translation } from '../cpu/x86/translate/describe.js';
import type { VcpuExit } from '../iface/vcpu.js';
import { quietApic } from './quiet-apic.js';
import { accelerate, isTestedAccelerator, type TestedAccelerator } from './accelerators.js';

/** What benches run on that say nothing of it; vitest.config.ts runs tests of processor behaviour once for each. */
const usual = process.env['VITRINE_TEST_ACCEL'] ?? 'interp';
if (!isTestedAccelerator(usual)) throw new Error(`no accelerator ${usual}`);
const usualAccelerator: TestedAccelerator = usual;

export const GUEST_MEMORY = 4 * MIB;
const TSC_HZ = 1_000_000_000;
/** So many accesses to devices are written down. */
const MOST = 10_000;

/** Attributes of descriptors as `SegmentState` has them. */
export const ATTR = {
  CODE16: 0x009b,
  CODE32: 0xc09b,
  CODE64: 0xa09b,
  DATA16: 0x0093,
  DATA32: 0xc093,
  RING3: 0x60,
} as const;

export type Changes = Partial<Omit<VcpuState, 'gpr' | 'segments'>> & {
  readonly gpr?: Readonly<Partial<Record<GprName, bigint>>>;
  readonly segments?: Readonly<Partial<VcpuState['segments']>>;
};

export class GuestBench {
  readonly vm: InterpVm;
  readonly cpu: InterpVcpu;
  readonly view: DataView;
  /** What was written to ports: [port, size, value]. */
  readonly written: (readonly [number, number, number])[] = [];
  readonly mmio: (readonly ['read' | 'write', number, number])[] = [];
  /** Values that ports read. */
  readonly ports = new Map<number, number>();
  /** Called at each write to a port, in the middle of the instruction. */
  onPort: (port: number, value: number) => void = () => undefined;
  private readonly pending: number[] = [];
  private readonly model;

  constructor(
    options: {
      readonly model?: string;
      readonly accelerator?: TestedAccelerator;
      /** Index of the CPU, and how many the machine has. */
      readonly index?: number;
      readonly cpus?: number;
      /** The machine's memory, when it is another bench's too. */
      readonly memory?: WebAssembly.Memory;
      readonly hotAfter?: number;
      readonly observe?: (translation: Translation) => void;
      readonly translator?: TranslatorSettings;
    } = {},
  ) {
    const { index = 0, cpus = index + 1, memory } = options;
    this.model = cpuModel(options.model ?? 'x86-64-v2');
    const { model } = this;
    this.vm = new InterpVm({
      ...accelerate(
        options.accelerator ?? usualAccelerator,
        options.hotAfter ?? 1,
        options.observe,
        options.translator,
        cpus,
      ),
      cpus,
      ...(memory && { memory }),
      model,
      cpuid: () => cpuidLeaves(model, { cpus: 1, apicId: 0, tscHz: TSC_HZ, crystalHz: TSC_HZ }),
      tscHz: TSC_HZ,
      backingSize: GUEST_MEMORY,
    });
    this.vm.setSlots([{ start: 0 as Gpa, size: GUEST_MEMORY, offset: 0, kind: 'ram' }]);
    const { backing } = this.vm;
    this.view = new DataView(backing.buffer, backing.byteOffset, backing.byteLength);
    let now = 0;
    this.cpu = this.vm.createVcpu(index, {
      io: {
        portRead: (port) => this.ports.get(port) ?? 0xffff_ffff,
        portWrite: (port, size, value) => {
          if (this.written.length < MOST) this.written.push([port, size, value]);
          this.onPort(port, value);
        },
        mmioRead: (address, size) => {
          if (this.mmio.length < MOST) this.mmio.push(['read', address, size]);
          return 0xffff_ffff;
        },
        mmioWrite: (address, size) => {
          if (this.mmio.length < MOST) this.mmio.push(['write', address, size]);
        },
      },
      apic: quietApic(this.pending),
      now: () => (now += 1000),
      fillRandom: (target) => target.fill(0x5a),
      acknowledgeExtInt: () => 0,
    });
    this.set({});
  }

  /** Raises an external interrupt. */
  interrupt(vector: number): void {
    this.pending.push(vector);
    this.cpu.notifyInterrupt();
  }

  /** Forgets external interrupts that were not taken. */
  forgetInterrupts(): void {
    this.pending.length = 0;
  }

  get state(): VcpuState {
    return vcpuStateSchema.check(this.cpu.saveState(), 'cpu');
  }

  /** A general register by name. */
  reg(name: GprName): bigint {
    return this.state.gpr[GPR_NAMES.indexOf(name)];
  }

  /** Puts the CPU into its power-on state with changes. */
  set(changes: Changes): void {
    const base = resetVcpuState(resetIdentity(this.model), true);
    this.cpu.restoreState({
      ...base,
      ...changes,
      gpr: GPR_NAMES.map((name, n) => changes.gpr?.[name] ?? base.gpr[n]),
      segments: { ...base.segments, ...changes.segments },
    });
  }

  /** Assembles a program at an address. */
  asm(bits: Bits, origin: number, program: (asm: Assembler) => void, base = 0): void {
    const asm = new Assembler({ bits, origin });
    program(asm);
    this.vm.backing.set(asm.finish(), base + origin);
  }

  bytes(at: number, values: readonly number[]): void {
    this.vm.backing.set(values, at);
  }

  /** Runs to HLT or at most `budget` instructions. */
  run(budget = 2000): VcpuExit {
    return this.cpu.run(budget);
  }

  u16(at: number): number {
    return this.view.getUint16(at, true);
  }
  u32(at: number): number {
    return this.view.getUint32(at, true);
  }
  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }
  setU16(at: number, value: number): void {
    this.view.setUint16(at, value, true);
  }
  setU32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }
  setU64(at: number, value: bigint): void {
    this.view.setBigUint64(at, value, true);
  }

  /** Writes a segment or system descriptor of 8 bytes. */
  descriptor(at: number, base: bigint, limit: number, attributes: number): void {
    this.setU64(at, descriptor({ base, limit, attributes }));
  }

  /** A call, interrupt, trap or task gate of 8 bytes; `type` includes DPL and P: 0x8e, 0xee, 0xec … */
  gate(at: number, selector: number, offset: number, type: number, count = 0): void {
    this.setU32(at, (selector << 16) | (offset & 0xffff));
    this.setU32(at + 4, ((offset & 0xffff_0000) | (type << 8) | count) >>> 0);
  }

  /** An interrupt or trap gate of long mode. */
  gate64(at: number, selector: number, offset: number, type: number, ist = 0): void {
    this.gate(at, selector, offset, type, ist);
    this.setU64(at + 8, 0n);
  }
}

export const segment = (selector: number, base: bigint, limit: number, attributes: number): SegmentState => ({
  selector,
  base,
  limit,
  attributes,
});

/** Where `protectedMode` puts things. */
export const LAYOUT32 = {
  IDT: 0x1000,
  GDT: 0x2000,
  TSS: 0x3000,
  STACK0: 0x8000,
  STACK3: 0x9000,
  HANDLERS: 0x6000,
} as const;

/** Selectors of the GDT that `protectedMode` makes. */
export const SEL = {
  CODE0: 0x08,
  DATA0: 0x10,
  CODE3: 0x1b,
  DATA3: 0x23,
  TSS: 0x28,
  CODE16: 0x30,
  DATA16: 0x38,
  CONFORMING: 0x40,
  /** From here on tests put their own. */
  FREE: 0x48,
} as const;

/**
 * 32-bit protected mode with flat segments, a GDT (SEL), a TSS and an IDT of ring 0 gates: exception n writes n to port
 * 0x80 and halts with what the delivery pushed on the stack.
 */
export function protectedMode(g: GuestBench): Changes {
  const { GDT, IDT, TSS, HANDLERS, STACK0 } = LAYOUT32;
  const flat = 0xffff_ffff;
  g.setU64(GDT, 0n);
  g.descriptor(GDT + SEL.CODE0, 0n, flat, ATTR.CODE32);
  g.descriptor(GDT + SEL.DATA0, 0n, flat, ATTR.DATA32);
  g.descriptor(GDT + (SEL.CODE3 & ~3), 0n, flat, ATTR.CODE32 | ATTR.RING3);
  g.descriptor(GDT + (SEL.DATA3 & ~3), 0n, flat, ATTR.DATA32 | ATTR.RING3);
  g.descriptor(GDT + SEL.TSS, BigInt(TSS), 0x2068, 0x8b);
  g.descriptor(GDT + SEL.CODE16, 0n, 0xffff, ATTR.CODE16);
  g.descriptor(GDT + SEL.DATA16, 0n, 0xffff, ATTR.DATA16);
  g.descriptor(GDT + SEL.CONFORMING, 0n, flat, 0xc09f);
  g.setU32(TSS + 4, STACK0);
  g.setU32(TSS + 8, SEL.DATA0);
  g.setU16(TSS + 102, 0x68);
  for (let n = 0; n < 256; n++) {
    g.gate(IDT + n * 8, SEL.CODE0, HANDLERS + n * 8, 0x8e);
    // mov al, n; out 0x80, al; hlt
    g.bytes(HANDLERS + n * 8, [0xb0, n, 0xe6, 0x80, 0xf4]);
  }
  return {
    cr0: 0x11n,
    gdtr: { base: BigInt(GDT), limit: 0x3ff },
    idtr: { base: BigInt(IDT), limit: 0x7ff },
    gpr: { rsp: BigInt(STACK0) - 0x800n },
    segments: {
      cs: segment(SEL.CODE0, 0n, flat, ATTR.CODE32),
      ss: segment(SEL.DATA0, 0n, flat, ATTR.DATA32),
      ds: segment(SEL.DATA0, 0n, flat, ATTR.DATA32),
      es: segment(SEL.DATA0, 0n, flat, ATTR.DATA32),
      fs: segment(0, 0n, 0, 0x10000),
      gs: segment(0, 0n, 0, 0x10000),
      tr: segment(SEL.TSS, BigInt(TSS), 0x2068, 0x8b),
      ldtr: segment(0, 0n, 0, 0x10000),
    },
  };
}

/** What an exception handler of `protectedMode` saw: the vector (or -1) and the doublewords on its stack, top first. */
export function caught(g: GuestBench, words = 5): { vector: number; stack: number[] } {
  const sp = Number(g.reg('rsp') & 0xffff_ffffn);
  return {
    vector: g.written.at(-1)?.[2] ?? -1,
    stack: Array.from({ length: words }, (_, n) => (sp + n * 4 < GUEST_MEMORY ? g.u32(sp + n * 4) : 0)),
  };
}

/** Changes of protectedMode for a program in ring 3 at `rip`. */
export function inRing3(changes: Changes, rip: number): Changes {
  const flat = 0xffff_ffff;
  return {
    ...changes,
    rip: BigInt(rip),
    gpr: { rsp: BigInt(LAYOUT32.STACK3) },
    segments: {
      ...changes.segments,
      cs: segment(SEL.CODE3, 0n, flat, ATTR.CODE32 | ATTR.RING3),
      ss: segment(SEL.DATA3, 0n, flat, ATTR.DATA32 | ATTR.RING3),
      ds: segment(SEL.DATA3, 0n, flat, ATTR.DATA32 | ATTR.RING3),
      es: segment(SEL.DATA3, 0n, flat, ATTR.DATA32 | ATTR.RING3),
    },
  };
}
