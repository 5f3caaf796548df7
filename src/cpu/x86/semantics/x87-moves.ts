/** Loads, stores, exchanges, constants and control words of the x87 in the common case. SDM vol. 2. */
import type { Node } from '../../../ir/nodes.js';
import { guestLoad, guestStore } from '../../../ir/softmmu.js';
import { REGISTER, type Lift } from './lift.js';
import type { Semantics } from './semantics.js';
import { BIAS, doubleOf, integerOf, isZero, narrow, roundsUp, singleOf, type Loaded } from './x87-formats.js';
import { FCW, FSW, X87, type Extended } from './x87-stack.js';

// ---- loads ----

function loadNumber(opcode: number, read: (x: Lift) => Loaded): Semantics {
  return (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    unit.requireRoom();
    const { value, ordinary } = read(x);
    b.if(b.eqz(ordinary), () => {
      x.fallback();
    });
    unit.note(opcode);
    unit.push(value);
  };
}

function loadInteger(opcode: number, read: (x: Lift) => Node): Semantics {
  return (x) => {
    const unit = X87.waiting(x);
    unit.requireRoom();
    const value = integerOf(x.b, read(x));
    unit.note(opcode);
    unit.push(value);
  };
}

function constant(se: number, sig: bigint): Semantics {
  return (x) => {
    const unit = X87.waiting(x);
    unit.requireRoom();
    unit.note(0xd9);
    unit.push({ se: x.b.i32(se), sig: x.b.i64(sig) });
  };
}

// ---- stores ----

/** The status word after rounding. */
function roundedStatus(x: Lift, unit: X87, inexact: Node, up: Node): Node {
  const { b } = x;
  return b.or(unit.without(FSW.C1), b.or(b.shl(inexact, b.i32(5)), b.shl(up, b.i32(9))));
}

function storeNumber(opcode: number, size: 4 | 8, pops: number): Semantics {
  return (x) => {
    const { b } = x;
    const unit = X87.rounding(x);
    const top = unit.st(0);
    unit.require(top);
    const value = top.read();
    const narrowed = size === 8 ? narrow(b, value, 52, 1023) : narrow(b, value, 23, 127);
    const zero = isZero(b, value);
    b.if(b.eqz(b.or(narrowed.fits, zero)), () => {
      x.fallback();
    });
    const signedZero = size === 8 ? b.shl(b.extendU(value.se), b.i64(48)) : b.shl(value.se, b.i32(16));
    const status = roundedStatus(x, unit, b.and(narrowed.inexact, narrowed.fits), b.and(narrowed.up, narrowed.fits));
    guestStore(b, x.mmu, x.linear(), size, b.select(narrowed.fits, narrowed.bits, signedZero));
    unit.note(opcode);
    unit.leave(pops, status);
  };
}

/** A number rounded to an integer. */
interface Integral {
  readonly magnitude: Node;
  readonly negative: Node;
  readonly inexact: Node;
  readonly up: Node;
}

/**
 * Rounds a register's number to an integer as the control word says. Falls back unless it is below 2^`bits` and normal or zero,
 * and the precision exception is masked.
 */
function toIntegral(x: Lift, value: Extended, bits: number, truncates = false): Integral {
  const { b } = x;
  const { se, sig } = value;
  const control = x.loadState32('FCW');
  const exponent = b.sub(b.and(se, b.i32(0x7fff)), b.i32(BIAS));
  const isSmall = b.op('i32.lt_s', exponent, b.i32(bits));
  // Not subnormal, which an exponent of 0 would be, nor unsupported.
  const isNormal = b.and(b.op('i64.lt_s', sig, b.i64(0)), b.op('i32.ne', exponent, b.i32(-BIAS)));
  const isNumber = b.or(b.and(isSmall, isNormal), isZero(b, value));
  const isMasked = b.and(b.shru(control, b.i32(FCW.PM_SHIFT)), b.i32(1));
  b.if(b.eqz(b.and(isNumber, isMasked)), () => {
    x.fallback();
  });
  const shift = b.extendS(exponent);
  const isFraction = b.op('i32.lt_s', exponent, b.i32(0));
  const whole = b.select(isFraction, b.i64(0), b.shru(sig, b.sub(b.i64(63), shift)));
  const isHalf = b.op('i32.eq', exponent, b.i32(-1));
  // Below ½ only that there is something counts.
  const tiny = b.extendU(b.op('i64.ne', sig, b.i64(0)));
  const rest = b.select(isFraction, b.select(isHalf, sig, tiny), b.shl(b.shl(sig, shift), b.i64(1)));
  const inexact = b.op('i64.ne', rest, b.i64(0));
  const negative = b.shru(se, b.i32(15));
  const up = truncates ? b.i32(0) : roundsAway(x, b.and(control, b.i32(FCW.RC)), negative, whole, rest, inexact);
  return { magnitude: b.add(whole, b.extendU(up)), negative, inexact, up };
}

