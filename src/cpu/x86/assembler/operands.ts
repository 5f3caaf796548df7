/** Operands as programs write them: registers, memory, immediates, labels. */
import { assert } from '../../../base/assert.js';

export type RegisterClass = 'gpr' | 'segment' | 'control' | 'debug' | 'mmx' | 'xmm' | 'x87' | 'rip';

export interface Register {
  readonly kind: 'register';
  readonly class: RegisterClass;
  readonly name: string;
  /** Bits. */
  readonly size: number;
  /** Number as encoded, REX bit included; AH … BH are 4 … 7. */
  readonly number: number;
  /** AH, CH, DH, BH: cannot stand with REX. */
  readonly high: boolean;
}

const register = (cls: RegisterClass, name: string, size: number, number: number, high = false): Register =>
  Object.freeze({ kind: 'register', class: cls, name, size, number, high });

const LEGACY = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const;
const BYTES = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'] as const;
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

function numbered(cls: RegisterClass, prefix: string, size: number, count: number, suffix = '', from = 0): Register[] {
  return Array.from({ length: count - from }, (_, n) => {
    const number = n + from;
    return register(cls, `${prefix}${number}${suffix}`, size, number);
  });
}

const all: readonly Register[] = [
  ...BYTES.map((name, number) => register('gpr', name, 8, number)),
  ...['ah', 'ch', 'dh', 'bh'].map((name, n) => register('gpr', name, 8, n + 4, true)),
  ...numbered('gpr', 'r', 8, 16, 'b', 8),
  ...LEGACY.map((name, number) => register('gpr', name, 16, number)),
  ...numbered('gpr', 'r', 16, 16, 'w', 8),
  ...LEGACY.map((name, number) => register('gpr', `e${name}`, 32, number)),
  ...numbered('gpr', 'r', 32, 16, 'd', 8),
  ...LEGACY.map((name, number) => register('gpr', `r${name}`, 64, number)),
  ...numbered('gpr', 'r', 64, 16, '', 8),
  ...SEGMENTS.map((name, number) => register('segment', name, 16, number)),
  ...numbered('control', 'cr', 64, 16),
  ...numbered('debug', 'dr', 64, 8),
  ...numbered('mmx', 'mm', 64, 8),
  ...numbered('xmm', 'xmm', 128, 16),
  ...numbered('x87', 'st', 80, 8),
  register('rip', 'rip', 64, 0),
];

type Digit = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;
type High = 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15;
type RegisterName =
  | (typeof BYTES)[number]
  | 'ah'
  | 'ch'
  | 'dh'
  | 'bh'
  | `${'' | 'e' | 'r'}${(typeof LEGACY)[number]}`
  | `r${High}${'' | 'b' | 'w' | 'd'}`
  | (typeof SEGMENTS)[number]
  | `cr${Digit | High}`
  | `${'dr' | 'mm' | 'st'}${Digit}`
  | `xmm${Digit | High}`
  | 'rip';

/** Every register by its name: `const { rax, xmm3, st0 } = R`. `rip` only stands in addresses. */
export const R = Object.freeze(Object.fromEntries(all.map((each) => [each.name, each]))) as Readonly<
  Record<RegisterName, Register>
>;

/** A place in the program. Made by an assembler, bound once. */
export interface Label {
  readonly kind: 'label';
  readonly name: string;
}

/** A label and a distance in bytes. */
export interface LabelOffset {
  readonly kind: 'label-offset';
  readonly label: Label;
  readonly offset: number;
}

export const offset = (label: Label, distance: number): LabelOffset => ({
  kind: 'label-offset',
  label,
  offset: distance,
});

/** An index register times 1, 2, 4 or 8. */
export interface Scaled {
  readonly kind: 'scaled';
  readonly register: Register;
  readonly scale: 1 | 2 | 4 | 8;
}

export const times = (index: Register, scale: 1 | 2 | 4 | 8): Scaled => ({ kind: 'scaled', register: index, scale });

/** What an address is the sum of: a base, an index, numbers, at most one label. */
export type AddressTerm = Register | Scaled | Label | LabelOffset | number | bigint;

export interface Memory {
  readonly kind: 'memory';
  /** Bytes that are accessed, or undefined when the instruction says so itself. */
  readonly size: number | undefined;
  readonly base: Register | undefined;
  readonly index: Scaled | undefined;
  readonly displacement: bigint;
  readonly label: Label | undefined;
  /** Segment override. */
  readonly segment: Register | undefined;
}

function memory(size: number | undefined, terms: readonly AddressTerm[], segment: Register | undefined): Memory {
  let base: Register | undefined;
  let index: Scaled | undefined;
  let displacement = 0n;
  let label: Label | undefined;
  for (const term of terms) {
    if (typeof term === 'number' || typeof term === 'bigint') displacement += BigInt(term);
    else if (term.kind === 'register') {
      if (base === undefined) base = term;
      else {
        assert(index === undefined, 'an address has at most two registers');
        index = times(term, 1);
      }
    } else if (term.kind === 'scaled') {
      assert(index === undefined, 'an address has at most one index');
      index = term;
    } else {
      assert(label === undefined, 'an address has at most one label');
      label = term.kind === 'label' ? term : term.label;
      if (term.kind === 'label-offset') displacement += BigInt(term.offset);
    }
  }
  // rSP cannot be an index; with a scale of 1 the two are interchangeable.
  if (index?.register.number === 4 && index.scale === 1 && base !== undefined) {
    const swapped = base;
    base = index.register;
    index = times(swapped, 1);
  }
  return { kind: 'memory', size, base, index, displacement, label, segment };
}

type Terms = readonly AddressTerm[];

/** Memory operands by size in bytes: `dword([rbx, times(rcx, 4), 16])`, `qword([0x28], R.fs)`, `ptr([R.rip, table])`. */
export const ptr = (terms: Terms, segment?: Register): Memory => memory(undefined, terms, segment);
export const byte = (terms: Terms, segment?: Register): Memory => memory(1, terms, segment);
export const word = (terms: Terms, segment?: Register): Memory => memory(2, terms, segment);
export const dword = (terms: Terms, segment?: Register): Memory => memory(4, terms, segment);
export const qword = (terms: Terms, segment?: Register): Memory => memory(8, terms, segment);
export const tbyte = (terms: Terms, segment?: Register): Memory => memory(10, terms, segment);
export const xmmword = (terms: Terms, segment?: Register): Memory => memory(16, terms, segment);

/** A far pointer `selector:offset`. */
export interface Far {
  readonly kind: 'far';
  readonly selector: number;
  readonly offset: number | Label | LabelOffset;
}

export const far = (selector: number, target: Far['offset']): Far => ({ kind: 'far', selector, offset: target });

/** Numbers are immediates, and absolute addresses as targets of branches. */
export type AsmOperand = Register | Memory | Far | Label | LabelOffset | number | bigint;

export const isLabel = (operand: AsmOperand | AddressTerm): operand is Label | LabelOffset =>
  typeof operand === 'object' && (operand.kind === 'label' || operand.kind === 'label-offset');
