import type { Plain } from '../snapshot/schema.js';

/** The registers of a guest architecture as gdb numbers them, over the state that `Vcpu.saveState` gives. */
export interface GdbArchitecture {
  /** The target description, gdb manual appendix G. Registers are numbered in the order they stand in it. */
  readonly targetXml: string;
  /** Bytes of each register, in order. */
  readonly sizes: readonly number[];
  /** Little-endian contents of a register. */
  read(state: Plain, register: number): Uint8Array;
  /** The state with a register changed. */
  write(state: Plain, register: number, value: Uint8Array): Plain;
}
