/** Where things are in a file system: the fixed places of each group, and what is free for contents. */
import { ImageError } from '../image.js';
import {
  BLOCK,
  BLOCKS_PER_GROUP,
  DESCRIPTOR_SIZE,
  GROUPS_PER_FLEX,
  hasBackup,
  INODES_PER_BLOCK,
  MAX_INODES_PER_GROUP,
} from './layout.js';

/** Blocks one behind the other. */
export interface Run {
  readonly start: number;
  readonly length: number;
}

/** The fixed places of a group, as numbers of blocks. */
export interface GroupPlaces {
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
}

/** One inode for so many bytes, unless more are needed: what mke2fs takes, too. */
const BYTES_PER_INODE = 16384;

export class Space {
  readonly groups: readonly GroupPlaces[];
  readonly blocks: number;
  readonly inodesPerGroup: number;
  readonly descriptorBlocks: number;
  /** What is neither free nor content, in ascending order. */
  private readonly fixed: Run[] = [];
  private readonly free: Run[] = [];
  private readonly taken: Run[] = [];
  private gap = 0;
  private used = 0;

  /** `size` in bytes, whole groups; `inodes`: how many are needed. */
  constructor(size: number, inodes: number) {
    const count = size / (BLOCKS_PER_GROUP * BLOCK);
    this.blocks = count * BLOCKS_PER_GROUP;
    // A quarter more than needed, so that a guest can make files as well.
    const perGroup = Math.max((BLOCKS_PER_GROUP * BLOCK) / BYTES_PER_INODE, Math.ceil((inodes * 1.25) / count));
    this.inodesPerGroup = Math.ceil(perGroup / INODES_PER_BLOCK) * INODES_PER_BLOCK;
    if (this.inodesPerGroup > MAX_INODES_PER_GROUP)
      throw new ImageError(`${inodes} files are too many for a file system of ${size} bytes`);
    this.descriptorBlocks = Math.ceil((count * DESCRIPTOR_SIZE) / BLOCK);
    for (let group = 0; group < count; group++)
      if (hasBackup(group)) this.fix(group * BLOCKS_PER_GROUP, 1 + this.descriptorBlocks);
    this.groups = this.placeTables(count);
    this.fixed.sort((a, b) => a.start - b.start);
    this.findGaps();
  }

  private fix(start: number, length: number): number {
    this.fixed.push({ start, length });
    return start;
  }

  /** Bitmaps and tables of sixteen groups begin in the first of these (FLEX_BG), so that contents have long free stretches. */
  private placeTables(count: number): GroupPlaces[] {
    const table = this.inodesPerGroup / INODES_PER_BLOCK;
    const backups = [...this.fixed];
    const groups: GroupPlaces[] = [];
    let next = 0;
    const place = (length: number): number => {
      for (const { start, length: size } of backups)
        if (next < start + size && start < next + length) next = start + size;
      next += length;
      return this.fix(next - length, length);
    };
    for (let first = 0; first < count; first += GROUPS_PER_FLEX) {
      const members = Math.min(GROUPS_PER_FLEX, count - first);
      next = Math.max(next, first * BLOCKS_PER_GROUP);
      const blockBitmaps = place(members);
      const inodeBitmaps = place(members);
      for (let i = 0; i < members; i++)
        groups.push({ blockBitmap: blockBitmaps + i, inodeBitmap: inodeBitmaps + i, inodeTable: place(table) });
    }
    if (next > this.blocks) throw new ImageError('the file system is too small for its own tables');
    return groups;
  }

  private findGaps(): void {
    let at = 0;
    for (const { start, length } of this.fixed) {
      if (start > at) this.free.push({ start: at, length: start - at });
      at = start + length;
    }
    if (at < this.blocks) this.free.push({ start: at, length: this.blocks - at });
  }

  get inodes(): number {
    return this.inodesPerGroup * this.groups.length;
  }

  /** Takes blocks, in as few runs as can be. Throws a one-line error when there are not enough. */
  take(count: number): Run[] {
    const runs: Run[] = [];
    for (let left = count; left > 0;) {
      const gap = this.free[this.gap];
      if (gap === undefined)
        throw new ImageError(`the files do not fit into a file system of ${this.blocks * BLOCK} bytes`);
      const length = Math.min(left, gap.length - this.used);
      if (length > 0) runs.push({ start: gap.start + this.used, length });
      this.used += length;
      left -= length;
      if (this.used === gap.length) {
        this.gap++;
        this.used = 0;
      }
    }
    for (const run of runs) {
      const last = this.taken.at(-1);
      if (last && last.start + last.length === run.start)
        this.taken[this.taken.length - 1] = { start: last.start, length: last.length + run.length };
      else this.taken.push(run);
    }
    return runs;
  }

  /** The bitmaps of the groups' blocks, one after the other, and how many are free in each. */
  *bitmaps(): Generator<{ readonly bitmap: Uint8Array; readonly free: number }> {
    // Both are in ascending order and apart from each other.
    const runs = [...this.fixed, ...this.taken].sort((a, b) => a.start - b.start);
    let i = 0;
    for (let group = 0; group < this.groups.length; group++) {
      const first = group * BLOCKS_PER_GROUP;
      const end = first + BLOCKS_PER_GROUP;
      const bitmap = new Uint8Array(BLOCK);
      let used = 0;
      while (i < runs.length && runs[i].start < end) {
        const { start, length } = runs[i];
        const from = Math.max(start, first);
        const to = Math.min(start + length, end);
        setBits(bitmap, from - first, to - first);
        used += to - from;
        if (start + length > end) break;
        i++;
      }
      yield { bitmap, free: BLOCKS_PER_GROUP - used };
    }
  }
}

/** Sets bits `from` … `to` - 1. */
export function setBits(bitmap: Uint8Array, from: number, to: number): void {
  let bit = from;
  while (bit < to && (bit & 7) !== 0) {
    bitmap[bit >>> 3] |= 1 << (bit & 7);
    bit++;
  }
  const whole = Math.max(bit, to - (to & 7));
  bitmap.fill(0xff, bit >>> 3, whole >>> 3);
  for (bit = whole; bit < to; bit++) bitmap[bit >>> 3] |= 1 << (bit & 7);
}
