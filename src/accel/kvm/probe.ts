/**
 * What a KVM can run. That /dev/kvm opens says little: there are KVMs, without VT-x or AMD-V under them, that emulate most of a
 * kernel's instructions and give up at some. A guest of a few instructions for each of what every operating system needs.
 */
import { DEFAULT_CPU_MODEL } from '../../arch/x86/cpu-models.js';
import { resetVcpuState } from '../../arch/x86/boot-state.js';
import { MSR } from '../../arch/x86/msrs.js';
import type { SegmentState, VcpuState } from '../../arch/x86/state.js';
import { VitrineError } from '../../base/errors.js';
import type { CpuidWords } from '../../iface/vcpu.js';
import { CAP, EXIT, KVM, RUN, SIZE } from './abi.js';
import { addressOf, close, ERRNO, ioctl, ioctlRun, map, runSignalMask, ThreadTimer, type Mapping } from './libc.js';
import { Registers, Structure } from './registers.js';
import { KvmSystem } from './system.js';

/** Nanoseconds that a guest of the probe may take, each time that it is tried; all together take less than the first. On a busy host, or a slow one, it may have had none of them. */
const TIMES = [15e6, 100e6, 500e6] as const;
/** Exits that a guest of the probe may take. */
const EXITS = 100;

const MEMORY = 0x1_0000;
/** Where things are in the probe's memory. */
const AT = {
  PML4: 0x1000,
  PDPT: 0x2000,
  PD: 0x3000,
  GDT: 0x4000,
  IDT: 0x5000,
  PD32: 0x7000,
  CODE: 0x8000,
  HANDLER: 0x8100,
  DATA: 0x9000,
  SEEN: 0xa000,
  STACK: 0xf000,
  /** Behind it: accesses come to us. */
  OUTSIDE: MEMORY,
} as const;
const VECTOR = 0x40;
/** What a guest says at the port when all went well. */
const WELL = 0x5a;
const PORT = 0x80;

/** Exits by which a guest answers. */
const ANSWERS: ReadonlySet<number> = new Set([EXIT.IO, EXIT.MMIO, EXIT.X86_WRMSR]);

/** `out 0x80, al; hlt` */
const SAY = [0xe6, PORT, 0xf4];

const segment = (selector: number, attributes: number): SegmentState => ({
  selector,
  base: 0n,
  limit: 0xffff_ffff,
  attributes,
});

interface Guest {
  /** What it shows, for people. */
  readonly what: string;
  readonly code: readonly number[];
  readonly state: Partial<VcpuState>;
}

function segments(cs: SegmentState, data: SegmentState): Partial<VcpuState['segments']> {
  return { cs, ss: data, ds: data, es: data, fs: data, gs: data };
}

const LONG = { cr0: 0x8000_0033n, cr4: 0x620n, cr3: BigInt(AT.PML4), efer: 0x500n } as const;
const RING0 = segments(segment(8, 0xa09b), segment(16, 0xc093)) as VcpuState['segments'];
const RING3 = segments(segment(0x2b, 0xa0fb), segment(0x23, 0xc0f3)) as VcpuState['segments'];

const GUESTS: readonly Guest[] = [
  {
    what: '64-bit mode',
    // mov eax, [DATA]
    code: [0x8b, 0x04, 0x25, AT.DATA & 0xff, AT.DATA >> 8, 0, 0, ...SAY],
    state: { ...LONG, segments: RING0 },
  },
  {
    what: '32-bit paging',
    // mov eax, [DATA]
    code: [0xa1, AT.DATA & 0xff, AT.DATA >> 8, 0, 0, ...SAY],
    state: {
      cr0: 0x8000_0033n,
      cr4: 0x10n,
      cr3: BigInt(AT.PD32),
      segments: segments(segment(8, 0xc09b), segment(16, 0xc093)) as VcpuState['segments'],
    },
  },
  {
    what: 'INT and IRET in ring 0',
    // int 0x40; mov al, WELL
    code: [0xcd, VECTOR, 0xb0, WELL, ...SAY],
    state: { ...LONG, segments: RING0 },
  },
  {
    what: 'SSE in ring 0',
    // movaps xmm0, [DATA + 16]; paddd xmm0, xmm0; movd eax, xmm0
    code: [0x0f, 0x28, 0x04, 0x25, 0x10, AT.DATA >> 8, 0, 0, 0x66, 0x0f, 0xfe, 0xc0, 0x66, 0x0f, 0x7e, 0xc0, ...SAY],
    state: { ...LONG, segments: RING0 },
  },
];

const little = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** In ring 3: mov eax, leaf; mov ecx, subleaf; cpuid; mov each of the four to SEEN; mov [OUTSIDE], eax */
const cpuidCode = (leaf: number, subleaf: number): number[] => [
  ...[0xb8, ...little(leaf), 0xb9, ...little(subleaf), 0x0f, 0xa2],
  ...[0x04, 0x1c, 0x0c, 0x14].flatMap((register, i) => [0x89, register, 0x25, ...little(AT.SEEN + 4 * i)]),
  ...[0x89, 0x04, 0x25, ...little(AT.OUTSIDE)],
];

