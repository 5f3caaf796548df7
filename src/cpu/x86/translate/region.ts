/**
 * A region as a function of WebAssembly: (entry, left) → left. `entry` says at which of its entries to begin, `left` how many
 * instructions may run; how it was left stands in REGION_EXIT, REGION_RECORD and RIP. See docs/translator.md.
 */
import { frontOf, type FlowItem, type FlowSequence } from '../../../ir/flow/structure.js';
import { lower, type LowerContext } from '../../../ir/lower.js';
import type { Block } from '../../../ir/nodes.js';
import type { FunctionCode } from '../../../ir/wasm/module.js';
import { CONTROL } from '../../../ir/wasm/opcodes.js';
import { LAYOUT, REGION_SLOT } from '../../../memory/layout.js';
import { inJumpCache, jumpEntry } from '../interpreter/glue.js';
import type { CpuBases } from '../interpreter/handlers.js';
import { MICRO } from '../micro.js';
import { NEXT, RECORD, REGION_EXIT } from '../state-layout.js';
import type { RecordReader } from './code-view.js';
import { RegionBlocks } from './region-blocks.js';
import { RegionBuilder, type RegionExit } from './region-builder.js';
import { LINK, type Link } from './region-links.js';
import { RegionPages } from './region-pages.js';
import { RegionPlan, type RegionEntry } from './region-plan.js';
import { ENTRY, LEFT, RegionWriter } from './region-writer.js';
import type { RegionBlock, RegionGraph, Target } from './scan.js';

export type { RegionEntry } from './region-plan.js';

export interface RegionOptions {
  readonly graph: RegionGraph;
  readonly view: RecordReader;
  readonly bases: CpuBases;
  /** Index that the function will have in the table of regions. */
  readonly index: number;
  readonly functionIndex: LowerContext['functionIndex'];
  /** Links of regions that come before it in the module. */
  readonly firstLink?: number;
}

/** What a region was made of, for descriptions. */
export interface RegionInside {
  readonly builder: RegionBuilder;
  /** The intermediate form of blocks, and their exits, by the blocks' numbers. */
  readonly pieces: ReadonlyMap<number, Block>;
  readonly exits: ReadonlyMap<number, readonly RegionExit[]>;
  /** Locals by the numbers of variables, and those without one. */
  readonly locals: ReadonlyMap<number, number>;
  readonly how: number;
  readonly where: number;
}

export interface Region {
  readonly code: FunctionCode;
  readonly entries: readonly RegionEntry[];
  /** In code for any CPU. */
  readonly links: readonly Link[];
  readonly inside: RegionInside;
}

/** Opcodes. */
const I32 = { SUB: 0x6b, LT_S: 0x48, OR: 0x72, AND: 0x71 } as const;
const I64 = { EQ: 0x51, ADD: 0x7c, AND: 0x83 } as const;

export function emitRegion(options: RegionOptions): Region {
  return new RegionEmitter(options).emit();
}

class RegionEmitter {
  private readonly b: RegionBuilder;
  private readonly plan: RegionPlan;
  private readonly pages: RegionPages;
  private readonly blocks: RegionBlocks;
  private readonly w: RegionWriter;
  private readonly sequences = new Map<FlowSequence, number>();

  constructor(private readonly options: RegionOptions) {
    const { graph, view, bases, index } = options;
    const b = new RegionBuilder(bases);
    this.b = b;
    this.plan = new RegionPlan(graph);
    this.pages = new RegionPages(b, graph, index);
    this.w = new RegionWriter(b);
    b.codeBase.read = true;
    // Edges between pages look at the TLB, and are built when it is known already what is loaded at the beginning.
    if (graph.pages.length > 1 || this.plan.isIndirect) b.tlbContext.read = true;
    this.blocks = new RegionBlocks({ graph, plan: this.plan, view, b, pages: this.pages });
  }

  emit(): Region {
    const { plan, w } = this;
    const { code } = w;
    w.begin(this.options.index, this.bound, this.options.firstLink ?? 0);
    code.block('exit');
    code.block('interpret');
    if (plan.isIndirect) {
      code.loop('top');
      code.block('jump');
    }
    this.sequence(plan.flow.top, true);
    if (plan.isIndirect) {
      code.end();
      this.jumpWithin();
      code.end();
    }
    code.end();
    w.const(REGION_EXIT.INTERPRET);
    w.set(w.how);
    code.end();
    w.end();
    const { pieces, exits } = this.blocks;
    const inside = { builder: this.b, pieces, exits, locals: w.variables, how: w.how, where: w.where };
    const links = this.b.links?.all ?? [];
    return { code: { locals: w.locals.types, code: w.out.finish() }, entries: plan.entries, links, inside };
  }

