/**
 * Builds ACPI Machine Language (ACPI 6.5 ch. 20): each function gives the bytes of one construct; they nest as ASL does.
 */
import { assert } from '../../base/assert.js';

/** Encoded AML. */
export type Aml = readonly number[];

const OP = {
  ZERO: 0x00,
  ONE: 0x01,
  NAME: 0x08,
  BYTE: 0x0a,
  WORD: 0x0b,
  DWORD: 0x0c,
  STRING: 0x0d,
  QWORD: 0x0e,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  METHOD: 0x14,
  LOCAL0: 0x60,
  ARG0: 0x68,
  STORE: 0x70,
  AND: 0x7b,
  OR: 0x7d,
  NOTIFY: 0x86,
  CREATE_DWORD_FIELD: 0x8a,
  LNOT: 0x92,
  LEQUAL: 0x93,
  IF: 0xa0,
  ELSE: 0xa1,
  RETURN: 0xa4,
  EXT: 0x5b,
  EXT_OPERATION_REGION: 0x80,
  EXT_FIELD: 0x81,
  EXT_DEVICE: 0x82,
} as const;

const characters = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));

const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);

/** A body behind its PkgLength, which counts itself (§20.2.4). */
function sized(body: Aml): number[] {
  for (let count = 1; count <= 4; count++) {
    const length = body.length + count;
    if (count === 1 && length < 0x40) return [length, ...body];
    if (count > 1 && length < 1 << (4 + 8 * (count - 1)))
      return [((count - 1) << 6) | (length & 0xf), ...little(length >> 4, count - 1), ...body];
  }
  throw new RangeError('AML package too long');
}

/** A name: up to four characters, or a path of them with `.` between, `\` or `^` in front (§20.2.2). */
export function path(text: string): Aml {
  const prefix = /^(\\|\^*)/.exec(text)?.[0] ?? '';
  const rest = text.slice(prefix.length);
  const segments = rest === '' ? [] : rest.split('.');
  const encoded = segments.flatMap((segment) => {
    assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment), `"${text}" is not an AML name`);
    return characters(segment.padEnd(4, '_'));
  });
  const count = segments.length;
  const DUAL = 0x2e;
  const MULTI = 0x2f;
  const lead = count === 0 ? [0] : count === 1 ? [] : count === 2 ? [DUAL] : [MULTI, count];
  return [...characters(prefix), ...lead, ...encoded];
}

/** An integer in its shortest form. */
export function integer(value: number): Aml {
  assert(Number.isSafeInteger(value) && value >= 0, `${value} is not an AML integer`);
  if (value <= 1) return [value === 0 ? OP.ZERO : OP.ONE];
  if (value <= 0xff) return [OP.BYTE, value];
  if (value <= 0xffff) return [OP.WORD, ...little(value, 2)];
  if (value <= 0xffff_ffff) return [OP.DWORD, ...little(value, 4)];
  return [OP.QWORD, ...little(value, 8)];
}

export const string = (text: string): Aml => [OP.STRING, ...characters(text), 0];

/** The number that a seven-character EISA id is packed into (§19.3.4). */
export function eisaId(id: string): Aml {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `"${id}" is not an EISA id`);
  const [a, b, c] = characters(id).map((code) => code - 0x40);
  const vendor = (a << 10) | (b << 5) | c;
  const product = Number.parseInt(id.slice(3), 16);
  // Big-endian parts in a little-endian number.
  const bytes = [vendor >> 8, vendor & 0xff, product >> 8, product & 0xff];
  return integer(bytes.reduce((number, byte, i) => number + byte * 256 ** i, 0));
}

export const buffer = (bytes: readonly number[]): Aml => [OP.BUFFER, ...sized([...integer(bytes.length), ...bytes])];

