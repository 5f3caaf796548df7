/** The blocks of a region in the intermediate form, in an order in which single ways come first. */
import type { FlowItem, FlowSequence } from '../../../ir/flow/structure.js';
import type { Block } from '../../../ir/nodes.js';
import type { Slot } from '../../../ir/promote.js';
import { Facts } from '../semantics/facts.js';
import { hasFewSums } from '../semantics/x87-facts.js';
import { RECORD_SIZE } from '../state-layout.js';
import type { RecordReader } from './code-view.js';
import type { FlagOperation } from './lazy-flags.js';
import type { RegionBuilder, RegionExit } from './region-builder.js';
import type { RegionPages } from './region-pages.js';
import type { RegionPlan } from './region-plan.js';
import type { RegionBlock, RegionGraph } from './scan.js';
import { buildUnit } from './unit.js';

export interface RegionBlocksOptions {
  readonly graph: RegionGraph;
  readonly plan: RegionPlan;
  readonly view: RecordReader;
  readonly b: RegionBuilder;
  readonly pages: RegionPages;
}

export class RegionBlocks {
  /** Code and ways out of each block, by its number. */
  readonly pieces = new Map<number, Block>();
  readonly exits = new Map<number, readonly RegionExit[]>();
  /** Blocks with one way in, which knows the last operation. */
  private readonly operations = new Map<number, FlagOperation>();
  private readonly factsOf = new Map<number, Facts>();
  /** Bits of slots that are in variables where they begin. */
  private readonly heldAt = new Map<number, number>();
  /** Bits of slots that blocks of outermost loops find in variables. */
  private readonly foundIn = new Map<FlowItem, number>();
  /** Whether sums of the x87 are computed without calls. */
  private readonly inlinesSums: boolean;

  constructor(private readonly options: RegionBlocksOptions) {
    const { graph, plan } = options;
    this.inlinesSums = hasFewSums(graph.blocks.flatMap(({ units }) => units.map(({ variant }) => variant.row.name)));
    this.buildAll(plan.flow.top);
  }

  /** Slots that are in variables all around an outermost loop. */
  heldIn(loop: FlowItem | undefined): Slot[] {
    const found = loop === undefined ? 0 : (this.foundIn.get(loop) ?? 0);
    return this.options.b.slots.filter(({ bit }) => (bit & found) !== 0);
  }

  private buildAll(sequence: FlowSequence): void {
    for (const item of sequence.items)
      if (item.kind === 'block') this.build(this.options.graph.blocks[item.block]);
      else this.buildAll(item.body);
  }

  private build(block: RegionBlock): void {
    const { b, graph, pages, plan, view } = this.options;
    b.forget();
    b.flags.enter(plan.isJoin(block.id) ? undefined : this.operations.get(block.id));
    if (plan.flow.dispatched.has(block.id)) b.set(b.proved, b.or(b.get(b.proved), b.i32(1 << block.page)));
    const loop = plan.loopOf(block.id);
    b.isInLoop = loop !== undefined;
    b.held = b.isInLoop ? -1 : plan.isJoin(block.id) ? 0 : (this.heldAt.get(block.id) ?? 0);
    b.found = 0;
    const { units } = block;
    const facts = this.factsOf.get(block.id) ?? new Facts();
    facts.x87.inlines = this.inlinesSums;
    for (let i = 0; i < units.length; i++) {
      const { straddles, start } = units[i];
      if (straddles !== undefined)
        pages.prove(block, straddles, () => {
          b.interpret(start, i);
        });
      buildUnit({ b, view, pageBit: 1 << block.page, is64: graph.is64, facts }, units, i);
    }
    const { operation, kind } = b.flags;
    if (block.next) b.leave({ kind: 'next', flags: kind, operation, held: b.held });
    else b.leave({ kind: 'continue', record: block.stop ?? this.after(block), done: units.length, flags: kind });
    this.pieces.set(block.id, b.take());
    for (const exit of b.exits.slice()) {
      const remember = (target: RegionBlock['next'], flags: FlagOperation, held: number): void => {
        if (target?.kind === 'block') this.remember(target.block, flags, facts, loop === undefined ? held : 0);
      };
      if (exit.kind === 'taken') remember(block.taken, exit.operation, exit.held);
      if (exit.kind === 'next') remember(block.next, exit.operation, exit.held);
      if (exit.kind === 'indirect') remember(block.expected, exit.operation, exit.held);
    }
    this.exits.set(block.id, b.exits.splice(0));
    if (loop) this.foundIn.set(loop, (this.foundIn.get(loop) ?? 0) | b.found);
  }

  /** What is known at the end of the only block that leads to another. */
  private remember(block: number, operation: FlagOperation, facts: Facts, held: number): void {
    if (this.options.plan.isJoin(block)) return;
    this.heldAt.set(block, held);
    this.operations.set(block, operation);
    this.factsOf.set(block, facts.atNext());
  }

  /** The record behind a block that ends in an instruction which never falls through. */
  private after(block: RegionBlock): number {
    const last = block.units.at(-1);
    return last ? last.record + RECORD_SIZE : block.start;
  }
}
