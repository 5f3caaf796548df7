/** Instructions of operating systems, and those that read the processor's own state. SDM vol. 2. */
import { ins } from './builder.js';
import type { Instruction } from './row.js';

const descriptors: readonly Instruction[] = [
  ins('sldt', '=Rv', '0F 00 /0 mod3', { is: 'protected system' }),
  ins('sldt', '=Mw', '0F 00 /0 mem', { is: 'protected system' }),
  ins('str', '=Rv', '0F 00 /1 mod3', { is: 'protected system' }),
  ins('str', '=Mw', '0F 00 /1 mem', { is: 'protected system' }),
  ins('lldt', 'Ew', '0F 00 /2', { is: 'protected cpl0 system' }),
  ins('ltr', 'Ew', '0F 00 /3', { is: 'protected cpl0 system' }),
  ins('verr', 'Ew', '0F 00 /4', { flags: 'z', is: 'protected system' }),
  ins('verw', 'Ew', '0F 00 /5', { flags: 'z', is: 'protected system' }),
  ins('sgdt', '=Ms', '0F 01 /0 mem', { is: 'system' }),
  ins('sidt', '=Ms', '0F 01 /1 mem', { is: 'system' }),
  // With a 16-bit operand size they take 24 bits of the base.
  ins('lgdt', 'Ms', '0F 01 /2 mem', { is: 'osz cpl0 system' }),
  ins('lidt', 'Ms', '0F 01 /3 mem', { is: 'osz cpl0 system' }),
  ins('smsw', '=Rv', '0F 01 /4 mod3', { is: 'system' }),
  ins('smsw', '=Mw', '0F 01 /4 mem', { is: 'system' }),
  ins('lmsw', 'Ew', '0F 01 /6', { is: 'cpl0 system' }),
  ins('lar', '+Gv,Ew', '0F 02', { flags: 'z', is: 'protected system' }),
  ins('lsl', '+Gv,Ew', '0F 03', { flags: 'z', is: 'protected system' }),
  // Its destination is written, and must be writable, only when the RPL is raised.
  ins('arpl', 'Ew,Gw', '63 i64', { flags: 'z', is: 'protected system' }),
  ins('les', '=Gv,Mp', 'C4 mem i64', { is: 'system' }),
  ins('lds', '=Gv,Mp', 'C5 mem i64', { is: 'system' }),
  ins('lss', '=Gv,Mp', '0F B2 mem', { is: 'system' }),
  ins('lfs', '=Gv,Mp', '0F B4 mem', { is: 'system' }),
  ins('lgs', '=Gv,Mp', '0F B5 mem', { is: 'system' }),
];

const control: readonly Instruction[] = [
  // ModRM.mod is ignored; the operand is always a register, of 64 bits in 64-bit mode and 32 elsewhere.
  ins('mov', '=R,C', '0F 20', { name: 'mov_from_cr', is: 'cpl0 system', flags: 'OSZAPC' }),
  ins('mov', '=R,D', '0F 21', { name: 'mov_from_dr', is: 'cpl0 system', flags: 'OSZAPC' }),
  ins('mov', '=C,R', '0F 22', { name: 'mov_to_cr', is: 'cpl0 system', flags: 'OSZAPC' }),
  ins('mov', '=D,R', '0F 23', { name: 'mov_to_dr', is: 'cpl0 system', flags: 'OSZAPC' }),
  ins('clts', '', '0F 06', { is: 'cpl0 system' }),
  ins('invd', '', '0F 08', { is: 'cpl0 system' }),
  ins('wbinvd', '', '0F 09', { is: 'cpl0 system' }),
  ins('invlpg', '-Mb', '0F 01 /7 mem', { is: 'cpl0 system' }),
  ins('invpcid', 'G,Mx', '66 0F38 82 mem', { is: 'cpl0 system', feature: 'invpcid' }),
  ins('hlt', '', 'F4', { is: 'cpl0 system' }),
  ins('clac', '', 'NP 0F 01 CA', { is: 'cpl0 system', feature: 'smap' }),
  ins('stac', '', 'NP 0F 01 CB', { is: 'cpl0 system', feature: 'smap' }),
  ins('monitor', '', 'NP 0F 01 C8', { is: 'system' }),
  ins('mwait', '', 'NP 0F 01 C9', { is: 'system' }),
  ins('rsm', '', '0F AA', { is: 'system end' }),
];

