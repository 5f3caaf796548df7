/**
 * The x87's registers over the intermediate form: when its instructions may run, the stack, and the pointers. What is known of
 * it in straight-line code is kept in `X87Facts`, so that nothing is looked at twice. SDM vol. 1 chapter 8.
 */
import type { Node } from '../../../ir/nodes.js';
import { SEGMENT, type STATE } from '../state-layout.js';
import type { Lift } from './lift.js';
import type { X87Facts } from './x87-facts.js';

/** Status word. */
export const FSW = {
  PE: 1 << 5,
  ES: 1 << 7,
  C0: 1 << 8,
  C1: 1 << 9,
  C2: 1 << 10,
  TOP: 7 << 11,
  C3: 1 << 14,
} as const;
const TOP_SHIFT = 11;
/** Control word. */
export const FCW = { PM: 1 << 5, PM_SHIFT: 5, FULL: 1 << 8, RC: 3 << 10 } as const;

/** Bit of FP_TRAP for x87 and MMX. */
const TRAP_X87 = 1;
const REGISTERS = 8;
/** Bytes of a register: significand, then sign and exponent in an i64. */
const REGISTER_SHIFT = 4;
const SE = 8;

export interface Extended {
  /** Sign and exponent, i32. */
  readonly se: Node;
  /** Significand with its integer bit, i64. */
  readonly sig: Node;
}

/** The x87 as one instruction sees it. All checks come before anything is changed. */
export class X87 {
  private readonly facts: X87Facts;

  private constructor(readonly x: Lift) {
    this.facts = x.facts.x87;
  }

  /** For instructions that wait: falls back when #NM is due or an exception is pending. */
  static waiting(x: Lift): X87 {
    const { b } = x;
    const unit = X87.start(x);
    const { facts } = unit;
    if (!facts.calm) {
      const pending = b.and(unit.status, b.i32(FSW.ES));
      b.if(facts.ready ? pending : b.or(pending, trap(x)), () => {
        x.fallback();
      });
      facts.ready = true;
      facts.calm = true;
    }
    return unit;
  }

  /** The same for those that do not wait. */
  static notWaiting(x: Lift): X87 {
    const unit = X87.start(x);
    const { facts } = unit;
    if (!facts.ready) {
      x.b.if(trap(x), () => {
        x.fallback();
      });
      facts.ready = true;
    }
    return unit;
  }

  /** For instructions that wait and round: falls back too unless rounding is to nearest, and the precision exception masked. */
  static rounding(x: Lift): X87 {
    const { b } = x;
    const unit = X87.start(x);
    const { facts } = unit;
    if (!facts.nearest) {
      const differs = b.xor(b.and(x.loadState32('FCW'), b.i32(FCW.RC | FCW.PM)), b.i32(FCW.PM));
      const pending = facts.calm ? differs : b.or(differs, b.and(unit.status, b.i32(FSW.ES)));
      b.if(facts.ready ? pending : b.or(pending, trap(x)), () => {
        x.fallback();
      });
      facts.ready = true;
      facts.calm = true;
      facts.nearest = true;
    }
    return unit;
  }

  private static start(x: Lift): X87 {
    if (x.variant.form === 'mem') x.linear();
    return new X87(x);
  }

  // ---- status and control ----

  /** The status word. */
  get status(): Node {
    this.facts.status ??= this.x.loadState32('FSW');
    return this.facts.status;
  }

  set status(value: Node) {
    const { b } = this.x;
    b.store('i32.store', b.i32(0), value, this.x.at('FSW'));
    this.facts.status = value;
  }

  /** The status word without some bits. */
  without(bits: number): Node {
    return this.x.b.and(this.status, this.x.b.i32(~bits));
  }

  private get tags(): Node {
    this.facts.tags ??= this.x.loadState32('FTW');
    return this.facts.tags;
  }

  private setTags(value: Node): void {
    const { b } = this.x;
    b.store('i32.store', b.i32(0), value, this.x.at('FTW'));
    this.facts.tags = value;
  }

