import type { Plain } from '../snapshot/schema.js';
import type { BackingMemory, Dma, MemorySlot } from './guest-memory.js';
import type { GuestIo } from './bus.js';
import type { AcceleratorChips } from './chips.js';
import type { LocalApic } from './local-apic.js';

/** Why `run` came back. A closed union: switch over it exhaustively. */
export type VcpuExit =
  /** The instruction budget is used up. */
  | { readonly kind: 'budget' }
  /** Somebody called `kick`. */
  | { readonly kind: 'kicked' }
  /** HLT or MWAIT: nothing to do until an interrupt. */
  | { readonly kind: 'halt' }
  /** Triple fault. */
  | { readonly kind: 'shutdown' }
  /** A breakpoint, a watchpoint or a completed single step, for the debugger. */
  | { readonly kind: 'debug'; readonly reason: DebugReason };

/** Why a CPU has stopped for a debugger. */
export type DebugReason =
  | { readonly kind: 'step' }
  | { readonly kind: 'breakpoint'; readonly address: bigint }
  | { readonly kind: 'watchpoint'; readonly address: bigint; readonly access: 'write' | 'access' };

/** An exception or interrupt as it is delivered, or as its delivery is tried. */
export interface CpuEvent {
  readonly vector: number;
  /** `software`: by an instruction, INT n or INT3; `trap`: reported behind the instruction that caused it. */
  readonly kind: 'fault' | 'interrupt' | 'software' | 'trap';
  readonly errorCode: number | undefined;
  /** Where it returns to. */
  readonly selector: number;
  readonly offset: bigint;
  /** Of a page fault: the linear address. */
  readonly address: bigint | undefined;
}

/** Where the next instruction is. */
export interface CodeLocation {
  readonly selector: number;
  readonly offset: bigint;
  readonly linear: bigint;
  /** Default size of operands and addresses there; 64 in 64-bit mode. */
  readonly bits: 16 | 32 | 64;
}

/** What the debugger wants watched. Addresses are linear. */
export interface DebugRequest {
  readonly singleStep: boolean;
  readonly breakpoints: readonly bigint[];
  readonly watchpoints: readonly {
    readonly address: bigint;
    readonly length: number;
    readonly access: 'write' | 'access';
  }[];
}

/** One virtual CPU. All methods are called on the thread that runs it. */
export interface Vcpu {
  readonly index: number;
  /** Budgets of `run` are nanoseconds, about, instead of instructions: the accelerator cannot count those. */
  readonly isTimed?: boolean;
  /** It was halted inside, where it waits for interrupts or to be started, when `run` came back: it may run for long without a look at anything. */
  readonly isAsleep?: boolean;
  /** The machine's clock goes on, and nobody runs yet. For accelerators with chips of their own. */
  resume?(): void;
  /** Runs at most `budget` instructions (exact on interp and wasm). `least`: nanoseconds that a CPU that is timed does not cut short by itself. */
  run(budget: number, least?: number): VcpuExit;
  /** Makes a running or next `run` return soon with `kicked`. Callable inside device callbacks. */
  kick(): void;
  /** The local APIC may have an interrupt for this CPU: it looks before its next instruction. */
  notifyInterrupt(): void;
  nmi(): void;
  init(): void;
  /** STARTUP message: start page 0 … 255. */
  startup(page: number): void;
  /** The A20 line: off clears bit 20 of every physical address. */
  setA20(enabled: boolean): void;
  /** The time-stamp counter now, or at a time of the machine's clock where the accelerator knows it. */
  readTsc(at?: number): bigint;
  /** Instructions retired since creation; undefined where the accelerator cannot count them. */
  readonly retired: bigint | undefined;
  /** The architectural state, by the schema of the guest architecture; JSON-like plain data. */
  saveState(): Plain;
  restoreState(state: Plain): void;
  /** Power-on reset of the processor. */
  reset(): void;
  /** Breakpoints and watchpoints in all, where there is a limit below the debugger's own. */
  readonly debugPlaces?: number;
  /** Sets what the debugger watches; takes effect at the next `run`. */
  setDebug(request: DebugRequest): void;
  readonly location: CodeLocation;
  /** The events that were delivered last, the oldest first: a few, or none where the accelerator does not know. */
  readonly recentEvents: readonly CpuEvent[];
  /** What was done so far and how, as lines of text; nothing where the accelerator keeps no count. */
  describeWork?(): readonly string[];
  /** Translates a linear address with the current page tables, without side effects. Undefined: not mapped. */
  translate(linear: bigint): number | undefined;
}

/** A clock in memory that the guest reads, and says by MSRs where. */
export interface GuestClock {
  /** The guest has written one of its MSRs. */
  written(index: number, value: bigint): void;
  /** The CPU has got a state, with these MSRs; its time-stamp counter has been set. */
  restored(msrs: ReadonlyMap<number, bigint>): void;
}

