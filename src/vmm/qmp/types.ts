/** Types of QMP's arguments and answers: what they are checked by, and what `query-qmp-schema` tells of them. */
import type { Json } from './json-text.js';

export type QmpType =
  | { readonly kind: 'str' | 'int' | 'bool' | 'number' }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'array'; readonly of: QmpType }
  | {
      readonly kind: 'object';
      readonly members: Readonly<Record<string, QmpMember>>;
      /** There may be others, whatever they are. */
      readonly isOpen?: true;
    };

export interface QmpMember {
  readonly type: QmpType;
  readonly optional: boolean;
}

export type QmpObject = Extract<QmpType, { kind: 'object' }>;

export const STR: QmpType = { kind: 'str' };
export const INT: QmpType = { kind: 'int' };
export const BOOL: QmpType = { kind: 'bool' };
export const oneOf = (...values: readonly string[]): QmpType => ({ kind: 'enum', values });
export const arrayOf = (of: QmpType): QmpType => ({ kind: 'array', of });

/** A `?` behind the name: it may be absent. */
export function object(members: Readonly<Record<string, QmpType>>): QmpObject {
  return {
    kind: 'object',
    members: Object.fromEntries(
      Object.entries(members).map(([name, type]) => [name.replace(/\?$/, ''), { type, optional: name.endsWith('?') }]),
    ),
  };
}

export const NOTHING = object({});

/** Classes of errors, as clients tell them apart. */
export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound';

/** What a command answers instead of a result. */
export class QmpError extends Error {
  override readonly name = 'QmpError';

  constructor(
    message: string,
    readonly errorClass: QmpErrorClass = 'GenericError',
  ) {
    super(message);
  }
}

export type JsonObject = Readonly<Record<string, Json>>;

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A member that was checked to be a string, or is absent. */
export function text(given: JsonObject, name: string): string | undefined {
  const value = given[name];
  return typeof value === 'string' ? value : undefined;
}

const EXPECTED = { str: 'string', int: 'integer', bool: 'boolean', number: 'number', array: 'array', object: 'object' };

const isSimple = (value: Json, kind: 'str' | 'int' | 'bool' | 'number'): boolean => {
  switch (kind) {
    case 'str':
      return typeof value === 'string';
    case 'int':
      return typeof value === 'number' && Number.isInteger(value);
    case 'bool':
      return typeof value === 'boolean';
    case 'number':
      return typeof value === 'number';
  }
};

/** Throws a QmpError in the words that clients know. */
export function check(value: Json, type: QmpType, name: string): void {
  const wrong = (kind: keyof typeof EXPECTED): QmpError =>
    new QmpError(`Invalid parameter type for '${name}', expected: ${EXPECTED[kind]}`);
  if (typeof value === 'bigint' && (type.kind === 'int' || type.kind === 'number'))
    throw new QmpError(`Parameter '${name}' is too large: integers here are exact up to 2^53`);
  switch (type.kind) {
    case 'enum':
      if (typeof value !== 'string') throw wrong('str');
      if (!type.values.includes(value)) throw new QmpError(`Parameter '${name}' does not accept value '${value}'`);
      break;
    case 'array':
      if (!Array.isArray(value)) throw wrong('array');
      for (const [i, element] of (value as readonly Json[]).entries()) check(element, type.of, `${name}[${i}]`);
      break;
    case 'object': {
      if (!isObject(value)) throw wrong('object');
      const prefix = name === '' ? '' : `${name}.`;
      for (const [member, { type: inner, optional }] of Object.entries(type.members)) {
        if (Object.hasOwn(value, member)) check(value[member], inner, prefix + member);
        else if (!optional) throw new QmpError(`Parameter '${prefix}${member}' is missing`);
      }
      const unknown = Object.keys(value).find((member) => !Object.hasOwn(type.members, member));
      if (unknown !== undefined && !type.isOpen) throw new QmpError(`Parameter '${prefix}${unknown}' is unexpected`);
      break;
    }
    default:
      if (!isSimple(value, type.kind)) throw wrong(type.kind);
  }
}
