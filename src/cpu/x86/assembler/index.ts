export { Assembler, AssemblerError } from './assembler.js';
export type { Bits } from './match.js';
export {
  R,
  byte,
  dword,
  far,
  offset,
  ptr,
  qword,
  tbyte,
  times,
  word,
  xmmword,
  type AsmOperand,
  type Far,
  type Label,
  type LabelOffset,
  type Memory,
  type Register,
} from './operands.js';
