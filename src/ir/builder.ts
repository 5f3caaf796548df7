import { assert } from '../base/assert.js';
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
    return { kind: 'const', type: 'i32', id: this.nextId++, value: BigInt.asIntN(32, BigInt(value)) };
  }

  i64(value: number | bigint): Node {
    return { kind: 'const', type: 'i64', id: this.nextId++, value: BigInt.asIntN(64, BigInt(value)) };
  }

  f32(value: number): Node {
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, value);
    return { kind: 'const', type: 'f32', id: this.nextId++, value: BigInt(view.getUint32(0)) };
  }

  f64(value: number): Node {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    return { kind: 'const', type: 'f64', id: this.nextId++, value: view.getBigUint64(0) };
  }

  /** A vector by its 128 bits. */
  v128(value: bigint): Node {
    return { kind: 'const', type: 'v128', id: this.nextId++, value: BigInt.asUintN(128, value) };
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
    assert(info.lanes === undefined, `${op} without lanes`);
    assert(info.params.length === args.length && args.every((a, i) => a.type === info.params[i]), `operands of ${op}`);
    return this.let({ kind: 'pure', type: info.result, id: this.nextId++, op, args });
  }

  /** An operation with lane numbers: extract_lane, replace_lane, shuffle. */
  lanes(op: PureOp, lanes: readonly number[], ...args: readonly Node[]): Node {
    const info: OpInfo = PURE_OPS[op];
    assert(info.params.length === args.length && args.every((a, i) => a.type === info.params[i]), `operands of ${op}`);
    const { count, limit } = info.lanes ?? { count: 0, limit: 0 };
    assert(lanes.length === count && lanes.every((lane) => lane >= 0 && lane < limit), `lanes of ${op}`);
    return this.let({ kind: 'pure', type: info.result, id: this.nextId++, op, args, lanes });
  }

  /** An integer operation in the type of its first operand: `int('add', a, b)`. */
  int(name: IntegerOp, ...args: readonly Node[]): Node {
    return this.op(`${args[0]?.type === 'i64' ? 'i64' : 'i32'}.${name}` as PureOp, ...args);
  }

  add(a: Node, b: Node): Node {
    return this.int('add', a, b);
  }
  sub(a: Node, b: Node): Node {
    return this.int('sub', a, b);
  }
  and(a: Node, b: Node): Node {
    return this.int('and', a, b);
  }
  or(a: Node, b: Node): Node {
    return this.int('or', a, b);
  }
  xor(a: Node, b: Node): Node {
    return this.int('xor', a, b);
  }
  shl(a: Node, b: Node): Node {
    return this.int('shl', a, b);
  }
  shru(a: Node, b: Node): Node {
    return this.int('shr_u', a, b);
  }
  shrs(a: Node, b: Node): Node {
    return this.int('shr_s', a, b);
  }
  eqz(a: Node): Node {
    return this.int('eqz', a);
  }
  not(a: Node): Node {
    return this.int('xor', a, this.constant(a.type, -1));
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
    assert(callee.result !== undefined, `${callee.name} has no result`);
    return this.let({ kind: 'call', type: callee.result, id: this.nextId++, callee, args });
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
