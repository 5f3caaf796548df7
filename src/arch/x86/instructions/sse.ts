/**
 * SSE and SSE2 floating point. SDM vol. 2. Scalar operands are written with the size that counts (`Vd`, `Vq`): what is
 * above it in the destination stays.
 */
import { hex, ins } from './builder.js';
import type { Instruction } from './row.js';

/** The four forms of an operation: ps, pd, ss, sd. `access` is that of the destination. */
function four(name: string, opcode: number, access: '+' | '=' = '+', is = ''): Instruction[] {
  const code = `0F ${hex(opcode)}`;
  return [
    ins(`${name}ps`, `${access}Vx,Wx`, `NP ${code}`, { feature: 'sse', is }),
    ins(`${name}pd`, `${access}Vx,Wx`, `66 ${code}`, { feature: 'sse2', is }),
    ins(`${name}ss`, `${access}Vd,Wd`, `F3 ${code}`, { feature: 'sse', is }),
    ins(`${name}sd`, `${access}Vq,Wq`, `F2 ${code}`, { feature: 'sse2', is }),
  ];
}

/** Both packed forms. */
function packed(name: string, opcode: number): Instruction[] {
  return [
    ins(`${name}ps`, '+Vx,Wx', `NP 0F ${hex(opcode)}`, { feature: 'sse' }),
    ins(`${name}pd`, '+Vx,Wx', `66 0F ${hex(opcode)}`, { feature: 'sse2' }),
  ];
}

const moves: readonly Instruction[] = [
  ins('movups', '=Vu,Wu', 'NP 0F 10', { feature: 'sse' }),
  ins('movups', '=Wu,Vu', 'NP 0F 11', { name: 'movups_store', feature: 'sse' }),
  ins('movupd', '=Vu,Wu', '66 0F 10', { name: 'movups', feature: 'sse2' }),
  ins('movupd', '=Wu,Vu', '66 0F 11', { name: 'movups_store', feature: 'sse2' }),
  // Loads clear what is above the scalar, moves between registers keep it.
  ins('movss', '=Vd,Ud', 'F3 0F 10 mod3', { feature: 'sse' }),
  ins('movss', '=Vx,Md', 'F3 0F 10 mem', { name: 'movss_load', feature: 'sse' }),
  ins('movss', '=Wd,Vd', 'F3 0F 11', { name: 'movss_store', feature: 'sse' }),
  ins('movsd', '=Vq,Uq', 'F2 0F 10 mod3', { name: 'movsd_xmm', feature: 'sse2' }),
  ins('movsd', '=Vx,Mq', 'F2 0F 10 mem', { name: 'movsd_load', feature: 'sse2' }),
  ins('movsd', '=Wq,Vq', 'F2 0F 11', { name: 'movsd_store', feature: 'sse2' }),
  ins('movhlps', '=Vq,Ux', 'NP 0F 12 mod3', { feature: 'sse' }),
  ins('movlps', '=Vq,Mq', 'NP 0F 12 mem', { name: 'movlps_load', feature: 'sse' }),
  ins('movlps', '=Mq,Vq', 'NP 0F 13 mem', { name: 'movlps_store', feature: 'sse' }),
  ins('movlpd', '=Vq,Mq', '66 0F 12 mem', { name: 'movlps_load', feature: 'sse2' }),
  ins('movlpd', '=Mq,Vq', '66 0F 13 mem', { name: 'movlps_store', feature: 'sse2' }),
  ins('movlhps', '+Vx,Uq', 'NP 0F 16 mod3', { feature: 'sse' }),
  ins('movhps', '+Vx,Mq', 'NP 0F 16 mem', { name: 'movhps_load', feature: 'sse' }),
  ins('movhps', '=Mq,Vx', 'NP 0F 17 mem', { name: 'movhps_store', feature: 'sse' }),
  ins('movhpd', '+Vx,Mq', '66 0F 16 mem', { name: 'movhps_load', feature: 'sse2' }),
  ins('movhpd', '=Mq,Vx', '66 0F 17 mem', { name: 'movhps_store', feature: 'sse2' }),
  ins('movaps', '=Vx,Wx', 'NP 0F 28', { feature: 'sse' }),
  ins('movaps', '=Wx,Vx', 'NP 0F 29', { name: 'movaps_store', feature: 'sse' }),
  ins('movapd', '=Vx,Wx', '66 0F 28', { name: 'movaps', feature: 'sse2' }),
  ins('movapd', '=Wx,Vx', '66 0F 29', { name: 'movaps_store', feature: 'sse2' }),
  ins('movntps', '=Mx,Vx', 'NP 0F 2B mem', { feature: 'sse' }),
  ins('movntpd', '=Mx,Vx', '66 0F 2B mem', { name: 'movntps', feature: 'sse2' }),
  ins('movmskps', '=Gd,Ux', 'NP 0F 50 mod3', { feature: 'sse' }),
  ins('movmskpd', '=Gd,Ux', '66 0F 50 mod3', { feature: 'sse2' }),
  ins('ldmxcsr', 'Md', 'NP 0F AE /2 mem', { feature: 'sse', is: 'system' }),
  ins('stmxcsr', '=Md', 'NP 0F AE /3 mem', { feature: 'sse', is: 'system' }),
];

