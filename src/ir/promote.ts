/**
 * A builder that keeps parts of a CPU's state in variables: loads and stores at the addresses of such slots become reads and
 * writes of a variable, constants of the state become constants, and operations on constants are folded. Semantics that
 * were written over state in memory become code over locals that way.
 */
import { assert } from '../base/assert.js';
import { Builder } from './builder.js';
import type { Block, Node, Variable } from './nodes.js';
import { LOADS, type Load, type PureOp, type Store } from './wasm/opcodes.js';

export type SlotType = 'i64' | 'i32' | 'v128';

/**
 * Where the value of a slot is always found: in the variable, which is loaded at the beginning and stored at the end of the
 * whole code; in both; or in the state, with the variable as a copy where one is known to be there. The state is up to date
 * wherever it can be seen: at ways out, calls and inserts, and where ways meet.
 */
export type Home = 'variable' | 'both' | 'state';

/** A piece of state that lives in a variable. */
export interface Slot {
  readonly address: number;
  /** i64: 8 bytes; i32: 4; v128: 16, accessed whole or by the low bits of its halves. */
  readonly type: SlotType;
  readonly variable: Variable;
  readonly home: Home;
  /** Bit in `held`, for those whose home is the state. */
  readonly bit: number;
  /** Whether the variable is ever read before it was written or loaded. */
  read: boolean;
  /** Whether it is ever written. */
  dirty: boolean;
}

export interface Promotion {
  /** Slots by 8-byte aligned address; one of 8 bytes or fewer at most in each 8 bytes; 31 at most with the state as home, of i64. */
  readonly slots: readonly { readonly address: number; readonly type: SlotType; readonly home: Home }[];
  /** Words that never change while the code runs. */
  readonly constants: ReadonlyMap<number, bigint>;
}

const SIZES: Readonly<Record<SlotType, number>> = { i32: 4, i64: 8, v128: 16 };

/** How parts of a v128 are accessed: the type of their lanes, and lanes in half a register. */
const LANES = { f64: ['f64x2', 1], i64: ['i64x2', 1], f32: ['f32x4', 2], i32: ['i32x4', 2] } as const;
type LaneType = keyof typeof LANES;
const LANE_TYPES = Object.keys(LANES) as LaneType[];

/** An address is one only in code for CPU 0. */
const constantOf = (node: Node | undefined): bigint | undefined =>
  node?.kind === 'const' && !node.isAddress ? node.value : undefined;

type Compute = (a: bigint, b: bigint, bits: number) => bigint;

/** What is known of an operation on constants. */
type Folding =
  | { readonly kind: 'wrap' }
  | { readonly kind: 'extend'; readonly signed: boolean }
  | { readonly kind: 'eqz' }
  | {
      readonly kind: 'binary';
      readonly bits: 32 | 64;
      readonly result: 'i32' | 'i64';
      readonly compute: Compute | undefined;
      /** Right operand with which the result is the left one, or itself. */
      readonly neutral: bigint | undefined;
      readonly absorbing: bigint | undefined;
      readonly commutes: boolean;
    };

const COMPUTE: Readonly<Record<string, Compute>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  mul: (a, b) => a * b,
  shl: (a, b, bits) => a << (b & BigInt(bits - 1)),
  shr_u: (a, b, bits) => BigInt.asUintN(bits, a) >> (b & BigInt(bits - 1)),
  shr_s: (a, b, bits) => BigInt.asIntN(bits, a) >> (b & BigInt(bits - 1)),
  eq: (a, b) => BigInt(a === b),
  ne: (a, b) => BigInt(a !== b),
};
const NEUTRAL_ZERO: ReadonlySet<string> = new Set(['add', 'sub', 'or', 'xor', 'shl', 'shr_u', 'shr_s', 'rotl', 'rotr']);
const COMMUTATIVE: ReadonlySet<string> = new Set(['add', 'or', 'xor', 'and', 'mul']);

