/** The x87 floating-point unit. SDM vol. 2 and vol. 1 chapter 8; undocumented aliases as all processors have them. */
import { hex, ins, type RowOptions } from './builder.js';
import type { Instruction } from './row.js';

function fp(mnemonic: string, operands: string, encoding: string, options: RowOptions = {}): Instruction {
  return ins(mnemonic, operands, encoding, { feature: 'fpu', ...options });
}

/** The six operations and two comparisons of D8, DA, DC, DE, in the order of ModRM.reg. */
const OPERATIONS = ['add', 'mul', 'com', 'comp', 'sub', 'subr', 'div', 'divr'] as const;

const operations = OPERATIONS.flatMap((op, digit): Instruction[] => {
  const name = `f${op}`;
  const integer = `fi${op}`;
  const compares = op === 'com' || op === 'comp';
  const to = compares ? '' : '+';
  const rows = [
    fp(name, 'Md', `D8 /${digit} mem`, { name: `${name}_m32` }),
    fp(name, 'Mq', `DC /${digit} mem`, { name: `${name}_m64` }),
    fp(integer, 'Md', `DA /${digit} mem`, { name: `${integer}_m32` }),
    fp(integer, 'Mw', `DE /${digit} mem`, { name: `${integer}_m16` }),
    compares
      ? fp(name, 'STi', `D8 /${digit} mod3`, { name: `${name}_sti` })
      : fp(name, `${to}ST0,STi`, `D8 /${digit} mod3`, { name: `${name}_st0_sti` }),
  ];
  if (compares) {
    // Undocumented: DC repeats D8.
    rows.push(fp(name, 'STi', `DC /${digit} mod3`, { name: `${name}_sti` }));
  } else {
    // DC and DE swap SUB with SUBR and DIV with DIVR.
    const swapped = digit >= 4 ? digit ^ 1 : digit;
    rows.push(fp(name, '+STi,ST0', `DC /${swapped} mod3`, { name: `${name}_sti_st0` }));
    rows.push(fp(`${name}p`, '+STi,ST0', `DE /${swapped} mod3`));
  }
  return rows;
});

const transfers: readonly Instruction[] = [
  fp('fld', 'Md', 'D9 /0 mem', { name: 'fld_m32' }),
  fp('fld', 'Mq', 'DD /0 mem', { name: 'fld_m64' }),
  fp('fld', 'Mt', 'DB /5 mem', { name: 'fld_m80' }),
  fp('fld', 'STi', 'D9 /0 mod3', { name: 'fld_sti' }),
  fp('fst', '=Md', 'D9 /2 mem', { name: 'fst_m32' }),
  fp('fst', '=Mq', 'DD /2 mem', { name: 'fst_m64' }),
  fp('fst', '=STi', 'DD /2 mod3', { name: 'fst_sti' }),
  fp('fstp', '=Md', 'D9 /3 mem', { name: 'fstp_m32' }),
  fp('fstp', '=Mq', 'DD /3 mem', { name: 'fstp_m64' }),
  fp('fstp', '=Mt', 'DB /7 mem', { name: 'fstp_m80' }),
  fp('fstp', '=STi', 'DD /3 mod3', { name: 'fstp_sti' }),
  fp('fild', 'Mw', 'DF /0 mem', { name: 'fild_m16' }),
  fp('fild', 'Md', 'DB /0 mem', { name: 'fild_m32' }),
  fp('fild', 'Mq', 'DF /5 mem', { name: 'fild_m64' }),
  fp('fist', '=Mw', 'DF /2 mem', { name: 'fist_m16' }),
  fp('fist', '=Md', 'DB /2 mem', { name: 'fist_m32' }),
  fp('fistp', '=Mw', 'DF /3 mem', { name: 'fistp_m16' }),
  fp('fistp', '=Md', 'DB /3 mem', { name: 'fistp_m32' }),
  fp('fistp', '=Mq', 'DF /7 mem', { name: 'fistp_m64' }),
  fp('fisttp', '=Mw', 'DF /1 mem', { name: 'fisttp_m16', feature: 'sse3' }),
  fp('fisttp', '=Md', 'DB /1 mem', { name: 'fisttp_m32', feature: 'sse3' }),
  fp('fisttp', '=Mq', 'DD /1 mem', { name: 'fisttp_m64', feature: 'sse3' }),
  fp('fbld', 'Mt', 'DF /4 mem'),
  fp('fbstp', '=Mt', 'DF /6 mem'),
  fp('fxch', '+STi', 'D9 /1 mod3'),
  ...['b', 'e', 'be', 'u'].flatMap((condition, digit) => [
    fp(`fcmov${condition}`, '+ST0,STi', `DA /${digit} mod3`, { feature: 'cmov', tests: ['c', 'z', 'zc', 'p'][digit] }),
    fp(`fcmovn${condition}`, '+ST0,STi', `DB /${digit} mod3`, { feature: 'cmov', tests: ['c', 'z', 'zc', 'p'][digit] }),
  ]),
];

