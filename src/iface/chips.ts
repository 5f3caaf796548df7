/** Interrupt controllers that an accelerator has itself, in the place of the board's. */
import type { IrqLine } from './lines.js';
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

/** An 8259A: its registers by their names in the data sheet, bytes. */
export interface PicRegisters {
  readonly irr: number;
  readonly isr: number;
  readonly imr: number;
  /** Levels of the inputs. */
  readonly pins: number;
  /** Edge/level control: 1 is level. */
  readonly elcr: number;
  /** Vector of input 0. */
  readonly base: number;
  /** The level of lowest priority. */
  readonly bottom: number;
  /** The next initialization word that A0 = 1 takes: 2 … 4, or 0 outside the sequence. */
  readonly expecting: number;
  readonly withIcw4: boolean;
  readonly autoEoi: boolean;
  readonly rotateAutoEoi: boolean;
  readonly fullyNested: boolean;
  readonly specialMask: boolean;
  readonly readIsr: boolean;
  readonly poll: boolean;
}

export interface IoApicRegisters {
  readonly apicId: number;
  /** IOREGSEL. */
  readonly select: number;
  /** Halves of the redirection entries, by pin. */
  readonly low: readonly number[];
  readonly high: readonly number[];
  /** Levels of the inputs. */
  readonly levels: readonly boolean[];
}

/** A counter of an 8254. */
export interface PitRegisters {
  /** 0 … 5; undefined: it was never programmed. */
  readonly mode: number | undefined;
  /** Of reads and writes: 1 low byte, 2 high byte, 3 both. */
  readonly access: number;
  /** What it counts: 1 … 0x1_0000. */
  readonly count: number;
  /** Nanoseconds of the machine's clock since it began. */
  readonly age: number;
  readonly gate: boolean;
  /** First byte of a write of two. */
  readonly partial: number | null;
  /** The next read gives the second byte. */
  readonly readHigh: boolean;
  readonly latchedCount: number | null;
  readonly latchedStatus: number | null;
}

/** 8259s, I/O APIC and 8254 that the accelerator has: the guest reaches them there. On the machine's thread. */
export interface OutsideControllers {
  /** A board is built anew: its devices assert nothing yet. */
  release(): void;
  /** Input 0 … 15 of the 8259s; not 2. Pin 0 is the I/O APIC's pin 2, too. */
  pic(pin: number): IrqLine;
  ioApic(pin: number): IrqLine;
  loadPics(): readonly [PicRegisters, PicRegisters];
  storePics(first: PicRegisters, second: PicRegisters): void;
  loadIoApic(): IoApicRegisters;
  storeIoApic(registers: IoApicRegisters): void;
  /** The three counters, and whether port 61h lets the last one to the speaker. */
  loadPit(): { readonly counters: readonly PitRegisters[]; readonly speaker: boolean };
  storePit(counters: readonly PitRegisters[], speaker: boolean): void;
  /** Something else is to drive interrupt 0 in the 8254's place. */
  replacePit(replaced: boolean): void;
}

export interface AcceleratorChips {
  /** Absent: they are the board's. */
  readonly controllers?: OutsideControllers | undefined;
  /** The CPUs wait inside for interrupts and STARTUP messages: `run` does not come back with `halt` for that. */
  localApic(index: number): ApicRegisters;
  /** Hands a message to local APICs. False: none accepted it. Callable on any thread. */
  send(message: ApicMessage, destination: Destination): boolean;
  /** What the I/O APIC has become: of its level-triggered interrupts it is told the end. */
  setRedirections(entries: Redirections): void;
}
