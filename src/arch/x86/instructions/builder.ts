/**
 * The notation in which the files of this folder write rows.
 *
 * Operands, separated by commas: kind and size as in the opcode maps (`Ev`, `Gb`, `Ib`), after `=` when written, `+`
 * when read and written, `-` when only their address counts, `s` when an immediate is sign-extended: `+Ev,sIb`.
 *
 * Encoding: an optional mandatory prefix (`NP`: none of 66, F2, F3), the map (none, `0F`, `0F38`, `0F3A`), the opcode, then any of
 * `/0` … `/7` (ModRM.reg), `mod3`, `mem` (ModRM.mod), a second byte of C0 … FF (the whole ModRM), `W0`, `W1`, `B0` (REX),
 * `a64`, `a32` (address size is, is not 64), `i64`, `o64` (not, only in 64-bit mode).
 */
import type { Feature } from '../cpuid-features.js';
import type {
  Attribute,
  FlagUse,
  Instruction,
  MandatoryPrefix,
  Operand,
  OperandAccess,
  OperandKind,
  OperandSize,
} from './row.js';

export interface RowOptions {
  /** Defaults to the mnemonic. */
  readonly name?: string;
  /** Arithmetic flags written: letters of `oszapc`; capitals: left undefined. */
  readonly flags?: string;
  /** Arithmetic flags read. */
  readonly tests?: string;
  /** Attributes, separated by blanks. */
  readonly is?: string;
  readonly feature?: Feature;
}

/** Operands that are a register or a constant by themselves, and their size where their name does not go on with one. */
const FIXED: Readonly<Record<string, readonly [OperandKind, OperandSize]>> = {
  AL: ['AL', 'b'],
  rAXv: ['rAX', 'v'],
  rAXz: ['rAX', 'z'],
  CL: ['CL', 'b'],
  DX: ['DX', 'w'],
  ES: ['ES', 'w'],
  CS: ['CS', 'w'],
  SS: ['SS', 'w'],
  DS: ['DS', 'w'],
  FS: ['FS', 'w'],
  GS: ['GS', 'w'],
  ST0: ['ST0', 't'],
  STi: ['STi', 't'],
  XMM0: ['XMM0', 'x'],
  one: ['one', 'b'],
};

const ACCESS: Readonly<Partial<Record<string, OperandAccess>>> = { '=': 'w', '+': 'rw', '-': 'none' };

function parseOperand(text: string): Operand {
  const access = ACCESS[text[0]];
  const body = access === undefined ? text : text.slice(1);
  const signed = body.startsWith('s');
  const name = signed ? body.slice(1) : body;
  const fixed = Object.hasOwn(FIXED, name) ? FIXED[name] : undefined;
  if (fixed === undefined && !/^[EGMRZIJAOSCDVUWPNQXY][bwdqxutvzyps]?$/.test(name))
    throw new Error(`bad operand ${text}`);
  const [kind, size] = fixed ?? [name[0] as OperandKind, name.slice(1) as OperandSize];
  return { kind, size, access: access ?? 'r', signed };
}

function parseFlags(options: RowOptions): FlagUse {
  const flags = options.flags ?? '';
  return {
    tested: options.tests ?? '',
    modified: flags.replace(/[A-Z]/g, ''),
    undefined: flags.replace(/[a-z]/g, '').toLowerCase(),
  };
}

type Encoding = {
  -readonly [
    Key in 'map' | 'opcode' | 'prefix' | 'digit' | 'mod' | 'rm' | 'mode' | 'rexW' | 'rexB' | 'address64'
  ]: Instruction[Key];
};

const PREFIXES: Readonly<Record<string, MandatoryPrefix>> = { NP: 'none', '66': '66', F2: 'F2', F3: 'F3' };
const MAPS: Readonly<Record<string, Instruction['map']>> = { '0F': 1, '0F38': 2, '0F3A': 3 };

/** What a word after the opcode says. */
function applyWord(encoding: Encoding, word: string): void {
  switch (word) {
    case 'mod3':
      encoding.mod = 'reg';
      return;
    case 'mem':
      encoding.mod = 'mem';
      return;
    case 'W0':
    case 'W1':
      encoding.rexW = word === 'W1';
      return;
    case 'B0':
      encoding.rexB = false;
      return;
    case 'a64':
    case 'a32':
      encoding.address64 = word === 'a64';
      return;
    case 'i64':
      encoding.mode = 'not64';
      return;
    case 'o64':
      encoding.mode = 'only64';
      return;
  }
  if (/^\/[0-7]$/.test(word)) {
    encoding.digit = Number(word[1]);
    return;
  }
  const byte = /^[C-F][0-9A-F]$/.test(word) ? parseInt(word, 16) : -1;
  if (byte < 0) throw new Error(`bad encoding ${word}`);
  encoding.mod = 'reg';
  encoding.digit = (byte >> 3) & 7;
  encoding.rm = byte & 7;
}

function parseEncoding(text: string): Encoding {
  const words = text.split(' ');
  const encoding: Encoding = {
    map: 0,
    opcode: 0,
    prefix: 'any',
    digit: undefined,
    mod: undefined,
    rm: undefined,
    mode: 'all',
    rexW: undefined,
    rexB: undefined,
    address64: undefined,
  };
  if (Object.hasOwn(PREFIXES, words[0])) encoding.prefix = PREFIXES[words.shift() ?? ''];
  // A lone 0F would be an opcode (POP CS of the 8086), which the table does not have.
  if (Object.hasOwn(MAPS, words[0])) encoding.map = MAPS[words.shift() ?? ''];
  encoding.opcode = parseInt(words.shift() ?? '', 16);
  for (const word of words) applyWord(encoding, word);
  return encoding;
}

const MODRM_KINDS = new Set<OperandKind>([
  ...(['E', 'G', 'M', 'R', 'S', 'C', 'D', 'V', 'U', 'W', 'P', 'N', 'Q', 'STi'] as const),
]);

/** One row. `operands` and `encoding` are in the notation above. */
export function ins(mnemonic: string, operands: string, encoding: string, options: RowOptions = {}): Instruction {
  const parsed = operands === '' ? [] : operands.split(',').map(parseOperand);
  const where = parseEncoding(encoding);
  const attributes = (options.is ?? '').split(' ').filter((word) => word !== '') as Attribute[];
  return {
    mnemonic,
    name: options.name ?? mnemonic.split('/')[0],
    ...where,
    modrm: where.digit !== undefined || parsed.some((operand) => MODRM_KINDS.has(operand.kind)),
    operands: parsed,
    attributes: new Set(attributes),
    flags: parseFlags(options),
    feature: options.feature,
  };
}

/** A byte as the encodings write it. */
export const hex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0');

/** Condition codes in the order of their encoding, with the flags they test: SDM vol. 1 appendix B. */
export const CONDITIONS: readonly (readonly [suffix: string, flags: string])[] = [
  ['o', 'o'],
  ['no', 'o'],
  ['b', 'c'],
  ['ae', 'c'],
  ['e', 'z'],
  ['ne', 'z'],
  ['be', 'zc'],
  ['a', 'zc'],
  ['s', 's'],
  ['ns', 's'],
  ['p', 'p'],
  ['np', 'p'],
  ['l', 'os'],
  ['ge', 'os'],
  ['le', 'osz'],
  ['g', 'osz'],
];
