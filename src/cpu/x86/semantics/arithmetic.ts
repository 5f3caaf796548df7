/** ADD … CMP, INC, DEC, NEG, NOT, logic, compare-and-exchange, multiplication and division. */
import type { Node } from '../../../ir/nodes.js';
import type { Width } from '../variants.js';
import { REGISTER, type Lift } from './lift.js';
import type { Semantics } from './semantics.js';

function additive(name: 'add' | 'sub', withCarry: boolean): Semantics {
  return (x) => {
    const width = x.width(0);
    const right = x.read(1);
    x.modify(0, (left) => {
      const partial = x.b.int(name, left, right);
      if (!withCarry) {
        x.flags[name](width, left, right, partial);
        return partial;
      }
      const carry = x.flags.carry();
      const result = x.b.int(name, partial, width === 64 ? x.b.extendU(carry) : carry);
      x.flags[name === 'add' ? 'addWithCarry' : 'subWithBorrow'](width, left, right, result);
      return result;
    });
  };
}

function logical(name: 'and' | 'or' | 'xor'): Semantics {
  return (x) => {
    const right = x.read(1);
    x.modify(0, (left) => {
      const result = x.b.int(name, left, right);
      x.flags.logic(x.width(0), result);
      return result;
    });
  };
}

function step(name: 'add' | 'sub', flags: 'increment' | 'decrement'): Semantics {
  return (x) => {
    x.modify(0, (left) => {
      const result = x.b.int(name, left, x.b.constant(left.type, 1));
      x.flags[flags](x.width(0), left, result);
      return result;
    });
  };
}

/** The full product of two operands of `width` bits: low and high half, each in the type of the operands. */
function product(x: Lift, width: Width, signed: boolean, left: Node, right: Node): { low: Node; high: Node } {
  const { b } = x;
  if (width === 64) return { low: b.int('mul', left, right), high: highProduct(x, signed, left, right) };
  const extend = (v: Node): Node => {
    if (!signed) return b.extendU(v);
    const sized = width === 32 ? v : b.op(width === 16 ? 'i32.extend16_s' : 'i32.extend8_s', v);
    return b.extendS(sized);
  };
  const wide = b.int('mul', extend(left), extend(right));
  return { low: b.wrap(wide), high: b.wrap(b.shru(wide, b.i64(width))) };
}

/** Bits 127:64 of a 64 × 64 bit product, from four 32 × 32 bit ones. */
function highProduct(x: Lift, signed: boolean, left: Node, right: Node): Node {
  const { b } = x;
  const half = b.i64(32);
  const low = (v: Node): Node => b.and(v, b.i64(0xffff_ffffn));
  const top = (v: Node): Node => (signed ? b.shrs(v, half) : b.shru(v, half));
  const mul = (p: Node, q: Node): Node => b.int('mul', p, q);
  const shift = (v: Node): Node => (signed ? b.shrs(v, half) : b.shru(v, half));
  const ll = mul(low(left), low(right));
  const middle = b.add(mul(top(left), low(right)), b.shru(ll, half));
  const cross = b.add(mul(low(left), top(right)), low(middle));
  return b.add(b.add(mul(top(left), top(right)), shift(middle)), shift(cross));
}

/** Sign- or zero-extends a product's low half and compares: CF and OF say whether the high half matters. */
function multiplyFlags(x: Lift, width: Width, signed: boolean, low: Node, high: Node): void {
  const { b } = x;
  let significant: Node;
  if (width === 64) {
    const filler = signed ? b.shrs(low, b.i64(63)) : b.i64(0);
    significant = b.op('i64.ne', high, filler);
  } else {
    const mask = b.i32(width === 32 ? -1 : (1 << width) - 1);
    const filler = signed ? b.shrs(b.shl(low, b.i32(32 - width)), b.i32(31)) : b.i32(0);
    significant = b.op('i32.ne', b.and(high, mask), b.and(filler, mask));
  }
  // SF, ZF, AF and PF are undefined; they follow the low half here.
  x.flags.resultCarryOverflow(width, low, significant, significant);
}

