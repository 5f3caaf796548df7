/** The builder of translated code: state in variables, exits that remember what they need to be precise. */
import { assert } from '../../../base/assert.js';
import type { FunctionRef, Node, Variable } from '../../../ir/nodes.js';
import { PromotingBuilder, type Slot } from '../../../ir/promote.js';
import { SETTLE_FLAGS } from '../interpreter/glue.js';
import type { CpuBases } from '../interpreter/handlers.js';
import { liftMmu, type LiftMmu } from '../semantics/lift.js';
import { STATE } from '../state-layout.js';
import { LazyFlags, type FlagOperation } from './lazy-flags.js';
import { LINK, RegionLinks } from './region-links.js';

/** How a piece of a region is left. */
export type RegionExit = {
  /** Pending flags: FLAG_KIND, or undefined where the variable has it. */
  readonly flags: number | undefined;
} & (
  | { readonly kind: 'interpret'; readonly record: number; readonly done: number; readonly faulted: boolean }
  /** What comes next is not of the region. */
  | { readonly kind: 'continue'; readonly record: number; readonly done: number }
  | { readonly kind: 'taken' | 'next'; readonly operation: FlagOperation; readonly held: number }
  /** To the address in the exit's value. */
  | { readonly kind: 'indirect'; readonly operation: FlagOperation; readonly held: number }
  /** As a helper's answer, the exit's value, says, with `target` for RIP. */
  | { readonly kind: 'answer'; readonly done: number }
  /** By a jump to the address in `target`. */
  | { readonly kind: 'jump' }
);

/** Helpers that semantics call and that read and write general registers. */
const STATEFUL = new Set(['divide_128', 'release_stack', 'bit_string']);
/** Exceptions are raised by the interpreter, which executes the instruction again. */
const RAISING = new Set(['raise', 'raiseCode']);

const GPR_SLOT = 8;

export class RegionBuilder extends PromotingBuilder {
  readonly exits: RegionExit[] = [];
  readonly flags: LazyFlags;
  readonly flagVariables: { readonly a: Variable; readonly b: Variable; readonly kind: Variable };
  /** Address that an indirect jump goes to. */
  readonly target: Variable;
  /** Bit for each page of the region whose place is known to be right. */
  readonly proved: Variable;
  readonly codeBase: Slot;
  readonly tlbContext: Slot;
  /** In code for any CPU. */
  readonly links: RegionLinks | undefined;
  /** Memory accesses: a miss leaves to the interpreter. */
  readonly mmu: LiftMmu;
  /** Whether the block is part of a loop, around which registers stay in variables. */
  isInLoop = false;
  /** The record that the interpreter would execute, and how many instructions of the block come before it. */
  private record = 0;
  private done = 0;
  /** Pending flags as the arms of an `if` that is being built found them. */
  private before: LazyFlags['current'][] = [];
  private joins: boolean[] = [];

  constructor(readonly bases: CpuBases) {
    const at = (field: keyof typeof STATE, index = 0): number => bases.state + STATE[field] + index * GPR_SLOT;
    super({
      slots: [
        ...Array.from({ length: 16 }, (_, i) => ({
          address: at('GPR', i),
          type: 'i64' as const,
          home: 'state' as const,
        })),
        ...Array.from({ length: 16 }, (_, i) => ({
          address: at('XMM', 2 * i),
          type: 'v128' as const,
          home: 'variable' as const,
        })),
        { address: at('EA'), type: 'i64', home: 'state' },
        { address: at('CODE_BASE'), type: 'i64', home: 'both' },
        { address: at('TLB_CTX'), type: 'i64', home: 'variable' },
        { address: at('SEG_BASE', 4), type: 'i64', home: 'variable' },
        { address: at('SEG_BASE', 5), type: 'i64', home: 'variable' },
        { address: at('FP_TRAP'), type: 'i32', home: 'variable' },
        { address: at('MXCSR'), type: 'i32', home: 'variable' },
      ],
      constants: new Map([
        [at('ZERO'), 0n],
        [at('MASK16'), 0xffffn],
        [at('MASK32'), 0xffff_ffffn],
        [at('MASK64'), -1n],
      ]),
    });
    const slot = (field: keyof typeof STATE): Slot => {
      const found = this.slots.find(({ address }) => address === at(field));
      assert(found !== undefined, `${field} is a slot`);
      return found;
    };
    this.codeBase = slot('CODE_BASE');
    this.tlbContext = slot('TLB_CTX');
    this.mmu = liftMmu({ ...bases.mmu, miss: 'miss' });
    this.flagVariables = { a: this.variable('i64'), b: this.variable('i64'), kind: this.variable('i32') };
    this.target = this.variable('i64');
    this.proved = this.variable('i32');
    this.links = bases.anyCpu ? new RegionLinks(this.variable('i32')) : undefined;
    this.flags = new LazyFlags(this, bases.state, this.flagVariables, (field) => at(field));
  }

