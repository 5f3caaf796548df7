import type { Node } from '../../../ir/nodes.js';

/** What is known of the x87 at a point of straight-line code. MMX instructions and helpers that touch it make it `forget`. */
export class X87Facts {
  /** #NM is not due. */
  ready = false;
  /** No exception is pending. */
  calm = false;
  /** Rounding is to nearest, and the precision exception is masked. */
  nearest = false;
  /** FSW and FTW. */
  status: Node | undefined;
  tags: Node | undefined;
  /** TOP when the facts began, bits above it being anything; and how much deeper the stack is now. */
  base: Node | undefined;
  depth = 0;
  /** Numbers of registers, and whether they hold something, by their number relative to TOP when the facts began. */
  readonly numbers = new Map<number, Node>();
  readonly full = new Map<number, boolean>();
  /** FCS is right; and so is FDS for the segment register with this number. */
  codeSegment = false;
  dataSegment: number | undefined;

  forget(): void {
    this.ready = false;
    this.calm = false;
    this.nearest = false;
    this.status = undefined;
    this.tags = undefined;
    this.base = undefined;
    this.depth = 0;
    this.numbers.clear();
    this.full.clear();
    this.codeSegment = false;
    this.dataSegment = undefined;
  }
}
