/**
 * What the semantics of instructions are written over: operands, flags, stack and control flow of one decoded
 * instruction. Where the parts of the instruction come from (a record that the interpreter reads at run time, or constants
 * when a region is translated) is the `InstructionParts`' business.
 */
import { AssertionError } from '../../../base/assert.js';
import type { Operand } from '../../../arch/x86/instructions/row.js';
import type { Builder } from '../../../ir/builder.js';
import type { FunctionRef, Node } from '../../../ir/nodes.js';
import {
  guestLoad,
  guestModify,
  guestModifyAtomically,
  guestStore,
  type AccessSize,
  type SoftMmu,
} from '../../../ir/softmmu.js';
import { RECORD, SEGMENT, STATE } from '../state-layout.js';
import type { Variant, Width } from '../variants.js';
import { Facts } from './facts.js';
import { Flags } from './flags.js';

/** The parts of a decoded instruction, as nodes. Names are those of RECORD. */
export interface InstructionParts {
  byte(
    name:
      | 'REG'
      | 'RM'
      | 'MODRM'
      | 'BASE'
      | 'INDEX'
      | 'SCALE'
      | 'SEG_SLOT'
      | 'MASK_SLOT'
      | 'SEG'
      | 'IMM2'
      | 'LENGTH'
      | 'PREFIX',
  ): Node;
  /** i32. */
  offset(): Node;
  /** i64, sign-extended. */
  displacement(): Node;
  /** i64. */
  immediate(): Node;
  /** i32: the linked record, or 0. */
  link(): Node;
}

/** Helpers that semantics call. */
export const HELPERS = {
  checkTarget: { name: 'check_target', params: ['i64'], result: 'i32' },
  pushSegmented: { name: 'push_seg', params: ['i64', 'i32'], result: 'i32' },
  popSegmented: { name: 'pop_seg', params: ['i32'], result: 'i64' },
  raise: { name: 'raise', params: ['i32'], result: 'i32' },
  raiseCode: { name: 'raiseCode', params: ['i32', 'i32'], result: 'i32' },
} as const satisfies Record<string, FunctionRef>;

const GPR_BYTES = 8;
/** Index of each general register that instructions name implicitly. */
export const REGISTER = { RAX: 0, RCX: 1, RDX: 2, RBX: 3, RSP: 4, RBP: 5, RSI: 6, RDI: 7 } as const;

/** What the surroundings of an instruction's semantics provide. */
export interface LiftHooks {
  /** How `Lift.fallback` leaves: by the exit `interpret`, if absent. */
  readonly fallback?: (x: Lift) => void;
  /** What is known already; nothing, if absent. */
  readonly facts?: Facts;
  /** Where arithmetic flags are kept: in the state, if absent. */
  readonly flags?: Flags;
}

/** How an instruction accesses memory: its operand, where a non-canonical address is #SS when the segment is SS, and the stack. */
export interface LiftMmu {
  readonly operand: SoftMmu;
  /** A non-canonical address is #SS. */
  readonly stack: SoftMmu;
}

export function liftMmu(mmu: Omit<SoftMmu, 'fault'>): LiftMmu {
  return { operand: { ...mmu, fault: 'operand-fault' }, stack: { ...mmu, fault: 'stack-fault' } };
}

export class Lift {
  readonly flags: Flags;
  /** Accesses of the memory operand. */
  readonly mmu: SoftMmu;
  private readonly stackMmu: SoftMmu;
  readonly facts: Facts;
  private linearAddress: Node | undefined;

  constructor(
    readonly b: Builder,
    readonly variant: Variant,
    readonly parts: InstructionParts,
    mmu: LiftMmu,
    /** Address of the CPU's state. */
    readonly state: number,
    private readonly hooks: LiftHooks = {},
  ) {
    this.facts = hooks.facts ?? new Facts();
    this.mmu = mmu.operand;
    this.stackMmu = mmu.stack;
    this.flags = hooks.flags ?? new Flags(b, state);
  }

  // ---- state ----

  /** Address constant of a state field, for the `offset` of a load or store. */
  at(field: keyof typeof STATE): number {
    return this.state + STATE[field];
  }

  loadState64(field: keyof typeof STATE): Node {
    return this.b.load('i64.load', this.b.i32(0), this.at(field));
  }

  loadState32(field: keyof typeof STATE): Node {
    return this.b.load('i32.load', this.b.i32(0), this.at(field));
  }

  /** A general register at a state offset: i32 zero-extended up to 32 bits, i64 for 64. */
  loadGpr(width: Width, slot: Node): Node {
    const op = width === 64 ? 'i64.load' : width === 32 ? 'i32.load' : width === 16 ? 'i32.load16_u' : 'i32.load8_u';
    return this.b.load(op, slot, this.state);
  }

  /** Writes a general register: 32 bits clear the upper half (SDM vol. 1 §3.4.1.1), 8 and 16 leave the rest. */
  storeGpr(width: Width, slot: Node, value: Node): void {
    if (width === 64) this.b.store('i64.store', slot, value, this.state);
    else if (width === 32) this.b.store('i64.store', slot, this.b.extendU(value), this.state);
    else this.b.store(width === 16 ? 'i32.store16' : 'i32.store8', slot, value, this.state);
  }

