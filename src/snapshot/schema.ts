/**
 * Descriptions of saved state. A device's state is plain data: numbers, booleans, strings, bigints, byte arrays,
 * arrays and records of these. A schema checks that data on its way in (a snapshot file is untrusted input) and gives
 * TypeScript its type.
 */

/** Plain data as it stands in a snapshot. */
export type Plain =
  | number
  | boolean
  | string
  | bigint
  | Uint8Array
  | null
  | readonly Plain[]
  | { readonly [key: string]: Plain };

/** Saved state does not fit its schema: the snapshot is damaged, or was made by something else. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError';
}

/** Checks untrusted data and returns it typed. `path` names the place for the error message. */
export interface Schema<T> {
  check(value: Plain | undefined, path: string): T;
}

/** The type that a schema describes. */
export type Infer<S> = S extends Schema<infer T> ? T : never;

function schema<T>(expected: string, accept: (value: Plain | undefined) => value is T & Plain): Schema<T> {
  return {
    check(value, path) {
      if (!accept(value)) throw new SchemaError(`${path}: expected ${expected}`);
      return value;
    },
  };
}

const intIn = (low: number, high: number, name: string): Schema<number> =>
  schema(name, (v): v is number => typeof v === 'number' && Number.isInteger(v) && v >= low && v <= high);

export const u8 = intIn(0, 0xff, 'an unsigned byte');
export const u16 = intIn(0, 0xffff, 'an unsigned 16-bit number');
export const u32 = intIn(0, 0xffff_ffff, 'an unsigned 32-bit number');
/** An integer that a double holds exactly: addresses, nanoseconds, counts. */
export const int = intIn(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'an integer');
/** An integer in low … high, both included: an index, an enumeration, a length. */
export const range = (low: number, high: number): Schema<number> =>
  intIn(low, high, `an integer in ${String(low)} … ${String(high)}`);
export const bool = schema('a boolean', (v): v is boolean => typeof v === 'boolean');
export const str = schema('a string', (v): v is string => typeof v === 'string');
export const u64 = schema(
  'an unsigned 64-bit number',
  (v): v is bigint => typeof v === 'bigint' && v >= 0n && v < 1n << 64n,
);

/** Bytes, exactly `length` of them, or any number when it is not given. */
export const bytes = (length?: number): Schema<Uint8Array> =>
  schema(
    length === undefined ? 'bytes' : `${String(length)} bytes`,
    (v): v is Uint8Array => v instanceof Uint8Array && (length === undefined || v.length === length),
  );

/** One of some strings. */
export const oneOf = <const T extends string>(...names: readonly T[]): Schema<T> =>
  schema(
    `one of ${names.join(', ')}`,
    (v): v is T => typeof v === 'string' && (names as readonly string[]).includes(v),
  );

/** A value or null. */
export const nullable = <T>(inner: Schema<T>): Schema<T | null> => ({
  check: (value, path) => (value === null ? null : inner.check(value, path)),
});

/** An array; `length` fixes how many, a `max` bounds it. */
export const array = <T>(inner: Schema<T>, limits: { length?: number; max?: number } = {}): Schema<T[]> => ({
  check(value, path) {
    if (!Array.isArray(value)) throw new SchemaError(`${path}: expected an array`);
    const items = value as readonly Plain[];
    if (limits.length !== undefined && items.length !== limits.length)
      throw new SchemaError(`${path}: expected ${String(limits.length)} elements`);
    if (limits.max !== undefined && items.length > limits.max)
      throw new SchemaError(`${path}: more than ${String(limits.max)} elements`);
    return items.map((item, i) => inner.check(item, `${path}[${String(i)}]`));
  },
});

/** A record with exactly these fields. */
export const struct = <F extends Record<string, Schema<unknown>>>(
  fields: F,
): Schema<{ [K in keyof F]: Infer<F[K]> }> => ({
  check(value, path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array)
      throw new SchemaError(`${path}: expected a record`);
    const record = value as { readonly [key: string]: Plain };
    for (const key of Object.keys(record))
      if (!Object.hasOwn(fields, key)) throw new SchemaError(`${path}.${key}: unknown field`);
    const checked: Record<string, unknown> = {};
    for (const [key, inner] of Object.entries(fields))
      checked[key] = inner.check(Object.hasOwn(record, key) ? record[key] : undefined, `${path}.${key}`);
    return checked as { [K in keyof F]: Infer<F[K]> };
  },
});