/** Writes a double-width result to AX, or rDX:rAX. */
function writePair(x: Lift, width: Width, low: Node, high: Node): void {
  const { b } = x;
  if (width === 8) {
    const both = b.or(b.and(low, b.i32(0xff)), b.shl(high, b.i32(8)));
    x.storeRegister(16, REGISTER.RAX, both);
    return;
  }
  x.storeRegister(width, REGISTER.RAX, low);
  x.storeRegister(width, REGISTER.RDX, high);
}

function multiplyAccumulator(signed: boolean): Semantics {
  return (x) => {
    const width = x.width(0);
    const { low, high } = product(x, width, signed, x.loadRegister(width, REGISTER.RAX), x.read(0));
    writePair(x, width, low, high);
    multiplyFlags(x, width, signed, low, high);
  };
}

/** IMUL with two and three operands: the product of two of them goes to the first, truncated. */
function multiplyInto(left: number, right: number): Semantics {
  return (x) => {
    const width = x.width(0);
    const { low, high } = product(x, width, true, x.read(left), x.read(right));
    x.write(0, low);
    multiplyFlags(x, width, true, low, high);
  };
}

const VECTOR_DE = 0;

/** DIV and IDIV of 8, 16 and 32 bits by 64-bit arithmetic; 64 bits by a helper when the dividend does not fit in 64. */
function divide(signed: boolean): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    if (width === 64) {
      divide64(x, signed);
      return;
    }
    const source = x.read(0);
    const raw =
      width === 8
        ? b.extendU(x.loadRegister(16, REGISTER.RAX))
        : b.or(
            b.extendU(x.loadRegister(width, REGISTER.RAX)),
            b.shl(b.extendU(x.loadRegister(width, REGISTER.RDX)), b.i64(width)),
          );
    const signExtend = (v: Node, bits: number): Node => b.shrs(b.shl(v, b.i64(64 - bits)), b.i64(64 - bits));
    const dividend = signed && width !== 32 ? signExtend(raw, width * 2) : raw;
    const divisor = signed ? signExtend(b.extendU(source), width) : b.extendU(source);
    b.if(b.eqz(divisor), () => {
      x.raise(VECTOR_DE);
    });
    if (signed) {
      // The one quotient that does not fit in 64 bits would trap in WebAssembly too.
      const lowest = b.and(b.op('i64.eq', dividend, b.i64(-(2n ** 63n))), b.op('i64.eq', divisor, b.i64(-1)));
      b.if(lowest, () => {
        x.raise(VECTOR_DE);
      });
    }
    const quotient = b.divide(signed ? 'i64.div_s' : 'i64.div_u', dividend, divisor);
    const fits = signed ? b.op('i64.eq', signExtend(quotient, width), quotient) : b.eqz(b.shru(quotient, b.i64(width)));
    b.if(b.eqz(fits), () => {
      x.raise(VECTOR_DE);
    });
    const remainder = b.divide(signed ? 'i64.rem_s' : 'i64.rem_u', dividend, divisor);
    writePair(x, width, b.wrap(quotient), b.wrap(remainder));
  };
}

/** 128 by 64 bits; an overflowing or zero division raises #DE (result 0). */
const DIVIDE_WIDE = { name: 'divide_128', params: ['i64', 'i32'], result: 'i32' } as const;

function divide64(x: Lift, signed: boolean): void {
  const { b } = x;
  const divisor = x.read(0);
  const low = x.loadRegister(64, REGISTER.RAX);
  const high = x.loadRegister(64, REGISTER.RDX);
  // A dividend that fits in 64 bits, as CQO and XOR EDX,EDX leave it, and a divisor that cannot overflow.
  const narrow = signed
    ? b.and(b.op('i64.eq', high, b.shrs(low, b.i64(63))), b.op('i64.gt_u', b.add(divisor, b.i64(1)), b.i64(1)))
    : b.and(b.eqz(high), b.op('i64.ne', divisor, b.i64(0)));
  b.if(
    narrow,
    () => {
      const quotient = b.divide(signed ? 'i64.div_s' : 'i64.div_u', low, divisor);
      const remainder = b.divide(signed ? 'i64.rem_s' : 'i64.rem_u', low, divisor);
      writePair(x, 64, quotient, remainder);
    },
    () => {
      b.if(b.call(DIVIDE_WIDE, divisor, b.i32(signed ? 1 : 0)), () => {
        b.exit('fault');
      });
    },
  );
}

