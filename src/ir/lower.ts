/**
 * From the intermediate form to WebAssembly. A node that is used once is computed where it is used when it is pure, and
 * where it stands otherwise; one that is used more often goes to a local.
 */
import { assertNever } from '../base/assert.js';
import type { Block, FunctionRef, Node, Statement, Variable } from './nodes.js';
import type { ByteWriter } from './wasm/bytes.js';
import { addOrigin, pushBase, type Origin } from './wasm/origin.js';
import {
  COMPARE_EXCHANGES,
  CONTROL,
  DIVISIONS,
  LOADS,
  PURE_OPS,
  STORES,
  V128_CONST,
  type ValueType,
} from './wasm/opcodes.js';

/** The locals of a function under construction; pieces of code that do not overlap share them. */
export class Locals {
  readonly types: ValueType[] = [];
  private readonly free = new Map<ValueType, number[]>();
  private taken: { type: ValueType; index: number }[] = [];

  /** `first` is the number of parameters: they come first in the index space. */
  constructor(private readonly first: number) {}

  take(type: ValueType): number {
    const reused = this.free.get(type)?.pop();
    if (reused !== undefined) {
      this.taken.push({ type, index: reused });
      return reused;
    }
    this.types.push(type);
    const index = this.first + this.types.length - 1;
    this.taken.push({ type, index });
    return index;
  }

  /** What was taken so far is never given back. */
  keep(): void {
    this.taken = [];
  }

  /** Gives all locals back: what comes next shares nothing with what came before. */
  release(): void {
    for (const { type, index } of this.taken.reverse()) {
      const list = this.free.get(type) ?? [];
      list.push(index);
      this.free.set(type, list);
    }
    this.taken = [];
  }
}

/** What the surroundings of a piece of code provide. */
export interface LowerContext {
  functionIndex(callee: FunctionRef): number;
  /**
   * Emits how the code is left: at `depth` labels inside the piece. The value, if the exit has one, is on the stack.
   */
  exit(name: string, out: ByteWriter, depth: number): void;
  /** Emits what `insert` names. */
  insert?(name: string, out: ByteWriter): void;
  /** For code that is for any of several areas of memory. */
  readonly origin?: Origin | undefined;
  /** Locals of variables that outlive the piece, by their ids. */
  readonly variables?: ReadonlyMap<number, number>;
}

interface Piece {
  readonly out: ByteWriter;
  readonly locals: Locals;
  readonly context: LowerContext;
  readonly numbers: Numbers;
}

/** What is known of a piece's nodes and variables, by their ids. */
class Numbers {
  /** How often each node is used. */
  private uses: Int32Array = new Int32Array(1024);
  /** The local of each node or variable that has one, and 1. */
  private places: Int32Array = new Int32Array(1024);
  private lowest = 0;
  private highest = -1;
  isFree = true;

  begin(): void {
    this.isFree = false;
  }

  use(id: number): void {
    if (id < 0) return;
    this.reach(id);
    this.uses[id]++;
  }

  usesOf(id: number): number {
    return id < 0 || id >= this.uses.length ? 0 : this.uses[id];
  }

  place(id: number, local: number): void {
    this.reach(id);
    this.places[id] = local + 1;
  }

  /** The local, or -1. */
  placeOf(id: number): number {
    return id < 0 || id >= this.places.length ? -1 : this.places[id] - 1;
  }

  private reach(id: number): void {
    if (id >= this.uses.length) {
      this.uses = grown(this.uses, id);
      this.places = grown(this.places, id);
    }
    if (this.highest < this.lowest) this.lowest = this.highest = id;
    else if (id < this.lowest) this.lowest = id;
    else if (id > this.highest) this.highest = id;
  }

  /** Forgets all. */
  end(): void {
    this.uses.fill(0, this.lowest, this.highest + 1);
    this.places.fill(0, this.lowest, this.highest + 1);
    this.lowest = 0;
    this.highest = -1;
    this.isFree = true;
  }
}

function grown(array: Int32Array, index: number): Int32Array {
  const larger = new Int32Array(Math.max(array.length * 2, index + 1));
  larger.set(array);
  return larger;
}

/** Made once, because pieces are many and small. A piece that is lowered in the middle of another has its own. */
const NUMBERS = new Numbers();

