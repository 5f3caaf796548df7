import type { Gpa } from '../base/units.js';

/** An interrupt input, as its driver sees it. Setting a level that already stands does nothing. */
export interface IrqLine {
  set(asserted: boolean): void;
}

/** Where message-signalled interrupts go: a write of `data` to `address` (PCI 3.0 §6.8). */
export interface MsiSink {
  deliver(address: Gpa, data: number): void;
}

/** Bytes that a character device sends out: to a terminal, a file, a socket. */
export interface CharSink {
  write(bytes: Uint8Array): void;
}

/**
 * The front half of a character device as its back end sees it. The back end offers input; the device takes what its
 * FIFO has room for and says how much; it calls `onDrain` when there is room again.
 */
export interface CharReceiver {
  /** Returns how many of the bytes were taken, from the front. */
  receive(bytes: Uint8Array): number;
  /** Set by the back end; called when a `receive` that was cut short may be tried again. */
  onDrain: (() => void) | undefined;
}

/** What a device may ask of the machine as a whole. */
export interface MachineControl {
  /** The guest switched itself off (ACPI S5, …). Takes effect when the current instruction has finished. */
  powerOff(): void;
  /** The guest reset the machine (port 0xcf9, keyboard controller, …). */
  reset(): void;
  /** A test device ends the machine with this process exit code, 0 … 255. */
  exit(code: number): void;
}