  /** A register by its number, as the instruction names it implicitly. */
  loadRegister(width: Width, register: number): Node {
    return this.loadGpr(width, this.b.i32(register * GPR_BYTES));
  }

  storeRegister(width: Width, register: number, value: Node): void {
    this.storeGpr(width, this.b.i32(register * GPR_BYTES), value);
  }

  // ---- operands ----

  operand(index: number): Operand {
    const operand = this.variant.row.operands[index];
    if (operand === undefined) throw new AssertionError(`${this.variant.row.name} has no operand ${String(index)}`);
    return operand;
  }

  /** Width of an integer operand in bits. */
  width(index: number): Width {
    const { size } = this.operand(index);
    switch (size) {
      case 'b':
        return 8;
      case 'w':
        return 16;
      case 'd':
        return 32;
      case 'q':
        return 64;
      case 'v':
      case 'z':
        return this.variant.osz;
      case 'y':
        return this.variant.osz === 64 ? 64 : 32;
      default:
        throw new Error(`${this.variant.row.name}: operand ${String(index)} is not an integer`);
    }
  }

  isMemory(index: number): boolean {
    const { kind } = this.operand(index);
    return (
      kind === 'M' || kind === 'O' || (this.variant.form === 'mem' && (kind === 'E' || kind === 'W' || kind === 'Q'))
    );
  }

  /** State offset of a register operand. */
  private slot(index: number): Node {
    const { kind } = this.operand(index);
    switch (kind) {
      case 'G':
        return this.parts.byte('REG');
      case 'E':
      case 'R':
      case 'Z':
        return this.parts.byte('RM');
      case 'AL':
      case 'rAX':
        return this.b.i32(REGISTER.RAX * GPR_BYTES);
      case 'CL':
        return this.b.i32(REGISTER.RCX * GPR_BYTES);
      case 'DX':
        return this.b.i32(REGISTER.RDX * GPR_BYTES);
      default:
        throw new Error(`${this.variant.row.name}: operand ${String(index)} (${kind}) is not a general register`);
    }
  }

  /** Offset of the memory operand before its segment's base is added: what LEA gives. */
  effectiveAddress(): Node {
    const { b, parts } = this;
    const base = this.loadGpr(64, parts.byte('BASE'));
    const index = b.shl(this.loadGpr(64, parts.byte('INDEX')), b.extendU(parts.byte('SCALE')));
    const sum = b.add(b.add(base, index), parts.displacement());
    return b.and(sum, this.loadGpr(64, parts.byte('MASK_SLOT')));
  }

  /** Linear address of the memory operand. */
  linear(): Node {
    this.linearAddress ??= this.b.add(this.effectiveAddress(), this.loadGpr(64, this.parts.byte('SEG_SLOT')));
    return this.linearAddress;
  }

  /** An integer operand: i32 zero-extended up to 32 bits, i64 for 64. */
  read(index: number): Node {
    const { kind, signed } = this.operand(index);
    // A sign-extended immediate has the width of the operation.
    const width = signed ? this.variant.osz : this.width(index);
    if (kind === 'one') return this.b.constant(width === 64 ? 'i64' : 'i32', 1);
    if (kind === 'I') return this.immediate(width);
    if (this.isMemory(index)) return guestLoad(this.b, this.mmu, this.linear(), (width / 8) as AccessSize);
    return this.loadGpr(width, this.slot(index));
  }

  /** The immediate in a given width. */
  immediate(width: Width): Node {
    const value = this.parts.immediate();
    if (width === 64) return value;
    const low = this.b.wrap(value);
    return width === 32 ? low : this.b.and(low, this.b.i32(width === 16 ? 0xffff : 0xff));
  }

  /** Writes an operand; upper bits of `value` beyond the width are ignored. */
  write(index: number, value: Node): void {
    const width = this.width(index);
    if (this.isMemory(index)) guestStore(this.b, this.mmu, this.linear(), (width / 8) as AccessSize, value);
    else this.storeGpr(width, this.slot(index), value);
  }

  /** Reads, changes and writes an operand; atomically when the instruction is locked. */
  modify(index: number, change: (old: Node) => Node, locked = this.variant.lock): void {
    const width = this.width(index);
    if (!this.isMemory(index)) {
      this.storeGpr(width, this.slot(index), change(this.loadGpr(width, this.slot(index))));
      return;
    }
    const size = (width / 8) as 1 | 2 | 4 | 8;
    (locked ? guestModifyAtomically : guestModify)(this.b, this.mmu, this.linear(), size, change);
  }

  // ---- stack ----

  /** Width of stack pointer arithmetic in the flat variants. */
  private get stackWidth(): 32 | 64 {
    return this.variant.stack === 'flat64' ? 64 : 32;
  }

  get segmentedStack(): boolean {
    return this.variant.row.attributes.has('stack') && this.variant.stack === 'segmented';
  }

