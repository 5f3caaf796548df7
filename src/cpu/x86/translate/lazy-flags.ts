/**
 * Arithmetic flags of translated code. What the last operation was is known when the code is made, so only its operands are
 * kept, in two variables, and a condition compares them directly. Where the code is left, `settle_flags` makes FLAG_RES and
 * FLAG_AUX of them. Where ways meet that differ in their last operation, its number is kept in a third variable.
 */
import type { Builder } from '../../../ir/builder.js';
import type { Node, Variable } from '../../../ir/nodes.js';
import { assertNever } from '../../../base/assert.js';
import { SETTLE_FLAGS } from '../interpreter/glue.js';
import { Flags } from '../semantics/flags.js';
import { FLAG_KIND, type STATE } from '../state-layout.js';
import type { Width } from '../variants.js';

/** The variables: A and B as FLAG_KIND says. */
export interface FlagVariables {
  readonly a: Variable;
  readonly b: Variable;
  readonly kind: Variable;
}

/** What is known of the last operation. Values are i32 up to 32 bits, and clean but for a `result`. */
type Pending =
  | { readonly kind: 'settled' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'add' | 'sub'; readonly width: Width; readonly left: Node; readonly right: Node }
  | { readonly kind: 'logic'; readonly width: Width; readonly result: Node }
  | { readonly kind: 'inc' | 'dec'; readonly width: Width; readonly result: Node; readonly carry: Node };

/** A last operation without its operands. */
export interface FlagOperation {
  readonly kind: Pending['kind'];
  readonly width: Width;
}

const SIZE_INDEX: Readonly<Record<Width, number>> = { 8: 0, 16: 1, 32: 2, 64: 3 };

const BASES = { add: FLAG_KIND.ADD, sub: FLAG_KIND.SUB, inc: FLAG_KIND.INC, dec: FLAG_KIND.DEC } as const;

export class LazyFlags extends Flags {
  private pending: Pending = { kind: 'settled' };
  /** Set by whoever knows that the flags of the next operation are overwritten before anything can look at them. */
  dead = false;

  constructor(
    b: Builder,
    state: number,
    private readonly variables: FlagVariables,
    private readonly at: (field: keyof typeof STATE) => number,
  ) {
    super(b, state);
  }

  /** Number of what is pending, or undefined when only the variable `kind` knows. */
  get kind(): number | undefined {
    const { pending } = this;
    switch (pending.kind) {
      case 'unknown':
        return undefined;
      case 'settled':
      case 'logic':
        return FLAG_KIND.SETTLED;
      default:
        return BASES[pending.kind] + SIZE_INDEX[pending.width];
    }
  }

  /** What is pending, for `resume` in the same piece of code. */
  get current(): Pending {
    return this.pending;
  }

  resume(pending: Pending): void {
    this.pending = pending;
  }

  /** The last operation, for code that follows this code only. */
  get operation(): FlagOperation {
    const { pending } = this;
    return 'width' in pending ? { kind: pending.kind, width: pending.width } : { kind: pending.kind, width: 64 };
  }

  /** Code that is built next is reached with the operands of `operation` in the variables; undefined: of any. */
  enter(operation: FlagOperation | undefined): void {
    const { b, variables } = this;
    if (operation === undefined || operation.kind === 'unknown') {
      this.pending = { kind: 'unknown' };
      return;
    }
    if (operation.kind === 'settled') {
      this.pending = { kind: 'settled' };
      return;
    }
    const { kind, width } = operation;
    const narrow = (v: Node): Node => (width === 64 ? v : b.wrap(v));
    const a = b.get(variables.a);
    const second = b.get(variables.b);
    if (kind === 'logic') this.pending = { kind, width, result: narrow(a) };
    else if (kind === 'inc' || kind === 'dec') this.pending = { kind, width, result: narrow(a), carry: b.wrap(second) };
    else this.pending = { kind, width, left: narrow(a), right: narrow(second) };
  }

