/**
 * What kernels do all the time: flags of EFLAGS that are not arithmetic, SWAPGS, the bases of FS and GS. Only the plain cases, in
 * ring 0; all else is the helpers' (assembly/flag-control.ts, system.ts and system-calls.ts).
 */
import type { Node } from '../../../ir/nodes.js';
import { ATTN, SEGMENT } from '../state-layout.js';
import type { Lift } from './lift.js';
import type { Semantics } from './semantics.js';

const FLAG = {
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
} as const;
const AC = 1 << 18;
const ID = 1 << 21;
/** CR4.FSGSBASE. */
const FSGSBASE = 1 << 16;

/** Leaves for the helper when `condition` (i32) is not 0. */
function unless(x: Lift, condition: Node): void {
  x.b.if(condition, () => {
    x.fallback();
  });
}

/** An interrupt waits, or one that was put aside (i32, not 0). */
function interruptWaits(x: Lift): Node {
  const { b } = x;
  return b.and(b.or(x.loadState32('ATTN'), x.loadState32('HELD')), b.i32(ATTN.INTR));
}

function setEflags(x: Lift, value: Node): void {
  x.b.store('i32.store', x.b.i32(0), value, x.at('EFLAGS'));
}

/** The base of FS or GS, which the caller may know by another value. */
const baseOf = (x: Lift, segment: number): number => x.at('SEG_BASE') + segment * 8;

/** Where bases may be read and written: CR4.FSGSBASE; their encodings exist in 64-bit mode only. */
function checkBases(x: Lift): void {
  const { b } = x;
  unless(x, b.eqz(b.and(x.loadState32('CR4'), b.i32(FSGSBASE))));
}

function readBase(segment: number): Semantics {
  return (x) => {
    checkBases(x);
    const base = x.b.load('i64.load', x.b.i32(0), baseOf(x, segment));
    x.write(0, x.width(0) === 64 ? base : x.b.wrap(base));
  };
}

function writeBase(segment: number): Semantics {
  return (x) => {
    const { b } = x;
    checkBases(x);
    const value = x.width(0) === 64 ? x.read(0) : b.extendU(x.read(0));
    unless(x, b.op('i64.ne', b.shrs(b.shl(value, b.i64(16)), b.i64(16)), value));
    b.store('i64.store', b.i32(0), value, baseOf(x, segment));
  };
}

export const system: Readonly<Record<string, Semantics>> = {
  cli: (x) => {
    const { b } = x;
    const eflags = x.loadState32('EFLAGS');
    // An interrupt that could have been taken before goes first.
    const late = b.and(b.shru(eflags, b.i32(9)), b.shru(x.loadState32('ATTN'), b.i32(1)));
    unless(x, b.or(x.loadState32('CPL'), b.and(late, b.i32(1))));
    setEflags(x, b.and(eflags, b.i32(~FLAG.IF)));
  },

  sti: (x) => {
    const { b } = x;
    const eflags = x.loadState32('EFLAGS');
    const size = b.and(x.loadState32('MODE_KEY'), b.i32(3));
    const unusual = b.or(
      b.or(x.loadState32('CPL'), b.and(eflags, b.i32(FLAG.IF))),
      b.or(interruptWaits(x), b.eqz(size)),
    );
    unless(x, unusual);
    setEflags(x, b.or(eflags, b.i32(FLAG.IF)));
    // Interrupts wait for one more instruction.
    const next = b.add(x.loadState64('CODE_BASE'), b.extendU(b.add(x.parts.offset(), x.parts.byte('LENGTH'))));
    const mask = b.select(b.op('i32.eq', size, b.i32(2)), b.i64(-1n), b.i64(0xffff_ffffn));
    b.store('i32.store', b.i32(0), b.i32(1), x.at('SHADOW'));
    b.store('i32.store', b.i32(0), b.i32(0), x.at('SHADOW_SEEN'));
    b.store('i64.store', b.i32(0), b.and(next, mask), x.at('SHADOW_RIP'));
  },

  stac: (x) => {
    const { b } = x;
    unless(x, x.loadState32('CPL'));
    setEflags(x, b.or(x.loadState32('EFLAGS'), b.i32(AC)));
    b.if(x.loadState32('BORROWED_BEFORE'), () => {
      b.callVoid({ name: 'borrowAgain', params: [], result: undefined });
    });
  },

  clac: (x) => {
    const { b } = x;
    unless(x, x.loadState32('CPL'));
    setEflags(x, b.and(x.loadState32('EFLAGS'), b.i32(~AC)));
    b.if(x.loadState32('BORROWED'), () => {
      b.callVoid({ name: 'returnBorrowed', params: [], result: undefined });
    });
  },

  swapgs: (x) => {
    const { b } = x;
    unless(x, x.loadState32('CPL'));
    const base = b.load('i64.load', b.i32(0), baseOf(x, SEGMENT.GS));
    const kernel = x.loadState64('KERNEL_GS_BASE');
    b.store('i64.store', b.i32(0), kernel, baseOf(x, SEGMENT.GS));
    b.store('i64.store', b.i32(0), base, x.at('KERNEL_GS_BASE'));
  },

  pushf: (x) => {
    const { b } = x;
    const eflags = b.and(x.loadState32('EFLAGS'), b.i32(~(FLAG.RF | FLAG.VM)));
    const image = b.or(b.or(eflags, x.flags.toByte()), b.shl(x.flags.overflow(), b.i32(FLAG.OF)));
    const { osz } = x.variant;
    x.push(osz, osz === 64 ? b.extendU(image) : image);
  },

  popf: (x) => {
    const { b } = x;
    const { osz } = x.variant;
    const top = x.peekStack(osz);
    const image = osz === 64 ? b.wrap(top) : top;
    const eflags = x.loadState32('EFLAGS');
    const changed = b.xor(eflags, image);
    const rare = FLAG.TF | FLAG.IOPL | FLAG.NT | (osz === 16 ? 0 : AC | ID);
    // A single step that is on stays on by the helper too; and so do changes of IF while an interrupt waits.
    const step = b.and(image, b.i32(FLAG.TF));
    const late = b.and(b.shru(changed, b.i32(8)), b.i32(ATTN.INTR));
    const waits = b.and(interruptWaits(x), late);
    unless(x, b.or(b.or(x.loadState32('CPL'), step), b.or(b.and(changed, b.i32(rare)), waits)));
    x.moveStackPointer(x.variant.stack === 'flat64' ? b.i64(osz / 8) : b.i32(osz / 8));
    const taken = FLAG.IF | FLAG.DF;
    setEflags(x, b.xor(eflags, b.and(changed, b.i32(taken))));
    x.flags.setByte(image, b.and(b.shru(image, b.i32(FLAG.OF)), b.i32(1)));
  },

  rdfsbase: readBase(SEGMENT.FS),
  rdgsbase: readBase(SEGMENT.GS),
  wrfsbase: writeBase(SEGMENT.FS),
  wrgsbase: writeBase(SEGMENT.GS),
};
