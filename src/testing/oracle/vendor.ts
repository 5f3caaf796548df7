/**
 * Where processors differ from each other by their makers' choice, and what the oracle makes of it. The host may be an
 * AMD or an Intel processor; the CPU models are generic ones that follow Intel's manual where the two disagree.
 */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { memoryOperandOf } from './addresses.js';
import { CASE, TRAP } from './case-format.js';
import type { Difference } from './compare.js';

export interface VendorChoice {
  /** Rows by name. */
  readonly rows: RegExp;
  readonly reason: string;
  /** Whether a difference comes from this choice. Absent: the generator does not make such cases. */
  readonly explains?: (difference: Difference, native: Buffer, guest: Buffer, row: Instruction) => boolean;
}

const trapOf = (results: Buffer): number => Number(results.readBigUInt64LE(CASE.TRAP));
const isX87 = ({ what }: Difference): boolean => what === 'fsw' || what === 'ftw' || what.startsWith('st');

export const VENDOR_CHOICES: readonly VendorChoice[] = [
  {
    rows: /^(j|call|ret|loop)/,
    reason: 'near branches with a 66 prefix: AMD truncates RIP to 16 bits, Intel ignores the prefix; not generated',
  },
  {
    rows: /^(l[sfg]s|(jmp|call)_far_mem)$/,
    reason: 'far pointers with a 64-bit offset (REX.W): AMD has none; not generated',
  },
  {
    rows: /^nop$/,
    reason: '0F 0D with a register: invalid on AMD (prefetches need memory), a NOP on Intel; not generated',
  },
  {
    rows: /^sha/,
    reason: 'SHA with memory that is not aligned to 16 bytes: #GP on Intel, allowed by AMD; not generated',
  },
  {
    rows: /^(fxsave|xsave)/,
    reason: 'MXCSR_MASK has bit 17 (MM) on AMD, whose misaligned mode the CPU models do not have',
    explains: ({ what, native, guest }) => what.startsWith('memory') && native.endsWith('02') && guest.endsWith('00'),
  },
  {
    rows: /^cvtpi2ps$/,
    reason: 'CVTPI2PS from memory enters MMX state on Intel (SDM vol. 2), raising pending x87 exceptions; not on AMD',
    explains: (difference, _, guest) => isX87(difference) || trapOf(guest) === TRAP.MF,
  },
  {
    rows: /^cvtt?p[sd]2pi$/,
    reason: 'an unmasked exception of CVTPx2PI leaves the x87 state in MMX state on AMD',
    explains: (difference, native) => trapOf(native) === TRAP.XM && isX87(difference),
  },
  {
    rows: /^maskmovq$/,
    reason: 'a MASKMOVQ that faults on its segment leaves the x87 state in MMX state on AMD',
    explains: (difference, native) => trapOf(native) === TRAP.GP && isX87(difference),
  },
  {
    rows: /^push_sreg$/,
    reason:
      'PUSH of a segment register in 32-bit code writes two bytes on recent Intel processors (SDM vol. 2), four on AMD',
    explains: ({ what }) => what.startsWith('memory'),
  },
  {
    rows: /^arpl$/,
    reason: 'whether an ARPL that changes nothing needs permission to write',
    explains: (_, native, guest) =>
      trapOf(native) === TRAP.BP && [TRAP.GP, TRAP.PF].some((trap) => trap === trapOf(guest)),
  },
  {
    rows: /^sysret$/,
    reason: 'SYSRET outside 64-bit mode: #UD on Intel, #GP on AMD when the CPL is not 0',
    explains: (_, native, guest) => trapOf(native) === TRAP.GP && trapOf(guest) === TRAP.UD,
  },
  {
    rows: /./,
    reason: 'an operand that is misaligned, or of a privileged instruction, and beyond the limit of SS: #GP or #SS',
    explains: (_, native, guest, row) =>
      (['x', ''].includes(memoryOperandOf(row)?.size ?? 'v') || row.attributes.has('cpl0')) &&
      trapOf(native) === TRAP.GP &&
      trapOf(guest) === TRAP.SS,
  },
  {
    rows: /^pop$/,
    reason: 'POP with faults both on the stack and at its destination: either is reported',
    explains: (_, native, guest) =>
      [TRAP.GP, TRAP.SS, TRAP.PF].some((trap) => trap === trapOf(native)) &&
      [TRAP.GP, TRAP.SS, TRAP.PF].some((trap) => trap === trapOf(guest)) &&
      trapOf(native) !== trapOf(guest),
  },
  {
    rows: /^(ret_far_imm|iret)$/,
    reason: 'far returns with a bad target near the limit of the stack: AMD looks at more of the stack first',
    explains: (_, native, guest) => trapOf(native) === TRAP.SS && trapOf(guest) === TRAP.GP,
  },
  {
    rows: /^lar$/,
    reason: 'bits 19:16 of what LAR loads are undefined (SDM vol. 2); AMD gives those of the limit',
    explains: ({ what, native, guest }) =>
      what.startsWith('r') && ((parseInt(native, 16) ^ parseInt(guest, 16)) & ~0xf0000) === 0,
  },
  {
    rows: /^popa$/,
    reason: 'a POPA that faults in the middle has loaded some registers on AMD',
    explains: ({ what }, native) => trapOf(native) !== TRAP.BP && /^r..$/.test(what),
  },
  {
    rows: /./,
    reason:
      'DEVIATION of ours: an operand is checked against its segment before #MF, and before #UD of MOV with no segment register',
    explains: (_, native, guest, row) =>
      (trapOf(native) === TRAP.MF || (trapOf(native) === TRAP.UD && /^mov_.*_sreg$/.test(row.name))) &&
      [TRAP.GP, TRAP.SS].some((trap) => trap === trapOf(guest)),
  },
  {
    rows: /^(j|call|loop)/,
    reason: 'DEVIATION of ours: a relative branch beyond the limit of CS faults at its target, not at itself',
    explains: (_, native, guest, row) =>
      row.operands[0].kind === 'J' && trapOf(native) === TRAP.GP && trapOf(guest) === TRAP.GP,
  },
  {
    rows: /^(fldenv|fnstenv|frstor|fnsave|fxsave|fxrstor|xsave|xsaveopt|xsavec|xrstor|ret_far|ret_far_imm|iret|l[desfg]s|(call|jmp)_far_mem)$/,
    reason:
      'which byte of a state image or far pointer CR2 names when more than one is not mapped: the order of accesses',
    explains: ({ what, native, guest }) => what === 'cr2' && Math.abs(parseInt(native, 16) - parseInt(guest, 16)) < 576,
  },
];

/** The choice that explains a difference, if one does. */
export function vendorChoice(
  row: Instruction,
  difference: Difference,
  native: Buffer,
  guest: Buffer,
): VendorChoice | undefined {
  return VENDOR_CHOICES.find(
    ({ rows, explains }) => rows.test(row.name) && explains?.(difference, native, guest, row) === true,
  );
}