  /** Makes the variable `kind` right, for ways that do not know it. */
  publish(): void {
    const { kind } = this;
    if (kind !== undefined) this.b.set(this.variables.kind, this.b.i32(kind));
  }

  /** The variables hold FLAG_RES and FLAG_AUX from here on. */
  settledByState(): void {
    this.pending = { kind: 'settled' };
  }

  private keep(pending: Pending, a: Node, second: Node): void {
    if (this.dead) {
      this.pending = pending;
      return;
    }
    const { b, variables } = this;
    b.set(variables.a, b.extendU(a));
    b.set(variables.b, b.extendU(second));
    this.pending = pending;
  }

  override add(width: Width, left: Node, right: Node): void {
    this.keep({ kind: 'add', width, left, right }, left, right);
  }

  override sub(width: Width, left: Node, right: Node): void {
    this.keep({ kind: 'sub', width, left, right }, left, right);
  }

  override logic(width: Width, result: Node): void {
    this.keep({ kind: 'logic', width, result }, this.extended(width, result), this.b.i32(0));
  }

  override increment(width: Width, _: Node, result: Node): void {
    const carry = this.carry();
    this.keep({ kind: 'inc', width, result, carry }, this.extended(width, result), carry);
  }

  override decrement(width: Width, _: Node, result: Node): void {
    const carry = this.carry();
    this.keep({ kind: 'dec', width, result, carry }, this.extended(width, result), carry);
  }

  // ---- the settled form, which all other operations use ----

  protected override aux(): Node {
    this.settle();
    return this.b.wrap(this.b.get(this.variables.b));
  }

  protected override result(): Node {
    this.settle();
    return this.b.get(this.variables.a);
  }

  protected override setAux(aux: Node): void {
    const { pending } = this;
    // Whoever sets one of the two alone has read the other first, or sets it too.
    if (pending.kind !== 'settled') this.pending = { kind: 'settled' };
    if (!this.dead) this.b.set(this.variables.b, this.b.extendU(aux));
  }

  protected override writeResult(result: Node): void {
    if (!this.dead) this.b.set(this.variables.a, result);
    this.pending = { kind: 'settled' };
  }

  /** Turns what is pending into FLAG_RES and FLAG_AUX, in the variables. */
  private settle(): void {
    const { b, variables, pending } = this;
    switch (pending.kind) {
      case 'settled':
        return;
      case 'unknown':
        b.callVoid(SETTLE_FLAGS, b.get(variables.kind), b.get(variables.a), b.get(variables.b));
        b.set(variables.a, b.load('i64.load', b.i32(0), this.at('FLAG_RES')));
        b.set(variables.b, b.load('i64.load32_u', b.i32(0), this.at('FLAG_AUX')));
        break;
      case 'logic':
        break;
      case 'add':
        super.addWithCarry(pending.width, pending.left, pending.right, b.add(pending.left, pending.right));
        break;
      case 'sub':
        super.subWithBorrow(pending.width, pending.left, pending.right, b.sub(pending.left, pending.right));
        break;
      case 'inc':
      case 'dec': {
        const low = b.and(b.wrap(pending.result), b.i32(15));
        const half = b.shl(b.op('i32.eq', low, b.i32(pending.kind === 'inc' ? 0 : 15)), b.i32(3));
        const aux = b.or(this.carryOverflow(this.carry(), this.overflow()), half);
        b.set(variables.b, b.extendU(aux));
        break;
      }
      default:
        assertNever(pending);
    }
    this.pending = { kind: 'settled' };
  }

  // ---- what changes some flags and keeps others need not look at them when nobody will ----

  override resultCarryOverflow(width: Width, result: Node, carry: Node, overflow: Node): void {
    if (!this.dead) super.resultCarryOverflow(width, result, carry, overflow);
  }

  override setCarryOverflow(carry: Node, overflow: Node): void {
    if (!this.dead) super.setCarryOverflow(carry, overflow);
  }