  /** Loops look at the budget once each time round, so the longest way without a loop has to fit. */
  private get bound(): number {
    return this.options.graph.units + 1;
  }

  // ---- structure ----

  private label(sequence: FlowSequence, item: number): string {
    let number = this.sequences.get(sequence);
    if (number === undefined) {
      number = this.sequences.size;
      this.sequences.set(sequence, number);
    }
    return `s${String(number)}.${String(item)}`;
  }

  private sequence(sequence: FlowSequence, isTop: boolean): void {
    const { code, out } = this.w;
    const { items, dispatch } = sequence;
    const beyond = dispatch.filter((d) => isTop || frontOf(items[0]) !== d.block);
    for (let i = items.length - 1; i >= 0; i--) code.block(this.label(sequence, i));
    if (beyond.length > 0) {
      this.w.get(ENTRY);
      if (!isTop) out.u8(CONTROL.IF).u8(CONTROL.VOID);
      const inside = isTop ? 0 : 1;
      if (!isTop) this.w.get(ENTRY);
      const count = this.plan.entryNumbers.size + 1;
      const items_ = Array.from({ length: count }, () => 0);
      for (const { block, item } of dispatch) items_[this.plan.entryNumbers.get(block) ?? 0] = item;
      out.u8(CONTROL.BR_TABLE).u32(count - 1);
      for (const item of items_) out.u32(code.depth(this.label(sequence, item), inside));
      if (!isTop) out.u8(CONTROL.END);
    }
    for (const item of items) {
      code.end();
      this.item(item);
    }
    out.u8(CONTROL.UNREACHABLE);
  }

  private item(item: FlowItem): void {
    const { code } = this.w;
    if (item.kind === 'block') {
      this.block(item.block);
      return;
    }
    this.w.reload(this.blocks.heldIn(item));
    code.loop(`l${String(item.header)}`);
    this.sequence(item.body, false);
    code.end();
  }

  private block(id: number): void {
    const { out } = this.w;
    const block = this.options.graph.blocks[id];
    if (this.plan.flow.dispatched.has(id)) {
      this.w.const(0);
      this.w.set(ENTRY);
    }
    if (this.plan.flow.headers.has(id)) this.look(block);
    const exits = this.blocks.exits.get(id) ?? [];
    const piece = this.blocks.pieces.get(id);
    if (piece === undefined) throw new Error('every block was built');
    this.lower(piece, this.plan.loopOf(id), (number, depth) => this.leave(block, exits[number], depth));
    out.u8(CONTROL.UNREACHABLE);
  }

  private lower(piece: Block, loop: FlowItem | undefined, exit: (number: number, depth: number) => void): void {
    lower(piece, this.w.out, this.w.locals, {
      functionIndex: this.options.functionIndex,
      origin: this.w.origin,
      variables: this.w.variables,
      exit: (name, _, depth) => exit(Number(name), depth),
      insert: (name) => {
        const { lasting } = this.b;
        const vectors = lasting.filter((s) => s.type !== 'i64');
        if (name === 'spill') this.w.spill(lasting);
        else if (name === 'reload') this.w.reload([...lasting, ...this.blocks.heldIn(loop)]);
        else if (name === 'spill-vectors') this.w.spill(vectors);
        else this.w.reload(vectors);
      },
    });
    this.w.locals.release();
  }

  /** At a loop's header: leaves when the budget may not last once round, or something wants attention. */
  private look(block: RegionBlock): void {
    const { out } = this.w;
    this.w.get(LEFT);
    this.w.const(this.bound);
    out.u8(I32.LT_S);
    this.w.loadState('i32.load', this.w.state('ATTN'));
    out.u8(I32.OR).u8(CONTROL.IF).u8(CONTROL.VOID);
    this.goOut(REGION_EXIT.INTERPRET, this.w.place(block.start, 0), 1);
    out.u8(CONTROL.END);
  }

  // ---- ways out ----