/** mov ecx, TSC_DEADLINE; mov eax, 1; xor edx, edx; wrmsr */
const DEADLINE: Guest = {
  what: 'TSC deadlines',
  code: [0xb9, ...little(MSR.TSC_DEADLINE), 0xb8, ...little(1), 0x31, 0xd2, 0x0f, 0x30, ...SAY],
  state: { ...LONG, segments: RING0 },
};

/** Leaves of features. */
const LEAVES = [
  [1, 0],
  [7, 0],
  [0xd, 1],
  [0x8000_0001, 0],
] as const;

export interface KvmProbe {
  /** What of all that operating systems need does not work; nothing when they can run. */
  readonly lacking: readonly string[];
  /** CPUID gives guests what it was told to: a CPU model hides what the host has besides. */
  readonly masksCpuid: boolean;
  /** What it gives them of features, where it does not. */
  readonly seenCpuid?: readonly CpuidWords[];
  /**
   * Where the local APIC is not KVM's, what a guest writes to IA32_TSC_DEADLINE is lost, whatever a filter says: KVM takes it for its own local APIC's before it looks at filters
   * (arch/x86/kvm/x86.c, handle_fastpath_set_tscdeadline). Linux 6.1 does so where it has VT-x's preemption timer; a patch of 2025 on every processor.
   */
  readonly losesDeadlines: boolean;
}

class ProbeMachine {
  private readonly vm: number;
  private readonly cpu: number;
  private readonly run: Mapping;
  private readonly registers: Registers;
  private readonly timer = new ThreadTimer();
  private readonly memory: Uint8Array;

  constructor(system: KvmSystem) {
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    this.memory = new Uint8Array(buffer);
    const had: (() => void)[] = [() => this.timer.close()];
    try {
      this.vm = system.createVm();
      had.push(() => close(this.vm));
      system.routeMsrs(this.vm, DEFAULT_CPU_MODEL, 'off');
      const region = new Structure(SIZE.MEMORY_REGION);
      region.setU64(16, BigInt(MEMORY));
      region.setU64(24, addressOf(this.memory));
      ioctl(this.vm, KVM.SET_USER_MEMORY_REGION, region.bytes, 'KVM_SET_USER_MEMORY_REGION');
      this.cpu = ioctl(this.vm, KVM.CREATE_VCPU, 0, 'KVM_CREATE_VCPU');
      had.push(() => close(this.cpu));
      this.run = map(this.cpu, system.runSize);
      had.push(() => this.run.unmap());
      ioctl(this.cpu, KVM.SET_SIGNAL_MASK, runSignalMask(), 'KVM_SET_SIGNAL_MASK');
      this.registers = new Registers(this.cpu, { sregs2: system.has(CAP.SREGS2), xcrs: false }, DEFAULT_CPU_MODEL);
      this.setCpuid();
      this.fill();
    } catch (error) {
      for (const giveBack of had.toReversed()) giveBack();
      throw error;
    }
  }

