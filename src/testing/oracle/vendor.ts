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

const isTrap = (results: Buffer, ...traps: readonly number[]): boolean =>
  traps.includes(Number(results.readBigUInt64LE(CASE.TRAP)));
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
    rows: /^(movbe|loopn?e)$/,
    reason:
      'MOVBE with F3 is invalid on AMD; F2 and F3 before LOOPE and LOOPNE choose the condition there; not generated',
  },
  {
    rows: /./,
    reason: 'an invalid instruction that is also longer than 15 bytes: #GP or #UD',
    explains: (_, native, guest) =>
      isTrap(native, TRAP.GP, TRAP.UD) && isTrap(guest, TRAP.GP, TRAP.UD) && native[CASE.LENGTH] > 15,
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
    explains: (difference, _, guest) => isX87(difference) || isTrap(guest, TRAP.MF),
  },
  {
    rows: /^cvtt?p[sd]2pi$/,
    reason: 'an unmasked exception of CVTPx2PI leaves the x87 state in MMX state on AMD',
    explains: (difference, native) => isTrap(native, TRAP.XM) && isX87(difference),
  },
  {
    rows: /^maskmovq$/,
    reason: 'a MASKMOVQ that faults on its segment leaves the x87 state in MMX state on AMD',
    explains: (difference, native) => isTrap(native, TRAP.GP) && isX87(difference),
  },
  {
    rows: /^(push|pop)_sreg$/,
    reason:
      'PUSH and POP of a segment register access two bytes on recent Intel processors (SDM vol. 2), the operand size on AMD',
    explains: ({ what }, native) => what.startsWith('memory') || isTrap(native, TRAP.SS, TRAP.AC),
  },
  {
    rows: /^call_far/,
    reason:
      'a far call from a stack with a base into 64-bit code: whether the base counts for the pushes; not generated',
  },
  {
    rows: /^arpl$/,
    reason: 'whether an ARPL that changes nothing needs permission to write',
    explains: (_, native, guest) => isTrap(native, TRAP.BP) && isTrap(guest, TRAP.GP, TRAP.PF),
  },
  {
    rows: /^sysret$/,
    reason: 'SYSRET outside 64-bit mode: #UD on Intel, #GP on AMD when the CPL is not 0',
    explains: (_, native, guest) => isTrap(native, TRAP.GP) && isTrap(guest, TRAP.UD),
  },
  {
    rows: /./,
    reason: 'an operand that is misaligned, or of a privileged instruction, and beyond the limit of SS: #GP or #SS',
    explains: (_, native, guest, row) =>
      (['x', ''].includes(memoryOperandOf(row)?.size ?? 'v') ||
        row.name.includes('_mmx') ||
        // With a 66 among their prefixes they are CVTPD2PS, CVTPD2PI.
        /^cvtt?ps2p[di]$/.test(row.name) ||
        row.attributes.has('cpl0')) &&
      isTrap(native, TRAP.GP) &&
      isTrap(guest, TRAP.SS),
  },
  {
    rows: /^(pop|call_ind)$/,
    reason: 'POP and CALL with faults both on the stack and at their destination: either is reported',
    explains: (_, native, guest) =>
      isTrap(native, TRAP.GP, TRAP.SS, TRAP.PF) &&
      isTrap(guest, TRAP.GP, TRAP.SS, TRAP.PF) &&
      native.readUInt32LE(CASE.TRAP) !== guest.readUInt32LE(CASE.TRAP),
  },
  {
    rows: /^(ret_far_imm|iret)$/,
    reason: 'far returns with a bad target near the limit of the stack: AMD looks at more of the stack first',
    explains: (_, native, guest) => isTrap(native, TRAP.SS) && isTrap(guest, TRAP.GP),
  },
  {
    rows: /^(movup|movdqu|movq_mmx|lddqu|pcmp[ei]str|maskmov)/,
    reason:
      'misaligned operands of 16 bytes that need no alignment: #AC is left to the implementation (SDM vol. 2, MOVDQU)',
    explains: (_, native) => isTrap(native, TRAP.AC),
  },
  {
    rows: /./,
    reason: 'a misaligned operand that also faults otherwise: #AC or the other fault',
    explains: (_, native, guest) =>
      (isTrap(native, TRAP.AC) && !isTrap(guest, TRAP.BP)) || (isTrap(guest, TRAP.AC) && !isTrap(native, TRAP.BP)),
  },
  {
    rows: /^enter$/,
    reason: 'whether the probe of the new top of the stack that ENTER makes is checked for alignment',
    explains: (_, native, guest) => isTrap(native, TRAP.AC) && isTrap(guest, TRAP.BP),
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
    explains: ({ what }, native) => !isTrap(native, TRAP.BP) && /^r..$/.test(what),
  },
  {
    rows: /./,
    reason:
      'DEVIATION of ours: an operand is checked against its segment before #MF, and before #UD of MOV with no segment register',
    explains: (_, native, guest, row) =>
      (isTrap(native, TRAP.MF) || (isTrap(native, TRAP.UD) && /^mov_.*_sreg$/.test(row.name))) &&
      isTrap(guest, TRAP.GP, TRAP.SS),
  },
  {
    rows: /^(j|call|loop)/,
    reason: 'DEVIATION of ours: a relative branch beyond the limit of CS faults at its target, not at itself',
    explains: (_, native, guest, row) =>
      row.operands[0].kind === 'J' && isTrap(native, TRAP.GP) && isTrap(guest, TRAP.GP),
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