  /** Goes to the common end; `depth` labels that have no name lie between. */
  private goOut(how: number, where: number, depth: number): void {
    this.w.const(where);
    this.w.set(this.w.where);
    if (how === REGION_EXIT.INTERPRET) {
      this.w.code.br('interpret', depth);
      return;
    }
    this.w.const(how);
    this.w.set(this.w.how);
    this.w.code.br('exit', depth);
  }

  private publish(flags: number | undefined): void {
    if (flags === undefined) return;
    this.w.const(flags);
    this.w.set(this.w.local(this.b.flagVariables.kind));
  }

  private countDown(done: number): void {
    if (done === 0) return;
    this.w.get(LEFT);
    this.w.const(done);
    this.w.out.u8(I32.SUB);
    this.w.set(LEFT);
  }

  private leave(block: RegionBlock, exit: RegionExit, depth: number): void {
    const { b } = this;
    const { out } = this.w;
    switch (exit.kind) {
      case 'interpret':
        this.publish(exit.flags);
        if (exit.faulted) this.w.storeState('i32.store', this.w.state('EXC_VECTOR'), () => this.w.const(-1));
        this.goOut(REGION_EXIT.INTERPRET, this.w.place(exit.record, exit.done), depth);
        return;
      case 'continue':
        this.publish(exit.flags);
        this.goOut(REGION_EXIT.CONTINUE, this.w.place(exit.record, exit.done), depth);
        return;
      case 'answer':
        // The answer is on the stack.
        this.w.set(this.w.how);
        this.publish(exit.flags);
        this.w.const(exit.done);
        this.w.set(this.w.where);
        this.w.code.br('exit', depth);
        return;
      case 'taken':
        this.countDown(block.units.length);
        this.edge(block, block.taken, exit.flags, depth);
        return;
      case 'next':
        this.countDown(block.units.length);
        this.edge(block, block.next, exit.flags, depth);
        return;
      case 'jump':
        this.publish(exit.flags);
        this.goOut(NEXT.JUMP, 0, depth);
        return;
      case 'indirect':
        this.countDown(block.units.length);
        if (block.expected?.kind === 'block') {
          this.w.get(this.w.local(b.target));
          this.pushAddress(block, this.options.graph.blocks[block.expected.block]);
          out.u8(I64.EQ).u8(CONTROL.IF).u8(CONTROL.VOID);
          this.edge(block, block.expected, exit.flags, depth + 1);
          out.u8(CONTROL.END);
        }
        this.publish(exit.flags);
        this.w.code.br('jump', depth);
        return;
    }
  }

  /** Puts the address of another block on the stack, seen from this one. */
  private pushAddress(from: RegionBlock, to: RegionBlock): void {
    this.pushRip(this.options.graph.pages[to.page].delta - this.options.graph.pages[from.page].delta + to.offset);
  }

  /** Puts CODE_BASE + offset on the stack, as the mode cuts it. */
  private pushRip(offset: number): void {
    const { out } = this.w;
    this.w.get(this.w.local(this.b.codeBase.variable));
    out.u8(CONTROL.I64_CONST).s64(BigInt(offset)).u8(I64.ADD);
    if (!this.is64) out.u8(CONTROL.I64_CONST).s64(0xffff_ffffn).u8(I64.AND);
  }

  private get is64(): boolean {
    return this.options.graph.is64;
  }

  /** Goes on along an edge of the graph; the block has been counted. */
  private edge(from: RegionBlock, target: Target | undefined, flags: number | undefined, depth: number): void {
    const { b } = this;
    if (target === undefined) throw new Error('an edge leads somewhere');
    if (target.kind === 'record') {
      this.publish(flags);
      this.goOut(REGION_EXIT.GOTO, this.w.place(target.record, 0), depth);
    } else if (target.kind === 'address') {
      this.pushRip(target.offset);
      this.w.set(this.w.local(b.target));
      this.publish(flags);
      this.goOut(NEXT.JUMP, 0, depth);
    } else {
      const to = this.options.graph.blocks[target.block];
      if (to.page !== from.page) this.crossPage(from, to, flags, depth);
      if (this.plan.isJoin(to.id)) this.publish(flags);
      this.branch(from.id, to.id, depth);
    }
  }