  stackPointer(): Node {
    return this.loadRegister(this.stackWidth, REGISTER.RSP);
  }

  setStackPointer(value: Node): void {
    this.storeRegister(this.stackWidth, REGISTER.RSP, value);
  }

  /** Pushes the low `width` bits of a value (i32, or i64 for 64). */
  push(width: 16 | 32 | 64, value: Node): void {
    const { b } = this;
    if (this.segmentedStack) {
      b.if(b.call(HELPERS.pushSegmented, b.extendU(value), b.i32(width / 8)), () => {
        b.exit('fault');
      });
      return;
    }
    const top = b.sub(this.stackPointer(), b.constant(this.stackWidth === 64 ? 'i64' : 'i32', width / 8));
    guestStore(b, this.stackMmu, b.extendU(top), (width / 8) as AccessSize, value);
    this.setStackPointer(top);
  }

  /** Reads the top of the stack without moving the pointer (flat stacks only). */
  peekStack(width: 16 | 32 | 64): Node {
    return guestLoad(this.b, this.stackMmu, this.b.extendU(this.stackPointer()), (width / 8) as AccessSize);
  }

  moveStackPointer(bytes: Node): void {
    this.setStackPointer(this.b.add(this.stackPointer(), bytes));
  }

  pop(width: 16 | 32 | 64): Node {
    const { b } = this;
    if (this.segmentedStack) {
      const value = b.call(HELPERS.popSegmented, b.i32(width / 8));
      this.exitIfFaulted();
      return width === 64 ? value : b.wrap(value);
    }
    const value = this.peekStack(width);
    this.moveStackPointer(b.constant(this.stackWidth === 64 ? 'i64' : 'i32', width / 8));
    return value;
  }

  /** Leaves when a helper has raised an exception. */
  exitIfFaulted(): void {
    const { b } = this;
    b.if(b.op('i32.ge_s', this.loadState32('EXC_VECTOR'), b.i32(0)), () => {
      b.exit('fault');
    });
  }

  raise(vector: number, code?: number): void {
    const { b } = this;
    if (code === undefined) b.call(HELPERS.raise, b.i32(vector));
    else b.call(HELPERS.raiseCode, b.i32(vector), b.i32(code));
    b.exit('fault');
  }

  // ---- control flow ----

  /** RIP of the next instruction. */
  nextRip(): Node {
    const { b } = this;
    const rip = b.add(this.loadState64('CODE_BASE'), b.extendU(b.add(this.parts.offset(), this.parts.byte('LENGTH'))));
    return this.truncateRip(rip);
  }

  /** In 16- and 32-bit code the instruction pointer wraps by operand size. */
  private truncateRip(rip: Node): Node {
    const { osz } = this.variant;
    if (osz === 64) return rip;
    return this.b.and(rip, this.b.i64(osz === 32 ? 0xffff_ffffn : 0xffffn));
  }

  /** RIP of a direct branch's target. */
  directTarget(): Node {
    return this.truncateRip(this.b.add(this.loadState64('CODE_BASE'), this.parts.immediate()));
  }

  /** Leaves with a fault when RIP may not become `target`; `target` i64. */
  checkTarget(target: Node): void {
    const { b } = this;
    const faults = (): void => {
      b.exit('fault');
    };
    if (this.variant.osz === 64) {
      const canonical = b.op('i64.eq', b.shrs(b.shl(target, b.i64(16)), b.i64(16)), target);
      b.if(b.eqz(canonical), () => {
        this.raise(13, 0);
      });
    } else {
      // In 64-bit mode, where the limit says nothing, the helper knows.
      const limit = b.load('i32.load', b.i32(0), this.at('SEG_LIMIT') + SEGMENT.CS * 4);
      b.if(b.op('i64.gt_u', target, b.extendU(limit)), () => {
        b.if(b.call(HELPERS.checkTarget, target), faults);
      });
    }
  }

  /**
   * Leaves this description of the instruction, before anything was changed, for the complete one: the helper `x_<name>`
   * does all of it. A memory operand's address must have been computed (`linear`) outside conditional code before.
   */
  fallback(): void {
    const { fallback } = this.hooks;
    if (fallback) fallback(this);
    else this.b.exit('interpret');
  }

  /** Ends the instruction by going to a direct branch's target. */
  branch(): void {
    const { b } = this;
    const link = this.parts.link();
    b.if(link, () => {
      b.exit('goto', link);
    });
    b.exit('branch', this.directTarget());
  }

  /** Ends the instruction by going to `target` (i64), which has been checked. */
  jump(target: Node): void {
    this.b.exit('jump', target);
  }
}

/** Parts read from a record at run time. `record`: i32 address. */
export function recordParts(b: Builder, record: Node): InstructionParts {
  return {
    byte: (name) => b.load('i32.load8_u', record, RECORD[name]),
    offset: () => b.load('i32.load16_u', record, RECORD.OFFSET),
    displacement: () => b.load('i64.load32_s', record, RECORD.DISP),
    immediate: () => b.load('i64.load', record, RECORD.IMM),
    link: () => b.load('i32.load', record, RECORD.LINK),
  };
}
