/**
 * Packed integers: MMX (P, Q) and SSE2 (V, W) forms of the same instructions, and those that one of them has alone.
 * SDM vol. 2. The MMX form's name ends with `_mmx` where there are both.
 */
import type { Feature } from '../cpuid-features.js';
import { hex, ins } from './builder.js';
import type { Instruction } from './row.js';

/** Both forms of `destination op= source`; MMX's came with the features given. */
function both(mnemonic: string, opcode: string, mmx: Feature = 'mmx', sse: Feature = 'sse2'): Instruction[] {
  return [
    ins(mnemonic, '+Pq,Qq', `NP ${opcode}`, { name: `${mnemonic}_mmx`, feature: mmx }),
    ins(mnemonic, '+Vx,Wx', `66 ${opcode}`, { feature: sse }),
  ];
}

/** Runs of instructions with opcodes 0F nn, in their order; '-' leaves one out. */
function run(first: number, names: string, feature: Feature = 'mmx'): Instruction[] {
  return names.split(' ').flatMap((name, n) => (name === '-' ? [] : both(name, `0F ${hex(first + n)}`, feature)));
}

const arithmetic: readonly Instruction[] = [
  // An unpack of low halves reads 32 bits of memory in its MMX form.
  ...['punpcklbw', 'punpcklwd', 'punpckldq'].flatMap((name, n) => [
    ins(name, '+Pq,Qd', `NP 0F ${hex(0x60 + n)}`, { name: `${name}_mmx`, feature: 'mmx' }),
    ins(name, '+Vx,Wx', `66 0F ${hex(0x60 + n)}`, { feature: 'sse2' }),
  ]),
  ...run(0x63, 'packsswb pcmpgtb pcmpgtw pcmpgtd packuswb punpckhbw punpckhwd punpckhdq packssdw'),
  ins('punpcklqdq', '+Vx,Wx', '66 0F 6C', { feature: 'sse2' }),
  ins('punpckhqdq', '+Vx,Wx', '66 0F 6D', { feature: 'sse2' }),
  ...run(0x74, 'pcmpeqb pcmpeqw pcmpeqd'),
  ...run(0xd1, 'psrlw psrld psrlq'),
  ...run(0xd4, 'paddq', 'sse2'),
  ...run(0xd5, 'pmullw'),
  ...run(0xd8, 'psubusb psubusw'),
  ...run(0xda, 'pminub', 'sse'),
  ...run(0xdb, 'pand paddusb paddusw'),
  ...run(0xde, 'pmaxub', 'sse'),
  ...run(0xdf, 'pandn'),
  ...run(0xe0, 'pavgb', 'sse'),
  ...run(0xe1, 'psraw psrad'),
  ...run(0xe3, 'pavgw pmulhuw', 'sse'),
  ...run(0xe5, 'pmulhw'),
  ...run(0xe8, 'psubsb psubsw'),
  ...run(0xea, 'pminsw', 'sse'),
  ...run(0xeb, 'por paddsb paddsw'),
  ...run(0xee, 'pmaxsw', 'sse'),
  ...run(0xef, 'pxor'),
  ...run(0xf1, 'psllw pslld psllq'),
  ...run(0xf4, 'pmuludq', 'sse2'),
  ...run(0xf5, 'pmaddwd'),
  ...run(0xf6, 'psadbw', 'sse'),
  ...run(0xf8, 'psubb psubw psubd'),
  ...run(0xfb, 'psubq', 'sse2'),
  ...run(0xfc, 'paddb paddw paddd'),
];

/** SSSE3: both forms, 0F 38 00 … 0B and 1C … 1E. */
const ssse3: readonly Instruction[] = [
  ...'pshufb phaddw phaddd phaddsw pmaddubsw phsubw phsubd phsubsw psignb psignw psignd pmulhrsw'
    .split(' ')
    .flatMap((name, n) => both(name, `0F38 ${hex(n)}`, 'ssse3', 'ssse3')),
  ...['pabsb', 'pabsw', 'pabsd'].flatMap((name, n) => [
    ins(name, '=Pq,Qq', `NP 0F38 ${hex(0x1c + n)}`, { name: `${name}_mmx`, feature: 'ssse3' }),
    ins(name, '=Vx,Wx', `66 0F38 ${hex(0x1c + n)}`, { feature: 'ssse3' }),
  ]),
  ins('palignr', '+Pq,Qq,Ib', 'NP 0F3A 0F', { name: 'palignr_mmx', feature: 'ssse3' }),
  ins('palignr', '+Vx,Wx,Ib', '66 0F3A 0F', { feature: 'ssse3' }),
];

/** Shifts by an immediate: groups 12, 13 and 14. */
const SHIFT_GROUPS: readonly (readonly [opcode: number, digit: number, name: string])[] = [
  [0x71, 2, 'psrlw'],
  [0x71, 4, 'psraw'],
  [0x71, 6, 'psllw'],
  [0x72, 2, 'psrld'],
  [0x72, 4, 'psrad'],
  [0x72, 6, 'pslld'],
  [0x73, 2, 'psrlq'],
  [0x73, 6, 'psllq'],
];

