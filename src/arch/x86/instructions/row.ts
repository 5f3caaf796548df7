/**
 * The shape of the instruction table. A row is one encoding of one instruction; the rows are the one source from which
 * decoder, interpreter, translator, disassembler, assembler and generated tests are made. Names of operands and their
 * sizes are those of the opcode maps, Intel SDM vol. 2 appendix A.2 (revision 083).
 */

import type { Feature } from '../cpuid-features.js';

/** Where an operand comes from, SDM vol. 2 §A.2.1, and a few fixed ones. */
export type OperandKind =
  /** ModRM.rm: general register or memory. */
  | 'E'
  /** ModRM.reg: general register. */
  | 'G'
  /** ModRM.rm: memory only. */
  | 'M'
  /** ModRM.rm: general register only. */
  | 'R'
  /** Register in the low three opcode bits (REX.B extends). */
  | 'Z'
  /** Immediate. */
  | 'I'
  /** Relative branch displacement. */
  | 'J'
  /** Far pointer immediate. */
  | 'A'
  /** Memory offset without ModRM. */
  | 'O'
  /** ModRM.reg: segment, control, debug register. */
  | 'S'
  | 'C'
  | 'D'
  /** ModRM.reg / ModRM.rm-only / ModRM.rm-or-memory: XMM. */
  | 'V'
  | 'U'
  | 'W'
  /** ModRM.reg / ModRM.rm-only / ModRM.rm-or-memory: MMX. */
  | 'P'
  | 'N'
  | 'Q'
  /** String operands DS:rSI and ES:rDI. */
  | 'X'
  | 'Y'
  /** x87 ST(0), ST(i) with i in ModRM.rm. */
  | 'ST0'
  | 'STi'
  /** Fixed registers and constants: AL, rAX, CL, DX, a segment register, the constant 1. */
  | 'AL'
  | 'rAX'
  | 'CL'
  | 'DX'
  | 'ES'
  | 'CS'
  | 'SS'
  | 'DS'
  | 'FS'
  | 'GS'
  | 'XMM0'
  | 'one';

/**
 * Operand size: b 8, w 16, d 32, q 64, x 128 bits (packed, aligned in memory for legacy SSE), u 128 bits unaligned, t 80 bits,
 * v 16/32/64 by operand size, z 16/32 (an immediate, extended to the operand size), y 32/64 (by REX.W),
 * p far pointer, s pseudo-descriptor, '' opaque or none (a state image, an address only).
 */
export type OperandSize = 'b' | 'w' | 'd' | 'q' | 'x' | 'u' | 't' | 'v' | 'z' | 'y' | 'p' | 's' | '';

/** How an instruction uses an operand. */
export type OperandAccess = 'r' | 'w' | 'rw' | 'none';

export interface Operand {
  readonly kind: OperandKind;
  readonly size: OperandSize;
  readonly access: OperandAccess;
  /** An immediate byte (or z) that is sign-extended to the operand size. */
  readonly signed: boolean;
}

/** Mandatory prefix. 'any': none is; 66 selects the operand size, F2/F3 repeat or are ignored. 'none': 66, F2, F3 select another row. */
export type MandatoryPrefix = 'any' | 'none' | '66' | 'F3' | 'F2';

/** Arithmetic flags of an instruction: letters of `oszapc`. */
export interface FlagUse {
  /** Read. */
  readonly tested: string;
  /** Written with a defined value (also when only sometimes). */
  readonly modified: string;
  /** Left undefined by the architecture: comparisons mask them. */
  readonly undefined: string;
}

export type Attribute =
  /** LOCK is allowed with a memory destination. */
  | 'lock'
  /** F3/F2 repeat it: REP, REPE/REPNE. */
  | 'rep'
  | 'repcc'
  /** Operand size follows 66/REX.W though no operand shows it (PUSHF, IRET, CBW, string instructions …). */
  | 'osz'
  /** In 64-bit mode the operand size is 64 by default and cannot be 32 (PUSH, near branches: 'f64' ignores 66 too). */
  | 'd64'
  | 'f64'
  /** Uses the stack: has variants by the kind of stack. */
  | 'stack'
  /** Ends a run of records: the next instruction in memory is not (always) the next executed. */
  | 'branch'
  /** Never falls through. */
  | 'end'
  /** Needs CPL 0; IOPL-sensitive; an I/O instruction. */
  | 'cpl0'
  | 'iopl'
  | 'io'
  /** Not in real or V86 mode: raises #UD there. */
  | 'protected'
  /** Changes or depends on more than registers and memory operands (generated tests leave it out). */
  | 'system'
  /** Result depends on the processor's make (RCPPS, undefined results): generated tests compare with a tolerance or leave it out. */
  | 'approximate';

/** A row. Where two rows match the same bytes, the first in the table counts, and its conditions are the narrower ones. */
export interface Instruction {
  /** Lower case, as a disassembler prints it (Intel syntax). With slashes: by operand size 16/32/64 ('cbw/cwde/cdqe'). */
  readonly mnemonic: string;
  /** What it does: key of its semantics, or of the helper `x_<name>`. The same mnemonic has several when operands change the meaning. */
  readonly name: string;
  /** Opcode map: 0 one-byte, 1 0F, 2 0F 38, 3 0F 3A. */
  readonly map: 0 | 1 | 2 | 3;
  /** Last opcode byte (of the first register with 'Z' and x87 STi forms, which take eight). */
  readonly opcode: number;
  readonly prefix: MandatoryPrefix;
  /** Whether a ModRM byte follows. */
  readonly modrm: boolean;
  /** ModRM.reg must be this. */
  readonly digit: number | undefined;
  /** ModRM.mod must be 3, or must not. */
  readonly mod: 'reg' | 'mem' | undefined;
  /** ModRM.rm must be this (with mod 3): 0F 01 C8, D9 E0 … */
  readonly rm: number | undefined;
  readonly mode: 'all' | 'not64' | 'only64';
  /** REX.W must be this; undefined: either. */
  readonly rexW: boolean | undefined;
  /** REX.B must be this; undefined: either. Tells NOP (90) from XCHG R8, rAX. */
  readonly rexB: boolean | undefined;
  /** The address size must (or must not) be 64; undefined: either. Tells the 8-byte memory offsets of A0 … A3 apart. */
  readonly address64: boolean | undefined;
  readonly operands: readonly Operand[];
  readonly attributes: ReadonlySet<Attribute>;
  readonly flags: FlagUse;
  /** CPUID feature that gates it (a name of cpuid-features.ts); undefined: always there (486 and before). */
  readonly feature: Feature | undefined;
}
