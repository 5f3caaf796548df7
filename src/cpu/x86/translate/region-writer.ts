/** Writes the function of a region: its locals, and access to the CPU's state. */
import { Locals } from '../../../ir/lower.js';
import type { Slot } from '../../../ir/promote.js';
import { ByteWriter } from '../../../ir/wasm/bytes.js';
import { LabelledCode } from '../../../ir/wasm/code.js';
import { CONTROL, LOADS, STORES, type Load, type Store } from '../../../ir/wasm/opcodes.js';
import { addOrigin, loadOrigin, pushBase, type Origin } from '../../../ir/wasm/origin.js';
import { LAYOUT } from '../../../memory/layout.js';
import { originIn } from '../interpreter/handlers.js';
import { REGION_EXIT, STATE } from '../state-layout.js';
import type { RegionBuilder } from './region-builder.js';
import { LINK } from './region-links.js';

/** Parameters of the function. */
export const ENTRY = 0;
export const LEFT = 1;
const PARAMETERS = 2;

/** The part of `where` that counts instructions. */
const DONE_MASK = 31;
const DONE_BITS = 5;

/** Global that has the address of the links of the module's regions. */
const LINKS_GLOBAL = 1;

/** Opcodes. */
const I32 = { ADD: 0x6a, SUB: 0x6b, LT_S: 0x48, AND: 0x71, SHR_U: 0x76 } as const;

export class RegionWriter {
  readonly out = new ByteWriter();
  readonly code = new LabelledCode(this.out);
  readonly locals = new Locals(PARAMETERS);
  /** Locals of the builder's variables, by their numbers. */
  readonly variables = new Map<number, number>();
  /** Of the exit in hand: REGION_EXIT, and the record (`place`) with the number of instructions done in the low bits. */
  readonly how: number;
  readonly where: number;
  readonly origin: Origin | undefined;

  constructor(private readonly b: RegionBuilder) {
    this.how = this.locals.take('i32');
    this.where = this.locals.take('i32');
    for (const v of [...b.slots.map((s) => s.variable), ...Object.values(b.flagVariables), b.target, b.proved])
      this.variables.set(v.id, this.locals.take(v.type));
    if (b.links) this.variables.set(b.links.place.id, this.locals.take('i32'));
    this.origin = originIn(b.bases, () => this.locals.take('i32'));
    this.locals.keep();
  }

  get(local: number): void {
    this.out.u8(CONTROL.LOCAL_GET).u32(local);
  }

  set(local: number): void {
    this.out.u8(CONTROL.LOCAL_SET).u32(local);
  }

  const(value: number): void {
    this.out.u8(CONTROL.I32_CONST).s32(value);
  }

  local(variable: { readonly id: number }): number {
    const local = this.variables.get(variable.id);
    if (local === undefined) throw new Error('a variable of the region has a local');
    return local;
  }

  state(field: keyof typeof STATE): number {
    return this.b.bases.state + STATE[field];
  }

  loadState(op: Load, address: number): void {
    const { code, align } = LOADS[op];
    pushBase(this.out, this.origin, address);
    for (const byte of code) this.out.u8(byte);
    this.out.u32(align).u32(address);
  }

  /** Stores what `value` puts on the stack. */
  storeState(op: Store, address: number, value: () => void): void {
    const { code, align } = STORES[op];
    pushBase(this.out, this.origin, address);
    value();
    for (const byte of code) this.out.u8(byte);
    this.out.u32(align).u32(address);
  }

  /** Loads variables of slots that need it. */
  reload(slots: readonly Slot[]): void {
    for (const slot of slots) {
      if (!slot.read && (slot.home !== 'variable' || !slot.dirty)) continue;
      this.loadState(`${slot.type}.load`, slot.address);
      this.set(this.local(slot.variable));
    }
  }

  /** Stores slots that have no other home. */
  spill(slots: readonly Slot[]): void {
    for (const slot of slots)
      if (slot.dirty && slot.home === 'variable')
        this.storeState(`${slot.type}.store`, slot.address, () => this.get(this.local(slot.variable)));
  }

