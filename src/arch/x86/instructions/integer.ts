/** General-purpose instructions on registers and memory: moves, arithmetic, logic, shifts, bits. SDM vol. 2. */
import { CONDITIONS, hex, ins } from './builder.js';
import type { Instruction } from './row.js';

/** ADD … CMP: six encodings each, and the group 80 … 83. */
const ARITHMETIC: readonly (readonly [name: string, flags: string, tests: string])[] = [
  ['add', 'oszapc', ''],
  ['or', 'oszpcA', ''],
  ['adc', 'oszapc', 'c'],
  ['sbb', 'oszapc', 'c'],
  ['and', 'oszpcA', ''],
  ['sub', 'oszapc', ''],
  ['xor', 'oszpcA', ''],
  ['cmp', 'oszapc', ''],
];

const arithmetic = ARITHMETIC.flatMap(([name, flags, tests], digit): Instruction[] => {
  const to = name === 'cmp' ? '' : '+';
  const plain = { flags, tests };
  const locked = name === 'cmp' ? plain : { ...plain, is: 'lock' };
  const opcode = (low: number): string => hex(digit * 8 + low);
  return [
    ins(name, `${to}AL,Ib`, opcode(4), plain),
    ins(name, `${to}Ev,sIb`, `83 /${digit}`, locked),
    ins(name, `${to}rAXv,sIz`, opcode(5), plain),
    ins(name, `${to}Eb,Gb`, opcode(0), locked),
    ins(name, `${to}Ev,Gv`, opcode(1), locked),
    ins(name, `${to}Gb,Eb`, opcode(2), plain),
    ins(name, `${to}Gv,Ev`, opcode(3), plain),
    ins(name, `${to}Eb,Ib`, `80 /${digit}`, locked),
    ins(name, `${to}Ev,sIz`, `81 /${digit}`, locked),
    ins(name, `${to}Eb,Ib`, `82 /${digit} i64`, locked),
  ];
});

/** Shifts and rotations, in the order of ModRM.reg in C0, C1, D0 … D3; 6 is an undocumented alias of SHL. */
const SHIFTS: readonly (readonly [name: string, flagsOne: string, flags: string, tests: string])[] = [
  ['rol', 'oc', 'ocO', ''],
  ['ror', 'oc', 'ocO', ''],
  ['rcl', 'oc', 'ocO', 'c'],
  ['rcr', 'oc', 'ocO', 'c'],
  ['shl', 'oszpcA', 'oszpcAO', ''],
  ['shr', 'oszpcA', 'oszpcAO', ''],
  ['shl', 'oszpcA', 'oszpcAO', ''],
  ['sar', 'oszpcA', 'oszpcA', ''],
];

const shifts = SHIFTS.flatMap(([name, flagsOne, flags, tests], digit): Instruction[] => [
  ins(name, '+Eb,one', `D0 /${digit}`, { flags: flagsOne, tests }),
  ins(name, '+Ev,one', `D1 /${digit}`, { flags: flagsOne, tests }),
  ins(name, '+Eb,Ib', `C0 /${digit}`, { flags, tests }),
  ins(name, '+Ev,Ib', `C1 /${digit}`, { flags, tests }),
  ins(name, '+Eb,CL', `D2 /${digit}`, { flags, tests }),
  ins(name, '+Ev,CL', `D3 /${digit}`, { flags, tests }),
]);

const conditional = CONDITIONS.flatMap(([suffix, tests], code): Instruction[] => [
  ins(`set${suffix}`, '=Eb', `0F ${hex(0x90 + code)}`, { tests }),
  ins(`cmov${suffix}`, '+Gv,Ev', `0F ${hex(0x40 + code)}`, { tests, feature: 'cmov' }),
]);

