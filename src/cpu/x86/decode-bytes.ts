/**
 * Decodes one instruction from bytes, for whoever looks at code without running it: disassembler, traces, debugger, tests.
 * Follows the same table as the decoder in Wasm (assembly/decode.ts), in its own way, so that each checks the other.
 */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { candidates } from './decoder-tables.js';

/** The longest instruction in bytes, SDM vol. 2 §2.3.11. */
export const MAX_INSTRUCTION_LENGTH = 15;

export type CodeSize = 16 | 32 | 64;

/** A memory operand's address; registers by number. */
export interface DecodedAddress {
  /** Segment that is used. */
  readonly segment: number;
  readonly base: number | 'rip' | undefined;
  readonly index: number | undefined;
  readonly scale: 1 | 2 | 4 | 8;
  /** Sign-extended; for memory offsets without ModRM unsigned. */
  readonly displacement: bigint;
  /** Whether the encoding has a displacement, though it be 0. */
  readonly hasDisplacement: boolean;
}

export interface DecodedInstruction {
  readonly row: Instruction;
  /** Bytes. */
  readonly length: number;
  readonly osz: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
  /** REX byte, or 0. */
  readonly rex: number;
  readonly modrm: number;
  /** Last opcode byte as it stands. */
  readonly opcode: number;
  readonly lock: boolean;
  readonly rep: 'rep' | 'repne' | undefined;
  /** Segment override as written, whether it counts or not. */
  readonly override: number | undefined;
  readonly memory: DecodedAddress | undefined;
  /** By operand: immediates extended as the operand says, branch distances, offsets of far pointers. */
  readonly immediates: readonly bigint[];
  /** Selector of a far pointer. */
  readonly selector: number | undefined;
}

/** Thrown inside when the bytes end; never leaves this file. */
class OutOfBytes extends Error {}

class Bytes {
  at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  peek(): number {
    if (this.at >= this.bytes.length || this.at >= MAX_INSTRUCTION_LENGTH) throw new OutOfBytes();
    return this.bytes[this.at];
  }

  u8(): number {
    const value = this.peek();
    this.at++;
    return value;
  }

  /** Little-endian, sign-extended. */
  signed(size: number): bigint {
    let value = 0n;
    for (let n = 0; n < size; n++) value |= BigInt(this.u8()) << BigInt(n * 8);
    return BigInt.asIntN(size * 8, value);
  }

  unsigned(size: number): bigint {
    return BigInt.asUintN(size * 8, this.signed(size));
  }
}

interface Prefixes {
  rex: number;
  operand: boolean;
  address: boolean;
  lock: boolean;
  rep: 'rep' | 'repne' | undefined;
  override: number | undefined;
}

const SEGMENT_PREFIXES = new Map([
  [0x26, 0],
  [0x2e, 1],
  [0x36, 2],
  [0x3e, 3],
  [0x64, 4],
  [0x65, 5],
]);

function readPrefixes(bytes: Bytes, mode: CodeSize): Prefixes {
  const found: Prefixes = { rex: 0, operand: false, address: false, lock: false, rep: undefined, override: undefined };
  for (; ; bytes.at++) {
    const byte = bytes.peek();
    const segment = SEGMENT_PREFIXES.get(byte);
    if (mode === 64 && byte >> 4 === 4) {
      found.rex = byte;
      continue;
    }
    if (byte === 0x66) found.operand = true;
    else if (byte === 0x67) found.address = true;
    else if (byte === 0xf0) found.lock = true;
    else if (byte === 0xf2) found.rep = 'repne';
    else if (byte === 0xf3) found.rep = 'rep';
    else if (segment !== undefined) {
      if (mode !== 64 || segment >= 4) found.override = segment;
    } else return found;
    found.rex = 0;
  }
}

function matches(row: Instruction, prefixes: Prefixes, modrm: number, addressSize: number): boolean {
  const { rex } = prefixes;
  const mandatory =
    prefixes.rep === 'rep' ? 'F3' : prefixes.rep === 'repne' ? 'F2' : prefixes.operand ? '66' : ('none' as const);
  if (row.prefix !== 'any' && row.prefix !== mandatory) return false;
  if (row.digit !== undefined && row.digit !== ((modrm >> 3) & 7)) return false;
  const kinds = row.operands.map(({ kind }) => kind);
  if (!kinds.includes('C') && !kinds.includes('D') && row.modrm) {
    const isRegister = modrm >= 0xc0;
    if (row.mod !== undefined && (row.mod === 'reg') !== isRegister) return false;
    if (kinds.includes('M') && isRegister) return false;
    if (kinds.some((kind) => 'RUN'.includes(kind)) && !isRegister) return false;
  }
  if (row.rm !== undefined && row.rm !== (modrm & 7)) return false;
  if (row.rexW !== undefined && row.rexW !== ((rex & 8) !== 0)) return false;
  if (row.rexB !== undefined && row.rexB !== ((rex & 1) !== 0)) return false;
  return row.address64 === undefined || row.address64 === (addressSize === 64);
}

