/** Programs in JavaScript give anything: what is of a wrong kind is an error of one line. */
import { UsageError } from '../base/errors.js';

/** Throws a UsageError unless the value is a text that Linux can take. */
export function checkText(value: unknown, what: string): void {
  if (typeof value !== 'string') throw new UsageError(`${what} is a text, not ${describeKind(value)}`);
  if (value.includes('\0')) throw new UsageError(`${what} has a zero in it`);
}

/** The same for a list of texts. */
export function checkTexts(value: unknown, what: string): void {
  if (!Array.isArray(value)) throw new UsageError(`${what} is a list of texts, not ${describeKind(value)}`);
  for (const one of value) checkText(one, `each of ${what}`);
}

/** Throws a UsageError unless the value is an object with names in it. */
export function checkObject(value: unknown, what: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${what} are an object, not ${describeKind(value)}`);
}

/** Throws a UsageError unless the value is an object that has nothing but `known`. */
export function checkOptions(value: unknown, known: readonly string[], what = 'options'): void {
  checkObject(value, what);
  const unknown = Object.keys(value as object).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new UsageError(`there is no option "${unknown}"`);
}

/** Throws a UsageError unless the value is absent, or an AbortSignal. */
export function checkSignalOption(value: unknown): void {
  if (value !== undefined && !(value instanceof AbortSignal))
    throw new UsageError(`signal is an AbortSignal, not ${describeKind(value)}`);
}

/** Throws a UsageError unless the value is absent, or a function. */
export function checkFunction(value: unknown, what: string): void {
  if (value !== undefined && typeof value !== 'function')
    throw new UsageError(`${what} is a function, not ${describeKind(value)}`);
}

/** Throws a UsageError unless the value is absent, or a number. */
export function checkNumber(value: unknown, what: string): void {
  if (value !== undefined && typeof value !== 'number')
    throw new UsageError(`${what} is a number, not ${describeKind(value)}`);
}

/** Throws a UsageError unless the value is true or false. */
export function checkFlag(value: unknown, what: string): void {
  if (typeof value !== 'boolean') throw new UsageError(`${what} is true or false, not ${describeKind(value)}`);
}

/** Throws a UsageError unless the value is a function. */
export function checkListener(value: unknown): void {
  if (typeof value !== 'function') throw new UsageError(`a listener is a function, not ${describeKind(value)}`);
}

/** Bytes of a text, or as they are. Throws a UsageError for anything else. */
export function bytesOf(value: unknown, what: string): Uint8Array {
  if (typeof value === 'string') return new TextEncoder().encode(value);
  if (value instanceof Uint8Array) return value;
  throw new UsageError(`${what} is a text or bytes (Uint8Array), not ${describeKind(value)}`);
}

function describeKind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