const comparisons: readonly Instruction[] = [
  fp('fucom', 'STi', 'DD /4 mod3'),
  fp('fucomp', 'STi', 'DD /5 mod3'),
  fp('fcompp', '', 'DE D9'),
  fp('fucompp', '', 'DA E9'),
  fp('fcomi', 'ST0,STi', 'DB /6 mod3', { feature: 'cmov', flags: 'zpcosa' }),
  fp('fcomip', 'ST0,STi', 'DF /6 mod3', { feature: 'cmov', flags: 'zpcosa' }),
  fp('fucomi', 'ST0,STi', 'DB /5 mod3', { feature: 'cmov', flags: 'zpcosa' }),
  fp('fucomip', 'ST0,STi', 'DF /5 mod3', { feature: 'cmov', flags: 'zpcosa' }),
  fp('ftst', '', 'D9 E4'),
  fp('fxam', '', 'D9 E5'),
];

/** D9 E0 … FF: no operands. */
const inner: readonly Instruction[] = [
  fp('fchs', '', 'D9 E0'),
  fp('fabs', '', 'D9 E1'),
  fp('fld1', '', 'D9 E8'),
  fp('fldl2t', '', 'D9 E9'),
  fp('fldl2e', '', 'D9 EA'),
  fp('fldpi', '', 'D9 EB'),
  fp('fldlg2', '', 'D9 EC'),
  fp('fldln2', '', 'D9 ED'),
  fp('fldz', '', 'D9 EE'),
  fp('f2xm1', '', 'D9 F0', { is: 'approximate' }),
  fp('fyl2x', '', 'D9 F1', { is: 'approximate' }),
  fp('fptan', '', 'D9 F2', { is: 'approximate' }),
  fp('fpatan', '', 'D9 F3', { is: 'approximate' }),
  fp('fxtract', '', 'D9 F4'),
  fp('fprem1', '', 'D9 F5'),
  fp('fdecstp', '', 'D9 F6'),
  fp('fincstp', '', 'D9 F7'),
  fp('fprem', '', 'D9 F8'),
  fp('fyl2xp1', '', 'D9 F9', { is: 'approximate' }),
  fp('fsqrt', '', 'D9 FA'),
  fp('fsincos', '', 'D9 FB', { is: 'approximate' }),
  fp('frndint', '', 'D9 FC'),
  fp('fscale', '', 'D9 FD'),
  fp('fsin', '', 'D9 FE', { is: 'approximate' }),
  fp('fcos', '', 'D9 FF', { is: 'approximate' }),
];

const control: readonly Instruction[] = [
  fp('fnop', '', 'D9 D0'),
  fp('fldcw', 'Mw', 'D9 /5 mem'),
  fp('fnstcw', '=Mw', 'D9 /7 mem'),
  fp('fnstsw', '=Mw', 'DD /7 mem'),
  fp('fnstsw', '', 'DF E0', { name: 'fnstsw_ax' }),
  fp('fnclex', '', 'DB E2'),
  fp('fninit', '', 'DB E3'),
  fp('ffree', '-STi', 'DD /0 mod3'),
  // Images of 14 or 28 bytes, and 80 more for the registers, by operand size.
  fp('fldenv', 'M', 'D9 /4 mem', { is: 'osz system' }),
  fp('fnstenv', '=M', 'D9 /6 mem', { is: 'osz system' }),
  fp('frstor', 'M', 'DD /4 mem', { is: 'osz system' }),
  fp('fnsave', '=M', 'DD /6 mem', { is: 'osz system' }),
  // Enable and disable interrupts on the 8087, set protected mode on the 80287; without effect since then.
  ...[0xe0, 0xe1, 0xe4].map((byte, n) =>
    fp(['fneni', 'fndisi', 'fnsetpm'][n], '', `DB ${hex(byte)}`, { name: 'fneni' }),
  ),
  ins('fwait', '', '9B'),
];

/** Encodings that manuals leave out and processors decode as others. */
const aliases: readonly Instruction[] = [
  fp('fcomp', 'STi', 'DE /2 mod3', { name: 'fcomp_sti' }),
  // This one does not mind an empty ST(0).
  fp('fstp', '=STi', 'D9 /3 mod3', { name: 'fstpnce' }),
  fp('fxch', '+STi', 'DD /1 mod3'),
  fp('fxch', '+STi', 'DF /1 mod3'),
  fp('fstp', '=STi', 'DF /2 mod3', { name: 'fstp_sti' }),
  fp('fstp', '=STi', 'DF /3 mod3', { name: 'fstp_sti' }),
  fp('ffreep', '-STi', 'DF /0 mod3'),
];

export const X87: readonly Instruction[] = [
  ...operations,
  ...transfers,
  ...comparisons,
  ...inner,
  ...control,
  ...aliases,
];