const calls: readonly Instruction[] = [
  ins('syscall', '', '0F 05', { is: 'branch end system', feature: 'syscall' }),
  ins('sysret', '', '0F 07', { is: 'osz cpl0 branch end system', feature: 'syscall' }),
  ins('sysenter', '', '0F 34', { is: 'branch end system', feature: 'sep' }),
  ins('sysexit', '', '0F 35', { is: 'osz cpl0 branch end system', feature: 'sep' }),
  ins('swapgs', '', '0F 01 F8 o64', { is: 'cpl0 system', feature: 'lm' }),
  ins('rdfsbase', '=Ry', 'F3 0F AE /0 mod3 o64', { is: 'system', feature: 'fsgsbase' }),
  ins('rdgsbase', '=Ry', 'F3 0F AE /1 mod3 o64', { is: 'system', feature: 'fsgsbase' }),
  ins('wrfsbase', 'Ry', 'F3 0F AE /2 mod3 o64', { is: 'system', feature: 'fsgsbase' }),
  ins('wrgsbase', 'Ry', 'F3 0F AE /3 mod3 o64', { is: 'system', feature: 'fsgsbase' }),
];

const information: readonly Instruction[] = [
  ins('cpuid', '', '0F A2', { is: 'system' }),
  ins('rdtsc', '', '0F 31', { is: 'system', feature: 'tsc' }),
  ins('rdtscp', '', '0F 01 F9', { is: 'system', feature: 'rdtscp' }),
  ins('rdpmc', '', '0F 33', { is: 'system', feature: 'cmov' }),
  ins('rdmsr', '', '0F 32', { is: 'cpl0 system', feature: 'msr' }),
  ins('wrmsr', '', '0F 30', { is: 'cpl0 system', feature: 'msr' }),
  ins('rdrand', '=Rv', '0F C7 /6 mod3', { flags: 'oszapc', is: 'system', feature: 'rdrand' }),
  ins('rdseed', '=Rv', '0F C7 /7 mod3', { flags: 'oszapc', is: 'system', feature: 'rdseed' }),
];

/** The extended state: images of x87 and SSE registers. */
const state: readonly Instruction[] = [
  ins('fxsave', '=M', 'NP 0F AE /0 mem', { is: 'system', feature: 'fxsr' }),
  ins('fxrstor', 'M', 'NP 0F AE /1 mem', { is: 'system', feature: 'fxsr' }),
  ins('xsave', '=M', 'NP 0F AE /4 mem', { is: 'system', feature: 'xsave' }),
  ins('xrstor', 'M', 'NP 0F AE /5 mem', { is: 'system', feature: 'xsave' }),
  ins('xsaveopt', '=M', 'NP 0F AE /6 mem', { is: 'system', feature: 'xsaveopt' }),
  ins('xsavec', '=M', 'NP 0F C7 /4 mem', { is: 'system', feature: 'xsavec' }),
  ins('xsaves', '=M', 'NP 0F C7 /5 mem', { is: 'cpl0 system', feature: 'xsaves' }),
  ins('xrstors', 'M', 'NP 0F C7 /3 mem', { is: 'cpl0 system', feature: 'xsaves' }),
  ins('xgetbv', '', 'NP 0F 01 D0', { is: 'system', feature: 'xsave' }),
  ins('xsetbv', '', 'NP 0F 01 D1', { is: 'cpl0 system', feature: 'xsave' }),
  ins('clflush', '-Mb', 'NP 0F AE /7 mem', { feature: 'clflush' }),
  ins('clflushopt', '-Mb', '66 0F AE /7 mem', { name: 'clflush', feature: 'clflushopt' }),
  ins('lfence', '', 'NP 0F AE /5 mod3', { name: 'fence', feature: 'sse2' }),
  ins('mfence', '', 'NP 0F AE /6 mod3', { name: 'fence', feature: 'sse2' }),
  ins('sfence', '', 'NP 0F AE /7 mod3', { name: 'fence', feature: 'sse' }),
];

export const SYSTEM: readonly Instruction[] = [...descriptors, ...control, ...calls, ...information, ...state];