/** Appends the code of a block to `out`. */
export function lower(block: Block, out: ByteWriter, locals: Locals, context: LowerContext): void {
  const numbers = NUMBERS.isFree ? NUMBERS : new Numbers();
  numbers.begin();
  countUses(block, numbers);
  lowerBlock(block, { out, locals, context, numbers }, 0, undefined);
  numbers.end();
}

/** Counts the uses that a node makes of others. */
function countOperands(node: Node, numbers: Numbers): void {
  switch (node.kind) {
    case 'const':
    case 'param':
    case 'get':
      return;
    case 'pure':
    case 'division':
    case 'call':
      for (const arg of node.args) numbers.use(arg.id);
      return;
    case 'select':
      numbers.use(node.yes.id);
      numbers.use(node.no.id);
      numbers.use(node.condition.id);
      return;
    case 'load':
      numbers.use(node.address.id);
      return;
    case 'cmpxchg':
      numbers.use(node.address.id);
      numbers.use(node.expected.id);
      numbers.use(node.replacement.id);
      return;
    default:
      assertNever(node);
  }
}

/** Backwards, so that what only dead pure nodes use is dead too. */
function countUses(block: Block, numbers: Numbers): void {
  for (let i = block.length - 1; i >= 0; i--) {
    const s = block[i];
    switch (s.kind) {
      case 'let':
        if (numbers.usesOf(s.node.id) > 0 || !isRemovable(s.node)) countOperands(s.node, numbers);
        break;
      case 'set':
        numbers.use(s.value.id);
        break;
      case 'store':
        numbers.use(s.address.id);
        numbers.use(s.value.id);
        break;
      case 'call':
        for (const arg of s.args) numbers.use(arg.id);
        break;
      case 'if':
        countUses(s.otherwise, numbers);
        countUses(s.then, numbers);
        numbers.use(s.condition.id);
        break;
      case 'loop':
        countUses(s.body, numbers);
        break;
      case 'exit':
        if (s.value) numbers.use(s.value.id);
        break;
      case 'break':
      case 'insert':
        break;
      default:
        assertNever(s);
    }
  }
}

const isRemovable = (node: Node): boolean =>
  node.kind === 'pure' || node.kind === 'select' || node.kind === 'load' || node.kind === 'get';

/** May be computed later than where it stands. */
const isMovable = (node: Node): boolean => node.kind === 'pure' || node.kind === 'select';

function lowerBlock(block: Block, piece: Piece, depth: number, loopDepth: number | undefined): void {
  for (const s of block) lowerStatement(s, piece, depth, loopDepth);
}

function lowerStatement(s: Statement, piece: Piece, depth: number, loopDepth: number | undefined): void {
  const { out, context } = piece;
  switch (s.kind) {
    case 'let': {
      const uses = piece.numbers.usesOf(s.node.id);
      if (uses === 0 && isRemovable(s.node)) return;
      if (uses === 1 && isMovable(s.node)) return;
      compute(s.node, piece);
      if (uses === 0) out.u8(CONTROL.DROP);
      else {
        const local = piece.locals.take(s.node.type);
        piece.numbers.place(s.node.id, local);
        out.u8(CONTROL.LOCAL_SET).u32(local);
      }
      return;
    }
    case 'set':
      push(s.value, piece);
      out.u8(CONTROL.LOCAL_SET).u32(variableLocal(s.variable, piece));
      return;
    case 'store': {
      const { code, align } = STORES[s.op];
      pushAddress(s.address, s.offset, piece);
      push(s.value, piece);
      for (const byte of code) out.u8(byte);
      out.u32(align).u32(s.offset);
      return;
    }
    case 'call':
      for (const arg of s.args) push(arg, piece);
      out.u8(CONTROL.CALL).u32(context.functionIndex(s.callee));
      if (s.callee.result !== undefined) out.u8(CONTROL.DROP);
      return;
    case 'if':
      push(s.condition, piece);
      out.u8(CONTROL.IF).u8(CONTROL.VOID);
      lowerBlock(s.then, piece, depth + 1, loopDepth);
      if (s.otherwise.length > 0) {
        out.u8(CONTROL.ELSE);
        lowerBlock(s.otherwise, piece, depth + 1, loopDepth);
      }
      out.u8(CONTROL.END);
      return;
    case 'loop':
      out.u8(CONTROL.BLOCK).u8(CONTROL.VOID).u8(CONTROL.LOOP).u8(CONTROL.VOID);
      lowerBlock(s.body, piece, depth + 2, depth + 1);
      out.u8(CONTROL.BR).u32(0).u8(CONTROL.END).u8(CONTROL.END);
      return;
    case 'break':
      if (loopDepth === undefined) throw new Error('break outside a loop');
      out.u8(CONTROL.BR).u32(depth - loopDepth);
      return;
    case 'insert':
      if (context.insert === undefined) throw new Error(`nothing to insert as ${s.name}`);
      context.insert(s.name, out);
      return;
    case 'exit':
      if (s.value) push(s.value, piece);
      context.exit(s.name, out, depth);
      return;
    default:
      assertNever(s);
  }
}

