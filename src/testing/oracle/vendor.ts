/**
 * Where processors differ from each other by their makers' choice, and what the oracle makes of it. The host may be an
 * AMD or an Intel processor; the CPU models are generic ones that follow Intel's manual where the two disagree.
 */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { memoryOperandOf } from './addresses.js';
import { CASE, FX, GPR_PLACE, PLACE, TRAP, WINDOW_SIZE } from './case-format.js';
import type { Difference } from './compare.js';
import { USER_CODE } from './segments.js';

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

const isFault = (results: Buffer): boolean => isTrap(results, TRAP.SS, TRAP.GP, TRAP.PF, TRAP.AC);
const fsw = (results: Buffer): number => results.readUInt16LE(CASE.FX + FX.FSW);
/** Error summary, underflow and top of stack in the x87 status word, SDM vol. 1 figure 8-4; B is a copy of ES. */
const FSW = { UE: 0x10, ES: 0x80, TOP: 0x3800, B: 0x8000 } as const;
/** An x87 register as FXSAVE stores it, relative to the top of the stack. */
const st = (results: Buffer, n: number): Buffer =>
  results.subarray(CASE.FX + FX.ST + 16 * (n & 7), CASE.FX + FX.ST + 16 * (n & 7) + 10);

/** Whether the sides have the same x87 registers, and the same status, but for a TOP that is 0 on the native side. */
function onlyTopIsCleared(native: Buffer, guest: Buffer): boolean {
  if (fsw(native) !== (fsw(guest) & ~FSW.TOP)) return false;
  const top = (fsw(guest) & FSW.TOP) >> 11;
  return Array.from({ length: 8 }, (_, n) => st(native, n).equals(st(guest, n - top))).every(Boolean);
}

/** Whether the sides' memory differs in the return address only, which the native side has. */
function hasPushedReturn(native: Buffer, guest: Buffer): boolean {
  const address = Buffer.alloc(8);
  address.writeBigUInt64LE(native.readBigUInt64LE(CASE.RIP) + BigInt(native[CASE.LENGTH]));
  const end = CASE.WINDOW + WINDOW_SIZE;
  return [2, 4, 8].some((size) =>
    Array.from({ length: WINDOW_SIZE - size + 1 }, (_, n) => CASE.WINDOW + n).some(
      (at) =>
        native.subarray(at, at + size).equals(address.subarray(0, size)) &&
        native.subarray(CASE.WINDOW, at).equals(guest.subarray(CASE.WINDOW, at)) &&
        native.subarray(at + size, end).equals(guest.subarray(at + size, end)),
    ),
  );
}

/** Whether the sides' memory is the same outside of so many bytes in a row. */
function memoryDiffersWithin(size: number, native: Buffer, guest: Buffer): boolean {
  const differs = (_: unknown, n: number): boolean => native[CASE.WINDOW + n] !== guest[CASE.WINDOW + n];
  const places = Array.from({ length: WINDOW_SIZE }, differs);
  return places.lastIndexOf(true) - places.indexOf(true) < size;
}

/** Whether a case's instruction has a prefix; where the opcode or what follows is the same byte, it may not have. */
const hasPrefix = (results: Buffer, prefix: number): boolean =>
  results.subarray(CASE.CODE, CASE.CODE + results[CASE.LENGTH]).includes(prefix);

/** Whether two vectors of the same lanes differ only in which NaN a lane holds. */
function differInNaNs(native: string, guest: string, digits: 8 | 16): boolean {
  const quiet = digits === 8 ? 0x7fc0_0000n : 0x7ff8_0000_0000_0000n;
  return Array.from({ length: 32 / digits }, (_, n) => n * digits).every((at) => {
    const [a, b] = [native, guest].map((vector) => BigInt(`0x${vector.slice(at, at + digits)}`));
    return a === b || ((a & quiet) === quiet && (b & quiet) === quiet);
  });
}

/** The smallest normal number, without its sign. */
const isSmallest = (value: Buffer): boolean =>
  value.readBigUInt64LE() === 1n << 63n && (value.readUInt16LE(8) & 0x7fff) === 1;

/** Whether the sides differ in an underflow, where the one without has the smallest normal number. */
function borderOfUnderflow(native: Buffer, guest: Buffer): boolean {
  if (((fsw(native) ^ fsw(guest)) & FSW.UE) === 0) return false;
  const normal = fsw(native) & FSW.UE ? guest : native;
  return [0, 1].some((n) => isSmallest(st(normal, n)));
}

