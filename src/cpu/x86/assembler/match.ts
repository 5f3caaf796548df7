/** Which rows of the instruction table an instruction as written can be, and with which operand size. */
import { INSTRUCTIONS } from '../../../arch/x86/instructions/index.js';
import type { Instruction, Operand } from '../../../arch/x86/instructions/row.js';
import { isLabel, type AsmOperand, type Register } from './operands.js';

export type Bits = 16 | 32 | 64;

/** A row that an instruction can be encoded with. */
export interface Match {
  readonly row: Instruction;
  readonly osz: Bits;
  /** The operands as the row has them; undefined for those that are implied. */
  readonly operands: readonly (AsmOperand | undefined)[];
}

export interface Request {
  readonly mnemonic: string;
  readonly operands: readonly AsmOperand[];
  readonly mode: Bits;
  /** Operand size that was asked for (o16, o32, o64). */
  readonly osz: Bits | undefined;
}

interface Spelling {
  readonly row: Instruction;
  /** The operand size that this spelling stands for; undefined: any, or the mode's own. */
  readonly osz: Bits | undefined;
}

const SIZES: readonly Bits[] = [16, 32, 64];
/** Names without a size, for the mode's own. */
const SIZELESS: Readonly<Partial<Record<string, string>>> = {
  pushfw: 'pushf',
  popfw: 'popf',
  pushaw: 'pusha',
  popaw: 'popa',
  iretw: 'iret',
};
const ALIASES: Readonly<Partial<Record<string, readonly string[]>>> = {
  jb: ['jc', 'jnae'],
  jae: ['jnc', 'jnb'],
  je: ['jz'],
  jne: ['jnz'],
  jbe: ['jna'],
  ja: ['jnbe'],
  jp: ['jpe'],
  jnp: ['jpo'],
  jl: ['jnge'],
  jge: ['jnl'],
  jle: ['jng'],
  jg: ['jnle'],
  jrcxz: ['jecxz', 'jcxz'],
  loope: ['loopz'],
  loopne: ['loopnz'],
  shl: ['sal'],
  xlat: ['xlatb'],
};

function spellings(): ReadonlyMap<string, readonly Spelling[]> {
  const map = new Map<string, Spelling[]>();
  const add = (name: string, spelling: Spelling): void => {
    const list = map.get(name);
    if (list) list.push(spelling);
    else map.set(name, [spelling]);
  };
  for (const row of INSTRUCTIONS) {
    const names = row.mnemonic.split('/');
    names.forEach((name, n) => add(name, { row, osz: names.length > 1 ? SIZES[n] : undefined }));
    const sizeless = SIZELESS[names[0]];
    if (sizeless !== undefined) add(sizeless, { row, osz: undefined });
    for (const alias of ALIASES[row.mnemonic] ?? []) add(alias, { row, osz: undefined });
    for (const [from, to] of [
      ['set', 'set'],
      ['cmov', 'cmov'],
    ])
      if (row.mnemonic.startsWith(from))
        for (const alias of ALIASES[`j${row.mnemonic.slice(from.length)}`] ?? [])
          add(to + alias.slice(1), { row, osz: undefined });
    // Strings by their letter: STOSB, STOSW, STOSD, STOSQ.
    if (row.operands.some(({ kind }) => kind === 'X' || kind === 'Y')) {
      if (row.name.endsWith('b')) add(row.name, { row, osz: undefined });
      else ['w', 'd', 'q'].forEach((letter, n) => add(row.mnemonic + letter, { row, osz: SIZES[n] }));
    }
  }
  return map;
}

const SPELLINGS = spellings();

export const isMnemonic = (name: string): boolean => SPELLINGS.has(name);

const FIXED_GPR: Readonly<Partial<Record<string, readonly [number: number, size: number]>>> = {
  AL: [0, 8],
  CL: [1, 8],
  DX: [2, 16],
};
const SEGMENT_KINDS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];

/** Bytes of a memory operand of a row; undefined: any. */
function memorySize(operand: Operand, osz: Bits): number | undefined {
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
    case 's':
    case '':
      return undefined;
  }
}

function registerMatches(operand: Operand, given: Register, osz: Bits, mode: Bits): boolean {
  const gpr = (bits: number): boolean => given.class === 'gpr' && given.size === bits;
  switch (operand.kind) {
    case 'E':
    case 'G':
    case 'R':
    case 'Z':
      if (operand.size === '') return gpr(mode === 64 ? 64 : 32);
      return gpr((memorySize(operand, osz) ?? 0) * 8);
    case 'rAX':
      return given.number === 0 && gpr(operand.size === 'z' ? Math.min(osz, 32) : osz);
    case 'AL':
    case 'CL':
    case 'DX': {
      const [number, size] = FIXED_GPR[operand.kind] ?? [0, 0];
      return gpr(size) && given.number === number && !given.high;
    }
    case 'S':
      return given.class === 'segment';
    case 'C':
      return given.class === 'control';
    case 'D':
      return given.class === 'debug';
    case 'V':
    case 'U':
    case 'W':
      return given.class === 'xmm';
    case 'P':
    case 'N':
    case 'Q':
      return given.class === 'mmx';
    case 'STi':
      return given.class === 'x87';
    case 'ST0':
      return given.class === 'x87' && given.number === 0;
    case 'XMM0':
      return given.class === 'xmm' && given.number === 0;
    default:
      return given.class === 'segment' && SEGMENT_KINDS[given.number] === operand.kind;
  }
}