function variableLocal(variable: Variable, piece: Piece): number {
  const outer = piece.context.variables?.get(variable.id);
  if (outer !== undefined) return outer;
  const known = piece.numbers.placeOf(variable.id);
  if (known >= 0) return known;
  const local = piece.locals.take(variable.type);
  piece.numbers.place(variable.id, local);
  return local;
}

/** Puts a node's value on the stack: from its local, or by computing it here. */
function push(node: Node, piece: Piece): void {
  const local = piece.numbers.placeOf(node.id);
  if (local >= 0) piece.out.u8(CONTROL.LOCAL_GET).u32(local);
  else compute(node, piece);
}

/** Puts the address of an access with a static offset on the stack. */
function pushAddress(address: Node, offset: number, piece: Piece): void {
  const { out, context } = piece;
  if (address.kind === 'const' && address.value === 0n) {
    pushBase(out, context.origin, offset);
    return;
  }
  push(address, piece);
  addOrigin(out, context.origin, offset);
}

function constant(type: ValueType, value: bigint, out: ByteWriter): void {
  switch (type) {
    case 'i32':
      out.u8(CONTROL.I32_CONST).s32(Number(value));
      return;
    case 'i64':
      out.u8(CONTROL.I64_CONST).s64(value);
      return;
    case 'f32':
      out.u8(CONTROL.F32_CONST).fixed(value, 4);
      return;
    case 'f64':
      out.u8(CONTROL.F64_CONST).fixed(value, 8);
      return;
    case 'v128':
      for (const byte of V128_CONST) out.u8(byte);
      out.fixed(value, 16);
      return;
    default:
      assertNever(type);
  }
}

function compute(node: Node, piece: Piece): void {
  const { out } = piece;
  switch (node.kind) {
    case 'const':
      constant(node.type, node.value, out);
      if (node.isAddress) addOrigin(out, piece.context.origin, Number(node.value));
      return;
    case 'param':
      out.u8(CONTROL.LOCAL_GET).u32(node.index);
      return;
    case 'get':
      out.u8(CONTROL.LOCAL_GET).u32(variableLocal(node.variable, piece));
      return;
    case 'pure':
      for (const arg of node.args) push(arg, piece);
      for (const byte of PURE_OPS[node.op].code) out.u8(byte);
      for (const lane of node.lanes ?? []) out.u8(lane);
      return;
    case 'division':
      for (const arg of node.args) push(arg, piece);
      for (const byte of DIVISIONS[node.op].code) out.u8(byte);
      return;
    case 'select':
      push(node.yes, piece);
      push(node.no, piece);
      push(node.condition, piece);
      out.u8(CONTROL.SELECT);
      return;
    case 'load': {
      const { code, align } = LOADS[node.op];
      pushAddress(node.address, node.offset, piece);
      for (const byte of code) out.u8(byte);
      out.u32(align).u32(node.offset);
      return;
    }
    case 'cmpxchg': {
      const { code, align } = COMPARE_EXCHANGES[node.op];
      push(node.address, piece);
      push(node.expected, piece);
      push(node.replacement, piece);
      for (const byte of code) out.u8(byte);
      out.u32(align).u32(0);
      return;
    }
    case 'call':
      for (const arg of node.args) push(arg, piece);
      out.u8(CONTROL.CALL).u32(piece.context.functionIndex(node.callee));
      return;
    default:
      assertNever(node);
  }
}
