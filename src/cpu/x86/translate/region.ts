/**
 * A region as a function of WebAssembly: (entry, left) → left. `entry` says at which of its entries to begin, `left` how many
 * instructions may run; how it was left stands in REGION_EXIT, REGION_RECORD and RIP. See docs/translator.md.
 */
import {
  frontOf,
  structureFlow,
  type FlowItem,
  type FlowSequence,
  type FlowStructure,
} from '../../../ir/flow/structure.js';
import { Locals, lower, type LowerContext } from '../../../ir/lower.js';
import type { Block, FunctionRef, Node } from '../../../ir/nodes.js';
import type { Slot } from '../../../ir/promote.js';
import { ByteWriter } from '../../../ir/wasm/bytes.js';
import { LabelledCode } from '../../../ir/wasm/code.js';
import type { FunctionCode } from '../../../ir/wasm/module.js';
import { CONTROL, LOADS, STORES, type Load, type Store } from '../../../ir/wasm/opcodes.js';
import { LAYOUT, PAGE, REGION_SLOT } from '../../../memory/layout.js';
import { inJumpCache, jumpEntry } from '../interpreter/glue.js';
import type { CpuBases } from '../interpreter/handlers.js';
import { MICRO } from '../micro.js';
import { Facts } from '../semantics/facts.js';
import { hasFewSums } from '../semantics/x87-facts.js';
import { NEXT, RECORD, RECORD_SIZE, REGION_EXIT, STATE } from '../state-layout.js';
import type { RecordReader } from './code-view.js';
import type { FlagOperation } from './lazy-flags.js';
import { RegionBuilder, type RegionExit } from './region-builder.js';
import type { RegionBlock, RegionGraph, Target } from './scan.js';
import { buildUnit } from './unit.js';

export interface RegionOptions {
  readonly graph: RegionGraph;
  readonly view: RecordReader;
  readonly bases: CpuBases;
  /** Index that the function will have in the table of regions. */
  readonly index: number;
  readonly functionIndex: LowerContext['functionIndex'];
}

/** A place at which a region can be entered. */
export interface RegionEntry {
  /** What the function takes as `entry`. */
  readonly number: number;
  /** The record that is to lead there. */
  readonly record: number;
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
  readonly inside: RegionInside;
}

const ENTRY = 0;
const LEFT = 1;
const PARAMETERS = 2;
const DONE_MASK = 31;

const FETCH_ADDRESS: FunctionRef = { name: 'fetch_address', params: ['i64'], result: 'i32' };

/** Opcodes. */
const I32 = { SUB: 0x6b, LT_S: 0x48, OR: 0x72, AND: 0x71 } as const;
const I64 = { EQ: 0x51, ADD: 0x7c, AND: 0x83 } as const;

const isDirectBranch = (block: RegionBlock): boolean =>
  block.units.length > 0 && block.units[0].variant.row.operands[0]?.kind === 'J';

export function emitRegion(options: RegionOptions): Region {
  return new RegionEmitter(options).emit();
}

class RegionEmitter {
  private readonly out = new ByteWriter();
  private readonly code = new LabelledCode(this.out);
  private readonly locals = new Locals(PARAMETERS);
  private readonly b: RegionBuilder;
  private readonly flow: FlowStructure;
  private readonly pieces = new Map<number, Block>();
  private readonly variables = new Map<number, number>();
  private readonly entryNumbers = new Map<number, number>();
  /** Blocks with one way in, which knows the last operation. */
  private readonly operations = new Map<number, FlagOperation>();
  private readonly factsOf = new Map<number, Facts>();
  /** Bits of slots that are in variables where they begin. */
  private readonly heldAt = new Map<number, number>();
  /** Bits of slots that blocks of outermost loops find in variables. */
  private readonly foundIn = new Map<FlowItem, number>();
  private readonly ways: readonly number[];
  /** Whether sums of the x87 are computed without calls. */
  private readonly inlinesSums: boolean;
  private readonly indirect: boolean;
  /** Of the exit in hand: REGION_EXIT, and the record with the number of instructions done in the low bits. */
  private readonly how: number;
  private readonly where: number;
  private readonly codeBase: Slot;

