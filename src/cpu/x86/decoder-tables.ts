/**
 * The instruction table as the decoder in Wasm reads it: for each opcode the rows that share it, a descriptor for each
 * row, and the handler of each variant. Placed at LAYOUT.DECODER_TABLES. Little-endian.
 */
import { featureIndex } from '../../arch/x86/cpuid-features.js';
import { INSTRUCTIONS } from '../../arch/x86/instructions/index.js';
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { assert } from '../../base/assert.js';
import { LAYOUT } from '../../memory/layout.js';
import { dimensions, variants, type Variant } from './variants.js';

/** Where the parts lie, in bytes from LAYOUT.DECODER_TABLES. */
export const DECODER = {
  /** u16 for [64-bit mode][map][opcode]: index of the first candidate in CANDIDATES. */
  OPCODES: 0,
  /** ROW_SIZE bytes for each row. */
  ROWS: 4 * 1024,
  /** u16 row numbers, runs that end with 0xffff; the first run is empty. */
  CANDIDATES: 40 * 1024,
  /** u16 handler numbers: row's VARIANT_BASE + variant index. */
  VARIANTS: 64 * 1024,
  END: 192 * 1024,
} as const;

export const ROW_SIZE = 16;

/** A row's descriptor: byte offsets. */
export const ROW = {
  /** u8: 0 any, 1 none of 66 F3 F2, 2 66, 3 F3, 4 F2. */
  PREFIX: 0,
  /** u8: ModRM.reg, or 0xff. */
  DIGIT: 1,
  /** u8: 0 any, 1 register, 2 memory. */
  MOD: 2,
  /** u8: ModRM.rm, or 0xff. */
  RM: 3,
  /** u8: COND. */
  CONDITIONS: 4,
  /** u8: index of the CPU feature, or 0xff. */
  FEATURE: 5,
  /** u8: TRAIT. */
  TRAITS: 6,
  /** u8: IMMEDIATE. */
  IMMEDIATE: 7,
  /** u8: REGISTER, what goes to the record's REG. */
  REG_KIND: 8,
  /** u8: REGISTER, what goes to the record's RM when that is no memory. */
  RM_KIND: 9,
  /** u8: bytes of the memory operand (127: 512 or more), or one of MEMORY_SIZE. */
  MEMORY_SIZE: 10,
  /** u8: DIMENSION. */
  DIMENSIONS: 11,
  /** u16: first of the row's entries in VARIANTS. */
  VARIANT_BASE: 12,
  /** u8: SIZING. */
  SIZING: 14,
  /** u8: number that goes to the record's REG when REG_KIND is FIXED. */
  FIXED: 15,
} as const;

/** Conditions on REX and address size: a bit to ask, a bit for the answer. */
export const COND = { REX_W: 1, IS_W: 2, REX_B: 4, IS_B: 8, A64: 16, IS_A64: 32 } as const;

export const TRAIT = { MODRM: 1, LOCK: 2, END: 4, WRITES: 8, NO_SEGMENT: 16, NO_MOD: 32 } as const;

/** Immediates and what stands in their place. */
export const IMMEDIATE = { NONE: 0, B: 1, SB: 2, W: 3, SZ: 4, V: 5, JB: 6, JZ: 7, FAR: 8, MOFFS: 9, W_B: 10 } as const;

/** Where a record's REG or RM comes from and how it is coded. */
export const REGISTER_KIND = {
  NONE: 0,
  BYTE: 1,
  GPR: 2,
  XMM: 3,
  NUMBER3: 4,
  NUMBER4: 5,
  FIXED: 6,
  Z_BYTE: 7,
  Z: 8,
} as const;

/** Sizes of memory operands that depend on the operand size. */
export const MEMORY_SIZE = {
  V: 0x80,
  Z: 0x81,
  Y: 0x82,
  FAR: 0x83,
  PSEUDO: 0x84,
  PAIR: 0x85,
  ENV: 0x86,
  SAVE: 0x87,
} as const;

export const DIMENSION = { OSZ: 1, FORM: 2, LOCK: 4, STACK: 8 } as const;

/** How the operand size is found: by 66 and REX.W unless one of these says otherwise. */
export const SIZING = { D64: 1, F64: 2, ONLY_W: 4, AT_MOST_32: 8 } as const;

const PREFIX_CODE = { any: 0, none: 1, '66': 2, F3: 3, F2: 4 } as const;
const SEGMENT_NUMBER: Readonly<Partial<Record<Operand['kind'], number>>> = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 };

/** Memory operands without a size, by name of the instruction. */
const IMAGE_SIZE: Readonly<Partial<Record<string, number>>> = {
  fldenv: MEMORY_SIZE.ENV,
  fnstenv: MEMORY_SIZE.ENV,
  frstor: MEMORY_SIZE.SAVE,
  fnsave: MEMORY_SIZE.SAVE,
  bound: MEMORY_SIZE.PAIR,
};

