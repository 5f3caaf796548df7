/** Which flags a case leaves undefined: the table's, refined where they depend on the operands. */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { CASE, GPR_PLACE } from './case-format.js';
import { LDT, USER_CODE } from './segments.js';

const FLAG_BITS: Readonly<Record<string, number>> = { c: 1, p: 4, a: 0x10, z: 0x40, s: 0x80, o: 0x800 };

function bitsOf(letters: string): number {
  let bits = 0;
  for (const letter of letters) bits |= FLAG_BITS[letter];
  return bits;
}

/** Where an 8-bit immediate stands. */
function lastByte(input: Buffer): number {
  return input[CASE.CODE + input[CASE.LENGTH] - 1];
}

const LEGACY_PREFIXES = new Set([0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]);

/** Operand size in bits of an integer instruction, from its prefixes. */
function operandBits(row: Instruction, input: Buffer): number {
  if (row.operands[0].size === 'b') return 8;
  const selector = input.readUInt16LE(CASE.CS);
  const is64Bit = selector === USER_CODE.selector;
  const is16Bit = LDT.some((segment) => segment.selector === selector && segment.isCode && !segment.big);
  let size = is16Bit ? 16 : 32;
  let wide = false;
  for (let at = CASE.CODE; at < CASE.FX; at++) {
    const byte = input[at];
    const isRex = is64Bit && (byte & 0xf0) === 0x40;
    // A REX prefix counts when the opcode follows.
    if (isRex) wide = (byte & 8) !== 0;
    else if (LEGACY_PREFIXES.has(byte)) wide = false;
    else break;
    if (byte === 0x66) size = is16Bit ? 32 : 16;
  }
  return wide ? 64 : size;
}

/** The count of a shift, rotation or double shift, masked as the instruction does. */
function shiftCount(row: Instruction, input: Buffer, bits: number): number | undefined {
  const count = row.operands.at(-1);
  if (count?.kind === 'one') return 1;
  const raw =
    count?.kind === 'CL' ? input[CASE.GPR + 8 * GPR_PLACE[1]] : count?.kind === 'I' ? lastByte(input) : undefined;
  return raw === undefined ? undefined : raw & (bits === 64 ? 63 : 31);
}

const SHIFTS = new Set(['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar', 'shld', 'shrd']);

/** As a mask of RFLAGS. SDM vol. 2, "Flags Affected" of each instruction. */
export function undefinedFlags(row: Instruction, input: Buffer): number {
  let bits = bitsOf(row.flags.undefined);
  if (!SHIFTS.has(row.name)) return bits;
  const size = operandBits(row, input);
  const count = shiftCount(row, input, size);
  // A count of 0 changes no flag.
  if (count === 0) return 0;
  if (count === 1) bits &= ~FLAG_BITS['o'];
  else if (row.name !== 'sar') bits |= FLAG_BITS['o'];
  if (count !== undefined && row.name.startsWith('sh') && count >= size) bits |= FLAG_BITS['c'];
  return bits;
}