/** Carry chain of ADX: only CF, or only OF, is used and set. */
function addWithFlag(flag: 'carry' | 'overflow'): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const left = x.read(0);
    const right = x.read(1);
    const carryIn = flag === 'carry' ? x.flags.carry() : x.flags.overflow();
    const partial = b.add(left, right);
    const result = b.add(partial, width === 64 ? b.extendU(carryIn) : carryIn);
    const carryOut = b.or(b.int('lt_u', partial, left), b.int('lt_u', result, partial));
    x.write(0, result);
    if (flag === 'carry') x.flags.setCarry(carryOut);
    else x.flags.setOverflow(carryOut);
  };
}

export const arithmetic: Readonly<Record<string, Semantics>> = {
  add: additive('add', false),
  adc: additive('add', true),
  sub: additive('sub', false),
  sbb: additive('sub', true),
  and: logical('and'),
  or: logical('or'),
  xor: logical('xor'),
  inc: step('add', 'increment'),
  dec: step('sub', 'decrement'),
  adcx: addWithFlag('carry'),
  adox: addWithFlag('overflow'),

  cmp: (x) => {
    const left = x.read(0);
    const right = x.read(1);
    x.flags.sub(x.width(0), left, right, x.b.sub(left, right));
  },

  test: (x) => {
    x.flags.logic(x.width(0), x.b.and(x.read(0), x.read(1)));
  },

  neg: (x) => {
    x.modify(0, (old) => {
      const zero = x.b.constant(old.type, 0);
      const result = x.b.sub(zero, old);
      x.flags.sub(x.width(0), zero, old, result);
      return result;
    });
  },

  not: (x) => {
    x.modify(0, (old) => x.b.not(old));
  },

  mul: multiplyAccumulator(false),
  mul8: multiplyAccumulator(false),
  imul1: multiplyAccumulator(true),
  imul8: multiplyAccumulator(true),
  imul2: multiplyInto(0, 1),
  imul3: multiplyInto(1, 2),
  div: divide(false),
  div8: divide(false),
  idiv: divide(true),
  idiv8: divide(true),

  xadd: (x) => {
    const width = x.width(0);
    const right = x.read(1);
    const before = x.b.variable(width === 64 ? 'i64' : 'i32');
    x.modify(0, (left) => {
      const result = x.b.add(left, right);
      x.b.set(before, left);
      x.flags.add(width, left, right, result);
      return result;
    });
    x.write(1, x.b.get(before));
    // XADD r, r with both the same register: the sum is written last (SDM vol. 2, operation).
    if (!x.isMemory(0)) x.write(0, x.b.add(x.b.get(before), right));
  },

  cmpxchg: (x) => {
    const { b } = x;
    const width = x.width(0);
    const expected = x.loadRegister(width, REGISTER.RAX);
    const replacement = x.read(1);
    const seen = b.variable(width === 64 ? 'i64' : 'i32');
    // The destination is written in both cases: with its old value when they differ.
    const change = (old: Node): Node => {
      b.set(seen, old);
      return b.select(b.int('eq', old, expected), replacement, old);
    };
    if (x.isMemory(0)) x.modify(0, change);
    else {
      const old = x.read(0);
      b.set(seen, old);
      b.if(b.int('eq', old, expected), () => {
        x.write(0, replacement);
      });
    }
    const found = b.get(seen);
    x.flags.sub(width, expected, found, b.sub(expected, found));
    b.if(b.int('ne', found, expected), () => {
      x.storeRegister(width, REGISTER.RAX, found);
    });
  },
};
