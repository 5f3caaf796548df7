/**
 * What translated code knows of the CPU that executes it, but for its state: addresses of records and page entries, counts, its own index. In code for
 * the only CPU of a machine these are constants. In code for any CPU they are links: words in a table of the CPU's own, which whoever installs the
 * region fills, so that other CPUs can use it too.
 */
import type { Builder } from '../../../ir/builder.js';
import type { Node, Variable } from '../../../ir/nodes.js';

/** What a link is to hold. */
export const LINK = {
  /** Nothing: the region leaves a record there that it has found itself. It is the first. */
  FOUND: 0,
  /** The address of a record, which is the value. */
  RECORD: 1,
  /** The address of the entry of a page, whose index in the region's pages is the value. */
  PAGE: 2,
  /** How often translated code of this page has been overwritten. */
  WRITES: 3,
  /** The region's index in the table of regions. */
  INDEX: 4,
} as const;

/** A LINK and its value. */
export type Link = readonly [kind: number, value: number];

/** Static offsets up to here are never taken for addresses of the CPU's own tables. */
const NEAR = 1024;

/** Links of one region, as its code comes to need them. */
export class RegionLinks {
  readonly all: Link[] = [[LINK.FOUND, 0]];
  private readonly numbers = new Map<string, number>();

  /** `place` is the variable that has the address of the first. */
  constructor(readonly place: Variable) {}

  number(kind: number, value: number): number {
    const key = `${String(kind)} ${String(value)}`;
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.all.length;
      this.numbers.set(key, number);
      this.all.push([kind, value]);
    }
    return number;
  }

  /** What a link holds. */
  load(b: Builder, kind: number, value: number): Node {
    const offset = this.number(kind, value) * 4;
    const near = offset % NEAR;
    const place = b.get(this.place);
    return b.load('i32.load', near === offset ? place : b.add(place, b.i32(offset - near)), near);
  }
}