const moves: readonly Instruction[] = [
  ins('mov', '=Eb,Gb', '88'),
  ins('mov', '=Ev,Gv', '89'),
  ins('mov', '=Gb,Eb', '8A'),
  ins('mov', '=Gv,Ev', '8B'),
  ins('mov', '=Rv,Sw', '8C mod3', { name: 'mov_from_sreg', is: 'system' }),
  ins('mov', '=Mw,Sw', '8C mem', { name: 'mov_from_sreg', is: 'system' }),
  ins('mov', '=Sw,Ew', '8E', { name: 'mov_to_sreg', is: 'system' }),
  ins('mov', '=AL,Ob', 'A0 a32'),
  ins('mov', '=rAXv,Ov', 'A1 a32'),
  ins('mov', '=Ob,AL', 'A2 a32'),
  ins('mov', '=Ov,rAXv', 'A3 a32'),
  ins('mov', '=AL,Ob', 'A0 a64 o64', { name: 'mov_al_moffs64' }),
  ins('mov', '=rAXv,Ov', 'A1 a64 o64', { name: 'mov_rax_moffs64' }),
  ins('mov', '=Ob,AL', 'A2 a64 o64', { name: 'mov_moffs64_al' }),
  ins('mov', '=Ov,rAXv', 'A3 a64 o64', { name: 'mov_moffs64_rax' }),
  ins('mov', '=Zb,Ib', 'B0'),
  ins('mov', '=Eb,Ib', 'C6 /0'),
  ins('mov', '=Ev,sIz', 'C7 /0'),
  ins('mov', '=Zv,Iv', 'B8'),
  ins('movzx', '=Gv,Eb', '0F B6'),
  ins('movzx', '=Gv,Ew', '0F B7'),
  ins('movsx', '=Gv,Eb', '0F BE'),
  ins('movsx', '=Gv,Ew', '0F BF'),
  ins('movsxd', '=Gv,Ed', '63 o64'),
  ins('lea', '=Gv,-M', '8D'),
  ins('pause', '', 'F3 90 B0'),
  ins('nop', '', '90 B0'),
  ins('xchg', '+Zv,+rAXv', '90'),
  ins('xchg', '+Eb,+Gb', '86', { is: 'lock' }),
  ins('xchg', '+Ev,+Gv', '87', { is: 'lock' }),
  ins('bswap', '+Zv', '0F C8'),
  ins('crc32', '+Gy,Eb', 'F2 0F38 F0', { name: 'crc32_b', feature: 'sse4_2' }),
  ins('crc32', '+Gy,Ev', 'F2 0F38 F1', { feature: 'sse4_2' }),
  ins('movbe', '=Gv,Mv', '0F38 F0', { feature: 'movbe' }),
  ins('movbe', '=Mv,Gv', '0F38 F1', { feature: 'movbe' }),
  ins('movnti', '=My,Gy', 'NP 0F C3', { feature: 'sse2' }),
  ins('xlat', '', 'D7'),
  ins('cbw/cwde/cdqe', '', '98', { is: 'osz' }),
  ins('cwd/cdq/cqo', '', '99', { is: 'osz' }),
];

const stack: readonly Instruction[] = [
  ins('push', 'Zv', '50', { is: 'd64 stack' }),
  ins('pop', '=Zv', '58', { is: 'd64 stack' }),
  ins('push', 'sIb', '6A', { is: 'd64 stack' }),
  ins('push', 'sIz', '68', { is: 'd64 stack' }),
  ins('push', 'Ev', 'FF /6', { is: 'd64 stack' }),
  ins('pop', '=Ev', '8F /0', { is: 'd64 stack' }),
  ins('pushaw/pushad', '', '60 i64', { name: 'pusha', is: 'osz stack' }),
  ins('popaw/popad', '', '61 i64', { name: 'popa', is: 'osz stack' }),
  ins('pushfw/pushfd/pushfq', '', '9C', { name: 'pushf', is: 'd64 stack system', tests: 'oszapc' }),
  ins('popfw/popfd/popfq', '', '9D', { name: 'popf', is: 'd64 stack system', flags: 'oszapc' }),
  ins('push', 'ES', '06 i64', { name: 'push_sreg', is: 'osz stack system' }),
  ins('push', 'CS', '0E i64', { name: 'push_sreg', is: 'osz stack system' }),
  ins('push', 'SS', '16 i64', { name: 'push_sreg', is: 'osz stack system' }),
  ins('push', 'DS', '1E i64', { name: 'push_sreg', is: 'osz stack system' }),
  ins('push', 'FS', '0F A0', { name: 'push_sreg', is: 'd64 stack system' }),
  ins('push', 'GS', '0F A8', { name: 'push_sreg', is: 'd64 stack system' }),
  ins('pop', '=ES', '07 i64', { name: 'pop_sreg', is: 'osz stack system' }),
  ins('pop', '=SS', '17 i64', { name: 'pop_sreg', is: 'osz stack system' }),
  ins('pop', '=DS', '1F i64', { name: 'pop_sreg', is: 'osz stack system' }),
  ins('pop', '=FS', '0F A1', { name: 'pop_sreg', is: 'd64 stack system' }),
  ins('pop', '=GS', '0F A9', { name: 'pop_sreg', is: 'd64 stack system' }),
  ins('enter', 'Iw,Ib', 'C8', { is: 'd64 stack' }),
  ins('leave', '', 'C9', { is: 'd64 stack' }),
];

