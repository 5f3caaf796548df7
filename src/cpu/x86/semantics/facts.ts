/**
 * What is known at a point of straight-line code, so that nothing is checked twice: that SSE instructions may run, that MXCSR
 * lets the host's arithmetic stand in, and which floating point values are plain (normal or zero). An instruction of the
 * interpreter starts with none of it; instructions that are built into one straight piece of code can share one `Facts`.
 */
import type { Node } from '../../../ir/nodes.js';
import { X87Facts } from './x87-facts.js';

/** Parts of an XMM register that can be plain; of a scalar node, the lowest of its format. */
export const PLAIN = {
  /** The double in bits 63:0. */
  DOUBLE: 1,
  /** The double in bits 127:64. */
  HIGH_DOUBLE: 2,
  /** The single in bits 31:0. */
  SINGLE: 4,
  /** The other three singles. */
  HIGH_SINGLES: 8,
} as const;

/** How a part of an XMM register is accessed. */
export type XmmKind = 'v128' | 'f64' | 'i64' | 'f32' | 'i32';

/** What a store of each kind to the low bits overwrites. */
const OVERWRITTEN: Readonly<Record<XmmKind, number>> = {
  v128: PLAIN.DOUBLE | PLAIN.HIGH_DOUBLE | PLAIN.SINGLE | PLAIN.HIGH_SINGLES,
  f64: PLAIN.DOUBLE | PLAIN.SINGLE | PLAIN.HIGH_SINGLES,
  i64: PLAIN.DOUBLE | PLAIN.SINGLE | PLAIN.HIGH_SINGLES,
  f32: PLAIN.DOUBLE | PLAIN.SINGLE,
  i32: PLAIN.DOUBLE | PLAIN.SINGLE,
};

/** What of a register a value of each kind can say. */
const SAYS: Readonly<Record<XmmKind, number>> = {
  v128: OVERWRITTEN.v128,
  f64: PLAIN.DOUBLE,
  i64: PLAIN.DOUBLE,
  f32: PLAIN.SINGLE,
  i32: PLAIN.SINGLE,
};

export class Facts {
  /** FP_TRAP does not stop SSE instructions. */
  sseReady = false;
  /** i32 0 or 1: MXCSR rounds to nearest, precision exceptions are masked and one is recorded. Where it has been computed. */
  nativeRounding: Node | undefined;
  readonly x87 = new X87Facts();
  private readonly plainNodes = new Map<Node, number>();
  /** By number of the register. */
  private readonly plainRegisters = new Map<number, number>();
  /** Nodes that were loaded from a register which has not been written since. */
  private readonly loaded = new Map<Node, number>();
  /** Registers that hold the same, being copies of each other, have the same number here. */
  private readonly copies = new Map<number, number>();
  private copyNumber = 0;

  /** What is known where another piece of code begins that only this one leads to: all but what nodes hold. */
  atNext(): Facts {
    const next = new Facts();
    next.sseReady = this.sseReady;
    for (const [register, parts] of this.plainRegisters) next.plainRegisters.set(register, parts);
    for (const [register, number] of this.copies) next.copies.set(register, number);
    next.copyNumber = this.copyNumber;
    return next;
  }

  /** Forgets everything: something may have changed any state. */
  forget(): void {
    this.sseReady = false;
    this.nativeRounding = undefined;
    this.x87.forget();
    this.forgetRegisters();
  }

  /** Forgets what is known of XMM registers. */
  forgetRegisters(): void {
    this.plainRegisters.clear();
    this.loaded.clear();
    this.copies.clear();
  }

  /** Whether all parts of a node that `parts` (PLAIN) names are plain. */
  isPlain(node: Node, parts: number): boolean {
    return ((this.plainNodes.get(node) ?? 0) & parts) === parts;
  }

  /** Of code that runs on only when they are. */
  markPlain(node: Node, parts: number): void {
    this.plainNodes.set(node, (this.plainNodes.get(node) ?? 0) | parts);
    const register = this.loaded.get(node);
    if (register === undefined) return;
    const copies = this.copies.get(register);
    this.learn(register, parts);
    if (copies !== undefined) for (const [copy, number] of this.copies) if (number === copies) this.learn(copy, parts);
  }

  private learn(register: number, parts: number): void {
    this.plainRegisters.set(register, (this.plainRegisters.get(register) ?? 0) | parts);
  }

  /** `node` was loaded from the low bits of a register that is known by its slot, if it is a constant. */
  noteLoad(kind: XmmKind, slot: Node, node: Node): void {
    if (slot.kind !== 'const') return;
    const register = Number(slot.value);
    this.loaded.set(node, register);
    const known = (this.plainRegisters.get(register) ?? 0) & SAYS[kind];
    if (known !== 0) this.plainNodes.set(node, known);
  }

  /** `node` was stored to the low or the high bits of a register. */
  noteStore(kind: XmmKind, slot: Node, node: Node, isHigh: boolean): void {
    if (slot.kind !== 'const') {
      this.forgetRegisters();
      return;
    }
    const register = Number(slot.value);
    const source = this.loaded.get(node);
    if (source === register && !isHigh) return;
    for (const [each, from] of this.loaded) if (from === register) this.loaded.delete(each);
    this.copies.delete(register);
    if (kind === 'v128' && source !== undefined) {
      const copies = this.copies.get(source) ?? this.copyNumber++;
      this.copies.set(source, copies);
      this.copies.set(register, copies);
    }
    const before = this.plainRegisters.get(register) ?? 0;
    const overwritten = isHigh ? PLAIN.HIGH_DOUBLE | PLAIN.HIGH_SINGLES : OVERWRITTEN[kind];
    let after = before & ~overwritten;
    const said = (this.plainNodes.get(node) ?? 0) & SAYS[kind];
    if (!isHigh) after |= said;
    else if (said & PLAIN.DOUBLE) after |= PLAIN.HIGH_DOUBLE;
    this.plainRegisters.set(register, after);
  }
}
