/** What the translator asks of graphs of regions. */
import type { CodeView } from '../../cpu/x86/translate/code-view.js';
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';

/** Records that a region begins instructions at, those of functions within their callers apart. */
export function recordsOf(blocks: RegionGraph['blocks']): number[] {
  return blocks.flatMap(({ context, units }) => (context === 0 ? units.map(({ start }) => start) : []));
}

/** Records that are certain to be entries of a region: where it begins, and where calls return to. */
export function placesToReturn({ blocks }: RegionGraph): number[] {
  const returns = blocks.flatMap(({ returnsTo }) => (returnsTo === undefined ? [] : [blocks[returnsTo]]));
  return [blocks[0], ...returns].flatMap(({ context, start }) => (context === 0 ? [start] : []));
}

/** The 64-byte chunks of a page that a region has instructions in. */
export function chunksOf(graph: RegionGraph, page: RegionGraph['pages'][number], code: CodeView): bigint {
  let low = 0;
  let high = 0;
  const mark = (chunk: number): void => {
    if (chunk < 32) low |= 1 << chunk;
    else high |= 1 << (chunk - 32);
  };
  for (const block of graph.blocks) {
    for (const { record, straddles } of block.units) {
      if (straddles !== undefined && graph.pages[straddles] === page) mark(0);
      if (graph.pages[block.page] !== page) continue;
      const first = code.offset(record);
      mark(first >> 6);
      mark(Math.min(first + code.byte(record, 'LENGTH') - 1, 4095) >> 6);
    }
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
