/** Shifts, rotates and double shifts. */
import type { Node } from '../../../ir/nodes.js';
import type { Width } from '../variants.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';

/** The count (operand `index`), masked to 5 or 6 bits, as i32. */
function maskedCount(x: Lift, index: number, width: Width): Node {
  const raw = x.operand(index).kind === 'one' ? x.b.i32(1) : x.read(index);
  return x.b.and(x.b.wrap(raw), x.b.i32(width === 64 ? 63 : 31));
}

/** Works on i64, where counts up to 31 for narrow operands cannot exceed the type. */
interface Shifted {
  /** Result; bits beyond the width are ignored. */
  readonly result: Node;
  /** 0 or 1. */
  readonly carry: Node;
  readonly overflow: Node;
}

const bit = (x: Lift, value: Node, index: Node | number): Node => {
  const { b } = x;
  const by = typeof index === 'number' ? b.i64(index) : index;
  return b.wrap(b.and(b.shru(value, by), b.i64(1)));
};

function signExtended(x: Lift, value: Node, width: Width): Node {
  const { b } = x;
  return width === 64 ? value : b.shrs(b.shl(value, b.i64(64 - width)), b.i64(64 - width));
}

/** `value` is zero-extended to i64, `count` i64 and not 0. */
function shift(kind: 'shl' | 'shr' | 'sar', x: Lift, width: Width, value: Node, count: Node): Shifted {
  const { b } = x;
  if (kind === 'shl') {
    const result = b.shl(value, count);
    // The last bit shifted out: bit `width` of the result, or bit 64 - count of the operand where that is out of reach.
    const carry = width === 64 ? bit(x, value, b.sub(b.i64(64), count)) : bit(x, result, width);
    return { result, carry, overflow: b.xor(bit(x, result, width - 1), carry) };
  }
  const source = kind === 'sar' ? signExtended(x, value, width) : value;
  const last = b.sub(count, b.i64(1));
  const carry = b.wrap(b.and(kind === 'sar' ? b.shrs(source, last) : b.shru(source, last), b.i64(1)));
  const result = kind === 'sar' ? b.shrs(source, count) : b.shru(source, count);
  return { result, carry, overflow: kind === 'sar' ? b.i32(0) : bit(x, value, width - 1) };
}

/** Flags are left alone when the masked count is 0. */
function shifts(kind: 'shl' | 'shr' | 'sar'): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const count = maskedCount(x, 1, width);
    x.modify(0, (old) => {
      const result = b.variable('i64');
      const value = b.extendU(old);
      b.set(result, value);
      b.if(count, () => {
        const shifted = shift(kind, x, width, value, b.extendU(count));
        b.set(result, shifted.result);
        const narrow = width === 64 ? shifted.result : b.wrap(shifted.result);
        x.flags.resultCarryOverflow(width, narrow, shifted.carry, shifted.overflow);
      });
      return width === 64 ? b.get(result) : b.wrap(b.get(result));
    });
  };
}

/** ROL and ROR: 8- and 16-bit operands repeat their pattern; flags change when the masked count is not 0. */
function rotates(kind: 'rol' | 'ror'): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const count = maskedCount(x, 1, width);
    x.modify(0, (old) => {
      let result: Node;
      if (width === 64) result = b.int(kind === 'rol' ? 'rotl' : 'rotr', old, b.extendU(count));
      else if (width === 32) result = b.int(kind === 'rol' ? 'rotl' : 'rotr', old, count);
      else {
        const twice = b.or(old, b.shl(old, b.i32(16)));
        const pattern = width === 16 ? twice : b.or(twice, b.shl(twice, b.i32(8)));
        result = b.int(kind === 'rol' ? 'rotl' : 'rotr', pattern, count);
      }
      b.if(count, () => {
        const wide = b.extendU(result);
        const top = bit(x, wide, width - 1);
        const carry = kind === 'rol' ? bit(x, wide, 0) : top;
        const other = kind === 'rol' ? top : bit(x, wide, width - 2);
        x.flags.setCarryOverflow(carry, b.xor(carry, other));
      });
      return result;
    });
  };
}