const MEMORY_KINDS = new Set(['E', 'M', 'W', 'Q']);

/** The value as a signed number of so many bits; undefined when it does not fit, signed or unsigned. */
export function signed(value: bigint, bits: number): bigint | undefined {
  if (value < -(1n << BigInt(bits - 1)) || value >= 1n << BigInt(bits)) return undefined;
  return BigInt.asIntN(bits, value);
}

function immediateMatches(operand: Operand, given: AsmOperand, osz: Bits, row: Instruction): boolean {
  if (isLabel(given)) return operand.size === 'v' || operand.size === 'z';
  if (typeof given !== 'number' && typeof given !== 'bigint') return false;
  const value = BigInt(given);
  switch (operand.size) {
    case 'b': {
      if (!operand.signed) return signed(value, 8) !== undefined;
      const whole = signed(value, osz);
      return whole !== undefined && whole >= -128n && whole < 128n;
    }
    case 'w':
      return signed(value, 16) !== undefined;
    case 'z': {
      const whole = signed(value, row.operands.some(({ size }) => size === 'v') ? osz : Math.min(osz, 32));
      return whole !== undefined && (osz !== 64 || (whole >= -(1n << 31n) && whole < 1n << 31n));
    }
    default:
      return signed(value, osz) !== undefined;
  }
}

function operandMatches(operand: Operand, given: AsmOperand, osz: Bits, mode: Bits, row: Instruction): boolean {
  if (operand.kind === 'one') return given === 1 || given === 1n;
  if (operand.kind === 'I') return immediateMatches(operand, given, osz, row);
  if (operand.kind === 'J') return typeof given === 'number' || typeof given === 'bigint' || isLabel(given);
  if (typeof given !== 'object') return false;
  if (operand.kind === 'A') return given.kind === 'far';
  if (given.kind === 'register') return registerMatches(operand, given, osz, mode);
  if (given.kind !== 'memory') return false;
  if (operand.kind === 'O') {
    if (given.base !== undefined || given.index !== undefined) return false;
  } else if (!MEMORY_KINDS.has(operand.kind)) return false;
  const size = memorySize(operand, osz);
  return given.size === undefined || size === undefined || given.size === size;
}

/** Operands that may be left out when an instruction is written. */
const IMPLIED = new Set(['X', 'Y', 'XMM0']);

function align(
  row: Instruction,
  given: readonly AsmOperand[],
  spelledOut: boolean,
): (AsmOperand | undefined)[] | undefined {
  if (row.operands.length === given.length) return [...given];
  const isString = row.operands.some(({ kind }) => kind === 'X' || kind === 'Y');
  if (isString) return given.length === 0 && spelledOut ? row.operands.map(() => undefined) : undefined;
  const written = row.operands.filter(({ kind }) => !IMPLIED.has(kind));
  if (written.length !== given.length) return undefined;
  let next = 0;
  return row.operands.map(({ kind }) => (IMPLIED.has(kind) ? undefined : given[next++]));
}

/** Operand sizes that a row can have in a mode, the mode's own first. */
function sizesOf(row: Instruction, mode: Bits): readonly Bits[] {
  if (row.attributes.has('f64')) return mode === 64 ? [64] : mode === 32 ? [32, 16] : [16, 32];
  if (row.attributes.has('d64') && mode === 64) return [64, 16];
  if (mode === 64) return [32, 64, 16];
  return mode === 32 ? [32, 16] : [16, 32];
}

/** Whether a row's operand size is visible in its encoding. */
export function hasOperandSize(row: Instruction): boolean {
  const attributes = row.attributes;
  if (attributes.has('osz') || attributes.has('d64') || attributes.has('f64')) return true;
  return row.operands.some(({ size }) => size === 'v' || size === 'z' || size === 'y' || size === 'p');
}

/** Every way to encode an instruction, the table's order first, then that of sizes. */
export function matches(request: Request): Match[] {
  const found: Match[] = [];
  for (const { row, osz: spelled } of SPELLINGS.get(request.mnemonic) ?? []) {
    if (row.mode !== 'all' && (row.mode === 'only64') !== (request.mode === 64)) continue;
    const operands = align(row, request.operands, spelled !== undefined || row.mnemonic !== request.mnemonic);
    if (operands === undefined) continue;
    const wanted = request.osz ?? spelled;
    const sizes = hasOperandSize(row) ? sizesOf(row, request.mode) : ([32] as const);
    let own = true;
    for (const osz of sizes) {
      if (wanted !== undefined && hasOperandSize(row) && osz !== wanted) continue;
      const fits = operands.every(
        (given, n) => given === undefined || operandMatches(row.operands[n], given, osz, request.mode, row),
      );
      // Without an operand that tells, the mode's own size counts.
      const tells = row.operands.some(({ size, kind }, n) => {
        const given = operands[n];
        if (size !== 'v' && size !== 'z' && size !== 'y') return false;
        return typeof given === 'object' && (given.kind === 'register' || given.kind === 'memory') && kind !== 'O';
      });
      if (fits && (own || tells || wanted !== undefined)) found.push({ row, osz, operands });
      own = false;
    }
  }
  return found;
}
