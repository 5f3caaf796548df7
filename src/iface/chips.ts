/** Interrupt controllers that an accelerator has itself, in the place of the board's. */
import type { ApicMessage, Destination } from './local-apic.js';

/** The local APIC of one CPU, on that CPU's thread. */
export interface ApicRegisters {
  /** IA32_APIC_BASE. Any value that is legal in itself can be set, whatever it was before. */
  base: bigint;
  /** IA32_TSC_DEADLINE; 0: none. */
  tscDeadline: bigint;
  /**
   * A copy of the registers as they lie in memory (SDM vol. 3 table 11-1), 1 KiB, when the machine's clock says what it says now. ICR has its destination in the
   * register at 310h in x2APIC mode, too. In the mode that `base` says.
   */
  load(): DataView;
  /** Sets them, and starts the timer at the current count, not at the initial one. */
  store(registers: DataView): void;
}

/** Redirection entries of the I/O APIC, by pin: their two halves, 82093AA §3.2.4. */
export type Redirections = readonly { readonly low: number; readonly high: number }[];

export interface AcceleratorChips {
  /** The CPUs wait inside for interrupts and STARTUP messages: `run` does not come back with `halt` for that. */
  localApic(index: number): ApicRegisters;
  /** Hands a message to local APICs. False: none accepted it. Callable on any thread. */
  send(message: ApicMessage, destination: Destination): boolean;
  /** What the I/O APIC has become: of its level-triggered interrupts it is told the end. */
  setRedirections(entries: Redirections): void;
}
