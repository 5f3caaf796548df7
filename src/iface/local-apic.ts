/**
 * A local APIC as its CPU and the rest of the machine see it (Intel SDM vol. 3 ch. 11). The chip is a device; it lives
 * on its CPU's thread. An accelerator with an in-kernel APIC has its own.
 */
export interface LocalApic {
  /** IA32_APIC_BASE MSR (0x1b): base, x2APIC and global enable. A write that must fault returns false. */
  readonly apicBase: bigint;
  writeApicBase(value: bigint): boolean;
  /** MMIO window at the base: `offset` 0 … 0xfff, 32 bits wide. */
  mmioRead(offset: number): number;
  mmioWrite(offset: number, value: number): void;
  /** x2APIC MSRs 0x800 … 0x8ff: undefined or false when the access must raise #GP. */
  readMsr(index: number): bigint | undefined;
  writeMsr(index: number, value: bigint): boolean;
  /** IA32_TSC_DEADLINE (0x6e0), in ticks of the guest's TSC. */
  tscDeadline: bigint;
  /** Task priority as CR8 shows it: bits 7:4 of TPR. */
  cr8: number;
  /** Highest pending vector above the processor priority, or -1. No side effects. */
  pendingVector(): number;
  /** Takes the pending vector into service (INTA). -1 when it has gone meanwhile (spurious vector applies). */
  acknowledge(): number;
  /**
   * An interrupt of the 8259 waits, passed on by LINT0 (virtual wire) or an ExtINT message. It has no vector yet and no
   * priority: the CPU takes it whenever it accepts interrupts at all. No side effects.
   */
  readonly extIntPending: boolean;
  /** Takes that interrupt; its vector then comes from the 8259 (`VcpuEnvironment.acknowledgeExtInt`). False: it has gone. */
  takeExtInt(): boolean;
  /** A message from the bus: MSI, I/O APIC or another CPU. */
  deliver(message: ApicMessage): void;
  /** Takes what other threads have left for it. Absent: nothing comes from others. */
  takeIn?(): void;
  /** LINT0 as the 8259 drives it, LINT1 as the NMI line. */
  setLint(pin: 0 | 1, asserted: boolean): void;
  /** The guest's TSC was written or its offset changed: TSC deadlines are measured anew. */
  tscChanged(): void;
  /** CPU reset (or INIT when `init`: keeps the APIC id and base). An INIT message resets the APIC before `ApicCpu.init`. */
  reset(init: boolean): void;
}

/** Delivery modes, SDM vol. 3 §11.5.1 and §11.6.1. */
export type DeliveryMode = 'fixed' | 'lowest' | 'smi' | 'nmi' | 'init' | 'startup' | 'extint';

/** To whom a message goes, SDM vol. 3 §11.6.2. */
export interface Destination {
  /** An APIC id, or a set of logical ids. */
  readonly id: number;
  readonly logical: boolean;
  /** A 32-bit destination, from an x2APIC; otherwise 8 bits, from an xAPIC, an I/O APIC or an MSI. */
  readonly wide: boolean;
}

export interface ApicMessage {
  readonly mode: DeliveryMode;
  /** Vector; start page for `startup`. */
  readonly vector: number;
  readonly level: boolean;
  /** Level-triggered messages: an EOI is broadcast to the I/O APIC. */
  readonly trigger: 'edge' | 'level';
}

/** What a local APIC asks of its CPU. */
export interface ApicCpu {
  /** Something changed that the CPU must look at before its next instruction: a pending interrupt, a lower TPR. */
  notify(): void;
  nmi(): void;
  init(): void;
  startup(page: number): void;
  /** The guest's time-stamp counter now, and its rate in Hz. */
  readTsc(): bigint;
  readonly tscFrequency: number;
}
