/** Data movement: MOV and its kin, exchanges, stack, conversions. */
import type { Node } from '../../../ir/nodes.js';
import type { Width } from '../variants.js';
import { REGISTER, type Lift } from './lift.js';
import type { Semantics } from './semantics.js';

/** PAUSEs until the host is asked to run something else. */
const PAUSES_TO_YIELD = 128;

/** Extends a value of `from` bits, as `read` gives it, to the type of `to` bits. */
function extend(x: Lift, value: Node, from: Width, to: Width, signed: boolean): Node {
  const { b } = x;
  let narrow = value;
  if (signed && from < 32) narrow = b.op(from === 8 ? 'i32.extend8_s' : 'i32.extend16_s', value);
  if (to < 64) return b.wrap(narrow);
  return signed ? b.extendS(narrow) : b.extendU(narrow);
}

function extendingMove(signed: boolean): Semantics {
  return (x) => {
    x.write(0, extend(x, x.read(1), x.width(1), x.width(0), signed));
  };
}

/** Reverses the bytes of a value of `width` bits (16, 32 or 64). */
function swapBytes(x: Lift, width: Width, value: Node): Node {
  const { b } = x;
  if (width === 16)
    return b.or(b.shl(b.and(value, b.i32(0xff)), b.i32(8)), b.and(b.shru(value, b.i32(8)), b.i32(0xff)));
  if (width === 32) return swap32(x, value);
  const low = swap32(x, b.wrap(value));
  const high = swap32(x, b.wrap(b.shru(value, b.i64(32))));
  return b.or(b.shl(b.extendU(low), b.i64(32)), b.extendU(high));
}

function swap32(x: Lift, value: Node): Node {
  const { b } = x;
  const odd = b.and(b.int('rotl', value, b.i32(8)), b.i32(0x00ff_00ff));
  const even = b.and(b.int('rotr', value, b.i32(8)), b.i32(0xff00_ff00));
  return b.or(odd, even);
}

const STORES = {
  16: { name: 'st16', params: ['i64', 'i32'], result: 'i32' },
  32: { name: 'st32', params: ['i64', 'i32'], result: 'i32' },
  64: { name: 'st64', params: ['i64', 'i64'], result: 'i32' },
} as const;

export const moves: Readonly<Record<string, Semantics>> = {
  mov: (x) => {
    x.write(0, x.read(1));
  },
  movnti: (x) => {
    x.write(0, x.read(1));
  },
  movzx: extendingMove(false),
  movsx: extendingMove(true),
  movsxd: (x) => {
    // Without REX.W it is a plain MOV of the operand size.
    const value = x.read(1);
    x.write(0, x.width(0) === 64 ? x.b.extendS(value) : value);
  },

  lea: (x) => {
    const address = x.effectiveAddress();
    x.write(0, x.width(0) === 64 ? address : x.b.wrap(address));
  },

  nop: () => undefined,
  pause: (x) => {
    const { b } = x;
    const count = b.add(x.loadState32('PAUSES'), b.i32(1));
    b.store('i32.store', b.i32(0), count, x.at('PAUSES'));
    // Whoever has spun for so long may be waiting for a CPU that has no processor of the host.
    b.if(b.eqz(b.and(count, b.i32(PAUSES_TO_YIELD - 1))), () => {
      b.callVoid({ name: 'long_pause', params: [], result: undefined });
    });
  },

  xchg: (x) => {
    const { b } = x;
    const mine = x.read(1);
    const seen = b.variable(mine.type);
    // XCHG with memory is atomic with or without LOCK (SDM vol. 3 §9.1.2.1).
    x.modify(
      0,
      (old) => {
        b.set(seen, old);
        return mine;
      },
      x.isMemory(0),
    );
    x.write(1, b.get(seen));
  },

  bswap: (x) => {
    const width = x.width(0);
    // Undefined for 16 bits; processors give 0.
    x.write(0, width === 16 ? x.b.i32(0) : swapBytes(x, width, x.read(0)));
  },

  movbe: (x) => {
    x.write(0, swapBytes(x, x.width(0), x.read(1)));
  },

  cbw: (x) => {
    const { osz } = x.variant;
    const half = (osz / 2) as Width;
    x.storeRegister(osz, REGISTER.RAX, extend(x, x.loadRegister(half, REGISTER.RAX), half, osz, true));
  },

  cwd: (x) => {
    const { b } = x;
    const { osz } = x.variant;
    const value = x.loadRegister(osz, REGISTER.RAX);
    const sign =
      osz === 64 ? b.shrs(value, b.i64(63)) : b.shrs(osz === 32 ? value : b.op('i32.extend16_s', value), b.i32(31));
    x.storeRegister(osz, REGISTER.RDX, sign);
  },

  push: (x) => {
    const { osz } = x.variant;
    x.push(osz, x.operand(0).kind === 'I' ? x.immediate(osz) : x.read(0));
  },

  pop: (x) => {
    const { b } = x;
    const { osz } = x.variant;
    if (!x.isMemory(0)) {
      x.write(0, x.pop(osz));
      return;
    }
    // The address is computed with the stack pointer already moved (SDM vol. 2, POP), which a fault must undo.
    const before = x.loadRegister(64, REGISTER.RSP);
    const value = x.pop(osz);
    b.if(b.eqz(b.call(STORES[osz], x.linear(), value)), () => {
      x.storeRegister(64, REGISTER.RSP, before);
      b.exit('operand-fault');
    });
  },

  leave: (x) => {
    const { b } = x;
    const { osz } = x.variant;
    const before = x.loadRegister(64, REGISTER.RSP);
    const frame = x.loadRegister(x.variant.stack === 'flat32' ? 32 : 64, REGISTER.RBP);
    x.setStackPointer(frame);
    // Only the load can fault: it leaves by the exit below with RSP put back.
    const value = b.call(
      { name: osz === 64 ? 'ld64' : osz === 32 ? 'ld32' : 'ld16', params: ['i64'], result: osz === 64 ? 'i64' : 'i32' },
      b.extendU(frame),
    );
    b.if(b.op('i32.ge_s', x.loadState32('EXC_VECTOR'), b.i32(0)), () => {
      x.storeRegister(64, REGISTER.RSP, before);
      b.exit('stack-fault');
    });
    x.moveStackPointer(b.constant(frame.type, osz / 8));
    x.storeRegister(osz, REGISTER.RBP, value);
  },
};