/** FIST and FISTTP. */
function storeInteger(opcode: number, size: 2 | 4 | 8, truncates: boolean, pops: number): Semantics {
  return (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    const top = unit.st(0);
    unit.require(top);
    const { magnitude, negative, inexact, up } = toIntegral(x, top.read(), size * 8 - 1, truncates);
    b.if(b.op('i64.ne', b.shru(magnitude, b.i64(size * 8 - 1)), b.i64(0)), () => {
      x.fallback();
    });
    const minus = b.sub(b.i64(0), b.extendU(negative));
    const result = b.sub(b.xor(magnitude, minus), minus);
    const status = roundedStatus(x, unit, inexact, up);
    guestStore(b, x.mmu, x.linear(), size, size === 8 ? result : b.wrap(result));
    unit.note(opcode);
    unit.leave(pops, status);
  };
}

/** 0 or 1: whether a magnitude grows by rounding as RC, in place, says. */
function roundsAway(x: Lift, rc: Node, negative: Node, whole: Node, rest: Node, inexact: Node): Node {
  const { b } = x;
  // 1 down, 2 up, 3 towards 0.
  const isDown = b.op('i32.eq', rc, b.i32(1 << 10));
  const isUp = b.op('i32.eq', rc, b.i32(2 << 10));
  const outward = b.or(b.and(isDown, negative), b.and(isUp, b.eqz(negative)));
  return b.select(b.eqz(rc), roundsUp(b, whole, rest), b.and(outward, inexact));
}

/** FCMOVcc; C1 stays. */
function moveIf(opcode: number, condition: number): Semantics {
  return (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    const [top, other] = [unit.st(0), unit.operand()];
    unit.require(top, other);
    const [before, from] = [top.read(), other.read()];
    const holds = x.flags.condition(condition);
    top.write({ se: b.select(holds, from.se, before.se), sig: b.select(holds, from.sig, before.sig) });
    unit.note(opcode);
  };
}

function storeRegister(pops: number): Semantics {
  return (x) => {
    const unit = X87.waiting(x);
    const [top, other] = [unit.st(0), unit.operand()];
    unit.require(top);
    other.write(top.read());
    unit.fill(other);
    unit.note(0xdd);
    unit.leave(pops);
  };
}

/** Changes the sign and exponent of ST(0). */
function changeSign(change: (x: Lift, se: Node) => Node): Semantics {
  return (x) => {
    const unit = X87.waiting(x);
    const top = unit.st(0);
    unit.require(top);
    const value: Extended = top.read();
    top.write({ ...value, se: change(x, value.se) });
    unit.note(0xd9);
    unit.leave(0);
  };
}

const load64 = (x: Lift): Node => guestLoad(x.b, x.mmu, x.linear(), 8);
const load32 = (x: Lift): Node => guestLoad(x.b, x.mmu, x.linear(), 4);
const load16 = (x: Lift): Node => guestLoad(x.b, x.mmu, x.linear(), 2);

const CR0 = { MP: 1 << 1, TS: 1 << 3 } as const;

/** Bits of the control word that hold a value; bit 6 reads 1. */
const FCW_MASK = 0x1f3f;
const FCW_ONE = 0x40;