function foldings(): Map<PureOp, Folding> {
  const found = new Map<PureOp, Folding>([
    ['i32.wrap_i64', { kind: 'wrap' }],
    ['i64.extend_i32_u', { kind: 'extend', signed: false }],
    ['i64.extend_i32_s', { kind: 'extend', signed: true }],
    ['i32.eqz', { kind: 'eqz' }],
    ['i64.eqz', { kind: 'eqz' }],
  ]);
  for (const type of ['i32', 'i64'] as const)
    for (const name of new Set([...Object.keys(COMPUTE), ...NEUTRAL_ZERO]))
      found.set(`${type}.${name}` as PureOp, {
        kind: 'binary',
        bits: type === 'i64' ? 64 : 32,
        result: name === 'eq' || name === 'ne' ? 'i32' : type,
        compute: COMPUTE[name],
        neutral: NEUTRAL_ZERO.has(name) ? 0n : name === 'and' ? -1n : name === 'mul' ? 1n : undefined,
        absorbing: name === 'and' || name === 'mul' ? 0n : undefined,
        commutes: COMMUTATIVE.has(name),
      });
  return found;
}

const FOLDING = foldings();

/** One value, or the whole map. */
type Change = { readonly key: number; readonly old: Node | undefined } | { readonly old: Map<number, Node> };

export class PromotingBuilder extends Builder {
  readonly slots: readonly Slot[];
  private readonly byAddress = new Map<number, Slot>();
  /** What variables are known to hold here. */
  private values = new Map<number, Node>();
  /** What `values` had where it was changed within a `nested`, to undo it. */
  private undo: Change[] = [];
  private depth = 0;
  /** Variables that were set since the innermost `nested` began. */
  private written = new Set<Variable>();
  private readonly byVariable = new Map<number, Slot>();
  /** What slots hold that the state does not have yet. */
  private unstored = new Map<Slot, Node>();
  /** Whether something in the innermost `nested` needs the state as it was before. */
  private looked = false;
  /** Bits of slots whose variables are copies of the state here. */
  held = 0;
  /** Of those, the ones whose variables were read as they were found. */
  found = 0;

  constructor(private readonly promotion: Promotion) {
    super();
    let bit = 1;
    this.slots = promotion.slots.map(({ address, type, home }) => ({
      address,
      type,
      home,
      bit: home === 'state' ? (bit <<= 1) >> 1 : 0,
      variable: this.variable(type),
      read: false,
      dirty: false,
    }));
    for (const slot of this.slots) {
      this.byAddress.set(slot.address & ~7, slot);
      if (slot.type === 'v128') this.byAddress.set(slot.address + 8, slot);
      this.byVariable.set(slot.variable.id, slot);
    }
  }

  /** Makes the state up to date: somebody looks. */
  writeBack(): void {
    this.looked = true;
    this.storeThrough();
  }

  private storeThrough(): void {
    for (const [slot, value] of this.unstored) super.store(`${slot.type}.store`, this.i32(0), value, slot.address);
    this.unstored.clear();
  }

  /** Forgets what variables hold: code that is built next can be reached from elsewhere. */
  forget(): void {
    if (this.depth === 0) {
      this.values.clear();
      return;
    }
    this.undo.push({ old: this.values });
    this.values = new Map();
  }

  private setValue(key: number, node: Node): void {
    if (this.depth > 0) this.undo.push({ key, old: this.values.get(key) });
    this.values.set(key, node);
  }

  private deleteValue(key: number): void {
    const old = this.values.get(key);
    if (old === undefined) return;
    if (this.depth > 0) this.undo.push({ key, old });
    this.values.delete(key);
  }

  private rollBack(length: number): void {
    const { undo } = this;
    while (undo.length > length) {
      const change = undo.pop();
      if (change === undefined) return;
      if (!('key' in change)) this.values = change.old;
      else if (change.old === undefined) this.values.delete(change.key);
      else this.values.set(change.key, change.old);
    }
  }

  /** Forgets what one variable holds. */
  protected unknown(variable: Variable): void {
    this.deleteValue(variable.id);
    if (variable.type !== 'v128') return;
    for (const type of LANE_TYPES)
      for (const byte of [0, 8]) this.deleteValue(PromotingBuilder.laneKey(variable, type, byte));
  }

  /** Others may have written some slots: forgets what they hold, here and behind the blocks that this is in. */
  protected forgetAll(which: (slot: Slot) => boolean): void {
    for (const slot of this.slots) {
      if (!which(slot)) continue;
      this.unknown(slot.variable);
      this.written.add(slot.variable);
    }
  }

  private slotAt(address: Node, offset: number): { slot: Slot; byte: number } | undefined {
    if (address.kind !== 'const') return undefined;
    const at = Number(address.value) + offset;
    const slot = this.byAddress.get(at & ~7);
    if (slot === undefined) return undefined;
    const byte = at - slot.address;
    return byte >= 0 && byte < SIZES[slot.type] ? { slot, byte } : undefined;
  }

