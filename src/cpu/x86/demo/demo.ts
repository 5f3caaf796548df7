import type { Assembler, Label } from '../assembler/index.js';
import type { Cells, StagePlan, Variables } from './plan.js';

/** What the parts of the guest share while it is put together. */
export interface Demo {
  readonly v: Variables;
  readonly cells: Cells;
  /** 16-bit code below 64 KiB; all its labels are bound as soon as they are made. */
  readonly low: Assembler;
  /** 32- and 64-bit code and data. */
  readonly main: Assembler;
  /** Entries of the interrupt vector table, by vector. */
  readonly vectors: Map<number, number>;
}

/** A stage as the guest's main program calls it: a subroutine in code of the stage's width. */
export interface EmittedStage {
  readonly stage: StagePlan;
  readonly entry: Label;
}