export const x87Moves: Readonly<Record<string, Semantics>> = {
  fld_m64: loadNumber(0xdd, (x) => doubleOf(x.b, load64(x))),
  fld_m32: loadNumber(0xd9, (x) => singleOf(x.b, load32(x))),
  fild_m64: loadInteger(0xdf, load64),
  fild_m32: loadInteger(0xdb, (x) => x.b.extendS(load32(x))),
  fild_m16: loadInteger(0xdf, (x) => x.b.extendS(x.b.op('i32.extend16_s', load16(x)))),
  // What is loaded is not looked at.
  fld_m80: (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    unit.requireRoom();
    const sig = load64(x);
    const se = guestLoad(b, x.mmu, b.add(x.linear(), b.i64(8)), 2);
    unit.note(0xdb);
    unit.push({ se, sig });
  },
  fld_sti: (x) => {
    const unit = X87.waiting(x);
    const from = unit.operand();
    unit.require(from);
    unit.requireRoom();
    unit.note(0xd9);
    unit.push(from.read());
  },
  fld1: constant(BIAS, 1n << 63n),
  fldz: constant(0, 0n),
  fst_m64: storeNumber(0xdd, 8, 0),
  fstp_m64: storeNumber(0xdd, 8, 1),
  fst_m32: storeNumber(0xd9, 4, 0),
  fstp_m32: storeNumber(0xd9, 4, 1),
  fist_m16: storeInteger(0xdf, 2, false, 0),
  fist_m32: storeInteger(0xdb, 4, false, 0),
  fistp_m16: storeInteger(0xdf, 2, false, 1),
  fistp_m32: storeInteger(0xdb, 4, false, 1),
  fistp_m64: storeInteger(0xdf, 8, false, 1),
  fisttp_m16: storeInteger(0xdf, 2, true, 1),
  fisttp_m32: storeInteger(0xdb, 4, true, 1),
  fisttp_m64: storeInteger(0xdd, 8, true, 1),
  fst_sti: storeRegister(0),
  fstp_sti: storeRegister(1),
  fxch: (x) => {
    const unit = X87.waiting(x);
    const [top, other] = [unit.st(0), unit.operand()];
    unit.require(top, other);
    const [a, c] = [top.read(), other.read()];
    top.write(c);
    other.write(a);
    unit.note(0xd9);
    unit.leave(0);
  },
  fcmovb: moveIf(0xda, 2),
  fcmove: moveIf(0xda, 4),
  fcmovbe: moveIf(0xda, 6),
  fcmovu: moveIf(0xda, 10),
  fcmovnb: moveIf(0xdb, 3),
  fcmovne: moveIf(0xdb, 5),
  fcmovnbe: moveIf(0xdb, 7),
  fcmovnu: moveIf(0xdb, 11),
  frndint: (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    const top = unit.st(0);
    unit.require(top);
    const value = top.read();
    const { magnitude, inexact, up } = toIntegral(x, value, 63);
    const shift = b.int('clz', magnitude);
    const isNone = b.eqz(magnitude);
    const exponent = b.select(isNone, b.i32(0), b.sub(b.i32(BIAS + 63), b.wrap(shift)));
    top.write({ se: b.or(b.and(value.se, b.i32(0x8000)), exponent), sig: b.shl(magnitude, shift) });
    unit.note(0xd9);
    unit.leave(0, roundedStatus(x, unit, inexact, up));
  },
  fchs: changeSign((x, se) => x.b.xor(se, x.b.i32(0x8000))),
  fabs: changeSign((x, se) => x.b.and(se, x.b.i32(0x7fff))),
  fwait: (x) => {
    const { b } = x;
    const MONITORED = CR0.MP | CR0.TS;
    const traps = b.op('i32.eq', b.and(x.loadState32('CR0'), b.i32(MONITORED)), b.i32(MONITORED));
    const status = x.facts.x87.status ?? x.loadState32('FSW');
    b.if(b.or(traps, b.and(status, b.i32(FSW.ES))), () => {
      x.fallback();
    });
  },
  fnstsw_ax: (x) => {
    x.storeRegister(16, REGISTER.RAX, X87.notWaiting(x).status);
  },
  fnstsw: (x) => {
    guestStore(x.b, x.mmu, x.linear(), 2, X87.notWaiting(x).status);
  },
  fnstcw: (x) => {
    X87.notWaiting(x);
    guestStore(x.b, x.mmu, x.linear(), 2, x.loadState32('FCW'));
  },
  fldcw: (x) => {
    const { b } = x;
    const unit = X87.waiting(x);
    const control = b.or(b.and(load16(x), b.i32(FCW_MASK)), b.i32(FCW_ONE));
    // An exception that has been recorded and is masked no more is pending at once.
    b.if(b.and(b.and(unit.status, b.not(control)), b.i32(0x3f)), () => {
      x.fallback();
    });
    b.store('i32.store', b.i32(0), control, x.at('FCW'));
    unit.controlChanged();
  },
};