/** Eight bytes at a linear address in the window; 0 outside. */
function windowAt(results: Buffer, linear: bigint): bigint {
  const at = linear - BigInt(PLACE.WINDOW);
  return at >= 0n && at <= BigInt(WINDOW_SIZE - 8) ? results.readBigUInt64LE(CASE.WINDOW + Number(at)) : 0n;
}

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
    reason: 'SHA with memory that is not aligned to 16 bytes: #GP on Intel, allowed by AMD; generated by accident only',
    // An instruction before it may have changed the address.
    explains: (_, native, guest) => isTrap(guest, TRAP.GP) && !isTrap(native, TRAP.GP),
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
        // With a 66 or F3 among their prefixes they are CVTPD2PS, CVTPD2PI, MOVSLDUP, MOVSHDUP.
        /^(cvtt?ps2p[di]|mov[lh]ps_load)$/.test(row.name) ||
        row.attributes.has('cpl0')) &&
      ((isTrap(native, TRAP.GP) && isTrap(guest, TRAP.SS)) || (isTrap(native, TRAP.SS) && isTrap(guest, TRAP.GP))),
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
    rows: /^f(st|stp|ist|istp|isttp|bstp)(_m|$)/,
    reason:
      'an x87 store with an exception that is not masked, to memory that faults: Intel stores nothing and does not look ' +
      'at the memory, on AMD and here the fault comes first (SDM vol. 3 table 6-2 leaves the order open)',
    explains: ({ what }, native, guest) =>
      isTrap(native, TRAP.BP) &&
      (fsw(native) & FSW.ES) !== 0 &&
      isFault(guest) &&
      (/^(trap|rip|fsw|flags)$/.test(what) || /^r..?$/.test(what)),
  },
  {
    rows: /^(movd_from_mmx|movq_mmx_store|movntq|maskmovq)$/,
    reason:
      'an MMX store that faults leaves TOP 0 on Intel; neither manual says so, and on AMD and here nothing changes',
    explains: (difference, native, guest) =>
      isFault(native) && isFault(guest) && isX87(difference) && onlyTopIsCleared(native, guest),
  },
  {
    rows: /^dpp[sd]$/,
    reason: 'which NaN a lane of DPPS or DPPD gets is left to the implementation (SDM vol. 2, DPPS)',
    explains: ({ what, native, guest }, _, __, row) =>
      what.startsWith('xmm') && differInNaNs(native, guest, row.name === 'dpps' ? 8 : 16),
  },
  {
    rows: /^xrstor$/,
    reason: 'an XRSTOR that faults on the MXCSR of its image has loaded x87 and XMM registers on Intel',
    explains: (difference, native, guest) =>
      isTrap(native, TRAP.GP) &&
      isTrap(guest, TRAP.GP) &&
      (isX87(difference) || difference.what === 'fcw' || difference.what.startsWith('xmm')),
  },
  {
    rows: /^call_ind$/,
    reason: 'a CALL that faults at its destination has written the return address below the stack on Intel',
    explains: ({ what }, native, guest) =>
      what.startsWith('memory') && isTrap(native, TRAP.GP) && isTrap(guest, TRAP.GP) && hasPushedReturn(native, guest),
  },
  {
    rows: /^ret_far(_imm)?$/,
    reason:
      'a RETF with REX.W to compatibility mode and an offset beyond 4 GiB: #GP by both manuals; some Intel processors ' +
      'cut the offset',
    explains: (_, native, guest) =>
      isTrap(guest, TRAP.GP) &&
      guest.readUInt16LE(CASE.CS) === USER_CODE.selector &&
      native.readUInt16LE(CASE.CS) !== USER_CODE.selector &&
      windowAt(guest, guest.readBigUInt64LE(CASE.GPR + 8 * GPR_PLACE[4])) > 0xffff_ffffn,
  },
  {
    rows: /./,
    reason: 'an x87 function whose result is the smallest normal number or 1 ulp less: an underflow or not',
    explains: ({ what }, native, guest, row) =>
      row.attributes.has('approximate') &&
      (what === 'fsw' || /^st[01]$/.test(what)) &&
      borderOfUnderflow(native, guest),
  },
  {
    rows: /^(movs|stos|lods|scas|cmps)b?$/,
    reason:
      'REP with 32-bit addresses and ECX = 0 in 64-bit mode: Intel clears the upper halves of RCX and of the pointers of ' +
      'MOVS and STOS, AMD does not; generated with upper halves that are 0',
  },
  {
    rows: /^xchg$/,
    reason: 'F3 REX.B 90: PAUSE on Intel, XCHG of R8 on AMD; not generated',
  },
  {
    rows: /^(fbstp|fstp_m80)$/,
    reason: 'an x87 store of ten bytes that faults on the last two has written the first eight on Intel',
    explains: ({ what }, native, guest) =>
      what.startsWith('memory') && isFault(native) && isFault(guest) && memoryDiffersWithin(8, native, guest),
  },
  {
    rows: /^bound$/,
    reason: 'BOUND with an index below the lower bound and an upper bound that faults: #BR or the fault',
    explains: (_, native, guest) => isTrap(native, TRAP.BR) && isFault(guest),
  },
  {
    rows: /^movsxd$/,
    reason:
      'DEVIATION of ours: MOVSXD with 16-bit operands reads four bytes as on AMD; SDM vol. 2 has it read two (r/m16)',
    explains: (_, native, guest) => isTrap(native, TRAP.BP) && isFault(guest) && hasPrefix(native, 0x66),
  },
  {
    rows: /^iret$/,
    reason: 'an IRET that sets AC, from a stack that is not aligned: #AC on Intel, with AC still clear; not generated',
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
