/**
 * The intermediate form: values are nodes, effects are statements in order, control flow is structured. It is a thin
 * layer over WebAssembly and knows no guest architecture; what it knows of a guest is only where the front end says its state
 * lies (loads and stores at state addresses).
 */
import type { CompareExchange, Division, Load, PureOp, Store, ValueType } from './wasm/opcodes.js';

/** A function of the module or an import, by name; the lowering resolves it to an index. */
export interface FunctionRef {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
}

/** A mutable local. */
export interface Variable {
  readonly type: ValueType;
  readonly id: number;
}

/** Ids count up within a builder, variables with the nodes; constants need none. */
export type Node = { readonly type: ValueType; readonly id: number } &
  /** Floating point and vector constants hold their bits, unsigned. */
  (
    | {
        readonly kind: 'const';
        readonly value: bigint;
        /** It is an address: where code is for any of several areas, one in the first of them. */
        readonly isAddress?: true;
      }
    | { readonly kind: 'param'; readonly index: number }
    | {
        readonly kind: 'pure';
        readonly op: PureOp;
        readonly args: readonly Node[];
        /** Of operations on lanes: which. */
        readonly lanes?: readonly number[];
      }
    | { readonly kind: 'select'; readonly condition: Node; readonly yes: Node; readonly no: Node }
    | { readonly kind: 'division'; readonly op: Division; readonly args: readonly Node[] }
    | { readonly kind: 'load'; readonly op: Load; readonly address: Node; readonly offset: number }
    | {
        readonly kind: 'cmpxchg';
        readonly op: CompareExchange;
        readonly address: Node;
        readonly expected: Node;
        readonly replacement: Node;
      }
    | { readonly kind: 'call'; readonly callee: FunctionRef; readonly args: readonly Node[] }
    | { readonly kind: 'get'; readonly variable: Variable }
  );

export type Statement =
  /** Evaluates the node here. Pure nodes stand here too, in order of creation, so that one that is used twice is computed once. */
  | { readonly kind: 'let'; readonly node: Node }
  | { readonly kind: 'set'; readonly variable: Variable; readonly value: Node }
  | {
      readonly kind: 'store';
      readonly op: Store;
      readonly address: Node;
      readonly offset: number;
      readonly value: Node;
    }
  | { readonly kind: 'call'; readonly callee: FunctionRef; readonly args: readonly Node[] }
  | { readonly kind: 'if'; readonly condition: Node; readonly then: Block; readonly otherwise: Block }
  /** Repeats its body until it leaves by `break`. */
  | { readonly kind: 'loop'; readonly body: Block }
  | { readonly kind: 'break' }
  /** Code that the surroundings put here: they may not know it yet when the piece is built. */
  | { readonly kind: 'insert'; readonly name: string }
  /** Leaves the whole piece of code in one of the ways its surroundings provide. */
  | { readonly kind: 'exit'; readonly name: string; readonly value: Node | undefined };

export type Block = readonly Statement[];
