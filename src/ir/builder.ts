import { assert, AssertionError } from '../base/assert.js';
import type { Block, FunctionRef, Node, Statement, Variable } from './nodes.js';
import {
  COMPARE_EXCHANGES,
  DIVISIONS,
  LOADS,
  PURE_OPS,
  type CompareExchange,
  type Division,
  type Load,
  type OpInfo,
  type PureOp,
  type Store,
  type ValueType,
} from './wasm/opcodes.js';

/** Operations that exist for both integer types under the same name. */
export type IntegerOp = PureOp extends infer Op ? (Op extends `i32.${infer Name}` ? Name : never) : never;

/** Nodes of constants near 0: they are most, and where a constant was made does not matter. */
const SMALL = { lowest: -256, highest: 4095 } as const;

function smallConstants(type: 'i32' | 'i64'): readonly Node[] {
  const count = SMALL.highest - SMALL.lowest + 1;
  return Array.from({ length: count }, (_, i) => ({ kind: 'const', type, id: -1, value: BigInt(SMALL.lowest + i) }));
}

const SMALL_I32 = smallConstants('i32');
const SMALL_I64 = smallConstants('i64');

const isSmall = (value: number): boolean => value >= SMALL.lowest && value <= SMALL.highest;

/** Both names of each operation that exists for i32 and i64: putting a name together each time takes longer. */
const NAMES_I32 = new Map<string, PureOp>();
const NAMES_I64 = new Map<string, PureOp>();
for (const op of Object.keys(PURE_OPS) as PureOp[]) {
  if (op.startsWith('i32.')) NAMES_I32.set(op.slice(4), op);
  if (op.startsWith('i64.')) NAMES_I64.set(op.slice(4), op);
}

function checkOperands(op: PureOp, { params }: OpInfo, args: readonly Node[]): void {
  let fits = params.length === args.length;
  for (let i = 0; fits && i < args.length; i++) fits = args[i].type === params[i];
  if (!fits) throw new AssertionError(`operands of ${op}`);
}

/** Builds a piece of code in the intermediate form, in program order. */
export class Builder {
  private statements: Statement[] = [];
  private nextId = 0;

  /** The statements built so far. */
  finish(): Block {
    return this.statements;
  }

  /** The statements built so far, for a piece of their own; what is built next is another. */
  take(): Block {
    const { statements } = this;
    this.statements = [];
    return statements;
  }

  i32(value: number): Node {
    if (isSmall(value)) return SMALL_I32[value - SMALL.lowest];
    return { kind: 'const', type: 'i32', id: -1, value: BigInt(value | 0) };
  }

  /** An address in memory as a value. */
  address(value: number): Node {
    return { kind: 'const', type: 'i32', id: -1, value: BigInt(value | 0), isAddress: true };
  }

  i64(value: number | bigint): Node {
    const near = Number(value);
    if (isSmall(near)) return SMALL_I64[near - SMALL.lowest];
    return { kind: 'const', type: 'i64', id: -1, value: BigInt.asIntN(64, BigInt(value)) };
  }

