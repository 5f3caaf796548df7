/** SSE3, SSE4.1, SSE4.2. SDM vol. 2. (SSSE3 is with the packed integers, CRC32 with the integers.) */
import { hex, ins } from './builder.js';
import type { Instruction } from './row.js';

const sse3: readonly Instruction[] = [
  ins('movsldup', '=Vx,Wx', 'F3 0F 12', { feature: 'sse3' }),
  ins('movshdup', '=Vx,Wx', 'F3 0F 16', { feature: 'sse3' }),
  ins('movddup', '=Vx,Wq', 'F2 0F 12', { feature: 'sse3' }),
  ins('haddpd', '+Vx,Wx', '66 0F 7C', { feature: 'sse3' }),
  ins('haddps', '+Vx,Wx', 'F2 0F 7C', { feature: 'sse3' }),
  ins('hsubpd', '+Vx,Wx', '66 0F 7D', { feature: 'sse3' }),
  ins('hsubps', '+Vx,Wx', 'F2 0F 7D', { feature: 'sse3' }),
  ins('addsubpd', '+Vx,Wx', '66 0F D0', { feature: 'sse3' }),
  ins('addsubps', '+Vx,Wx', 'F2 0F D0', { feature: 'sse3' }),
  ins('lddqu', '=Vu,Mu', 'F2 0F F0 mem', { feature: 'sse3' }),
];

/** Extensions of packed integers: the operand's size in memory by name. */
const EXTENSIONS: readonly (readonly [suffix: string, size: string])[] = [
  ['bw', 'q'],
  ['bd', 'd'],
  ['bq', 'w'],
  ['wd', 'q'],
  ['wq', 'd'],
  ['dq', 'q'],
];

const extensions = EXTENSIONS.flatMap(([suffix, size], n) => [
  ins(`pmovsx${suffix}`, `=Vx,W${size}`, `66 0F38 ${hex(0x20 + n)}`, { feature: 'sse4_1' }),
  ins(`pmovzx${suffix}`, `=Vx,W${size}`, `66 0F38 ${hex(0x30 + n)}`, { feature: 'sse4_1' }),
]);

const sse41: readonly Instruction[] = [
  ins('pblendvb', '+Vx,Wx,XMM0', '66 0F38 10', { feature: 'sse4_1' }),
  ins('blendvps', '+Vx,Wx,XMM0', '66 0F38 14', { feature: 'sse4_1' }),
  ins('blendvpd', '+Vx,Wx,XMM0', '66 0F38 15', { feature: 'sse4_1' }),
  ins('ptest', 'Vx,Wx', '66 0F38 17', { feature: 'sse4_1', flags: 'oszapc' }),
  ins('pmuldq', '+Vx,Wx', '66 0F38 28', { feature: 'sse4_1' }),
  ins('pcmpeqq', '+Vx,Wx', '66 0F38 29', { feature: 'sse4_1' }),
  ins('movntdqa', '=Vx,Mx', '66 0F38 2A mem', { feature: 'sse4_1' }),
  ins('packusdw', '+Vx,Wx', '66 0F38 2B', { feature: 'sse4_1' }),
  ...'pminsb pminsd pminuw pminud pmaxsb pmaxsd pmaxuw pmaxud pmulld'
    .split(' ')
    .map((name, n) => ins(name, '+Vx,Wx', `66 0F38 ${hex(0x38 + n)}`, { feature: 'sse4_1' })),
  ins('phminposuw', '=Vx,Wx', '66 0F38 41', { feature: 'sse4_1' }),
  ins('roundps', '=Vx,Wx,Ib', '66 0F3A 08', { feature: 'sse4_1' }),
  ins('roundpd', '=Vx,Wx,Ib', '66 0F3A 09', { feature: 'sse4_1' }),
  ins('roundss', '=Vd,Wd,Ib', '66 0F3A 0A', { feature: 'sse4_1' }),
  ins('roundsd', '=Vq,Wq,Ib', '66 0F3A 0B', { feature: 'sse4_1' }),
  ins('blendps', '+Vx,Wx,Ib', '66 0F3A 0C', { feature: 'sse4_1' }),
  ins('blendpd', '+Vx,Wx,Ib', '66 0F3A 0D', { feature: 'sse4_1' }),
  ins('pblendw', '+Vx,Wx,Ib', '66 0F3A 0E', { feature: 'sse4_1' }),
  ins('pextrb', '=Rd,Vx,Ib', '66 0F3A 14 mod3', { feature: 'sse4_1' }),
  ins('pextrb', '=Mb,Vx,Ib', '66 0F3A 14 mem', { feature: 'sse4_1' }),
  // Both store to ModRM.rm, unlike 0F C5: the register is REG, the destination RM.
  ins('pextrw', '=Rd,Vx,Ib', '66 0F3A 15 mod3', { name: 'pextrw_mem', feature: 'sse4_1' }),
  ins('pextrw', '=Mw,Vx,Ib', '66 0F3A 15 mem', { name: 'pextrw_mem', feature: 'sse4_1' }),
  ins('pextrq', '=Eq,Vx,Ib', '66 0F3A 16 W1', { feature: 'sse4_1' }),
  ins('pextrd', '=Ed,Vx,Ib', '66 0F3A 16', { feature: 'sse4_1' }),
  ins('extractps', '=Ed,Vx,Ib', '66 0F3A 17', { feature: 'sse4_1' }),
  ins('pinsrb', '+Vx,Rd,Ib', '66 0F3A 20 mod3', { feature: 'sse4_1' }),
  ins('pinsrb', '+Vx,Mb,Ib', '66 0F3A 20 mem', { feature: 'sse4_1' }),
  ins('insertps', '+Vx,Ux,Ib', '66 0F3A 21 mod3', { feature: 'sse4_1' }),
  ins('insertps', '+Vx,Md,Ib', '66 0F3A 21 mem', { feature: 'sse4_1' }),
  ins('pinsrq', '+Vx,Eq,Ib', '66 0F3A 22 W1', { feature: 'sse4_1' }),
  ins('pinsrd', '+Vx,Ed,Ib', '66 0F3A 22', { feature: 'sse4_1' }),
  ins('dpps', '+Vx,Wx,Ib', '66 0F3A 40', { feature: 'sse4_1' }),
  ins('dppd', '+Vx,Wx,Ib', '66 0F3A 41', { feature: 'sse4_1' }),
  ins('mpsadbw', '+Vx,Wx,Ib', '66 0F3A 42', { feature: 'sse4_1' }),
];

const sse42: readonly Instruction[] = [
  ins('pcmpgtq', '+Vx,Wx', '66 0F38 37', { feature: 'sse4_2' }),
  ins('pcmpestrm', 'Vx,Wu,Ib', '66 0F3A 60', { feature: 'sse4_2', flags: 'oszapc' }),
  ins('pcmpestri', 'Vx,Wu,Ib', '66 0F3A 61', { feature: 'sse4_2', flags: 'oszapc' }),
  ins('pcmpistrm', 'Vx,Wu,Ib', '66 0F3A 62', { feature: 'sse4_2', flags: 'oszapc' }),
  ins('pcmpistri', 'Vx,Wu,Ib', '66 0F3A 63', { feature: 'sse4_2', flags: 'oszapc' }),
];

export const SSE3_4: readonly Instruction[] = [...sse3, ...extensions, ...sse41, ...sse42];