const shifts: readonly Instruction[] = [
  ...SHIFT_GROUPS.flatMap(([opcode, digit, name]) => [
    ins(name, '+Nq,Ib', `NP 0F ${hex(opcode)} /${digit} mod3`, { name: `${name}_imm_mmx`, feature: 'mmx' }),
    ins(name, '+Ux,Ib', `66 0F ${hex(opcode)} /${digit} mod3`, { name: `${name}_imm`, feature: 'sse2' }),
  ]),
  ins('psrldq', '+Ux,Ib', '66 0F 73 /3 mod3', { name: 'psrldq_imm', feature: 'sse2' }),
  ins('pslldq', '+Ux,Ib', '66 0F 73 /7 mod3', { name: 'pslldq_imm', feature: 'sse2' }),
];

const moves: readonly Instruction[] = [
  ins('movd/movd/movq', '=Pq,Ey', 'NP 0F 6E', { name: 'movd_to_mmx', feature: 'mmx' }),
  ins('movd/movd/movq', '=Vx,Ey', '66 0F 6E', { name: 'movd_to_xmm', feature: 'sse2' }),
  ins('movd/movd/movq', '=Ey,Py', 'NP 0F 7E', { name: 'movd_from_mmx', feature: 'mmx' }),
  ins('movd/movd/movq', '=Ey,Vy', '66 0F 7E', { name: 'movd_from_xmm', feature: 'sse2' }),
  ins('movq', '=Pq,Qq', 'NP 0F 6F', { name: 'movq_mmx', feature: 'mmx' }),
  ins('movq', '=Qq,Pq', 'NP 0F 7F', { name: 'movq_mmx_store', feature: 'mmx' }),
  ins('movq', '=Vx,Wq', 'F3 0F 7E', { name: 'movq_xmm', feature: 'sse2' }),
  // To a register it clears the upper half; to memory it stores eight bytes.
  ins('movq', '=Ux,Vq', '66 0F D6 mod3', { name: 'movq_store', feature: 'sse2' }),
  ins('movq', '=Mq,Vq', '66 0F D6 mem', { name: 'movq_store', feature: 'sse2' }),
  ins('movq2dq', '=Vx,Nq', 'F3 0F D6 mod3', { feature: 'sse2' }),
  ins('movdq2q', '=Pq,Uq', 'F2 0F D6 mod3', { feature: 'sse2' }),
  ins('movdqa', '=Vx,Wx', '66 0F 6F', { feature: 'sse2' }),
  ins('movdqa', '=Wx,Vx', '66 0F 7F', { name: 'movdqa_store', feature: 'sse2' }),
  ins('movdqu', '=Vu,Wu', 'F3 0F 6F', { feature: 'sse2' }),
  ins('movdqu', '=Wu,Vu', 'F3 0F 7F', { name: 'movdqu_store', feature: 'sse2' }),
  ins('movntq', '=Mq,Pq', 'NP 0F E7 mem', { feature: 'sse' }),
  ins('movntdq', '=Mx,Vx', '66 0F E7 mem', { feature: 'sse2' }),
  // Their destination is DS:rDI, not shown by an operand.
  ins('maskmovq', 'Pq,Nq', 'NP 0F F7 mod3', { feature: 'sse' }),
  ins('maskmovdqu', 'Vx,Ux', '66 0F F7 mod3', { feature: 'sse2' }),
  ins('pshufw', '=Pq,Qq,Ib', 'NP 0F 70', { name: 'pshufw_mmx', feature: 'sse' }),
  ins('pshufd', '=Vx,Wx,Ib', '66 0F 70', { feature: 'sse2' }),
  ins('pshufhw', '=Vx,Wx,Ib', 'F3 0F 70', { feature: 'sse2' }),
  ins('pshuflw', '=Vx,Wx,Ib', 'F2 0F 70', { feature: 'sse2' }),
  ins('pinsrw', '+Pq,Rd,Ib', 'NP 0F C4 mod3', { name: 'pinsrw_mmx', feature: 'sse' }),
  ins('pinsrw', '+Pq,Mw,Ib', 'NP 0F C4 mem', { name: 'pinsrw_mmx', feature: 'sse' }),
  ins('pinsrw', '+Vx,Rd,Ib', '66 0F C4 mod3', { feature: 'sse2' }),
  ins('pinsrw', '+Vx,Mw,Ib', '66 0F C4 mem', { feature: 'sse2' }),
  ins('pextrw', '=Gd,Nq,Ib', 'NP 0F C5 mod3', { name: 'pextrw_mmx', feature: 'sse' }),
  ins('pextrw', '=Gd,Ux,Ib', '66 0F C5 mod3', { feature: 'sse2' }),
  ins('pmovmskb', '=Gd,Nq', 'NP 0F D7 mod3', { name: 'pmovmskb_mmx', feature: 'sse' }),
  ins('pmovmskb', '=Gd,Ux', '66 0F D7 mod3', { feature: 'sse2' }),
  ins('emms', '', 'NP 0F 77', { feature: 'mmx' }),
];

export const PACKED: readonly Instruction[] = [...arithmetic, ...ssse3, ...shifts, ...moves];