  /** A processor of 64 bits with SSE2 and nothing else. */
  private setCpuid(): void {
    const EDX = 0x0780_a179;
    const LONG_MODE = 1 << 29;
    const SYSCALL = 1 << 11;
    const NX = 1 << 20;
    const entries = [
      [0, 0, 0, 1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
      [1, 0, 0, 0x6f1, 0, 0, EDX],
      [0x8000_0000, 0, 0, 0x8000_0001, 0, 0, 0],
      [0x8000_0001, 0, 0, 0, 0, 0, LONG_MODE | SYSCALL | NX],
    ];
    const list = new Structure(8 + SIZE.CPUID_ENTRY * entries.length);
    list.view.setUint32(0, entries.length, true);
    for (const [i, words] of entries.entries())
      for (const [j, word] of words.entries()) list.view.setUint32(8 + SIZE.CPUID_ENTRY * i + 4 * j, word, true);
    ioctl(this.cpu, KVM.SET_CPUID2, list.bytes, 'KVM_SET_CPUID2');
  }

  private fill(): void {
    const view = new DataView(this.memory.buffer);
    const u64 = (at: number, value: bigint): void => view.setBigUint64(at, value, true);
    u64(AT.PML4, BigInt(AT.PDPT | 7));
    u64(AT.PDPT, BigInt(AT.PD | 7));
    u64(AT.PD, 0xe7n);
    view.setUint32(AT.PD32, 0xe7, true);
    u64(AT.GDT + 8, 0x00af_9b00_0000_ffffn);
    u64(AT.GDT + 16, 0x00cf_9300_0000_ffffn);
    // An interrupt gate.
    u64(AT.IDT + 16 * VECTOR, BigInt(AT.HANDLER) | (8n << 16n) | (0x8en << 40n));
    // iretq
    this.memory.set([0x48, 0xcf], AT.HANDLER);
    view.setUint32(AT.DATA, WELL, true);
    view.setUint32(AT.DATA + 16, WELL / 2, true);
  }

  /** Runs code until it leaves the guest in a way that `answer` knows; undefined when it did not get there. */
  private attempt<T>(
    code: readonly number[],
    changes: Partial<VcpuState>,
    answer: (run: DataView) => T,
  ): T | undefined {
    for (const time of TIMES) {
      const end = this.once(code, changes, answer, time);
      if (!end.isLate) return end.answer;
    }
    return undefined;
  }

  private once<T>(
    code: readonly number[],
    changes: Partial<VcpuState>,
    answer: (run: DataView) => T,
    time: number,
  ): { readonly answer?: T; readonly isLate?: boolean } {
    this.memory.fill(0, AT.CODE, AT.HANDLER);
    this.memory.set(code, AT.CODE);
    const base = resetVcpuState({ signature: 0x6f1, msrs: [] }, true);
    const gpr = base.gpr.map((value, i) => (i === 4 ? BigInt(AT.STACK) : value));
    const gdtr = { base: BigInt(AT.GDT), limit: 23 };
    const idtr = { base: BigInt(AT.IDT), limit: 0xfff };
    const tables = { gdtr, idtr, rip: BigInt(AT.CODE), gpr };
    const all = { ...base, ...tables, ...changes, segments: { ...base.segments, ...changes.segments } };
    const APIC_BASE = 0xfee0_0900n;
    this.registers.restore(all, APIC_BASE);
    this.timer.set(time);
    for (let i = 0; i < EXITS; i++) {
      const error = -ioctlRun(this.cpu, KVM.RUN);
      if (error === ERRNO.EINTR) {
        this.timer.drain();
        return { isLate: true };
      }
      if (error !== 0) return {};
      const { view } = this.run;
      const reason = view.getUint32(RUN.EXIT_REASON, true);
      if (ANSWERS.has(reason)) return { answer: answer(view) };
      if (reason !== EXIT.IRQ_WINDOW_OPEN && reason !== EXIT.INTR) return {};
    }
    return {};
  }

  works({ code, state }: Guest): boolean {
    try {
      const said = this.attempt(code, state, (run) => run.getUint8(Number(run.getBigUint64(RUN.IO_DATA_OFFSET, true))));
      return said === WELL;
    } catch (error) {
      if (error instanceof VitrineError) return false;
      throw error;
    }
  }

  /** What a guest in ring 3 sees; undefined when it does not get so far. */
  cpuid(leaf: number, subleaf: number): CpuidWords | undefined {
    try {
      const state = { ...LONG, segments: RING3 };
      const words = this.attempt(
        cpuidCode(leaf, subleaf),
        state,
        () => new Uint32Array(this.memory.slice(AT.SEEN, AT.SEEN + 16).buffer),
      );
      if (words === undefined) return undefined;
      const [eax, ebx, ecx, edx] = words;
      return { leaf, subleaf, eax, ebx, ecx, edx };
    } catch (error) {
      if (error instanceof VitrineError) return undefined;
      throw error;
    }
  }

  /** Such a write does not come to us. The last thing that is asked: what the guest did there stays unfinished. */
  get losesDeadlines(): boolean {
    try {
      const { code, state } = DEADLINE;
      const reason = this.attempt(code, state, (run) => run.getUint32(RUN.EXIT_REASON, true));
      return reason === EXIT.IO;
    } catch (error) {
      if (error instanceof VitrineError) return false;
      throw error;
    }
  }

  close(): void {
    this.timer.close();
    this.run.unmap();
    close(this.cpu);
    close(this.vm);
  }
}

let known: KvmProbe | undefined;

/** Finds out once for each thread. Takes a few milliseconds. Throws a one-line error when there is no KVM at all. */
export function probeKvm(): KvmProbe {
  if (known) return known;
  const system = new KvmSystem();
  try {
    const machine = new ProbeMachine(system);
    try {
      const lacking = GUESTS.filter((guest) => !machine.works(guest)).map(({ what }) => what);
      const seen = LEAVES.map(([leaf, subleaf]) => machine.cpuid(leaf, subleaf));
      // The guest was told of no feature in ECX of leaf 1. One that did not get so far says nothing against a KVM.
      const masksCpuid = seen[0] === undefined || seen[0].ecx === 0;
      const seenCpuid = seen.filter((words) => words !== undefined);
      const { losesDeadlines } = machine;
      known = { lacking, masksCpuid, losesDeadlines, ...(!masksCpuid && { seenCpuid }) };
      return known;
    } finally {
      machine.close();
    }
  } finally {
    system.close();
  }
}