function memorySize(row: Instruction): number {
  const operand = row.operands.find((each) => 'EMWQO'.includes(each.kind) && each.kind.length === 1);
  if (operand === undefined) return 0;
  const image = IMAGE_SIZE[row.name];
  if (image !== undefined) return image;
  switch (operand.size) {
    case 'b':
      return row.name === 'invlpg' ? 0 : 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'q':
      return 8;
    case 't':
      return 10;
    case 'x':
    case 'u':
      return 16;
    case 'v':
      // With a register as bit number, the byte that is accessed is found later.
      return row.name.endsWith('_reg') ? 0 : MEMORY_SIZE.V;
    case 'z':
      return MEMORY_SIZE.Z;
    case 'y':
      return MEMORY_SIZE.Y;
    case 'p':
      return MEMORY_SIZE.FAR;
    case 's':
      return MEMORY_SIZE.PSEUDO;
    case '':
      return row.name === 'lea' ? 0 : 127;
  }
}

/** Coding of a register operand; undefined for one that no ModRM or opcode field names. */
function registerKind(operand: Operand): number {
  switch (operand.kind) {
    case 'E':
    case 'G':
    case 'R':
      return operand.size === 'b' ? REGISTER_KIND.BYTE : REGISTER_KIND.GPR;
    case 'Z':
      return operand.size === 'b' ? REGISTER_KIND.Z_BYTE : REGISTER_KIND.Z;
    case 'V':
    case 'U':
    case 'W':
      return REGISTER_KIND.XMM;
    case 'P':
    case 'N':
    case 'Q':
    case 'S':
    case 'STi':
      return REGISTER_KIND.NUMBER3;
    case 'C':
    case 'D':
      return REGISTER_KIND.NUMBER4;
    default:
      return REGISTER_KIND.NONE;
  }
}

const isReg = (operand: Operand): boolean => ['G', 'S', 'C', 'D', 'V', 'P'].includes(operand.kind);
const isRm = (operand: Operand): boolean => ['E', 'R', 'U', 'W', 'N', 'Q', 'Z', 'STi'].includes(operand.kind);

function immediateKind(row: Instruction): number {
  if (row.name === 'enter') return IMMEDIATE.W_B;
  for (const { kind, size, signed } of row.operands) {
    if (kind === 'J') return size === 'b' ? IMMEDIATE.JB : IMMEDIATE.JZ;
    if (kind === 'A') return IMMEDIATE.FAR;
    if (kind === 'O') return IMMEDIATE.MOFFS;
    if (kind !== 'I') continue;
    if (size === 'b') return signed ? IMMEDIATE.SB : IMMEDIATE.B;
    if (size === 'w') return IMMEDIATE.W;
    return size === 'z' ? IMMEDIATE.SZ : IMMEDIATE.V;
  }
  return IMMEDIATE.NONE;
}

function sizing(row: Instruction): number {
  const has = (size: string): boolean => row.operands.some((operand) => operand.size === size);
  const onlyW = row.prefix === '66' || (has('y') && !has('v'));
  const atMost32 = row.operands.some(({ kind, size }) => size === 'z' && kind !== 'I' && kind !== 'J') && !has('v');
  return (
    (row.attributes.has('d64') ? SIZING.D64 : 0) |
    (row.attributes.has('f64') ? SIZING.F64 : 0) |
    (onlyW ? SIZING.ONLY_W : 0) |
    (atMost32 ? SIZING.AT_MOST_32 : 0)
  );
}

/** LEA and no-operations compute an address (or do not even that) and access nothing. */
const accessesNothing = (row: Instruction): boolean => row.name === 'lea' || row.name === 'nop' || row.name === 'ud';

/** MOV to and from control and debug registers take any ModRM.mod for a register (SDM vol. 2, MOV). */
const ignoresMod = (row: Instruction): boolean => row.operands.some(({ kind }) => kind === 'C' || kind === 'D');

function traits(row: Instruction): number {
  const memory = row.operands.find(({ kind }) => 'EMWQO'.includes(kind) && kind.length === 1);
  return (
    (row.modrm ? TRAIT.MODRM : 0) |
    (row.attributes.has('lock') ? TRAIT.LOCK : 0) |
    (row.attributes.has('end') ? TRAIT.END : 0) |
    (memory?.access === 'w' || memory?.access === 'rw' ? TRAIT.WRITES : 0) |
    (accessesNothing(row) ? TRAIT.NO_SEGMENT : 0) |
    (ignoresMod(row) ? TRAIT.NO_MOD : 0)
  );
}

function conditions(row: Instruction): number {
  const bits = (value: boolean | undefined, asks: number, is: number): number =>
    value === undefined ? 0 : value ? asks | is : asks;
  return (
    bits(row.rexW, COND.REX_W, COND.IS_W) |
    bits(row.rexB, COND.REX_B, COND.IS_B) |
    bits(row.address64, COND.A64, COND.IS_A64)
  );
}