const unary: readonly Instruction[] = [
  ins('inc', '+Zv', '40 i64', { flags: 'oszap' }),
  ins('dec', '+Zv', '48 i64', { flags: 'oszap' }),
  ins('inc', '+Eb', 'FE /0', { flags: 'oszap', is: 'lock' }),
  ins('dec', '+Eb', 'FE /1', { flags: 'oszap', is: 'lock' }),
  ins('inc', '+Ev', 'FF /0', { flags: 'oszap', is: 'lock' }),
  ins('dec', '+Ev', 'FF /1', { flags: 'oszap', is: 'lock' }),
  ins('test', 'AL,Ib', 'A8', { flags: 'oszpcA' }),
  ins('test', 'rAXv,sIz', 'A9', { flags: 'oszpcA' }),
  ins('test', 'Eb,Gb', '84', { flags: 'oszpcA' }),
  ins('test', 'Ev,Gv', '85', { flags: 'oszpcA' }),
  ins('test', 'Eb,Ib', 'F6 /0', { flags: 'oszpcA' }),
  ins('test', 'Ev,sIz', 'F7 /0', { flags: 'oszpcA' }),
  ins('test', 'Eb,Ib', 'F6 /1', { flags: 'oszpcA' }),
  ins('test', 'Ev,sIz', 'F7 /1', { flags: 'oszpcA' }),
  ins('not', '+Eb', 'F6 /2', { is: 'lock' }),
  ins('not', '+Ev', 'F7 /2', { is: 'lock' }),
  ins('neg', '+Eb', 'F6 /3', { flags: 'oszapc', is: 'lock' }),
  ins('neg', '+Ev', 'F7 /3', { flags: 'oszapc', is: 'lock' }),
  ins('mul', 'Eb', 'F6 /4', { name: 'mul8', flags: 'ocSZAP' }),
  ins('mul', 'Ev', 'F7 /4', { flags: 'ocSZAP' }),
  ins('imul', 'Eb', 'F6 /5', { name: 'imul8', flags: 'ocSZAP' }),
  ins('imul', 'Ev', 'F7 /5', { name: 'imul1', flags: 'ocSZAP' }),
  ins('div', 'Eb', 'F6 /6', { name: 'div8', flags: 'OSZAPC' }),
  ins('div', 'Ev', 'F7 /6', { flags: 'OSZAPC' }),
  ins('idiv', 'Eb', 'F6 /7', { name: 'idiv8', flags: 'OSZAPC' }),
  ins('idiv', 'Ev', 'F7 /7', { flags: 'OSZAPC' }),
  ins('imul', '+Gv,Ev', '0F AF', { name: 'imul2', flags: 'ocSZAP' }),
  ins('imul', '=Gv,Ev,sIb', '6B', { name: 'imul3', flags: 'ocSZAP' }),
  ins('imul', '=Gv,Ev,sIz', '69', { name: 'imul3', flags: 'ocSZAP' }),
];

