/** Compares the two sides' results of a case. */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { CASE, FX, GPR_PLACE, TRAP, WINDOW_SIZE } from './case-format.js';
import { USER_CODE } from './segments.js';
import { close80, closeReciprocals } from './tolerance.js';
import { undefinedFlags } from './undefined-flags.js';

export interface Difference {
  /** What differs: a register's name, `flags`, `trap`, `memory+12` … */
  readonly what: string;
  readonly native: string;
  readonly guest: string;
}

const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
/** CF PF AF ZF SF DF OF. RF and what user code cannot change are left out. */
const FLAGS_MASK = 0xcd5;
const FSW_C1 = 1 << 9;
/** #TS, #NP, #SS, #GP, #PF. */
const WITH_ERROR = new Set([10, 11, 12, 13, 14]);

function hex(bytes: Buffer): string {
  return Buffer.from(bytes).reverse().toString('hex');
}

/** An interrupt's return on the native side clears the RPL of null selectors. */
const withoutNull = (selector: number): number => (selector < 4 ? 0 : selector);

/** Every difference of a case that the architecture (not a maker's choice, see vendor.ts) should not have. */
export function compareCase(row: Instruction, input: Buffer, native: Buffer, guest: Buffer): Difference[] {
  const differences: Difference[] = [];
  const number = (what: string, a: number | bigint, b: number | bigint): void => {
    if (a !== b) differences.push({ what, native: a.toString(16), guest: b.toString(16) });
  };
  const bytes = (what: string, at: number, size: number): void => {
    const [a, b] = [native.subarray(at, at + size), guest.subarray(at, at + size)];
    if (!a.equals(b)) differences.push({ what, native: hex(a), guest: hex(b) });
  };
  const quad = (what: string, at: number): void => number(what, native.readBigUInt64LE(at), guest.readBigUInt64LE(at));

  quad('trap', CASE.TRAP);
  const trap = Number(native.readBigUInt64LE(CASE.TRAP));
  if (WITH_ERROR.has(trap)) quad('error', CASE.ERROR);
  if (trap === TRAP.PF) quad('cr2', CASE.CR2);
  // Outside 64-bit mode only the low halves of the first eight have a meaning.
  const is64Bit = [input, native].every((bytes) => bytes.readUInt16LE(CASE.CS) === USER_CODE.selector);
  GPR_NAMES.forEach((name, n) => {
    const at = CASE.GPR + 8 * GPR_PLACE[n];
    if (!is64Bit && n < 8) number(name, native.readUInt32LE(at), guest.readUInt32LE(at));
    else quad(name, at);
  });
  for (const name of ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const)
    number(
      name.toLowerCase(),
      withoutNull(native.readUInt16LE(CASE[name])),
      withoutNull(guest.readUInt16LE(CASE[name])),
    );
  quad('rip', CASE.RIP);
  const mask = FLAGS_MASK & ~(trap === TRAP.BP ? undefinedFlags(row, input) : 0);
  number('flags', native.readUInt32LE(CASE.RFLAGS) & mask, guest.readUInt32LE(CASE.RFLAGS) & mask);

  const approximate = row.attributes.has('approximate');
  const close = (what: string, at: number, size: number, near: (a: Buffer, b: Buffer) => boolean): void => {
    if (!approximate || !near(native.subarray(at, at + size), guest.subarray(at, at + size))) bytes(what, at, size);
  };
  bytes('fcw', CASE.FX + FX.FCW, 2);
  // Whether an inexact result was rounded up (C1) depends on its last bit.
  const status = approximate ? ~FSW_C1 : ~0;
  number('fsw', native.readUInt16LE(CASE.FX + FX.FSW) & status, guest.readUInt16LE(CASE.FX + FX.FSW) & status);
  bytes('ftw', CASE.FX + FX.FTW, 1);
  bytes('mxcsr', CASE.FX + FX.MXCSR, 4);
  for (let i = 0; i < 8; i++) close(`st${i}`, CASE.FX + FX.ST + 16 * i, 10, (a, b) => close80(a, b, 1n));
  for (let i = 0; i < 16; i++) close(`xmm${i}`, CASE.FX + FX.XMM + 16 * i, 16, closeReciprocals);
  for (let i = 0; i < WINDOW_SIZE; i++) {
    if (native[CASE.WINDOW + i] === guest[CASE.WINDOW + i]) continue;
    bytes(`memory+${i}`, CASE.WINDOW + i, Math.min(16, WINDOW_SIZE - i));
    break;
  }
  return differences;
}