/** A UUID as the buffer that ToUUID makes: the first three groups little-endian (§19.6.142). */
export function uuid(text: string): Aml {
  const hex = text.replaceAll('-', '');
  const bytes = Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
  return buffer([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map((i) => bytes[i]));
}

export const packageOf = (...elements: readonly Aml[]): Aml => [
  OP.PACKAGE,
  ...sized([elements.length, ...elements.flat()]),
];

/** Name(path, value) */
export const name = (at: string, value: Aml): Aml => [OP.NAME, ...path(at), ...value];

export const scope = (at: string, ...terms: readonly Aml[]): Aml => [
  OP.SCOPE,
  ...sized([...path(at), ...terms.flat()]),
];

export const device = (at: string, ...terms: readonly Aml[]): Aml => [
  OP.EXT,
  OP.EXT_DEVICE,
  ...sized([...path(at), ...terms.flat()]),
];

/** Method(path, arguments, Serialized); one that makes named objects must be serialized. */
export const method = (at: string, args: number, serialized: boolean, ...terms: readonly Aml[]): Aml => [
  OP.METHOD,
  ...sized([...path(at), args | (serialized ? 8 : 0), ...terms.flat()]),
];

export const arg = (n: number): Aml => [OP.ARG0 + n];
export const local = (n: number): Aml => [OP.LOCAL0 + n];
export const store = (value: Aml, target: Aml): Aml => [OP.STORE, ...value, ...target];
export const and = (a: Aml, b: Aml, target: Aml): Aml => [OP.AND, ...a, ...b, ...target];
export const or = (a: Aml, b: Aml, target: Aml): Aml => [OP.OR, ...a, ...b, ...target];
/** A target that takes nothing. */
export const nowhere: Aml = [OP.ZERO];
export const equal = (a: Aml, b: Aml): Aml => [OP.LEQUAL, ...a, ...b];
export const not = (a: Aml): Aml => [OP.LNOT, ...a];
export const ifThen = (condition: Aml, ...terms: readonly Aml[]): Aml => [
  OP.IF,
  ...sized([...condition, ...terms.flat()]),
];
/** Directly behind an `ifThen`. */
export const otherwise = (...terms: readonly Aml[]): Aml => [OP.ELSE, ...sized(terms.flat())];
/** Calls a method that takes no arguments. */
export const call = (at: string): Aml => path(at);
/** Tells drivers of a device what has happened to it. */
export const notify = (object: Aml, value: number): Aml => [OP.NOTIFY, ...object, ...integer(value)];
export const returnValue = (value: Aml): Aml => [OP.RETURN, ...value];
export const createDwordField = (source: Aml, byte: number, field: string): Aml => [
  OP.CREATE_DWORD_FIELD,
  ...source,
  ...integer(byte),
  ...path(field),
];

/** Address spaces of operation regions, §19.6.100. */
export const REGION = { SYSTEM_MEMORY: 0, SYSTEM_IO: 1, PCI_CONFIG: 2 } as const;

export const operationRegion = (at: string, space: number, offset: number, length: number): Aml => [
  OP.EXT,
  OP.EXT_OPERATION_REGION,
  ...path(at),
  space,
  ...integer(offset),
  ...integer(length),
];

/** Names of a region's fields with their width in bits, '' for a gap. */
type Fields = readonly (readonly [name: string, bits: number])[];

/** A field of 8-bit accesses that preserves what it does not write. */
export const byteField = (region: string, fields: Fields): Aml => fieldOf(region, fields, 1);

/** A field of 32-bit accesses. */
export const dwordField = (region: string, fields: Fields): Aml => fieldOf(region, fields, 3);

/** `access`: AccessType, §20.2.5.2. */
function fieldOf(region: string, fields: Fields, access: number): Aml {
  const list = fields.flatMap(([field, bits]) => {
    const length = bits < 0x40 ? [bits] : [0x40 | (bits & 0xf), bits >> 4];
    return field === '' ? [0, ...length] : [...path(field), ...length];
  });
  return [OP.EXT, OP.EXT_FIELD, ...sized([...path(region), access, ...list])];
}
