/** Near control transfer. */
import { CONDITIONS } from '../../../arch/x86/instructions/builder.js';
import type { Node } from '../../../ir/nodes.js';
import { STATE } from '../state-layout.js';
import { REGISTER, type Lift } from './lift.js';
import type { Semantics } from './semantics.js';

const conditional: Record<string, Semantics> = {};
for (const [code, [suffix]] of CONDITIONS.entries()) {
  conditional[`j${suffix}`] = (x) => {
    x.b.if(x.flags.condition(code), () => {
      x.branch();
    });
  };
}

/** A branch target as i64, from an operand of the operand size. */
const target = (x: Lift, index: number): Node => x.b.extendU(x.read(index));

/** Mask of the count register by address size, from the record. */
function countMask(x: Lift): { mask: Node; is16: Node } {
  const { b } = x;
  const size = b.and(b.shru(x.parts.byte('PREFIX'), b.i32(2)), b.i32(3));
  const slot = b.add(b.shl(size, b.i32(3)), b.i32(STATE.MASK16));
  return { mask: x.loadGpr(64, slot), is16: b.eqz(size) };
}

/** LOOP and its conditional forms: the count register is CX, ECX or RCX by address size. */
function loop(condition: ((x: Lift) => Node) | undefined): Semantics {
  return (x) => {
    const { b } = x;
    const { mask, is16 } = countMask(x);
    const old = x.loadRegister(64, REGISTER.RCX);
    const count = b.and(b.sub(old, b.i64(1)), mask);
    const kept = b.select(is16, b.and(old, b.i64(~0xffffn)), b.i64(0));
    x.storeRegister(64, REGISTER.RCX, b.or(kept, count));
    const more = b.op('i64.ne', count, b.i64(0));
    b.if(condition ? b.and(more, condition(x)) : more, () => {
      x.branch();
    });
  };
}

function ret(release: boolean): Semantics {
  return (x) => {
    const { b } = x;
    const { osz } = x.variant;
    const extra = release ? x.immediate(16) : undefined;
    if (x.segmentedStack) {
      const before = x.loadRegister(64, REGISTER.RSP);
      const to = b.extendU(x.pop(osz));
      b.if(b.call({ name: 'check_target', params: ['i64'], result: 'i32' }, to), () => {
        x.storeRegister(64, REGISTER.RSP, before);
        b.exit('fault');
      });
      if (extra) b.callVoid({ name: 'release_stack', params: ['i32'], result: undefined }, extra);
      x.jump(to);
      return;
    }
    const to = b.extendU(x.peekStack(osz));
    x.checkTarget(to);
    const size = b.constant(x.stackPointer().type, osz / 8);
    const bytes = extra === undefined ? size : b.add(size, size.type === 'i64' ? b.extendU(extra) : extra);
    x.moveStackPointer(bytes);
    x.jump(to);
  };
}

export const control: Readonly<Record<string, Semantics>> = {
  ...conditional,
  jmp: (x) => {
    x.branch();
  },
  jmp_ind: (x) => {
    const to = target(x, 0);
    x.checkTarget(to);
    x.jump(to);
  },
  call: (x) => {
    const { osz } = x.variant;
    const next = x.nextRip();
    x.push(osz, osz === 64 ? next : x.b.wrap(next));
    x.branch();
  },
  call_ind: (x) => {
    const { osz } = x.variant;
    const to = target(x, 0);
    x.checkTarget(to);
    const next = x.nextRip();
    x.push(osz, osz === 64 ? next : x.b.wrap(next));
    x.jump(to);
  },
  ret: ret(false),
  ret_imm: ret(true),
  loop: loop(undefined),
  loope: loop((x) => x.flags.zero()),
  loopne: loop((x) => x.b.eqz(x.flags.zero())),
  jrcxz: (x) => {
    const { b } = x;
    const { mask } = countMask(x);
    b.if(b.op('i64.eqz', b.and(x.loadRegister(64, REGISTER.RCX), mask)), () => {
      x.branch();
    });
  },
};
