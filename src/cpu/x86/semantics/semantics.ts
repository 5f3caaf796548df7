import type { Lift } from './lift.js';

/** What an instruction does: builds its intermediate form. It need not end with an exit: falling out goes to the next record. */
export type Semantics = (x: Lift) => void;