  /** Slots whose variables always hold them. */
  get lasting(): Slot[] {
    return this.slots.filter(({ home }) => home !== 'state');
  }

  /** The address of a record. */
  recordAddress(record: number): Node {
    return this.links?.load(this, LINK.RECORD, record) ?? this.i32(record);
  }

  /** What is built next belongs to this instruction. */
  at(record: number, done: number): void {
    this.record = record;
    this.done = done;
  }

  /** Adds an exit to what is built; its code comes when all is known. */
  leave(exit: RegionExit, value?: Node): void {
    this.exits.push(exit);
    super.exit(String(this.exits.length - 1), value);
  }

  interpret(record: number, done: number, faulted = false): void {
    this.leave({ kind: 'interpret', record, done, faulted, flags: this.flags.kind });
  }

  override exit(name: string, value?: Node): void {
    const { operation, kind } = this.flags;
    const { held } = this;
    switch (name) {
      case 'goto':
        this.leave({ kind: 'taken', flags: kind, operation, held });
        return;
      case 'jump':
        if (value) this.set(this.target, value);
        this.leave({ kind: 'indirect', flags: kind, operation, held });
        return;
      case 'branch':
        // Direct branches are linked, so this is never reached.
        return;
      default:
        // A miss, a fault, an unusual operand: nothing has changed yet.
        this.interpret(this.record, this.done, name !== 'miss');
    }
  }

  override call(callee: FunctionRef, ...args: readonly Node[]): Node {
    if (RAISING.has(callee.name)) return this.i32(1);
    if (!STATEFUL.has(callee.name)) return super.call(callee, ...args);
    this.spill();
    const result = super.call(callee, ...args);
    this.reload();
    return result;
  }

  override callVoid(callee: FunctionRef, ...args: readonly Node[]): void {
    const stateful = STATEFUL.has(callee.name);
    if (stateful) this.spill();
    super.callVoid(callee, ...args);
    if (stateful) this.reload();
  }

  /** Writes registers back. */
  spill(): void {
    this.insert('spill');
  }

  /** Reads registers again; what is kept over loops at once. */
  reload(): void {
    this.insert('reload');
    this.forgetAll(() => true);
    if (!this.isInLoop) this.held = 0;
  }

  /** Reads what a vector instruction's helper may have changed. */
  reloadVectors(): void {
    this.insert('reload-vectors');
    this.forgetAll((slot) => slot.type !== 'i64');
  }

  /** Writes the flags back, for a helper. */
  spillFlags(): void {
    const { flags, flagVariables } = this;
    const { kind } = flags;
    const number = kind === undefined ? this.get(flagVariables.kind) : this.i32(kind);
    super.callVoid(SETTLE_FLAGS, number, this.get(flagVariables.a), this.get(flagVariables.b));
  }

  /** Takes the flags from the state. */
  reloadFlags(): void {
    const { flags, flagVariables, bases } = this;
    this.set(flagVariables.a, this.load('i64.load', this.i32(0), bases.state + STATE.FLAG_RES));
    this.set(flagVariables.b, this.load('i64.load32_u', this.i32(0), bases.state + STATE.FLAG_AUX));
    flags.settledByState();
  }

  override if(condition: Node, then: () => void, otherwise: () => void = () => undefined): void {
    if (condition.kind === 'const') {
      super.if(condition, then, otherwise);
      return;
    }
    const { flags } = this;
    const before = flags.current;
    this.before.push(before);
    this.joins.push(false);
    const arm = (body: () => void) => (): void => {
      flags.resume(before);
      body();
      if (flags.current === before) return;
      flags.publish();
      this.joins[this.joins.length - 1] = true;
    };
    super.if(condition, arm(then), arm(otherwise));
    this.before.pop();
    flags.resume(this.joins.pop() ? { kind: 'unknown' } : before);
  }

  /** Ways that differ in their flags meet behind the `if` that comes next: the way around it says what it has too. */
  protected override join(): void {
    const before = this.before[this.before.length - 1];
    if (!this.joins[this.joins.length - 1]) return;
    this.flags.resume(before);
    this.flags.publish();
    this.unknown(this.flagVariables.kind);
  }
}