const arithmetic: readonly Instruction[] = [
  ...packed('unpckl', 0x14),
  ...packed('unpckh', 0x15),
  ...four('sqrt', 0x51, '='),
  ins('rsqrtps', '=Vx,Wx', 'NP 0F 52', { feature: 'sse', is: 'approximate' }),
  ins('rsqrtss', '=Vd,Wd', 'F3 0F 52', { feature: 'sse', is: 'approximate' }),
  ins('rcpps', '=Vx,Wx', 'NP 0F 53', { feature: 'sse', is: 'approximate' }),
  ins('rcpss', '=Vd,Wd', 'F3 0F 53', { feature: 'sse', is: 'approximate' }),
  ...packed('and', 0x54),
  ...packed('andn', 0x55),
  ...packed('or', 0x56),
  ...packed('xor', 0x57),
  ...four('add', 0x58),
  ...four('mul', 0x59),
  ...four('sub', 0x5c),
  ...four('min', 0x5d),
  ...four('div', 0x5e),
  ...four('max', 0x5f),
  ins('ucomiss', 'Vd,Wd', 'NP 0F 2E', { feature: 'sse', flags: 'oszapc' }),
  ins('ucomisd', 'Vq,Wq', '66 0F 2E', { feature: 'sse2', flags: 'oszapc' }),
  ins('comiss', 'Vd,Wd', 'NP 0F 2F', { feature: 'sse', flags: 'oszapc' }),
  ins('comisd', 'Vq,Wq', '66 0F 2F', { feature: 'sse2', flags: 'oszapc' }),
  ins('cmpps', '+Vx,Wx,Ib', 'NP 0F C2', { feature: 'sse' }),
  ins('cmppd', '+Vx,Wx,Ib', '66 0F C2', { feature: 'sse2' }),
  ins('cmpss', '+Vd,Wd,Ib', 'F3 0F C2', { feature: 'sse' }),
  ins('cmpsd', '+Vq,Wq,Ib', 'F2 0F C2', { name: 'cmpsd_xmm', feature: 'sse2' }),
  ins('shufps', '+Vx,Wx,Ib', 'NP 0F C6', { feature: 'sse' }),
  ins('shufpd', '+Vx,Wx,Ib', '66 0F C6', { feature: 'sse2' }),
];

const conversions: readonly Instruction[] = [
  ins('cvtpi2ps', '=Vq,Qq', 'NP 0F 2A', { feature: 'sse' }),
  ins('cvtpi2pd', '=Vx,Qq', '66 0F 2A', { feature: 'sse2' }),
  ins('cvtsi2ss', '=Vd,Ey', 'F3 0F 2A', { feature: 'sse' }),
  ins('cvtsi2sd', '=Vq,Ey', 'F2 0F 2A', { feature: 'sse2' }),
  ins('cvttps2pi', '=Pq,Wq', 'NP 0F 2C', { feature: 'sse' }),
  ins('cvttpd2pi', '=Pq,Wx', '66 0F 2C', { feature: 'sse2' }),
  ins('cvttss2si', '=Gy,Wd', 'F3 0F 2C', { feature: 'sse' }),
  ins('cvttsd2si', '=Gy,Wq', 'F2 0F 2C', { feature: 'sse2' }),
  ins('cvtps2pi', '=Pq,Wq', 'NP 0F 2D', { feature: 'sse' }),
  ins('cvtpd2pi', '=Pq,Wx', '66 0F 2D', { feature: 'sse2' }),
  ins('cvtss2si', '=Gy,Wd', 'F3 0F 2D', { feature: 'sse' }),
  ins('cvtsd2si', '=Gy,Wq', 'F2 0F 2D', { feature: 'sse2' }),
  ins('cvtps2pd', '=Vx,Wq', 'NP 0F 5A', { feature: 'sse2' }),
  ins('cvtpd2ps', '=Vx,Wx', '66 0F 5A', { feature: 'sse2' }),
  ins('cvtss2sd', '=Vq,Wd', 'F3 0F 5A', { feature: 'sse2' }),
  ins('cvtsd2ss', '=Vd,Wq', 'F2 0F 5A', { feature: 'sse2' }),
  ins('cvtdq2ps', '=Vx,Wx', 'NP 0F 5B', { feature: 'sse2' }),
  ins('cvtps2dq', '=Vx,Wx', '66 0F 5B', { feature: 'sse2' }),
  ins('cvttps2dq', '=Vx,Wx', 'F3 0F 5B', { feature: 'sse2' }),
  ins('cvttpd2dq', '=Vx,Wx', '66 0F E6', { feature: 'sse2' }),
  ins('cvtdq2pd', '=Vx,Wq', 'F3 0F E6', { feature: 'sse2' }),
  ins('cvtpd2dq', '=Vx,Wx', 'F2 0F E6', { feature: 'sse2' }),
];

export const SSE: readonly Instruction[] = [...moves, ...arithmetic, ...conversions];