  override get(variable: Variable): Node {
    const known = this.values.get(variable.id);
    if (known) return known;
    const slot = this.byVariable.get(variable.id);
    if (slot?.home === 'state' && (this.held & slot.bit) === 0) return this.fetch(slot);
    const node = super.get(variable);
    this.setValue(variable.id, node);
    if (slot) {
      slot.read = true;
      this.found |= slot.bit;
    }
    return node;
  }

  /** Copies what the state has into the variable. */
  private fetch(slot: Slot): Node {
    const node = super.load('i64.load', this.i32(0), slot.address);
    super.set(slot.variable, node);
    this.setValue(slot.variable.id, node);
    this.held |= slot.bit;
    return node;
  }

  override set(variable: Variable, value: Node): void {
    super.set(variable, value);
    this.unknown(variable);
    this.setValue(variable.id, value);
    this.written.add(variable);
    const slot = this.byVariable.get(variable.id);
    if (slot === undefined) return;
    slot.dirty = true;
    this.held |= slot.bit;
    if (slot.home !== 'variable') this.unstored.set(slot, value);
  }

  override load(op: Load, address: Node, offset = 0): Node {
    const found = this.slotAt(address, offset);
    if (found === undefined) {
      const constant =
        address.kind === 'const' ? this.promotion.constants.get(Number(address.value) + offset) : undefined;
      if (constant !== undefined) return this.constant(LOADS[op].type, constant);
      return super.load(op, address, offset);
    }
    const { slot, byte } = found;
    if (slot.type === 'v128' && op !== 'v128.load') return this.loadLane(slot.variable, op, byte);
    const whole = this.get(slot.variable);
    if (slot.type === 'v128') return whole;
    if (slot.type === 'i32') {
      assert(op === 'i32.load' && byte === 0, `${op} of a 32-bit slot`);
      return whole;
    }
    const shifted = byte === 0 ? whole : this.shru(whole, this.i64(byte * 8));
    switch (op) {
      case 'i64.load':
        return shifted;
      case 'i64.load32_u':
        return this.and(shifted, this.i64(0xffff_ffffn));
      case 'i64.load32_s':
        return this.extendS(this.wrap(shifted));
      case 'i32.load':
        return this.wrap(shifted);
      case 'i32.load16_u':
        return this.and(this.wrap(shifted), this.i32(0xffff));
      case 'i32.load8_u':
        return this.and(this.wrap(shifted), this.i32(0xff));
      default:
        throw new Error(`${op} of a slot in a variable`);
    }
  }

  override store(op: Store, address: Node, value: Node, offset = 0): void {
    const found = this.slotAt(address, offset);
    if (found === undefined) {
      super.store(op, address, value, offset);
      return;
    }
    const { slot, byte } = found;
    if (slot.type === 'v128') {
      if (op === 'v128.store') this.set(slot.variable, value);
      else this.storeLane(slot.variable, op, byte, value);
    } else if (slot.type === 'i32') {
      assert(op === 'i32.store' && byte === 0, `${op} to a 32-bit slot`);
      this.set(slot.variable, value);
    } else if (op === 'i64.store') this.set(slot.variable, value);
    else this.insertBits(slot.variable, value, byte, op);
  }

  private static laneKey(variable: Variable, type: LaneType, byte: number): number {
    return -(variable.id * 8 + LANE_TYPES.indexOf(type) * 2 + (byte >> 3)) - 1;
  }

  private loadLane(variable: Variable, op: Load, byte: number): Node {
    const { type } = LOADS[op];
    assert(op === `${type}.load` && type !== 'v128' && (byte & 7) === 0, `${op} of a vector in a variable`);
    const key = PromotingBuilder.laneKey(variable, type, byte);
    const known = this.values.get(key);
    if (known) return known;
    const [shape, perHalf] = LANES[type];
    const lane = this.lanes(`${shape}.extract_lane`, [(byte >> 3) * perHalf], this.get(variable));
    this.setValue(key, lane);
    return lane;
  }

