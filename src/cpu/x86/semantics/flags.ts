/** Arithmetic flags over the lazy representation of docs/interpreter.md. */
import type { Builder } from '../../../ir/builder.js';
import type { Node } from '../../../ir/nodes.js';
import { STATE } from '../state-layout.js';
import type { Width } from '../variants.js';

/** Bits of FLAG_AUX. */
const AUX = {
  CF: 0x8000_0000,
  /** CF xor OF. */
  CO: 0x4000_0000,
  AF: 0x8,
  /** Inverts SF. */
  SF: 0x1,
} as const;

const CF_SHIFT = 31;

export class Flags {
  constructor(
    protected readonly b: Builder,
    private readonly state: number,
  ) {}

  protected aux(): Node {
    return this.b.load('i32.load', this.b.i32(0), this.state + STATE.FLAG_AUX);
  }

  protected result(): Node {
    return this.b.load('i64.load', this.b.i32(0), this.state + STATE.FLAG_RES);
  }

  protected setAux(aux: Node): void {
    this.b.store('i32.store', this.b.i32(0), aux, this.state + STATE.FLAG_AUX);
  }

  /** Writes FLAG_RES. */
  protected writeResult(result: Node): void {
    this.b.store('i64.store', this.b.i32(0), result, this.state + STATE.FLAG_RES);
  }

  /** A result of `width` bits (upper bits ignored), sign-extended to i64. */
  protected extended(width: Width, result: Node): Node {
    const { b } = this;
    if (width === 64) return result;
    return b.extendS(width === 32 ? result : b.op(width === 16 ? 'i32.extend16_s' : 'i32.extend8_s', result));
  }

  /** Sets ZF, SF and PF from a result of `width` bits (upper bits ignored). */
  private setResult(width: Width, result: Node): void {
    this.writeResult(this.extended(width, result));
  }

  /** CF, CF^OF and AF in their AUX places, from a vector of carries out of each bit. */
  private auxOfCarries(width: Width, carries: Node): Node {
    const { b } = this;
    if (width === 64) {
      const top = b.and(b.wrap(b.shru(carries, b.i64(32))), b.i32(AUX.CF | AUX.CO));
      return b.or(top, b.and(b.wrap(carries), b.i32(AUX.AF)));
    }
    if (width === 32) return b.and(carries, b.i32(AUX.CF | AUX.CO | AUX.AF));
    const top = b.and(b.shl(carries, b.i32(32 - width)), b.i32(AUX.CF | AUX.CO));
    return b.or(top, b.and(carries, b.i32(AUX.AF)));
  }

  private addCarries(left: Node, right: Node, result: Node): Node {
    const { b } = this;
    return b.or(b.and(left, right), b.and(b.or(left, right), b.not(result)));
  }

  private subBorrows(left: Node, right: Node, result: Node): Node {
    const { b } = this;
    const inverted = b.not(left);
    return b.or(b.and(inverted, right), b.and(b.or(inverted, right), result));
  }

  /** After `result = left + right`. */
  add(width: Width, left: Node, right: Node, result: Node): void {
    this.addWithCarry(width, left, right, result);
  }

  /** After `result = left - right`. */
  sub(width: Width, left: Node, right: Node, result: Node): void {
    this.subWithBorrow(width, left, right, result);
  }

  /** After `result = left + right (+ carry)`. */
  addWithCarry(width: Width, left: Node, right: Node, result: Node): void {
    this.setResult(width, result);
    this.setAux(this.auxOfCarries(width, this.addCarries(left, right, result)));
  }

  /** After `result = left - right (- borrow)`. */
  subWithBorrow(width: Width, left: Node, right: Node, result: Node): void {
    this.setResult(width, result);
    this.setAux(this.auxOfCarries(width, this.subBorrows(left, right, result)));
  }

  /** After AND, OR, XOR, TEST: CF, OF and AF cleared (AF is undefined). */
  logic(width: Width, result: Node): void {
    this.setResult(width, result);
    this.setAux(this.b.i32(0));
  }

  /** INC and DEC leave CF alone. */
  private keepCarry(aux: Node): Node {
    const { b } = this;
    const overflow = b.and(b.xor(aux, b.shl(aux, b.i32(1))), b.i32(AUX.CF));
    const carry = b.and(this.aux(), b.i32(AUX.CF));
    return b.or(b.or(carry, b.shru(b.xor(carry, overflow), b.i32(1))), b.and(aux, b.i32(AUX.AF)));
  }

  increment(width: Width, left: Node, result: Node): void {
    const one = this.b.constant(left.type, 1);
    this.setAux(this.keepCarry(this.auxOfCarries(width, this.addCarries(left, one, result))));
    this.setResult(width, result);
  }

  decrement(width: Width, left: Node, result: Node): void {
    const one = this.b.constant(left.type, 1);
    this.setAux(this.keepCarry(this.auxOfCarries(width, this.subBorrows(left, one, result))));
    this.setResult(width, result);
  }

  /** Result flags, and CF and OF given as 0 or 1; AF cleared. For shifts and multiplications. */
  resultCarryOverflow(width: Width, result: Node, carry: Node, overflow: Node): void {
    this.setResult(width, result);
    this.setAux(this.carryOverflow(carry, overflow));
  }

