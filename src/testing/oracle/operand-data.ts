/** What the operands of a row hold: how many bytes, in which format. */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { CASE, WINDOW_SIZE } from './case-format.js';
import type { Random } from './random.js';
import { writeBcd, writeF32, writeF64, writeF80, writeInt, writeVector, type Format } from './values.js';

/** Bytes of memory that an operand takes. */
export function operandBytes(row: Instruction, operand: Operand, osz: number): number {
  switch (operand.size) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'q':
      return 8;
    case 'x':
    case 'u':
      return 16;
    case 't':
      return 10;
    case 'v':
      return osz / 8;
    case 'z':
      return osz === 16 ? 2 : 4;
    case 'y':
      return osz === 64 ? 8 : 4;
    case 'p':
      return 10;
    case 's':
      return 10;
    case '':
      break;
  }
  if (row.name.startsWith('x')) return 576;
  if (row.name.startsWith('fx')) return 512;
  if (/^(frstor|fnsave)$/.test(row.name)) return osz === 16 ? 94 : 108;
  return osz === 16 ? 14 : 28;
}

/** Format of the vectors and floating-point values that a row works on. */
export function dataFormat(row: Instruction): Format {
  const { mnemonic, name } = row;
  if (/bstp$|^fbld/.test(name)) return 'bcd';
  if (row.feature === 'fpu' || /^f(comi|ucomi|cmov|isttp)/.test(name)) {
    if (name.startsWith('fi')) return 'int';
    return name.endsWith('_m32') ? 'f32' : name.endsWith('_m64') ? 'f64' : 'f80';
  }
  if (/^cvt(t?)(dq|pi|si)2/.test(mnemonic)) return 'int';
  if (/^cvtt?[ps]d2/.test(mnemonic)) return 'f64';
  if (/^cvtt?[ps]s2/.test(mnemonic)) return 'f32';
  if (mnemonic.startsWith('p')) return 'int';
  if (/(ps|ss)$/.test(mnemonic)) return 'f32';
  if (/(pd|sd|ddup)$/.test(mnemonic)) return 'f64';
  return 'int';
}

/** Whether the row's operands are floating-point (x87 or SSE), or touch MMX or XMM registers at all. */
export function usesX87(row: Instruction): boolean {
  return (
    row.feature === 'fpu' ||
    /^f[a-z]/.test(row.name) ||
    row.operands.some(({ kind }) => 'PQN'.includes(kind)) ||
    row.name === 'emms'
  );
}

export function usesXmm(row: Instruction): boolean {
  return row.operands.some(({ kind }) => 'VUW'.includes(kind)) || /^(fx|x(save|rstor))/.test(row.name);
}

/** Writes a fitting value where the memory operand lies, if that is inside the window. */
export function writeOperand(
  r: Random,
  row: Instruction,
  operand: Operand,
  target: Buffer,
  at: number,
  osz: number,
): void {
  const size = operandBytes(row, operand, osz);
  if (at < 0 || at + size > WINDOW_SIZE) return;
  const place = CASE.WINDOW + at;
  if (operand.size === '') {
    if (size >= 512) writeImage(r, row, target, place);
    else if (row.feature === 'fpu') writeEnvironment(r, target, place, osz);
    return;
  }
  const format = dataFormat(row);
  if (size === 16) writeVector(r, target, place, format);
  else if (size === 10) (format === 'bcd' ? writeBcd : writeF80)(r, target, place);
  else if (size === 4 && format === 'f32') writeF32(r, target, place);
  else if (size === 8 && format === 'f64') writeF64(r, target, place);
  else if (size === 8 && format === 'f32') {
    writeF32(r, target, place);
    writeF32(r, target, place + 4);
  } else if (row.name === 'ldmxcsr') target.writeUInt32LE(r.oneIn(10) ? r.u32() : r.below(0x10000), place);
  else writeInt(r, target, place, size & 1 ? 1 : size);
}

/** An image for FXRSTOR and XRSTOR: control words as they may be, the XSAVE header right or slightly wrong. */
function writeImage(r: Random, row: Instruction, target: Buffer, at: number): void {
  target.writeUInt16LE(r.oneIn(4) ? r.below(0x10000) : 0x37f, at);
  target.writeUInt32LE(r.oneIn(10) ? r.u32() : r.below(0x10000), at + 24);
  for (let i = 0; i < 8; i++) writeF80(r, target, at + 32 + 16 * i);
  if (row.name.startsWith('fx')) return;
  const header = at + 512;
  target.fill(0, header, header + 64);
  target[header] = r.below(4);
  if (r.oneIn(3)) {
    target[header + 8] = r.oneIn(4) ? r.below(4) : 3;
    target[header + 15] = 0x80;
  }
  // A component that no processor has (bits 55:48), or a reserved byte. Those in between depend on the host's XCR0.
  if (r.oneIn(10)) target[header + (r.oneIn(3) ? 6 : 16 + r.below(48))] = r.below(256);
}

/** An environment for FLDENV and FRSTOR, in the form of the operand size. */
function writeEnvironment(r: Random, target: Buffer, at: number, osz: number): void {
  const step = osz === 16 ? 2 : 4;
  target.writeUInt16LE(r.oneIn(3) ? r.below(0x10000) : 0x37f, at);
  target.writeUInt16LE(r.oneIn(3) ? r.below(0x10000) : r.below(0x10000) & 0x7f40, at + step);
  target.writeUInt16LE(r.below(0x10000), at + 2 * step);
}