  private refuseShortBudget(bound: number): void {
    const { out } = this;
    this.get(LEFT);
    this.const(bound);
    out.u8(I32.LT_S).u8(CONTROL.IF).u8(CONTROL.VOID);
    this.storeState('i32.store', this.state('REGION_EXIT'), () => this.const(REGION_EXIT.REFUSED));
    this.get(LEFT);
    out.u8(CONTROL.RETURN).u8(CONTROL.END);
  }

  /** What `where` is for a record with so many instructions done. */
  place(record: number, done: number): number {
    const { links } = this.b;
    return (links ? links.number(LINK.RECORD, record) << DONE_BITS : record) | done;
  }

  /** Makes `where` the record whose address is on the stack. */
  setPlace(): void {
    const { links } = this.b;
    this.set(this.where);
    if (!links) return;
    const { code, align } = STORES['i32.store'];
    this.get(this.local(links.place));
    this.get(this.where);
    for (const byte of code) this.out.u8(byte);
    this.out.u32(align).u32(0);
    this.const(0);
    this.set(this.where);
  }

  /** Puts the record of `where` on the stack. */
  private pushPlace(): void {
    const { out } = this;
    const { links } = this.b;
    this.get(this.where);
    if (!links) {
      this.const(~DONE_MASK);
      out.u8(I32.AND);
      return;
    }
    // Four bytes for each.
    this.const(DONE_BITS - 2);
    out.u8(I32.SHR_U);
    this.const(-4);
    out.u8(I32.AND);
    this.get(this.local(links.place));
    out.u8(I32.ADD);
    this.load('i32.load', 0);
  }

  /** Loads from the address on the stack. */
  private load(op: Load, offset: number): void {
    const { code, align } = LOADS[op];
    for (const byte of code) this.out.u8(byte);
    this.out.u32(align).u32(offset);
  }

  /** Notes that the region was entered. */
  private noteUse(index: number): void {
    const { links } = this.b;
    const { out } = this;
    if (!links) {
      this.storeState('i32.store8', LAYOUT.REGION_USED + index, () => this.const(1));
      return;
    }
    const { code, align } = STORES['i32.store8'];
    this.get(this.local(links.place));
    this.load('i32.load', links.number(LINK.INDEX, 0) * 4);
    addOrigin(out, this.origin, LAYOUT.REGION_USED);
    this.const(1);
    for (const byte of code) out.u8(byte);
    out.u32(align).u32(LAYOUT.REGION_USED);
  }

  /**
   * Begins the function of region `index`, in which `bound` instructions may run before it looks at the budget. Its links come behind `firstLink`
   * others of its module's.
   */
  begin(index: number, bound: number, firstLink: number): void {
    loadOrigin(this.out, this.origin);
    this.refuseShortBudget(bound);
    const { b } = this;
    if (b.links) {
      this.out.u8(CONTROL.GLOBAL_GET).u32(LINKS_GLOBAL);
      this.const(firstLink * 4);
      this.out.u8(I32.ADD);
      this.set(this.local(b.links.place));
    }
    this.noteUse(index);
    this.reload(b.lasting);
    const { a, b: second, kind } = b.flagVariables;
    this.loadState('i64.load', this.state('LAZY_A'));
    this.set(this.local(a));
    this.loadState('i64.load', this.state('LAZY_B'));
    this.set(this.local(second));
    this.loadState('i32.load', this.state('LAZY_KIND'));
    this.set(this.local(kind));
  }

  /** The common end of all ways out. */
  end(): void {
    const { out, b } = this;
    this.spill(b.lasting);
    const { a, b: second, kind } = b.flagVariables;
    this.storeState('i64.store', this.state('LAZY_A'), () => this.get(this.local(a)));
    this.storeState('i64.store', this.state('LAZY_B'), () => this.get(this.local(second)));
    this.storeState('i32.store', this.state('LAZY_KIND'), () => this.get(this.local(kind)));
    this.storeState('i32.store', this.state('REGION_EXIT'), () => this.get(this.how));
    this.storeState('i32.store', this.state('REGION_RECORD'), () => this.pushPlace());
    this.storeState('i64.store', this.state('RIP'), () => this.get(this.local(b.target)));
    this.get(LEFT);
    this.get(this.where);
    this.const(DONE_MASK);
    out.u8(I32.AND).u8(I32.SUB);
  }
}