  constructor(private readonly options: RegionOptions) {
    const { graph, bases } = options;
    this.b = new RegionBuilder(bases);
    const { blocks } = graph;
    this.ways = countWays(blocks);
    this.inlinesSums = hasFewSums(blocks.flatMap(({ units }) => units.map(({ variant }) => variant.row.name)));
    this.flow = structureFlow({ successors: blocks.map(successors), entries: this.findEntries() });
    let number = 1;
    for (const block of this.flow.dispatched) this.entryNumbers.set(block, number++);
    this.indirect = blocks.some((b) => b.units.some((u) => isIndirect(u.variant.row.name)));
    const { b } = this;
    const found = b.slots.find((s) => s.address === bases.state + STATE.CODE_BASE);
    if (found === undefined) throw new Error('the code base is a slot');
    this.codeBase = found;
    found.read = true;
    if (graph.pages.length > 1 || this.indirect) {
      // Edges between pages look at the TLB, and are built when it is known already what is loaded at the beginning.
      for (const slot of b.slots) if (slot.address === this.state('TLB_CTX')) slot.read = true;
    }
    this.how = this.locals.take('i32');
    this.where = this.locals.take('i32');
    for (const v of [...b.slots.map((s) => s.variable), ...Object.values(b.flagVariables), b.target, b.proved])
      this.variables.set(v.id, this.locals.take(v.type));
    this.locals.keep();
  }