function operandSize(row: Instruction, prefixes: Prefixes, mode: CodeSize): 16 | 32 | 64 {
  const wide = (prefixes.rex & 8) !== 0;
  const has = (size: string): boolean => row.operands.some((operand) => operand.size === size);
  const ignores66 = row.prefix === '66' || (has('y') && !has('v'));
  if (mode !== 64) {
    if (ignores66) return 32;
    return prefixes.operand === (mode === 16) ? 32 : 16;
  }
  if (row.attributes.has('f64')) return 64;
  if (wide) {
    const narrow = row.operands.some(({ kind, size }) => size === 'z' && kind !== 'I' && kind !== 'J') && !has('v');
    return narrow ? 32 : 64;
  }
  if (ignores66) return 32;
  if (prefixes.operand) return 16;
  return row.attributes.has('d64') ? 64 : 32;
}

/** Base and index of the 16-bit forms. */
const FORMS_16 = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, undefined],
  [7, undefined],
  [5, undefined],
  [3, undefined],
] as const;

function readAddress(bytes: Bytes, modrm: number, rex: number, addressSize: number, mode: CodeSize): DecodedAddress {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  const SS = 2;
  const DS = 3;
  if (addressSize === 16) {
    if (mod === 0 && rm === 6)
      return {
        segment: DS,
        base: undefined,
        index: undefined,
        scale: 1,
        displacement: bytes.signed(2),
        hasDisplacement: true,
      };
    const [base, index] = FORMS_16[rm];
    const displacement = mod === 0 ? 0n : bytes.signed(mod);
    return { segment: base === 5 ? SS : DS, base, index, scale: 1, displacement, hasDisplacement: mod !== 0 };
  }
  const extended = (rex & 1) << 3;
  let base: DecodedAddress['base'] = rm | extended;
  let index: number | undefined;
  let scale: DecodedAddress['scale'] = 1;
  let low = rm;
  if (rm === 4) {
    const sib = bytes.u8();
    low = sib & 7;
    base = low | extended;
    const number = ((sib >> 3) & 7) | ((rex & 2) << 2);
    if (number !== 4) {
      index = number;
      scale = (1 << (sib >> 6)) as DecodedAddress['scale'];
    }
  }
  if (mod === 0 && low === 5) base = rm === 5 && mode === 64 ? 'rip' : undefined;
  const displacement = mod === 1 ? bytes.signed(1) : mod === 2 || (mod === 0 && low === 5) ? bytes.signed(4) : 0n;
  return {
    segment: base === 4 || base === 5 ? SS : DS,
    base,
    index,
    scale,
    displacement,
    hasDisplacement: mod !== 0 || low === 5,
  };
}

function readImmediate(bytes: Bytes, operand: Operand, osz: number): bigint {
  const { kind, size, signed } = operand;
  if (kind === 'J') return bytes.signed(size === 'b' ? 1 : osz === 16 ? 2 : 4);
  if (kind === 'A') return bytes.unsigned(osz === 16 ? 2 : 4);
  const length = size === 'b' ? 1 : size === 'w' ? 2 : size === 'v' ? osz / 8 : osz === 16 ? 2 : 4;
  return signed ? bytes.signed(length) : bytes.unsigned(length);
}

function decodeFrom(bytes: Bytes, mode: CodeSize): DecodedInstruction | undefined {
  const prefixes = readPrefixes(bytes, mode);
  let map = 0;
  let opcode = bytes.u8();
  if (opcode === 0x0f) {
    map = 1;
    opcode = bytes.u8();
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode === 0x38 ? 2 : 3;
      opcode = bytes.u8();
    }
  }
  const rows = candidates(map, opcode, mode === 64);
  if (rows.length === 0) return undefined;
  const modrm = rows[0].modrm ? bytes.u8() : 0;
  const other = mode === 32 ? 16 : 32;
  const addressSize = prefixes.address ? other : mode;
  const row = rows.find((each) => matches(each, prefixes, modrm, addressSize));
  if (row === undefined) return undefined;
  const osz = operandSize(row, prefixes, mode);
  const hasMod = !row.operands.some(({ kind }) => kind === 'C' || kind === 'D');
  let memory: DecodedAddress | undefined;
  if (row.modrm && modrm < 0xc0 && hasMod) memory = readAddress(bytes, modrm, prefixes.rex, addressSize, mode);
  const immediates = row.operands.map((operand) => {
    if ('IJA'.includes(operand.kind)) return readImmediate(bytes, operand, osz);
    if (operand.kind === 'O')
      memory = {
        segment: 3,
        base: undefined,
        index: undefined,
        scale: 1,
        displacement: bytes.unsigned(addressSize / 8),
        hasDisplacement: true,
      };
    return 0n;
  });
  const selector = row.operands.some(({ kind }) => kind === 'A') ? Number(bytes.unsigned(2)) : undefined;
  const isLockable = row.attributes.has('lock') && memory !== undefined;
  if (prefixes.lock && !isLockable) return undefined;
  return {
    row,
    length: bytes.at,
    osz,
    addressSize,
    rex: prefixes.rex,
    modrm,
    opcode,
    lock: prefixes.lock,
    rep: prefixes.rep,
    override: prefixes.override,
    memory: memory && { ...memory, segment: prefixes.override ?? memory.segment },
    immediates,
    selector,
  };
}

/** The instruction at the start of `bytes`; undefined when it is none or longer than the bytes. Any CPU feature is taken for present. */
export function decodeBytes(bytes: Uint8Array, mode: CodeSize): DecodedInstruction | undefined {
  try {
    return decodeFrom(new Bytes(bytes), mode);
  } catch (error) {
    if (error instanceof OutOfBytes) return undefined;
    throw error;
  }
}
