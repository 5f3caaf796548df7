/** From a row of the instruction table and choices for what it leaves open to the bytes of one instruction. */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';

/** How a memory operand is written. Registers are numbers 0 … 15 (in 32-bit code 0 … 7). */
export type Address =
  | {
      readonly kind: 'base';
      readonly base: number;
      readonly index: number | undefined;
      readonly scale: number;
      readonly disp: number;
      readonly wide: boolean;
    }
  /** Without a base: [index × 2^scale + disp32] or [disp32]. */
  | { readonly kind: 'absolute'; readonly index: number | undefined; readonly scale: number; readonly disp: number }
  /** RIP-relative: `target` is the linear address. */
  | { readonly kind: 'rip'; readonly target: number }
  /** 16- and 32-bit code: a displacement alone, without SIB. */
  | { readonly kind: 'displacement'; readonly disp: number }
  /** 16-bit addresses: `form` is ModRM.rm. */
  | { readonly kind: 'form16'; readonly form: number; readonly disp: number; readonly wide: boolean };

export interface Choice {
  /** Code size. */
  readonly bits: 16 | 32 | 64;
  /** Operand size in bits, of rows that depend on it or on REX.W; otherwise 32, in 16-bit code 16. */
  readonly osz: 16 | 32 | 64;
  readonly addressBits: 16 | 32 | 64;
  /** A segment override (64, 65 …) or 0. */
  readonly segment: number;
  readonly lock: boolean;
  readonly repeat: 0 | 0xf2 | 0xf3;
  /** ModRM.reg, 0 … 15, where the row does not fix it; also the register of Z operands. */
  readonly reg: number;
  /** ModRM.rm register 0 … 15, or an address. */
  readonly rm: number | Address;
  /** A REX prefix though none is needed. */
  readonly plainRex: boolean;
  /** Immediates and displacements in order. */
  readonly immediates: readonly bigint[];
}

/** Bytes of an immediate operand. */
export function immediateSize(operand: Operand, osz: 16 | 32 | 64): number {
  switch (operand.size) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'z':
      return osz === 16 ? 2 : 4;
    case 'v':
      return osz / 8;
    default:
      return 4;
  }
}

const ESCAPES: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const MANDATORY: Readonly<Record<Instruction['prefix'], number>> = { any: 0, none: 0, '66': 0x66, F2: 0xf2, F3: 0xf3 };

/** Whether REX.W selects 64 bits for the row: it does unless the size is 64 anyway. */
function needsRexW(row: Instruction, osz: number): boolean {
  if (row.rexW !== undefined) return row.rexW;
  return osz === 64 && !row.attributes.has('d64') && !row.attributes.has('f64');
}