  /** The first block, and where execution comes back to: behind calls, and at loops that others lead into. */
  private findEntries(): number[] {
    const { blocks } = this.options.graph;
    const entries = new Set([0, ...this.options.graph.roots]);
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

  emit(): Region {
    const { flow } = this;
    this.buildAll(flow.top);
    const { code } = this;
    this.refuseShortBudget();
    this.begin();
    code.block('exit');
    code.block('interpret');
    if (this.indirect) {
      code.loop('top');
      code.block('jump');
    }
    this.sequence(flow.top, true);
    if (this.indirect) {
      code.end();
      this.jumpWithin();
      code.end();
    }
    code.end();
    this.const(REGION_EXIT.INTERPRET);
    this.set(this.how);
    code.end();
    this.end();
    const { blocks } = this.options.graph;
    const entries = [...this.entryNumbers]
      .filter(([id]) => blocks[id].context === 0 && blocks[id].units.length > 0 && !isDirectBranch(blocks[id]))
      .map(([id, number]) => ({ number, record: blocks[id].start }));
    const { b: builder, pieces, exitsOf: exits, variables, how, where } = this;
    const inside = { builder, pieces, exits, locals: variables, how, where };
    return { code: { locals: this.locals.types, code: this.out.finish() }, entries, inside };
  }

  // ---- blocks to the intermediate form, in an order in which single ways come first ----

  private buildAll(sequence: FlowSequence): void {
    for (const item of sequence.items)
      if (item.kind === 'block') this.build(this.options.graph.blocks[item.block]);
      else this.buildAll(item.body);
  }

  private build(block: RegionBlock): void {
    const { b, options } = this;
    b.forget();
    b.flags.enter(this.isJoin(block.id) ? undefined : this.operations.get(block.id));
    if (this.flow.dispatched.has(block.id)) b.set(b.proved, b.or(b.get(b.proved), b.i32(1 << block.page)));
    const loop = this.loopOf(block.id);
    b.isInLoop = loop !== undefined;
    b.held = b.isInLoop ? -1 : this.isJoin(block.id) ? 0 : (this.heldAt.get(block.id) ?? 0);
    b.found = 0;
    const { units } = block;
    const facts = this.factsOf.get(block.id) ?? new Facts();
    facts.x87.inlines = this.inlinesSums;
    for (let i = 0; i < units.length; i++) {
      const { straddles, start } = units[i];
      if (straddles !== undefined)
        this.prove(block, straddles, () => {
          b.interpret(start, i);
        });
      buildUnit({ b, view: options.view, pageBit: 1 << block.page, is64: this.is64, facts }, units, i);
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
    this.exitsOf.set(block.id, b.exits.splice(0));
    if (loop) this.foundIn.set(loop, (this.foundIn.get(loop) ?? 0) | b.found);
  }

  /** The outermost loop that a block is in. */
  private loopOf(block: number): FlowItem | undefined {
    const path = this.flow.paths.get(block) ?? [];
    return path.length > 1 ? path[0].sequence.items[path[0].item] : undefined;
  }

  /** Slots whose variables always hold them. */
  private get lasting(): Slot[] {
    return this.b.slots.filter(({ home }) => home !== 'state');
  }

  /** Slots that are in variables all around a loop. */
  private heldIn(loop: FlowItem | undefined): Slot[] {
    const found = loop === undefined ? 0 : (this.foundIn.get(loop) ?? 0);
    return this.b.slots.filter(({ bit }) => (bit & found) !== 0);
  }

  private readonly exitsOf = new Map<number, readonly RegionExit[]>();

  /** What is known at the end of the only block that leads to another. */
  private remember(block: number, operation: FlagOperation, facts: Facts, held: number): void {
    if (this.isJoin(block)) return;
    this.heldAt.set(block, held);
    this.operations.set(block, operation);
    this.factsOf.set(block, facts.atNext());
  }

  private isJoin(block: number): boolean {
    return this.ways[block] !== 1 || this.flow.dispatched.has(block);
  }

  /** The record behind a block that ends in an instruction which never falls through. */
  private after(block: RegionBlock): number {
    const last = block.units.at(-1);
    return last ? last.record + RECORD_SIZE : block.start;
  }

  // ---- the function ----

  private get(local: number): void {
    this.out.u8(CONTROL.LOCAL_GET).u32(local);
  }

  private set(local: number): void {
    this.out.u8(CONTROL.LOCAL_SET).u32(local);
  }

  private const(value: number): void {
    this.out.u8(CONTROL.I32_CONST).s32(value);
  }

  private local(variable: { readonly id: number }): number {
    const local = this.variables.get(variable.id);
    if (local === undefined) throw new Error('a variable of the region has a local');
    return local;
  }

  private state(field: keyof typeof STATE): number {
    return this.options.bases.state + STATE[field];
  }

  private loadState(op: Load, address: number): void {
    const { code, align } = LOADS[op];
    this.const(0);
    for (const byte of code) this.out.u8(byte);
    this.out.u32(align).u32(address);
  }

  /** Stores what `value` puts on the stack. */
  private storeState(op: Store, address: number, value: () => void): void {
    const { code, align } = STORES[op];
    this.const(0);
    value();
    for (const byte of code) this.out.u8(byte);
    this.out.u32(align).u32(address);
  }

  /** Loops look at the budget once each time round, so the longest way without a loop has to fit. */
  private get bound(): number {
    return this.options.graph.units + 1;
  }

  private refuseShortBudget(): void {
    const { out } = this;
    this.get(LEFT);
    this.const(this.bound);
    out.u8(I32.LT_S).u8(CONTROL.IF).u8(CONTROL.VOID);
    this.storeState('i32.store', this.state('REGION_EXIT'), () => this.const(REGION_EXIT.REFUSED));
    this.get(LEFT);
    out.u8(CONTROL.RETURN).u8(CONTROL.END);
  }

  private begin(): void {
    const { b } = this;
    this.storeState('i32.store8', LAYOUT.REGION_USED + this.options.index, () => this.const(1));
    this.reload(this.lasting);
    const { a, b: second, kind } = b.flagVariables;
    this.loadState('i64.load', this.state('LAZY_A'));
    this.set(this.local(a));
    this.loadState('i64.load', this.state('LAZY_B'));
    this.set(this.local(second));
    this.loadState('i32.load', this.state('LAZY_KIND'));
    this.set(this.local(kind));
  }

  private reload(slots: readonly Slot[]): void {
    for (const slot of slots) {
      if (!slot.read && (slot.home !== 'variable' || !slot.dirty)) continue;
      this.loadState(`${slot.type}.load`, slot.address);
      this.set(this.local(slot.variable));
    }
  }

  private spill(slots: readonly Slot[]): void {
    for (const slot of slots)
      if (slot.dirty && slot.home === 'variable')
        this.storeState(`${slot.type}.store`, slot.address, () => this.get(this.local(slot.variable)));
  }

  private end(): void {
    const { out, b } = this;
    this.spill(this.lasting);
    const { a, b: second, kind } = b.flagVariables;
    this.storeState('i64.store', this.state('LAZY_A'), () => this.get(this.local(a)));
    this.storeState('i64.store', this.state('LAZY_B'), () => this.get(this.local(second)));
    this.storeState('i32.store', this.state('LAZY_KIND'), () => this.get(this.local(kind)));
    this.storeState('i32.store', this.state('REGION_EXIT'), () => this.get(this.how));
    this.storeState('i32.store', this.state('REGION_RECORD'), () => {
      this.get(this.where);
      this.const(~DONE_MASK);
      out.u8(I32.AND);
    });
    this.storeState('i64.store', this.state('RIP'), () => this.get(this.local(b.target)));
    this.get(LEFT);
    this.get(this.where);
    this.const(DONE_MASK);
    out.u8(I32.AND).u8(I32.SUB);
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

  private readonly sequences = new Map<FlowSequence, number>();

  private sequence(sequence: FlowSequence, isTop: boolean): void {
    const { code, out } = this;
    const { items, dispatch } = sequence;
    const beyond = dispatch.filter((d) => isTop || frontOf(items[0]) !== d.block);
    for (let i = items.length - 1; i >= 0; i--) code.block(this.label(sequence, i));
    if (beyond.length > 0) {
      this.get(ENTRY);
      if (!isTop) out.u8(CONTROL.IF).u8(CONTROL.VOID);
      const inside = isTop ? 0 : 1;
      if (!isTop) this.get(ENTRY);
      const count = this.entryNumbers.size + 1;
      const items_ = Array.from({ length: count }, () => 0);
      for (const { block, item } of dispatch) items_[this.entryNumbers.get(block) ?? 0] = item;
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
    const { code } = this;
    if (item.kind === 'block') {
      this.block(item.block);
      return;
    }
    this.reload(this.foundIn.has(item) ? this.heldIn(item) : []);
    code.loop(`l${String(item.header)}`);
    this.sequence(item.body, false);
    code.end();
  }

  private block(id: number): void {
    const { out } = this;
    const block = this.options.graph.blocks[id];
    if (this.flow.dispatched.has(id)) {
      this.const(0);
      this.set(ENTRY);
    }
    if (this.flow.headers.has(id)) this.look(block);
    const exits = this.exitsOf.get(id) ?? [];
    const piece = this.pieces.get(id);
    if (piece === undefined) throw new Error('every block was built');
    this.lower(piece, this.loopOf(id), (number, depth) => this.leave(block, exits[number], depth));
    out.u8(CONTROL.UNREACHABLE);
  }

  private lower(piece: Block, loop: FlowItem | undefined, exit: (number: number, depth: number) => void): void {
    lower(piece, this.out, this.locals, {
      functionIndex: this.options.functionIndex,
      variables: this.variables,
      exit: (name, _, depth) => exit(Number(name), depth),
      insert: (name) => {
        const { lasting } = this;
        const vectors = lasting.filter((s) => s.type !== 'i64');
        if (name === 'spill') this.spill(lasting);
        else if (name === 'reload') this.reload([...lasting, ...this.heldIn(loop)]);
        else if (name === 'spill-vectors') this.spill(vectors);
        else this.reload(vectors);
      },
    });
    this.locals.release();
  }

  /** At a loop's header: leaves when the budget may not last once round, or something wants attention. */
  private look(block: RegionBlock): void {
    const { out } = this;
    this.get(LEFT);
    this.const(this.bound);
    out.u8(I32.LT_S);
    this.loadState('i32.load', this.state('ATTN'));
    out.u8(I32.OR).u8(CONTROL.IF).u8(CONTROL.VOID);
    this.goOut(REGION_EXIT.INTERPRET, block.start, 1);
    out.u8(CONTROL.END);
  }

  // ---- ways out ----

  /** Goes to the common end; `depth` labels that have no name lie between. */
  private goOut(how: number, where: number, depth: number): void {
    this.const(where);
    this.set(this.where);
    if (how === REGION_EXIT.INTERPRET) {
      this.code.br('interpret', depth);
      return;
    }
    this.const(how);
    this.set(this.how);
    this.code.br('exit', depth);
  }

  private publish(flags: number | undefined): void {
    if (flags === undefined) return;
    this.const(flags);
    this.set(this.local(this.b.flagVariables.kind));
  }

  private countDown(done: number): void {
    if (done === 0) return;
    this.get(LEFT);
    this.const(done);
    this.out.u8(I32.SUB);
    this.set(LEFT);
  }

  private leave(block: RegionBlock, exit: RegionExit, depth: number): void {
    const { out, b } = this;
    switch (exit.kind) {
      case 'interpret':
        this.publish(exit.flags);
        if (exit.faulted) this.storeState('i32.store', this.state('EXC_VECTOR'), () => this.const(-1));
        this.goOut(REGION_EXIT.INTERPRET, exit.record | exit.done, depth);
        return;
      case 'continue':
        this.publish(exit.flags);
        this.goOut(REGION_EXIT.CONTINUE, exit.record | exit.done, depth);
        return;
      case 'answer':
        // The answer is on the stack.
        this.set(this.how);
        this.publish(exit.flags);
        this.const(exit.done);
        this.set(this.where);
        this.code.br('exit', depth);
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
          this.get(this.local(b.target));
          this.pushAddress(block, this.options.graph.blocks[block.expected.block]);
          out.u8(I64.EQ).u8(CONTROL.IF).u8(CONTROL.VOID);
          this.edge(block, block.expected, exit.flags, depth + 1);
          out.u8(CONTROL.END);
        }
        this.publish(exit.flags);
        this.code.br('jump', depth);
        return;
    }
  }

  /** Puts the address of another block on the stack, seen from this one. */
  private pushAddress(from: RegionBlock, to: RegionBlock): void {
    this.pushRip(this.options.graph.pages[to.page].delta - this.options.graph.pages[from.page].delta + to.offset);
  }

  /** Puts CODE_BASE + offset on the stack, as the mode cuts it. */
  private pushRip(offset: number): void {
    const { out } = this;
    this.get(this.local(this.codeBase.variable));
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
      this.goOut(REGION_EXIT.GOTO, target.record, depth);
    } else if (target.kind === 'address') {
      this.pushRip(target.offset);
      this.set(this.local(b.target));
      this.publish(flags);
      this.goOut(NEXT.JUMP, 0, depth);
    } else {
      const to = this.options.graph.blocks[target.block];
      if (to.page !== from.page) this.crossPage(from, to, flags, depth);
      if (this.isJoin(to.id)) this.publish(flags);
      this.branch(from.id, to.id, depth);
    }
  }

  /** Proves that the other page still is where it was, once, and makes CODE_BASE its. */
  private crossPage(from: RegionBlock, to: RegionBlock, flags: number | undefined, depth: number): void {
    const { b, options, out } = this;
    const { graph } = options;
    const delta = graph.pages[to.page].delta - graph.pages[from.page].delta;
    b.forget();
    this.prove(from, to.page, () => {
      b.set(b.target, this.ripAt(delta + to.offset));
      b.leave({ kind: 'jump', flags });
    });
    b.set(this.codeBase.variable, b.add(b.get(this.codeBase.variable), b.i64(delta)));
    const exits = b.exits.splice(0);
    const piece = b.take();
    lower(piece, out, this.locals, {
      functionIndex: options.functionIndex,
      variables: this.variables,
      exit: (name, _, inner) => this.leave(from, exits[Number(name)], depth + inner),
    });
  }

  /** CODE_BASE + offset, as the mode cuts it. */
  private ripAt(offset: number): Node {
    const { b } = this;
    const sum = b.add(b.get(this.codeBase.variable), b.i64(offset));
    return this.is64 ? sum : b.and(sum, b.i64(0xffff_ffffn));
  }

  /** Builds what does `otherwise` unless another page is where it was, as the CPU fetches it, and untouched. */
  private prove(from: RegionBlock, page: number, otherwise: () => void): void {
    const { b, options } = this;
    const { bases, graph } = options;
    const { code, delta } = graph.pages[page];
    const bit = 1 << page;
    b.if(b.eqz(b.and(b.get(b.proved), b.i32(bit))), () => {
      const address = this.ripAt(delta - graph.pages[from.page].delta);
      const index = b.and(b.wrap(b.shru(address, b.i64(8))), b.i32((bases.mmu.entryCount - 1) * 16));
      const tag = b.load('i64.load', index, bases.fetchEntries);
      const wanted = b.or(address, b.load('i64.load', b.i32(0), this.state('TLB_CTX')));
      const host = b.wrap(b.add(address, b.load('i64.load', index, bases.fetchEntries + 8)));
      const inTlb = b.and(b.op('i64.eq', tag, wanted), b.op('i32.eq', host, b.i32(code.host)));
      const writes = b.load('i32.load', b.i32(code.entry), PAGE.WRITES);
      const isTouched = b.op('i32.ne', writes, b.i32(graph.pages[page].writes));
      b.if(isTouched, () => {
        b.store('i32.store', b.i32(0), b.i32(options.index + 1), this.state('REGION_REQUEST'));
        otherwise();
      });
      b.if(b.eqz(inTlb), () => {
        b.if(b.op('i32.ne', b.call(FETCH_ADDRESS, address), b.i32(code.host)), otherwise);
      });
      b.set(b.proved, b.or(b.get(b.proved), b.i32(bit)));
    });
  }

  /** A branch within the region: forward in a sequence around both, or back to the header of a loop around this. */
  private branch(from: number, to: number, depth: number): void {
    const { code } = this;
    const source = this.flow.paths.get(from) ?? [];
    const destination = this.flow.paths.get(to) ?? [];
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
      this.const(this.entryNumbers.get(to) ?? 0);
      this.set(ENTRY);
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
      b.set(this.codeBase.variable, b.sub(rip, offset));
      const isEntry = b.op('i32.eq', b.load('i32.load16_u', record, RECORD.HANDLER), b.i32(MICRO.REGION));
      b.if(isEntry, () => {
        const slot = b.shl(b.load('i32.load', record, RECORD.LINK), b.i32(3));
        const index = b.load('i32.load', slot, LAYOUT.REGION_SLOTS + REGION_SLOT.FUNCTION);
        const budget = b.op('i32.ge_s', b.param('i32', LEFT), b.i32(this.bound));
        const calm = b.eqz(b.load('i32.load', b.i32(0), this.state('ATTN')));
        b.if(b.and(b.op('i32.eq', index, b.i32(options.index)), b.and(budget, calm)), () => {
          const number = b.load('i32.load16_u', slot, LAYOUT.REGION_SLOTS + REGION_SLOT.ENTRY);
          b.leave({ kind: 'jump', flags: undefined }, number);
        });
      });
      // Whoever goes on need not look for it again.
      b.leave({ kind: 'jump', flags: undefined }, record);
    });
    b.exits.splice(0);
    lower(b.take(), this.out, this.locals, {
      functionIndex: options.functionIndex,
      variables: this.variables,
      exit: (name, _, depth) => {
        if (name === '0') {
          this.set(ENTRY);
          this.code.br('top', depth);
          return;
        }
        this.set(this.where);
        this.const(REGION_EXIT.GOTO);
        this.set(this.how);
        this.code.br('exit', depth);
      },
    });
    this.locals.release();
    this.goOut(NEXT.JUMP, 0, 0);
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