function dimensionBits(row: Instruction): number {
  const dims = dimensions(row);
  return (
    (dims.osz === 3 ? DIMENSION.OSZ : 0) |
    (dims.form === 2 ? DIMENSION.FORM : 0) |
    (dims.lock === 2 ? DIMENSION.LOCK : 0) |
    (dims.stack === 3 ? DIMENSION.STACK : 0)
  );
}

/** What MOD asks of a row: M, R, U and N operands ask by themselves. */
function modCondition(row: Instruction): number {
  if (ignoresMod(row)) return 0;
  const kinds = row.operands.map((operand) => operand.kind);
  if (row.mod === 'mem' || kinds.includes('M')) return 2;
  if (row.mod === 'reg' || kinds.some((kind) => 'RUN'.includes(kind))) return 1;
  return 0;
}

function packRow(row: Instruction, into: DataView, at: number, variantBase: number): void {
  const set = (field: keyof typeof ROW, value: number): void => into.setUint8(at + ROW[field], value);
  const reg = row.operands.find(isReg);
  const rm = row.operands.find(isRm);
  const segment = row.operands.map(({ kind }) => SEGMENT_NUMBER[kind]).find((number) => number !== undefined);
  set('PREFIX', PREFIX_CODE[row.prefix]);
  set('DIGIT', row.digit ?? 0xff);
  set('MOD', modCondition(row));
  set('RM', row.rm ?? 0xff);
  set('CONDITIONS', conditions(row));
  set('FEATURE', row.feature === undefined ? 0xff : featureIndex(row.feature));
  set('TRAITS', traits(row));
  set('IMMEDIATE', immediateKind(row));
  set('REG_KIND', segment !== undefined ? REGISTER_KIND.FIXED : reg === undefined ? 0 : registerKind(reg));
  set('RM_KIND', rm === undefined ? 0 : registerKind(rm));
  set('MEMORY_SIZE', memorySize(row));
  set('DIMENSIONS', dimensionBits(row));
  into.setUint16(at + ROW.VARIANT_BASE, variantBase, true);
  set('SIZING', sizing(row));
  set('FIXED', segment ?? 0);
}

/** Whether an opcode byte is one of a row's: rows with a register in the opcode have eight. */
function hasOpcode(row: Instruction, map: number, opcode: number): boolean {
  if (row.map !== map) return false;
  return row.operands.some(({ kind }) => kind === 'Z') ? opcode >> 3 === row.opcode >> 3 : opcode === row.opcode;
}

/** The rows that share an opcode in 64-bit mode or outside, in the order in which they are tried. */
export function candidates(map: number, opcode: number, is64: boolean): readonly Instruction[] {
  const absent = is64 ? 'not64' : 'only64';
  return INSTRUCTIONS.filter((row) => row.mode !== absent && hasOpcode(row, map, opcode));
}

/** Packs the table. `handlerOf` numbers the interpreter's handlers; 0 … 15 are micro-records' (see micro.ts). */
export function packDecoderTables(handlerOf: (variant: Variant) => number): Uint8Array {
  const bytes = new Uint8Array(DECODER.END);
  const view = new DataView(bytes.buffer);
  let nextVariant = 0;
  INSTRUCTIONS.forEach((row, number) => {
    packRow(row, view, DECODER.ROWS + number * ROW_SIZE, nextVariant);
    for (const variant of variants(row)) view.setUint16(DECODER.VARIANTS + nextVariant++ * 2, handlerOf(variant), true);
  });
  const numbers = new Map(INSTRUCTIONS.map((row, number) => [row, number]));
  let next = 0;
  const append = (value: number): void => {
    view.setUint16(DECODER.CANDIDATES + next++ * 2, value, true);
  };
  append(0xffff);
  for (const is64 of [false, true])
    for (let map = 0; map < 4; map++)
      for (let opcode = 0; opcode < 256; opcode++) {
        const rows = candidates(map, opcode, is64);
        view.setUint16(
          DECODER.OPCODES + ((Number(is64) * 4 + map) * 256 + opcode) * 2,
          rows.length === 0 ? 0 : next,
          true,
        );
        if (rows.length === 0) continue;
        for (const row of rows) append(numbers.get(row) ?? 0xffff);
        append(0xffff);
      }
  assert(DECODER.ROWS + INSTRUCTIONS.length * ROW_SIZE <= DECODER.CANDIDATES, 'too many instructions for the decoder');
  assert(DECODER.CANDIDATES + next * 2 <= DECODER.VARIANTS, 'too many candidates for the decoder');
  assert(DECODER.VARIANTS + nextVariant * 2 <= DECODER.END, 'too many variants for the decoder');
  assert(LAYOUT.DECODER_TABLES + DECODER.END <= LAYOUT.DECODER_TABLES_END, 'no room for the tables of the decoder');
  return bytes;
}