  private storeLane(variable: Variable, op: Store, byte: number, value: Node): void {
    const { type } = value;
    assert(op === `${type}.store` && type !== 'v128' && (byte & 7) === 0, `${op} to a vector in a variable`);
    const [shape, perHalf] = LANES[type];
    const other = byte === 0 ? 8 : 0;
    // The other half stays what it is known to be.
    const kept = LANE_TYPES.map((t) => PromotingBuilder.laneKey(variable, t, other)).map(
      (key) => [key, this.values.get(key)] as const,
    );
    this.set(variable, this.lanes(`${shape}.replace_lane`, [(byte >> 3) * perHalf], this.get(variable), value));
    for (const [key, node] of kept) if (node) this.setValue(key, node);
    this.setValue(PromotingBuilder.laneKey(variable, type, byte), value);
  }

  private insertBits(variable: Variable, value: Node, byte: number, op: Store): void {
    const widths: Partial<Record<Store, number>> = { 'i32.store8': 8, 'i32.store16': 16, 'i32.store': 32 };
    const width = widths[op];
    assert(width !== undefined, `${op} to a slot in a variable`);
    const mask = (1n << BigInt(width)) - 1n;
    const shift = BigInt(byte * 8);
    const part = this.and(this.extendU(value), this.i64(mask));
    const placed = this.shl(part, this.i64(shift));
    this.set(variable, this.or(this.and(this.get(variable), this.i64(~(mask << shift))), placed));
  }

  override exit(name: string, value?: Node): void {
    this.writeBack();
    super.exit(name, value);
  }

  override insert(name: string): void {
    this.writeBack();
    super.insert(name);
  }

  override break(): void {
    this.writeBack();
    super.break();
  }

  override take(): Block {
    this.storeThrough();
    return super.take();
  }

  override op(op: PureOp, ...args: readonly Node[]): Node {
    return this.fold(op, args) ?? super.op(op, ...args);
  }

  private fold(op: PureOp, args: readonly Node[]): Node | undefined {
    const first = args[0].kind;
    // Most operations are on nothing constant.
    if (first !== 'const' && (args.length === 1 ? op !== 'i32.wrap_i64' : args[1].kind !== 'const')) return undefined;
    const rule = FOLDING.get(op);
    if (rule === undefined) return undefined;
    const [left, right] = args;
    const a = constantOf(left);
    switch (rule.kind) {
      case 'wrap':
        if (a !== undefined) return this.i32(Number(BigInt.asIntN(32, a)));
        return left.kind === 'pure' && (left.op === 'i64.extend_i32_u' || left.op === 'i64.extend_i32_s')
          ? left.args[0]
          : undefined;
      case 'extend':
        return a === undefined ? undefined : this.i64(rule.signed ? a : BigInt.asUintN(32, a));
      case 'eqz':
        return a === undefined ? undefined : this.i32(a === 0n ? 1 : 0);
      case 'binary':
        break;
    }
    const b = constantOf(right);
    if (b === undefined) return a !== undefined && rule.commutes ? this.fold(op, [right, left]) : undefined;
    if (a !== undefined && rule.compute)
      return this.constant(rule.result, BigInt.asIntN(rule.bits, rule.compute(a, b, rule.bits)));
    if (b === rule.neutral) return left;
    return rule.absorbing === b ? right : undefined;
  }

  /** An arm that can never run is left out. */
  override if(condition: Node, then: () => void, otherwise: () => void = () => undefined): void {
    const known = constantOf(condition);
    if (known === undefined) super.if(condition, then, otherwise);
    else if (known === 0n) otherwise();
    else then();
  }

  protected override nested(body: () => void): ReturnType<Builder['nested']> {
    const mark = this.undo.length;
    const { written, unstored, looked, held } = this;
    this.written = new Set();
    this.unstored = new Map();
    this.looked = false;
    this.depth++;
    const block = super.nested(() => {
      body();
      this.storeThrough();
    });
    this.rollBack(mark);
    this.depth--;
    for (const variable of this.written) {
      this.unknown(variable);
      written.add(variable);
      // What stands before the block is stored before it.
      const home = this.byVariable.get(variable.id)?.home;
      if (home === 'state' || home === 'both') this.looked = true;
    }
    // On the other way they are still there.
    this.held &= held;
    this.written = written;
    this.unstored = unstored;
    if (this.looked) this.storeThrough();
    this.looked ||= looked;
    return block;
  }

  override loop(body: () => void): void {
    // What is set later in the body is what an earlier part of it reads the next time round.
    this.forget();
    this.storeThrough();
    super.loop(body);
    this.forget();
  }
}
