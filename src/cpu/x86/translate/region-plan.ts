/** The shape of a region: loops, entries, and where ways meet. */
import { structureFlow, type FlowItem, type FlowStructure } from '../../../ir/flow/structure.js';
import type { RegionBlock, RegionGraph } from './scan.js';

/** A place at which a region can be entered. */
export interface RegionEntry {
  /** What the function takes as `entry`. */
  readonly number: number;
  /** The record that is to lead there. */
  readonly record: number;
}

const isDirectBranch = (block: RegionBlock): boolean =>
  block.units.length > 0 && block.units[0].variant.row.operands[0]?.kind === 'J';

export class RegionPlan {
  readonly flow: FlowStructure;
  /** Numbers of blocks at which it can be entered, 1 and up, in the order of `flow.dispatched`. */
  readonly entryNumbers: ReadonlyMap<number, number>;
  /** Whether there are jumps to addresses that are not known. */
  readonly isIndirect: boolean;
  /** How many edges lead to each block. */
  private readonly ways: readonly number[];

  constructor(private readonly graph: RegionGraph) {
    const { blocks } = graph;
    this.ways = countWays(blocks);
    this.flow = structureFlow({ successors: blocks.map(successors), entries: this.findEntries() });
    this.entryNumbers = new Map([...this.flow.dispatched].map((block, i) => [block, i + 1]));
    this.isIndirect = blocks.some((b) => b.units.some((u) => isIndirect(u.variant.row.name)));
  }

  /** The first block, and where execution comes back to: behind calls, and at loops that others lead into. */
  private findEntries(): number[] {
    const { blocks } = this.graph;
    const entries = new Set([0, ...this.graph.roots]);
    for (const block of blocks)
      if (block.returnsTo !== undefined && blocks[block.returnsTo].context === 0) entries.add(block.returnsTo);
    // Headers of loops in the region as it is without further entries.
    const plain = structureFlow({ successors: blocks.map(successors), entries: [...entries] });
    for (const header of plain.headers) if (blocks[header].context === 0) entries.add(header);
    // Where ways meet outside of loops nothing is known, so it costs little to come in.
    for (const { block } of blocksOutsideLoops(plain))
      if (blocks[block].context === 0 && this.ways[block] !== 1) entries.add(block);
    return [...entries];
  }

  /** Where it can be entered from outside. */
  get entries(): RegionEntry[] {
    const { blocks } = this.graph;
    return [...this.entryNumbers]
      .filter(([id]) => blocks[id].context === 0 && blocks[id].units.length > 0 && !isDirectBranch(blocks[id]))
      .map(([id, number]) => ({ number, record: blocks[id].start }));
  }

  /** Whether a block can be reached in more than one way, so that nothing is known where it begins. */
  isJoin(block: number): boolean {
    return this.ways[block] !== 1 || this.flow.dispatched.has(block);
  }

  /** The outermost loop that a block is in. */
  loopOf(block: number): FlowItem | undefined {
    const path = this.flow.paths.get(block) ?? [];
    return path.length > 1 ? path[0].sequence.items[path[0].item] : undefined;
  }
}

function blocksOutsideLoops({ top }: FlowStructure): { block: number }[] {
  return top.items.flatMap((item) => (item.kind === 'block' ? [{ block: item.block }] : []));
}

function isIndirect(name: string): boolean {
  return name === 'ret' || name === 'ret_imm' || name === 'jmp_ind' || name === 'call_ind';
}

function successors(block: RegionBlock): number[] {
  const found: number[] = [];
  for (const target of [block.taken, block.next, block.expected])
    if (target?.kind === 'block' && !found.includes(target.block)) found.push(target.block);
  return found;
}

/** How many edges lead to each block. */
function countWays(blocks: readonly RegionBlock[]): number[] {
  const ways = blocks.map(() => 0);
  for (const block of blocks)
    for (const target of [block.taken, block.next, block.expected]) if (target?.kind === 'block') ways[target.block]++;
  return ways;
}
