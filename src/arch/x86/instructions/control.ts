/** Jumps, calls, returns, software interrupts, no-operations. SDM vol. 2. */
import { CONDITIONS, hex, ins } from './builder.js';
import type { Instruction } from './row.js';

const conditional = CONDITIONS.flatMap(([suffix, tests], code): Instruction[] => [
  ins(`j${suffix}`, 'Jb', hex(0x70 + code), { tests, is: 'f64 branch' }),
  ins(`j${suffix}`, 'Jz', `0F ${hex(0x80 + code)}`, { tests, is: 'f64 branch' }),
]);

const near: readonly Instruction[] = [
  ins('jmp', 'Jb', 'EB', { is: 'f64 branch end' }),
  ins('jmp', 'Jz', 'E9', { is: 'f64 branch end' }),
  ins('jmp', 'Ev', 'FF /4', { name: 'jmp_ind', is: 'f64 branch end' }),
  ins('call', 'Jz', 'E8', { is: 'f64 stack branch end' }),
  ins('call', 'Ev', 'FF /2', { name: 'call_ind', is: 'f64 stack branch end' }),
  ins('ret', '', 'C3', { is: 'f64 stack branch end' }),
  ins('ret', 'Iw', 'C2', { name: 'ret_imm', is: 'f64 stack branch end' }),
  // They count in CX, ECX or RCX by address size.
  ins('loopne', 'Jb', 'E0', { tests: 'z', is: 'f64 branch' }),
  ins('loope', 'Jb', 'E1', { tests: 'z', is: 'f64 branch' }),
  ins('loop', 'Jb', 'E2', { is: 'f64 branch' }),
  ins('jrcxz', 'Jb', 'E3', { is: 'f64 branch' }),
];

const far: readonly Instruction[] = [
  ins('callf', 'Ap', '9A i64', { name: 'call_far_ptr', is: 'osz branch end system' }),
  ins('callf', 'Mp', 'FF /3 mem', { name: 'call_far_mem', is: 'osz branch end system' }),
  ins('jmpf', 'Ap', 'EA i64', { name: 'jmp_far_ptr', is: 'osz branch end system' }),
  ins('jmpf', 'Mp', 'FF /5 mem', { name: 'jmp_far_mem', is: 'osz branch end system' }),
  ins('retf', '', 'CB', { name: 'ret_far', is: 'osz branch end system' }),
  ins('retf', 'Iw', 'CA', { name: 'ret_far_imm', is: 'osz branch end system' }),
  ins('iretw/iretd/iretq', '', 'CF', { name: 'iret', flags: 'oszapc', is: 'osz branch end system' }),
  ins('int3', '', 'CC', { is: 'branch end system' }),
  ins('int', 'Ib', 'CD', { is: 'branch end system' }),
  ins('into', '', 'CE i64', { tests: 'o', is: 'branch system' }),
  ins('int1', '', 'F1', { is: 'branch end system' }),
  ins('bound', 'Gv,Mv', '62 mem i64', { is: 'system' }),
];

const nothing: readonly Instruction[] = [
  ins('prefetch', '-Mb', '0F 0D /0 mem', { name: 'nop' }),
  ins('prefetchw', '-Mb', '0F 0D /1 mem', { name: 'nop' }),
  ins('prefetchnta', '-Mb', '0F 18 /0 mem', { name: 'nop' }),
  ins('prefetcht0', '-Mb', '0F 18 /1 mem', { name: 'nop' }),
  ins('prefetcht1', '-Mb', '0F 18 /2 mem', { name: 'nop' }),
  ins('prefetcht2', '-Mb', '0F 18 /3 mem', { name: 'nop' }),
  ins('endbr64', '', 'F3 0F 1E FA', { name: 'nop' }),
  ins('endbr32', '', 'F3 0F 1E FB', { name: 'nop' }),
  ins('nop', '-Ev', '0F 1F /0'),
  // The rest of the hint space of the P6 and after: reserved no-operations.
  ...[0x0d, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f].map((opcode) => ins('nop', '-Ev,-Gv', `0F ${hex(opcode)}`)),
  ins('ud0', '-Gd,-Ed', '0F FF', { name: 'ud', is: 'end system' }),
  ins('ud1', '-Gd,-Ed', '0F B9', { name: 'ud', is: 'end system' }),
  ins('ud2', '', '0F 0B', { name: 'ud', is: 'end system' }),
];

export const CONTROL: readonly Instruction[] = [...conditional, ...near, ...far, ...nothing];