/** RCL and RCR rotate through CF: width + 1 bits. */
function rotatesThroughCarry(kind: 'rcl' | 'rcr'): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const masked = b.extendU(maskedCount(x, 1, width));
    const count = width >= 32 ? masked : b.divide('i64.rem_u', masked, b.i64(width + 1));
    x.modify(0, (old) => {
      const value = b.extendU(old);
      const result = b.variable('i64');
      b.set(result, value);
      b.if(b.op('i64.ne', count, b.i64(0)), () => {
        const carryIn = b.extendU(x.flags.carry());
        // Left by n: low n bits are CF and the top n - 1 bits. Right by n is left by width + 1 - n.
        const left = kind === 'rcl' ? count : b.sub(b.i64(width + 1), count);
        const rest = b.sub(b.i64(width), left);
        // Shifting by 64 would be shifting by 0: split it.
        const kept = b.shl(b.shl(value, b.sub(left, b.i64(1))), b.i64(1));
        const wrapped = b.shru(b.shru(value, rest), b.i64(1));
        const rotated = b.or(b.or(kept, b.shl(carryIn, b.sub(left, b.i64(1)))), wrapped);
        b.set(result, rotated);
        const carry = bit(x, value, rest);
        const top = bit(x, rotated, width - 1);
        const overflow = kind === 'rcl' ? b.xor(top, carry) : b.xor(top, bit(x, rotated, width - 2));
        x.flags.setCarryOverflow(carry, overflow);
      });
      return width === 64 ? b.get(result) : b.wrap(b.get(result));
    });
  };
}

/** SHLD and SHRD. 16-bit forms with counts above 16 are undefined; they behave as on real processors: a 48-bit shift. */
function doubleShift(kind: 'shld' | 'shrd'): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const count = maskedCount(x, 2, width);
    const filler = b.extendU(x.read(1));
    x.modify(0, (old) => {
      const value = b.extendU(old);
      const result = b.variable('i64');
      b.set(result, value);
      b.if(count, () => {
        const by = b.extendU(count);
        const last = b.sub(by, b.i64(1));
        let shifted: Node;
        let carry: Node;
        if (width === 64) {
          const back = b.sub(b.i64(64), by);
          shifted =
            kind === 'shld'
              ? b.or(b.shl(value, by), b.shru(filler, back))
              : b.or(b.shru(value, by), b.shl(filler, back));
          carry = kind === 'shld' ? bit(x, value, back) : bit(x, value, last);
        } else if (kind === 'shrd') {
          const joined =
            width === 32
              ? b.or(value, b.shl(filler, b.i64(32)))
              : b.or(b.or(value, b.shl(filler, b.i64(16))), b.shl(value, b.i64(32)));
          shifted = b.shru(joined, by);
          carry = bit(x, joined, last);
        } else {
          const joined =
            width === 32
              ? b.or(b.shl(value, b.i64(32)), filler)
              : b.or(b.or(b.shl(value, b.i64(32)), b.shl(filler, b.i64(16))), value);
          const at = 32;
          const moved = b.shl(joined, by);
          shifted = b.shru(moved, b.i64(at));
          carry = bit(x, joined, b.sub(b.i64(at + width), by));
        }
        b.set(result, shifted);
        const narrow = width === 64 ? shifted : b.wrap(shifted);
        const overflow = b.xor(bit(x, shifted, width - 1), bit(x, value, width - 1));
        x.flags.resultCarryOverflow(width, narrow, carry, overflow);
      });
      return width === 64 ? b.get(result) : b.wrap(b.get(result));
    });
  };
}

export const shiftsAndRotates: Readonly<Record<string, Semantics>> = {
  shl: shifts('shl'),
  shr: shifts('shr'),
  sar: shifts('sar'),
  rol: rotates('rol'),
  ror: rotates('ror'),
  rcl: rotatesThroughCarry('rcl'),
  rcr: rotatesThroughCarry('rcr'),
  shld: doubleShift('shld'),
  shrd: doubleShift('shrd'),
};