const bits: readonly Instruction[] = [
  ins('shld', '+Ev,Gv,Ib', '0F A4', { flags: 'oszpcAO' }),
  ins('shld', '+Ev,Gv,CL', '0F A5', { flags: 'oszpcAO' }),
  ins('shrd', '+Ev,Gv,Ib', '0F AC', { flags: 'oszpcAO' }),
  ins('shrd', '+Ev,Gv,CL', '0F AD', { flags: 'oszpcAO' }),
  // With a register, the bit number reaches beyond the operand in memory: a meaning of its own.
  ins('bt', 'Ev,Gv', '0F A3', { name: 'bt_reg', flags: 'cOSAP' }),
  ins('bts', '+Ev,Gv', '0F AB', { name: 'bts_reg', flags: 'cOSAP', is: 'lock' }),
  ins('btr', '+Ev,Gv', '0F B3', { name: 'btr_reg', flags: 'cOSAP', is: 'lock' }),
  ins('btc', '+Ev,Gv', '0F BB', { name: 'btc_reg', flags: 'cOSAP', is: 'lock' }),
  ins('bt', 'Ev,Ib', '0F BA /4', { flags: 'cOSAP' }),
  ins('bts', '+Ev,Ib', '0F BA /5', { flags: 'cOSAP', is: 'lock' }),
  ins('btr', '+Ev,Ib', '0F BA /6', { flags: 'cOSAP', is: 'lock' }),
  ins('btc', '+Ev,Ib', '0F BA /7', { flags: 'cOSAP', is: 'lock' }),
  // With a source of 0 the destination stays as it is, as all processors do and AMD documents.
  ins('bsf', '+Gv,Ev', '0F BC', { flags: 'zOSAPC' }),
  ins('bsr', '+Gv,Ev', '0F BD', { flags: 'zOSAPC' }),
  ins('popcnt', '=Gv,Ev', 'F3 0F B8', { flags: 'oszapc', feature: 'popcnt' }),
  ins('cmpxchg', '+Eb,Gb', '0F B0', { flags: 'oszapc', is: 'lock' }),
  ins('cmpxchg', '+Ev,Gv', '0F B1', { flags: 'oszapc', is: 'lock' }),
  ins('xadd', '+Eb,+Gb', '0F C0', { flags: 'oszapc', is: 'lock' }),
  ins('xadd', '+Ev,+Gv', '0F C1', { flags: 'oszapc', is: 'lock' }),
  ins('cmpxchg16b', '+Mx', '0F C7 /1 mem W1', { flags: 'z', is: 'lock', feature: 'cx16' }),
  ins('cmpxchg8b', '+Mq', '0F C7 /1 mem', { flags: 'z', is: 'lock', feature: 'cx8' }),
  ins('adcx', '+Gy,Ey', '66 0F38 F6', { flags: 'c', tests: 'c', feature: 'adx' }),
  ins('adox', '+Gy,Ey', 'F3 0F38 F6', { flags: 'o', tests: 'o', feature: 'adx' }),
];

/** Decimal arithmetic and flag instructions. */
const flags: readonly Instruction[] = [
  ins('daa', '', '27 i64', { flags: 'szapcO', tests: 'ac' }),
  ins('das', '', '2F i64', { flags: 'szapcO', tests: 'ac' }),
  ins('aaa', '', '37 i64', { flags: 'acOSZP', tests: 'a' }),
  ins('aas', '', '3F i64', { flags: 'acOSZP', tests: 'a' }),
  ins('aam', 'Ib', 'D4 i64', { flags: 'szpOAC' }),
  ins('aad', 'Ib', 'D5 i64', { flags: 'szpOAC' }),
  ins('salc', '', 'D6 i64', { tests: 'c' }),
  // On 64-bit processors LAHF and SAHF exist in long mode only with LAHF_LM, which x86-64-v2 has.
  ins('sahf', '', '9E', { flags: 'szapc' }),
  ins('lahf', '', '9F', { tests: 'szapc' }),
  ins('cmc', '', 'F5', { flags: 'c', tests: 'c' }),
  ins('clc', '', 'F8', { flags: 'c' }),
  ins('stc', '', 'F9', { flags: 'c' }),
  ins('cli', '', 'FA', { is: 'iopl system' }),
  ins('sti', '', 'FB', { is: 'iopl system' }),
  ins('cld', '', 'FC'),
  ins('std', '', 'FD'),
];

export const INTEGER: readonly Instruction[] = [
  ...arithmetic,
  ...shifts,
  ...conditional,
  ...moves,
  ...stack,
  ...unary,
  ...bits,
  ...flags,
];
