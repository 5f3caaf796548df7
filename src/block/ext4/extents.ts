/** Trees of extents: which blocks of a file are where on the disk. ext4 documentation, "Extent Tree". */
import { BLOCK, CONTENT_SIZE } from './layout.js';

/** Blocks of a file, in blocks of the file and of the disk. */
export interface Extent {
  readonly logical: number;
  readonly physical: number;
  /** 1 … MAX_EXTENT. */
  readonly length: number;
}

/** Blocks of an extent that is not marked as unwritten. */
export const MAX_EXTENT = 32768;

const MAGIC = 0xf30a;
/** Bytes of a node's header and of each of its entries. */
const ENTRY = 12;
const IN_ROOT = CONTENT_SIZE / ENTRY - 1;
const IN_BLOCK = Math.floor(BLOCK / ENTRY) - 1;

/** A node of the tree that has a block of its own. */
export interface ExtentBlock {
  readonly block: number;
  readonly bytes: Uint8Array;
}

interface Child {
  readonly logical: number;
  readonly physical: number;
  /** 0: an index entry. */
  readonly length: number;
}

function node(bytes: Uint8Array, entries: readonly Child[], depth: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(0, MAGIC, true);
  view.setUint16(2, entries.length, true);
  view.setUint16(4, Math.floor(bytes.length / ENTRY) - 1, true);
  view.setUint16(6, depth, true);
  entries.forEach(({ logical, physical, length }, i) => {
    const at = ENTRY * (i + 1);
    view.setUint32(at, logical, true);
    if (depth > 0) view.setUint32(at + 4, physical, true);
    else {
      view.setUint16(at + 4, length, true);
      view.setUint32(at + 8, physical, true);
    }
  });
  return bytes;
}

/**
 * The tree of a file's extents, which are in ascending order: what stands in the inode, and nodes with blocks of their own, which
 * `take` gives.
 */
export function extentTree(
  extents: readonly Extent[],
  take: () => number,
): { readonly root: Uint8Array; readonly blocks: readonly ExtentBlock[] } {
  const blocks: ExtentBlock[] = [];
  let level: readonly Child[] = extents;
  let depth = 0;
  while (level.length > IN_ROOT) {
    const above: Child[] = [];
    for (let i = 0; i < level.length; i += IN_BLOCK) {
      const entries = level.slice(i, i + IN_BLOCK);
      const block = take();
      blocks.push({ block, bytes: node(new Uint8Array(BLOCK), entries, depth) });
      above.push({ logical: entries[0].logical, physical: block, length: 0 });
    }
    level = above;
    depth++;
  }
  return { root: node(new Uint8Array(CONTENT_SIZE), level, depth), blocks };
}
