/**
 * String and port instructions. SDM vol. 2. The byte forms have names of their own, since a record says whether its
 * operand size is 16, 32 or 64 only.
 */
import { ins } from './builder.js';
import type { Instruction } from './row.js';

const strings: readonly Instruction[] = [
  ins('movs', '=Yb,Xb', 'A4', { name: 'movsb', is: 'rep' }),
  ins('movs', '=Yv,Xv', 'A5', { is: 'rep' }),
  ins('cmps', 'Xb,Yb', 'A6', { name: 'cmpsb', is: 'repcc', flags: 'oszapc' }),
  ins('cmps', 'Xv,Yv', 'A7', { is: 'repcc', flags: 'oszapc' }),
  ins('stos', '=Yb,AL', 'AA', { name: 'stosb', is: 'rep' }),
  ins('stos', '=Yv,rAXv', 'AB', { is: 'rep' }),
  ins('lods', '=AL,Xb', 'AC', { name: 'lodsb', is: 'rep' }),
  ins('lods', '=rAXv,Xv', 'AD', { is: 'rep' }),
  ins('scas', 'AL,Yb', 'AE', { name: 'scasb', is: 'repcc', flags: 'oszapc' }),
  ins('scas', 'rAXv,Yv', 'AF', { is: 'repcc', flags: 'oszapc' }),
];

const ports: readonly Instruction[] = [
  ins('ins', '=Yb,DX', '6C', { name: 'insb', is: 'rep io iopl system' }),
  ins('ins', '=Yz,DX', '6D', { is: 'rep io iopl system' }),
  ins('outs', 'DX,Xb', '6E', { name: 'outsb', is: 'rep io iopl system' }),
  ins('outs', 'DX,Xz', '6F', { is: 'rep io iopl system' }),
  ins('in', '=AL,Ib', 'E4', { name: 'in_al_imm', is: 'io iopl system' }),
  ins('in', '=rAXz,Ib', 'E5', { name: 'in_imm', is: 'io iopl system' }),
  ins('out', 'Ib,AL', 'E6', { name: 'out_al_imm', is: 'io iopl system' }),
  ins('out', 'Ib,rAXz', 'E7', { name: 'out_imm', is: 'io iopl system' }),
  ins('in', '=AL,DX', 'EC', { name: 'in_al_dx', is: 'io iopl system' }),
  ins('in', '=rAXz,DX', 'ED', { name: 'in_dx', is: 'io iopl system' }),
  ins('out', 'DX,AL', 'EE', { name: 'out_al_dx', is: 'io iopl system' }),
  ins('out', 'DX,rAXz', 'EF', { name: 'out_dx', is: 'io iopl system' }),
];

export const STRING: readonly Instruction[] = [...strings, ...ports];