  f32(value: number): Node {
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, value);
    return { kind: 'const', type: 'f32', id: -1, value: BigInt(view.getUint32(0)) };
  }

  f64(value: number): Node {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    return { kind: 'const', type: 'f64', id: -1, value: view.getBigUint64(0) };
  }

  /** A vector by its 128 bits. */
  v128(value: bigint): Node {
    return { kind: 'const', type: 'v128', id: -1, value: BigInt.asUintN(128, value) };
  }

  /** A constant of a given integer type. */
  constant(type: ValueType, value: number | bigint): Node {
    return type === 'i64' ? this.i64(value) : this.i32(Number(value));
  }

  /** A parameter of the function that this code becomes part of. */
  param(type: ValueType, index: number): Node {
    return { kind: 'param', type, id: this.nextId++, index };
  }

  protected let(node: Node): Node {
    this.statements.push({ kind: 'let', node });
    return node;
  }

  op(op: PureOp, ...args: readonly Node[]): Node {
    const info: OpInfo = PURE_OPS[op];
    if (info.lanes !== undefined) throw new AssertionError(`${op} without lanes`);
    checkOperands(op, info, args);
    return this.let({ kind: 'pure', type: info.result, id: this.nextId++, op, args });
  }

  /** An operation with lane numbers: extract_lane, replace_lane, shuffle. */
  lanes(op: PureOp, lanes: readonly number[], ...args: readonly Node[]): Node {
    const info: OpInfo = PURE_OPS[op];
    checkOperands(op, info, args);
    const { count, limit } = info.lanes ?? { count: 0, limit: 0 };
    assert(lanes.length === count && lanes.every((lane) => lane >= 0 && lane < limit), `lanes of ${op}`);
    return this.let({ kind: 'pure', type: info.result, id: this.nextId++, op, args, lanes });
  }

  /** An integer operation in the type of its first operand: `int('add', a, b)`. */
  int(name: IntegerOp, ...args: readonly Node[]): Node {
    const op = (args[0]?.type === 'i64' ? NAMES_I64 : NAMES_I32).get(name);
    assert(op !== undefined, 'an operation of both integer types');
    return this.op(op, ...args);
  }

  add(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.add' : 'i32.add', a, b);
  }
  sub(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.sub' : 'i32.sub', a, b);
  }
  and(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.and' : 'i32.and', a, b);
  }
  or(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.or' : 'i32.or', a, b);
  }
  xor(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.xor' : 'i32.xor', a, b);
  }
  shl(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.shl' : 'i32.shl', a, b);
  }
  shru(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.shr_u' : 'i32.shr_u', a, b);
  }
  shrs(a: Node, b: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.shr_s' : 'i32.shr_s', a, b);
  }
  eqz(a: Node): Node {
    return this.op(a.type === 'i64' ? 'i64.eqz' : 'i32.eqz', a);
  }
  not(a: Node): Node {
    return this.xor(a, this.constant(a.type, -1));
  }
  wrap(a: Node): Node {
    return a.type === 'i32' ? a : this.op('i32.wrap_i64', a);
  }
  extendU(a: Node): Node {
    return a.type === 'i64' ? a : this.op('i64.extend_i32_u', a);
  }
  extendS(a: Node): Node {
    return a.type === 'i64' ? a : this.op('i64.extend_i32_s', a);
  }

  /** `condition` (i32) not 0: `yes`, else `no`. Both are evaluated. */
  select(condition: Node, yes: Node, no: Node): Node {
    return this.let({ kind: 'select', type: yes.type, id: this.nextId++, condition, yes, no });
  }

  divide(op: Division, a: Node, b: Node): Node {
    return this.let({ kind: 'division', type: DIVISIONS[op].result, id: this.nextId++, op, args: [a, b] });
  }

  load(op: Load, address: Node, offset = 0): Node {
    return this.let({ kind: 'load', type: LOADS[op].type, id: this.nextId++, op, address, offset });
  }

  store(op: Store, address: Node, value: Node, offset = 0): void {
    this.statements.push({ kind: 'store', op, address, offset, value });
  }

  compareExchange(op: CompareExchange, address: Node, expected: Node, replacement: Node): Node {
    const type = COMPARE_EXCHANGES[op].type;
    return this.let({ kind: 'cmpxchg', type, id: this.nextId++, op, address, expected, replacement });
  }

  /** Calls a function that has a result. */
  call(callee: FunctionRef, ...args: readonly Node[]): Node {
    const { result } = callee;
    if (result === undefined) throw new AssertionError(`${callee.name} has no result`);
    return this.let({ kind: 'call', type: result, id: this.nextId++, callee, args });
  }

  /** Calls a function that has none. */
  callVoid(callee: FunctionRef, ...args: readonly Node[]): void {
    this.statements.push({ kind: 'call', callee, args });
  }

  variable(type: ValueType): Variable {
    return { type, id: this.nextId++ };
  }

  get(variable: Variable): Node {
    return this.let({ kind: 'get', type: variable.type, id: this.nextId++, variable });
  }

  set(variable: Variable, value: Node): void {
    this.statements.push({ kind: 'set', variable, value });
  }

  /** What `body` builds, as a block of its own. */
  protected nested(body: () => void): Block {
    const outer = this.statements;
    this.statements = [];
    body();
    const block = this.statements;
    this.statements = outer;
    return block;
  }

  if(condition: Node, then: () => void, otherwise: () => void = () => undefined): void {
    const arms = { then: this.nested(then), otherwise: this.nested(otherwise) };
    this.join();
    this.statements.push({ kind: 'if', condition, ...arms });
  }

  /** The arms of an `if` are built, and it comes next: for a builder that has to prepare where they meet. */
  protected join(): void {
    // Nothing to prepare here.
  }

  /** A value that is computed in one of two ways. */
  choose(type: ValueType, condition: Node, yes: () => Node, no: () => Node): Node {
    const result = this.variable(type);
    this.if(
      condition,
      () => {
        this.set(result, yes());
      },
      () => {
        this.set(result, no());
      },
    );
    return this.get(result);
  }

  loop(body: () => void): void {
    this.statements.push({ kind: 'loop', body: this.nested(body) });
  }

  /** Leaves the innermost loop. */
  break(): void {
    this.statements.push({ kind: 'break' });
  }

  /** The surroundings' code `name` stands here: `LowerContext.insert`. */
  insert(name: string): void {
    this.statements.push({ kind: 'insert', name });
  }

  exit(name: string, value?: Node): void {
    this.statements.push({ kind: 'exit', name, value });
  }
}
