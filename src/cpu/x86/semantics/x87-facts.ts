import type { Node } from '../../../ir/nodes.js';
import type { Extended } from './x87-stack.js';

const SUMS = /^f(add|sub|subr|mul)(p|_|$)/;
const FEW = 24;

/**
 * Whether code has so few sums and products of the x87 that they should be computed without calls. Each takes about 1 KiB of the
 * host's code and time to compile. `names` are those of its instructions.
 */
export function hasFewSums(names: Iterable<string>): boolean {
  let sums = 0;
  for (const name of names) if (SUMS.test(name)) sums++;
  return sums <= FEW;
}

/** What is known of the x87 at a point of straight-line code. MMX instructions and helpers that touch it make it `forget`. */
export class X87Facts {
  /** #NM is not due. */
  ready = false;
  /** No exception is pending. */
  calm = false;
  /** Rounding is to nearest, and the precision exception is masked. */
  nearest = false;
  /** Not 0: results have 64 bits of precision. */
  precision: Node | undefined;
  /** FSW and FTW. */
  status: Node | undefined;
  tags: Node | undefined;
  /** TOP when the facts began, bits above it being anything; and how much deeper the stack is now. */
  base: Node | undefined;
  depth = 0;
  /** Numbers of registers, and whether they hold something, by their number relative to TOP when the facts began. */
  readonly numbers = new Map<number, Node>();
  readonly full = new Map<number, boolean>();
  /** What they hold. */
  readonly values = new Map<number, Extended>();
  /** FCS is right; and so is FDS for the segment register with this number. */
  codeSegment = false;
  dataSegment: number | undefined;

  /** Sums and products are computed without a call. */
  inlines = false;

  forget(): void {
    this.ready = false;
    this.calm = false;
    this.nearest = false;
    this.precision = undefined;
    this.status = undefined;
    this.tags = undefined;
    this.base = undefined;
    this.depth = 0;
    this.numbers.clear();
    this.full.clear();
    this.values.clear();
    this.codeSegment = false;
    this.dataSegment = undefined;
  }
}