  /** Not 0: results have 64 bits. */
  get hasFullPrecision(): Node {
    const { b } = this.x;
    this.facts.precision ??= b.and(this.x.loadState32('FCW'), b.i32(FCW.FULL));
    return this.facts.precision;
  }

  /** The control word has been written. */
  controlChanged(): void {
    this.facts.nearest = false;
    this.facts.precision = undefined;
  }

  /** What a register is known to hold. */
  valueOf(register: StackRegister): Extended | undefined {
    return register.key === undefined ? undefined : this.facts.values.get(register.key);
  }

  /** A register holds something else now: this, if it is known. */
  setValueOf(register: StackRegister, value: Extended | undefined): void {
    const { values } = this.facts;
    if (register.key === undefined) values.clear();
    else if (value) values.set(register.key, value);
    else values.delete(register.key);
  }

  // ---- the stack; ST(8) and ST(-1) are the register that the next push fills ----

  /** ST(i) by what it was called when the facts began: its number relative to TOP then. */
  private key(i: number): number {
    return (i - this.facts.depth) & (REGISTERS - 1);
  }

  /** Number of the register that is ST(i). */
  private number(i: number): Node {
    const { b } = this.x;
    const { facts } = this;
    facts.base ??= b.shru(this.status, b.i32(TOP_SHIFT));
    const key = this.key(i);
    let number = facts.numbers.get(key);
    if (number === undefined) {
      number = b.and(b.add(facts.base, b.i32(key)), b.i32(REGISTERS - 1));
      facts.numbers.set(key, number);
    }
    return number;
  }

  /** ST(i), i being the instruction's operand. */
  operand(): StackRegister {
    const { b, parts } = this.x;
    const modrm = parts.byte('MODRM');
    if (modrm.kind === 'const') return this.st(Number(modrm.value) & 7);
    const first = b.shru(this.status, b.i32(TOP_SHIFT));
    return new StackRegister(this, b.and(b.add(first, modrm), b.i32(REGISTERS - 1)), undefined);
  }

  st(i: number): StackRegister {
    return new StackRegister(this, this.number(i), this.key(i));
  }

  /** Falls back unless all of these hold something. */
  require(...registers: readonly StackRegister[]): void {
    const { b } = this.x;
    const { facts } = this;
    const unknown = registers.filter((r) => r.key === undefined || facts.full.get(r.key) !== true);
    const bits = unknown.map((r) => b.shru(this.tags, r.number));
    if (bits.length === 0) return;
    const all = bits.reduce((a, c) => b.and(a, c));
    b.if(b.eqz(b.and(all, b.i32(1))), () => {
      this.x.fallback();
    });
    for (const { key } of unknown) if (key !== undefined) facts.full.set(key, true);
  }

  /** Falls back unless there is room for a push. */
  requireRoom(): void {
    const { b } = this.x;
    const { facts } = this;
    const next = this.st(-1);
    if (facts.full.get(this.key(-1)) === false) return;
    b.if(b.and(b.shru(this.tags, next.number), b.i32(1)), () => {
      this.x.fallback();
    });
    facts.full.set(this.key(-1), false);
  }

  /** Pushes a number; C1 becomes 0. There is room. */
  push(value: Extended): void {
    const { b } = this.x;
    const next = this.st(-1);
    next.write(value);
    this.setTags(b.or(this.tags, b.shl(b.i32(1), next.number)));
    this.facts.full.set(this.key(-1), true);
    this.facts.depth++;
    this.status = b.or(this.without(FSW.TOP | FSW.C1), b.shl(next.number, b.i32(TOP_SHIFT)));
  }

  /** Sets the status word to `status` (or what it is, with C1 cleared), and pops `count` registers. */
  leave(count: number, status: Node = this.without(FSW.C1)): void {
    const { b } = this.x;
    const { facts } = this;
    for (let i = 0; i < count; i++) {
      this.setTags(b.and(this.tags, b.not(b.shl(b.i32(1), this.number(0)))));
      facts.full.set(this.key(0), false);
      facts.depth--;
    }
    if (count === 0) {
      this.status = status;
      return;
    }
    this.status = b.or(b.and(status, b.i32(~FSW.TOP)), b.shl(this.number(0), b.i32(TOP_SHIFT)));
  }