/** Little-endian bytes. */
function littleEndian(value: bigint, size: number): number[] {
  return Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

interface ModRm {
  readonly bytes: readonly number[];
  readonly rexX: boolean;
  readonly rexB: boolean;
  /** The last four bytes are relative to the instruction's end: this target. */
  readonly ripTarget: number | undefined;
}

function encodeModRm(reg: number, rm: number | Address, addressBits: number): ModRm {
  const field = (reg & 7) << 3;
  if (typeof rm === 'number')
    return { bytes: [0xc0 | field | (rm & 7)], rexX: false, rexB: rm > 7, ripTarget: undefined };
  switch (rm.kind) {
    case 'rip':
      return { bytes: [field | 5, 0, 0, 0, 0], rexX: false, rexB: false, ripTarget: rm.target };
    case 'displacement': {
      const disp = littleEndian(BigInt.asUintN(32, BigInt(rm.disp)), addressBits / 8);
      return { bytes: [field | (addressBits === 16 ? 6 : 5), ...disp], rexX: false, rexB: false, ripTarget: undefined };
    }
    case 'form16': {
      const small = !rm.wide && rm.disp >= -128 && rm.disp < 128;
      // Form 6 without a displacement is the displacement alone.
      const none = small && rm.disp === 0 && rm.form !== 6;
      const mod = none ? 0 : small ? 0x40 : 0x80;
      const disp = none ? [] : littleEndian(BigInt.asUintN(16, BigInt(rm.disp)), small ? 1 : 2);
      return { bytes: [mod | field | rm.form, ...disp], rexX: false, rexB: false, ripTarget: undefined };
    }
    case 'absolute': {
      const index = rm.index ?? 4;
      const disp = littleEndian(BigInt.asUintN(32, BigInt(rm.disp)), 4);
      const sib = (rm.scale << 6) | ((index & 7) << 3) | 5;
      return { bytes: [field | 4, sib, ...disp], rexX: index > 7, rexB: false, ripTarget: undefined };
    }
    case 'base': {
      const needsSib = rm.index !== undefined || (rm.base & 7) === 4;
      const small = !rm.wide && rm.disp >= -128 && rm.disp < 128;
      const none = small && rm.disp === 0 && (rm.base & 7) !== 5;
      const mod = none ? 0 : small ? 0x40 : 0x80;
      const disp = none ? [] : littleEndian(BigInt.asUintN(32, BigInt(rm.disp)), small ? 1 : 4);
      const index = rm.index ?? 4;
      const sib = needsSib ? [(rm.scale << 6) | ((index & 7) << 3) | (rm.base & 7)] : [];
      return {
        bytes: [mod | field | (needsSib ? 4 : rm.base & 7), ...sib, ...disp],
        rexX: needsSib && index > 7,
        rexB: rm.base > 7,
        ripTarget: undefined,
      };
    }
  }
}

/** The instruction's bytes when it stands at `address`. */
export function encode(row: Instruction, choice: Choice, address: number): number[] {
  const bytes: number[] = [];
  if (choice.segment !== 0) bytes.push(choice.segment);
  if (choice.addressBits !== choice.bits) bytes.push(0x67);
  const sizePrefix = choice.bits === 16 ? choice.osz === 32 : choice.osz === 16;
  if (sizePrefix) bytes.push(0x66);
  if (choice.lock) bytes.push(0xf0);
  if (choice.repeat !== 0) bytes.push(choice.repeat);
  const mandatory = MANDATORY[row.prefix];
  if (mandatory !== 0 && !(mandatory === 0x66 && sizePrefix)) bytes.push(mandatory);

  const inOpcode = row.operands.some((operand) => operand.kind === 'Z');
  const inOpcodeFpu = !row.modrm && row.operands.some((operand) => operand.kind === 'STi');
  const reg = row.digit ?? choice.reg;
  let modrm: ModRm = { bytes: [], rexX: false, rexB: false, ripTarget: undefined };
  let opcode = row.opcode;
  if (row.modrm) modrm = encodeModRm(reg, row.rm ?? choice.rm, choice.addressBits);
  else if (inOpcode || inOpcodeFpu) {
    opcode += choice.reg & 7;
    modrm = { ...modrm, rexB: choice.reg > 7 };
  }
  const rex =
    (needsRexW(row, choice.osz) ? 8 : 0) |
    (row.modrm && row.digit === undefined && reg > 7 ? 4 : 0) |
    (modrm.rexX ? 2 : 0) |
    (modrm.rexB ? 1 : 0);
  if (rex !== 0 || choice.plainRex) bytes.push(0x40 | rex);
  bytes.push(...ESCAPES[row.map], opcode, ...modrm.bytes);

  const immediates: number[] = [];
  let next = 0;
  for (const operand of row.operands) {
    if (operand.kind === 'I' || operand.kind === 'J')
      immediates.push(...littleEndian(choice.immediates[next++], immediateSize(operand, choice.osz)));
    else if (operand.kind === 'A') immediates.push(...littleEndian(choice.immediates[next++], choice.osz / 8 + 2));
    else if (operand.kind === 'O') immediates.push(...littleEndian(choice.immediates[next++], choice.addressBits / 8));
  }
  if (modrm.ripTarget !== undefined) {
    const end = address + bytes.length + immediates.length;
    const disp = littleEndian(BigInt.asUintN(32, BigInt(modrm.ripTarget - end)), 4);
    bytes.splice(bytes.length - 4, 4, ...disp);
  }
  return [...bytes, ...immediates];
}