  override setCarry(carry: Node): void {
    if (!this.dead) super.setCarry(carry);
  }

  override setZero(zero: Node): void {
    if (!this.dead) super.setZero(zero);
  }

  // ---- conditions ----

  private clean(width: Width, value: Node): Node {
    if (width >= 32) return value;
    return this.b.and(value, this.b.i32(width === 8 ? 0xff : 0xffff));
  }

  private signed(width: Width, value: Node): Node {
    if (width >= 32) return value;
    return this.b.op(width === 8 ? 'i32.extend8_s' : 'i32.extend16_s', value);
  }

  /** The last operation's result; upper bits beyond the width are anything. */
  private pendingResult(): { width: Width; value: Node } | undefined {
    const { pending, b } = this;
    switch (pending.kind) {
      case 'settled':
      case 'unknown':
        return undefined;
      case 'add':
      case 'sub':
        return { width: pending.width, value: b.int(pending.kind, pending.left, pending.right) };
      default:
        return { width: pending.width, value: pending.result };
    }
  }

  override carry(): Node {
    const { pending, b } = this;
    switch (pending.kind) {
      case 'sub':
        return b.int('lt_u', pending.left, pending.right);
      case 'add': {
        const sum = this.clean(pending.width, b.add(pending.left, pending.right));
        return b.int('lt_u', sum, pending.left);
      }
      case 'logic':
        return b.i32(0);
      case 'inc':
      case 'dec':
        return pending.carry;
      default:
        return super.carry();
    }
  }

  override zero(): Node {
    const { pending, b } = this;
    if (pending.kind === 'sub') return b.int('eq', pending.left, pending.right);
    const known = this.pendingResult();
    return known ? b.eqz(this.clean(known.width, known.value)) : super.zero();
  }

  override sign(): Node {
    const { b } = this;
    const known = this.pendingResult();
    if (known === undefined) return super.sign();
    const value = this.signed(known.width, known.value);
    return b.int('lt_s', value, b.constant(value.type, 0));
  }

  override overflow(): Node {
    const { pending, b } = this;
    switch (pending.kind) {
      case 'logic':
        return b.i32(0);
      case 'inc':
      case 'dec': {
        const lowest = -(2n ** BigInt(pending.width - 1));
        const limit = pending.kind === 'inc' ? lowest : -lowest - 1n;
        const value = this.signed(pending.width, pending.result);
        return b.int('eq', value, b.constant(value.type, limit));
      }
      case 'sub':
      case 'add': {
        const { left, right } = pending;
        const result = b.int(pending.kind, left, right);
        const other = pending.kind === 'sub' ? b.xor(left, right) : b.xor(result, right);
        const changed = b.and(b.xor(left, result), other);
        const bit = b.shru(changed, b.constant(changed.type, pending.width - 1));
        return b.and(b.wrap(bit), b.i32(1));
      }
      default:
        return super.overflow();
    }
  }

  override parity(): Node {
    const { b } = this;
    const known = this.pendingResult();
    if (known === undefined) return super.parity();
    const byte = b.and(b.wrap(known.value), b.i32(0xff));
    return b.xor(b.and(b.op('i32.popcnt', byte), b.i32(1)), b.i32(1));
  }

  protected override baseCondition(pair: number): Node {
    const { pending, b } = this;
    if (pending.kind === 'sub') {
      const { width, left, right } = pending;
      if (pair === 3) return b.int('le_u', left, right);
      if (pair === 6) return b.int('lt_s', this.signed(width, left), this.signed(width, right));
      if (pair === 7) return b.int('le_s', this.signed(width, left), this.signed(width, right));
    }
    if (pending.kind === 'logic') {
      if (pair === 3) return this.zero();
      if (pair === 6) return this.sign();
      if (pair === 7) {
        const value = this.signed(pending.width, pending.result);
        return b.int('le_s', value, b.constant(value.type, 0));
      }
    }
    return super.baseCondition(pair);
  }
}
