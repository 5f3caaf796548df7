/** Bit tests and scans, population count, flag instructions, SETcc and CMOVcc. */
import { CONDITIONS } from '../../../arch/x86/instructions/builder.js';
import type { FunctionRef, Node } from '../../../ir/nodes.js';
import { guestLoad, guestModify, guestModifyAtomically, type AccessSize } from '../../../ir/softmmu.js';
import type { Width } from '../variants.js';
import { REGISTER, type Lift } from './lift.js';
import { STATE } from '../state-layout.js';
import type { Semantics } from './semantics.js';

/** What becomes of the tested bit. */
type BitChange = 'keep' | 'set' | 'reset' | 'complement';

function changeBit(x: Lift, change: BitChange, old: Node, mask: Node): Node {
  const { b } = x;
  if (change === 'set') return b.or(old, mask);
  if (change === 'reset') return b.and(old, b.not(mask));
  return b.xor(old, mask);
}

/** Tests bit `index` (i64, already within the width) of `old` and changes it. */
function testBit(x: Lift, change: BitChange, old: Node, index: Node): Node {
  const { b } = x;
  const by = old.type === 'i64' ? index : b.wrap(index);
  x.flags.setCarry(b.wrap(b.and(b.extendU(b.shru(old, by)), b.i64(1))));
  return change === 'keep' ? old : changeBit(x, change, old, b.shl(b.constant(old.type, 1), by));
}

/** The bit number is an immediate or, with a register destination, a register: taken modulo the width. */
function bitOperation(change: BitChange): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const raw = x.operand(1).kind === 'I' ? x.immediate(8) : x.read(1);
    const index = b.and(b.extendU(raw), b.i64(width - 1));
    if (change === 'keep') testBit(x, change, x.read(0), index);
    else x.modify(0, (old) => testBit(x, change, old, index));
  };
}

const log2 = (n: number): number => Math.log2(n);

const BIT_STRING: FunctionRef = { name: 'bit_string', params: ['i32', 'i32', 'i64', 'i32'], result: 'i32' };

/** A bit string in memory: the register's bit number is signed and reaches beyond the operand. */
function bitStringOperation(change: BitChange): Semantics {
  const plain = bitOperation(change);
  return (x) => {
    const { b } = x;
    if (!x.isMemory(0)) {
      plain(x);
      return;
    }
    const width = x.width(0) as Exclude<Width, 8>;
    const size = (width / 8) as Exclude<AccessSize, 16>;
    const raw = x.read(1);
    const number = width === 64 ? raw : b.extendS(width === 32 ? raw : b.op('i32.extend16_s', raw));
    const distance = b.shl(b.shrs(number, b.i64(log2(width))), b.i64(log2(size)));
    // With a segmented operand EA holds the address of the string's origin, which says nothing about the operand's own.
    const isSegmented = b.op('i32.eq', x.parts.byte('BASE'), b.i32(STATE.EA));
    b.if(isSegmented, () => {
      const access = b.i32(change === 'keep' ? size : size | 0x80);
      b.if(b.call(BIT_STRING, x.parts.byte('SEG'), x.parts.byte('PREFIX'), distance, access), () => {
        b.exit('fault');
      });
    });
    const beyond = b.select(isSegmented, b.i64(0), distance);
    const offset = b.and(b.add(x.effectiveAddress(), beyond), x.loadGpr(64, x.parts.byte('MASK_SLOT')));
    const address = b.add(offset, x.loadGpr(64, x.parts.byte('SEG_SLOT')));
    const index = b.and(number, b.i64(width - 1));
    if (change === 'keep') testBit(x, change, guestLoad(b, x.mmu, address, size), index);
    else
      (x.variant.lock ? guestModifyAtomically : guestModify)(b, x.mmu, address, size, (old) =>
        testBit(x, change, old, index),
      );
  };
}

/** BSF and BSR leave the destination alone when the source is 0. */
function scan(direction: 'forward' | 'reverse'): Semantics {
  return (x) => {
    const { b } = x;
    const width = x.width(0);
    const source = x.read(1);
    const isZero = b.eqz(source);
    x.flags.onlyZero(isZero);
    b.if(b.eqz(isZero), () => {
      let found: Node;
      if (direction === 'forward') found = b.int('ctz', source);
      else found = b.sub(b.constant(source.type, width === 64 ? 63 : 31), b.int('clz', source));
      x.write(0, found);
    });
  };
}

const conditional: Record<string, Semantics> = {};
for (const [code, [suffix]] of CONDITIONS.entries()) {
  conditional[`set${suffix}`] = (x) => {
    x.write(0, x.flags.condition(code));
  };
  conditional[`cmov${suffix}`] = (x) => {
    // The source is read in any case, and a 32-bit destination is zero-extended in any case.
    const source = x.read(1);
    x.write(0, x.b.select(x.flags.condition(code), source, x.read(0)));
  };
}

/** Direction flag in EFLAGS. */
const DF = 1 << 10;

function writeEflags(x: Lift, change: (old: Node) => Node): void {
  x.b.store('i32.store', x.b.i32(0), change(x.loadState32('EFLAGS')), x.state + STATE.EFLAGS);
}

export const bits: Readonly<Record<string, Semantics>> = {
  ...conditional,
  bt: bitOperation('keep'),
  bts: bitOperation('set'),
  btr: bitOperation('reset'),
  btc: bitOperation('complement'),
  bt_reg: bitStringOperation('keep'),
  bts_reg: bitStringOperation('set'),
  btr_reg: bitStringOperation('reset'),
  btc_reg: bitStringOperation('complement'),
  bsf: scan('forward'),
  bsr: scan('reverse'),
  popcnt: (x) => {
    const source = x.read(1);
    x.flags.onlyZero(x.b.eqz(source));
    x.write(0, x.b.int('popcnt', source));
  },
  clc: (x) => {
    x.flags.setCarry(x.b.i32(0));
  },
  stc: (x) => {
    x.flags.setCarry(x.b.i32(1));
  },
  cmc: (x) => {
    x.flags.setCarry(x.b.eqz(x.flags.carry()));
  },
  cld: (x) => {
    writeEflags(x, (old) => x.b.and(old, x.b.i32(~DF)));
  },
  std: (x) => {
    writeEflags(x, (old) => x.b.or(old, x.b.i32(DF)));
  },
  lahf: (x) => {
    // AH is the second byte of RAX.
    x.storeGpr(8, x.b.i32(REGISTER.RAX * 8 + 1), x.flags.toByte());
  },
  sahf: (x) => {
    x.flags.setByte(x.loadGpr(8, x.b.i32(REGISTER.RAX * 8 + 1)), x.flags.overflow());
  },
};