/** What a vCPU needs of its machine. */
export interface VcpuEnvironment {
  readonly io: GuestIo;
  readonly apic: LocalApic;
  /** Nanoseconds of the machine's clock, for the TSC. */
  now(): number;
  fillRandom(target: Uint8Array): void;
  /** When power came on, by that clock: the TSCs of all CPUs were 0. Absent: when this one was made. */
  readonly poweredAt?: number | undefined;
  /** Absent: the guest has none. An accelerator may have its own. */
  readonly guestClock?: GuestClock | undefined;
  /** Told of every event, where the accelerator knows them. */
  onEvent?(event: CpuEvent): void;
  /** The FERR# pin: an unmasked x87 error while CR0.NE is 0. */
  setFerr?(asserted: boolean): void;
  /** LOCK where no atomic access is possible: no other CPU executes anything in between. Absent: there are none, or not at the same time. */
  lockBus?(): void;
  unlockBus?(): void;
  /** The CPU waits for another one: lets that have the processor. */
  yield?(): void;
  /** A level-triggered interrupt of the I/O APIC has ended, where the accelerator has the local APIC. */
  endOfInterrupt?(vector: number): void;
  /** ExtINT: the 8259's vector, when the local APIC passes LINT0 on. */
  acknowledgeExtInt(): number;
}

/** What CPUID answers for one leaf: unsigned 32-bit numbers. */
export interface CpuidWords {
  readonly leaf: number;
  readonly subleaf: number;
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** What any thread can do to any CPU of a machine, whatever thread that runs on. */
export interface CpuSignals {
  /** As `notifyInterrupt` and `kick` of its Vcpu. */
  interrupt(index: number): void;
  kick(index: number): void;
  setA20(index: number, enabled: boolean): void;
}

/** What was made of a guest's code, for machines whose memory begins as that guest's was then. */
export interface CarriedCode {
  /** What made it, and can make use of it. */
  readonly accelerator: string;
  /** How often all had been forgotten. */
  readonly epoch: number;
  /** Bytes that were written. */
  readonly size: number;
  /** Where its records end and its pages begin, in the accelerator's memory. */
  readonly recordsEnd: number;
  readonly pagesStart: number;
  /** Pairs of a page and what is known of it. */
  readonly directory: Uint32Array;
  /** Instructions that lie in two pages. */
  readonly straddles: Uint8Array;
}

/** A machine's memory and CPUs on one accelerator. */
export interface Vm extends BackingMemory {
  /** Absent: all CPUs are on the thread that made this. */
  readonly signals?: CpuSignals;
  /** What another thread makes a Vm of the same machine from; can be posted. */
  readonly share?: unknown;
  /** Backing memory: RAM, then ROM; what is more than fits there is `far`. Slots map parts of it into guest-physical space. */
  readonly backing: Uint8Array;
  /**
   * Memory beside the backing, from a page of the host's on, that belongs to nobody and is not saved: between it and the backing `dma` copies fastest, and the host can
   * move data there by itself. It is the same for all threads of the machine. Empty: there is none.
   */
  readonly staging: Uint8Array;
  readonly dma: Dma;
  /** Tells the CPUs that `length` bytes of `backing` at `offset` were changed behind their back. */
  backingWritten(offset: number, length: number): void;
  /** Replaces the memory map; cached translations are dropped. */
  setSlots(slots: readonly MemorySlot[]): void;
  /**
   * Which pages of a slot that is `watched` and begins at an offset of the backing may have been written to since the last call, by CPUs and devices: 1 for each of them,
   * 0 for the others. All of them at first. Absent: the accelerator does not know.
   */
  takeWritten?(offset: number, into: Uint8Array): void;
  /** Interrupt controllers that the accelerator has itself; absent: all are the board's. */
  readonly chips?: AcceleratorChips | undefined;
  /** What CPUID tells the guest of features, where that may be more or less than it was asked to. */
  readonly seenCpuid?: readonly CpuidWords[] | undefined;
  createVcpu(index: number, environment: VcpuEnvironment): Vcpu;
  /**
   * Forgets what its CPUs can make again, while they do not run: the guest is slower for a moment when it goes on. Whole pages of memory that need not be
   * there then, as they are all zeros or nobody reads them. Absent: there is nothing of the kind.
   */
  forget?(): readonly Uint8Array[];
  /**
   * What the CPU has made of the guest's code, while it does not run; whole pages of it are written. `earlier`: what was taken before, and is the result while there is
   * little more (it is the caller's to know which pages of the guest have changed since). Undefined: there is nothing that others could use.
   */
  takeCode?(earlier: CarriedCode | undefined, write: (bytes: Uint8Array) => void): CarriedCode | undefined;
  /**
   * Begins with that, if it can, once the memory is what it is for and before anybody writes to it. `read` puts what was written from an offset on in the place of
   * whole pages.
   */
  adoptCode?(code: CarriedCode, read: (into: Uint8Array, offset: number) => void): void;
  dispose(): void;
}