  /** A register has been filled that was perhaps empty. */
  fill(register: StackRegister): void {
    const { b } = this.x;
    if (register.key !== undefined && this.facts.full.get(register.key) === true) return;
    this.setTags(b.or(this.tags, b.shl(b.i32(1), register.number)));
    if (register.key === undefined) this.facts.full.clear();
    else this.facts.full.set(register.key, true);
  }

  // ---- pointers ----

  /** Notes where the instruction and its memory operand are; `opcode` is its first byte. */
  note(opcode: number): void {
    const { b, parts } = this.x;
    const { facts } = this;
    const at = (field: keyof typeof STATE): number => this.x.at(field);
    const zero = b.i32(0);
    b.store('i64.store', zero, b.add(this.x.loadState64('CODE_BASE'), b.extendU(parts.offset())), at('FIP'));
    b.store('i32.store', zero, b.or(parts.byte('MODRM'), b.i32((opcode & 7) << 8)), at('FOP'));
    if (!facts.codeSegment) {
      b.store('i32.store', zero, b.load('i32.load', zero, at('SEG_SELECTOR') + SEGMENT.CS * 4), at('FCS'));
      facts.codeSegment = true;
    }
    if (this.x.variant.form !== 'mem') return;
    const segment = parts.byte('SEG');
    const base = b.load('i64.load', b.shl(segment, b.i32(3)), at('SEG_BASE'));
    b.store('i64.store', zero, b.sub(this.x.linear(), base), at('FDP'));
    const number = segment.kind === 'const' ? Number(segment.value) : undefined;
    if (number !== undefined && number === facts.dataSegment) return;
    b.store('i32.store', zero, b.load('i32.load', b.shl(segment, b.i32(2)), at('SEG_SELECTOR')), at('FDS'));
    facts.dataSegment = number;
  }
}

/** One of the eight registers. */
export class StackRegister {
  constructor(
    private readonly unit: X87,
    readonly number: Node,
    /** What the facts know it by. */
    readonly key: number | undefined,
  ) {}

  private slot: Node | undefined;

  /** State offset, first looked for outside conditional code. */
  locate(): Node {
    const { b } = this.unit.x;
    this.slot ??= b.shl(this.number, b.i32(REGISTER_SHIFT));
    return this.slot;
  }

  /** Address. */
  get address(): Node {
    const { b } = this.unit.x;
    return b.add(this.locate(), b.address(this.unit.x.at('FPR')));
  }

  read(): Extended {
    const known = this.unit.valueOf(this);
    if (known) return known;
    const value = this.load();
    this.holds(value);
    return value;
  }

  write(value: Extended): void {
    this.store(value);
    this.holds(value);
  }

  /** Reads the state, whatever is known. */
  load(): Extended {
    const { b } = this.unit.x;
    const slot = this.locate();
    const at = this.unit.x.at('FPR');
    return { sig: b.load('i64.load', slot, at), se: b.load('i32.load16_u', slot, at + SE) };
  }

  /** Writes the state; what is known has to be told. */
  store({ se, sig }: Extended): void {
    const { b } = this.unit.x;
    const slot = this.locate();
    const at = this.unit.x.at('FPR');
    b.store('i64.store', slot, sig, at);
    b.store('i64.store', slot, b.extendU(se), at + SE);
  }

  /** The state holds this now. */
  holds(value: Extended): void {
    this.unit.setValueOf(this, value);
  }

  /** The state holds something else now. */
  changed(): void {
    this.unit.setValueOf(this, undefined);
  }
}

/** Not 0: #NM is due. */
function trap(x: Lift): Node {
  return x.b.and(x.loadState32('FP_TRAP'), x.b.i32(TRAP_X87));
}