  protected carryOverflow(carry: Node, overflow: Node): Node {
    const { b } = this;
    return b.or(b.shl(carry, b.i32(CF_SHIFT)), b.shl(b.xor(carry, overflow), b.i32(30)));
  }

  /** CF and OF given as 0 or 1, all others kept. For rotates. */
  setCarryOverflow(carry: Node, overflow: Node): void {
    const { b } = this;
    this.setAux(b.or(b.and(this.aux(), b.i32(~(AUX.CF | AUX.CO))), this.carryOverflow(carry, overflow)));
  }

  /** CF given as 0 or 1, all others kept. */
  setCarry(carry: Node): void {
    const { b } = this;
    const old = this.aux();
    // Bit 30 is CF xor OF: it changes with CF.
    const flip = b.shl(b.xor(b.shru(old, b.i32(CF_SHIFT)), carry), b.i32(30));
    this.setAux(b.xor(old, b.or(flip, b.shl(flip, b.i32(1)))));
  }

  /** OF given as 0 or 1, all others kept. */
  setOverflow(overflow: Node): void {
    this.setCarryOverflow(this.carry(), overflow);
  }

  /** ZF given as 0 or 1; the other arithmetic flags are cleared. */
  onlyZero(zero: Node): void {
    const { b } = this;
    // Result 0 has even parity and no sign; 1 has odd parity and no sign. Clear PF for both.
    this.setAux(b.shl(zero, b.i32(8)));
    this.setResult(64, b.extendU(b.xor(zero, b.i32(1))));
  }

  /** CF and ZF given as 0 or 1, the other arithmetic flags cleared. */
  onlyCarryZero(carry: Node, zero: Node): void {
    const { b } = this;
    const co = this.carryOverflow(carry, b.i32(0));
    this.setAux(b.or(co, b.shl(zero, b.i32(8))));
    this.setResult(64, b.extendU(b.xor(zero, b.i32(1))));
  }

  /** ZF given as 0 or 1, all other flags kept. */
  setZero(zero: Node): void {
    const { b } = this;
    const others = b.and(this.toByte(), b.i32(~0x40));
    this.setByte(b.or(others, b.shl(zero, b.i32(6))), this.overflow());
  }

  /** SF ZF AF PF CF as in bits 7:0 of RFLAGS (bit 1 set): what LAHF gives. */
  toByte(): Node {
    const { b } = this;
    const bits = b.or(
      b.or(b.shl(this.sign(), b.i32(7)), b.shl(this.zero(), b.i32(6))),
      b.or(b.shl(b.and(b.shru(this.aux(), b.i32(3)), b.i32(1)), b.i32(4)), b.shl(this.parity(), b.i32(2))),
    );
    return b.or(b.or(bits, this.carry()), b.i32(2));
  }

  /** Sets SF ZF AF PF CF from bits 7:0 of RFLAGS, OF from 0 or 1. */
  setByte(byte: Node, overflow: Node): void {
    const { b } = this;
    const bit = (n: number): Node => b.and(b.shru(byte, b.i32(n)), b.i32(1));
    const zero = bit(6);
    // With result = !ZF its parity flag would be ZF: bit 8 flips it where PF differs.
    const parity = b.shl(b.xor(bit(2), zero), b.i32(8));
    const aux = b.or(b.or(b.shl(bit(4), b.i32(3)), bit(7)), b.or(parity, this.carryOverflow(bit(0), overflow)));
    this.setAux(aux);
    this.setResult(64, b.extendU(b.xor(zero, b.i32(1))));
  }

  carry(): Node {
    return this.b.shru(this.aux(), this.b.i32(CF_SHIFT));
  }

  zero(): Node {
    return this.b.eqz(this.result());
  }

  sign(): Node {
    const { b } = this;
    return b.xor(b.op('i64.lt_s', this.result(), b.i64(0)), b.and(this.aux(), b.i32(AUX.SF)));
  }

  overflow(): Node {
    const { b } = this;
    const aux = this.aux();
    return b.shru(b.xor(aux, b.shl(aux, b.i32(1))), b.i32(CF_SHIFT));
  }

  parity(): Node {
    const { b } = this;
    const byte = b.and(b.xor(b.wrap(this.result()), b.shru(this.aux(), b.i32(8))), b.i32(0xff));
    return b.xor(b.and(b.op('i32.popcnt', byte), b.i32(1)), b.i32(1));
  }

  /** 0 or 1: whether a condition holds. `code` is the low nibble of Jcc, SETcc, CMOVcc (SDM vol. 1 appendix B). */
  condition(code: number): Node {
    const { b } = this;
    const base = this.baseCondition(code >> 1);
    return code & 1 ? b.eqz(base) : base;
  }

  protected baseCondition(pair: number): Node {
    const { b } = this;
    switch (pair) {
      case 0:
        return this.overflow();
      case 1:
        return this.carry();
      case 2:
        return this.zero();
      case 3:
        return b.or(this.carry(), this.zero());
      case 4:
        return this.sign();
      case 5:
        return this.parity();
      case 6:
        return b.xor(this.sign(), this.overflow());
      default:
        return b.or(this.zero(), b.xor(this.sign(), this.overflow()));
    }
  }
}