  /** Proves that the other page still is where it was, once, and makes CODE_BASE its. */
  private crossPage(from: RegionBlock, to: RegionBlock, flags: number | undefined, depth: number): void {
    const { b, options } = this;
    const { out } = this.w;
    const { graph } = options;
    const delta = graph.pages[to.page].delta - graph.pages[from.page].delta;
    b.forget();
    this.pages.prove(from, to.page, () => {
      b.set(b.target, this.pages.ripAt(delta + to.offset));
      b.leave({ kind: 'jump', flags });
    });
    b.set(b.codeBase.variable, b.add(b.get(b.codeBase.variable), b.i64(delta)));
    const exits = b.exits.splice(0);
    const piece = b.take();
    lower(piece, out, this.w.locals, {
      functionIndex: options.functionIndex,
      origin: this.w.origin,
      variables: this.w.variables,
      exit: (name, _, inner) => this.leave(from, exits[Number(name)], depth + inner),
    });
  }

  /** A branch within the region: forward in a sequence around both, or back to the header of a loop around this. */
  private branch(from: number, to: number, depth: number): void {
    const { code } = this.w;
    const source = this.plan.flow.paths.get(from) ?? [];
    const destination = this.plan.flow.paths.get(to) ?? [];
    let level = 0;
    while (
      level + 1 < source.length &&
      level + 1 < destination.length &&
      source[level + 1].sequence === destination[level + 1].sequence &&
      source[level].item === destination[level].item
    )
      level++;
    // Back to the header of a loop that this block is in: the loop whose body this sequence is.
    for (let l = level; l >= 1; l--) {
      const { sequence, item } = source[l - 1];
      const loop = sequence.items[item];
      if (loop.kind === 'loop' && loop.header === to) {
        code.br(`l${String(to)}`, depth);
        return;
      }
    }
    const { sequence, item } = destination[level];
    if (frontOf(sequence.items[item]) !== to) {
      this.w.const(this.plan.entryNumbers.get(to) ?? 0);
      this.w.set(ENTRY);
    }
    code.br(this.label(sequence, item), depth);
  }

  /** Behind the label `jump`: goes to `target` within the region when it has an entry there, or out. */
  private jumpWithin(): void {
    const { b, options } = this;
    const { bases } = options;
    b.forget();
    const rip = b.get(b.target);
    const entry = jumpEntry(b, bases, rip);
    b.if(inJumpCache(b, bases, entry, rip), () => {
      const record = b.load('i32.load', entry, bases.jumpCache + 12);
      const offset = b.extendU(b.load('i32.load16_u', record, RECORD.OFFSET));
      b.set(b.codeBase.variable, b.sub(rip, offset));
      const isEntry = b.op('i32.eq', b.load('i32.load16_u', record, RECORD.HANDLER), b.i32(MICRO.REGION));
      b.if(isEntry, () => {
        const slot = b.shl(b.load('i32.load', record, RECORD.LINK), b.i32(3));
        const index = b.load('i32.load', slot, LAYOUT.REGION_SLOTS + REGION_SLOT.FUNCTION);
        const budget = b.op('i32.ge_s', b.param('i32', LEFT), b.i32(this.bound));
        const calm = b.eqz(b.load('i32.load', b.i32(0), this.w.state('ATTN')));
        const own = b.links?.load(b, LINK.INDEX, 0) ?? b.i32(options.index);
        b.if(b.and(b.op('i32.eq', index, own), b.and(budget, calm)), () => {
          const number = b.load('i32.load16_u', slot, LAYOUT.REGION_SLOTS + REGION_SLOT.ENTRY);
          b.leave({ kind: 'jump', flags: undefined }, number);
        });
      });
      // Whoever goes on need not look for it again.
      b.leave({ kind: 'jump', flags: undefined }, record);
    });
    b.exits.splice(0);
    lower(b.take(), this.w.out, this.w.locals, {
      functionIndex: options.functionIndex,
      origin: this.w.origin,
      variables: this.w.variables,
      exit: (name, _, depth) => {
        if (name === '0') {
          this.w.set(ENTRY);
          this.w.code.br('top', depth);
          return;
        }
        this.w.setPlace();
        this.w.const(REGION_EXIT.GOTO);
        this.w.set(this.w.how);
        this.w.code.br('exit', depth);
      },
    });
    this.w.locals.release();
    this.goOut(NEXT.JUMP, 0, 0);
  }
}
