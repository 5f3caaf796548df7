import type { Variant } from '../variants.js';
import { arithmetic } from './arithmetic.js';
import { bits } from './bits.js';
import { control } from './control.js';
import { moves } from './moves.js';
import type { Semantics } from './semantics.js';
import { shiftsAndRotates } from './shifts.js';
import { sseArithmetic } from './sse-arithmetic.js';
import { sseConvert } from './sse-convert.js';
import { sseInteger } from './sse-integer.js';
import { sseMoves } from './sse-moves.js';
import { sseShuffle } from './sse-shuffle.js';
import { system } from './system.js';
import { x87Arithmetic } from './x87-arithmetic.js';
import { x87Moves } from './x87-moves.js';

const ALL: Readonly<Record<string, Semantics>> = {
  ...arithmetic,
  ...bits,
  ...control,
  ...moves,
  ...shiftsAndRotates,
  ...sseMoves,
  ...sseArithmetic,
  ...sseConvert,
  ...sseInteger,
  ...sseShuffle,
  ...system,
  ...x87Arithmetic,
  ...x87Moves,
};

/** Instructions whose segmented-stack variant is left to a helper. */
const SEGMENTED_BY_HELPER = new Set(['leave', 'pushf', 'popf']);

/** The semantics of a variant over the intermediate form, or undefined when a helper `x_<name>` does it. */
export function semanticsOf(variant: Variant): Semantics | undefined {
  const { row } = variant;
  if (variant.stack === 'segmented' && SEGMENTED_BY_HELPER.has(row.name)) return undefined;
  return Object.hasOwn(ALL, row.name) ? ALL[row.name] : undefined;
}
