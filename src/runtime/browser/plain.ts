import type { Plain } from '../../snapshot/schema.js';

/** Messages as plain data: without what is undefined, and errors as what they say. */
export function plain(value: unknown): Plain {
  if (value === null || value === undefined) return null;
  if (value instanceof Uint8Array) return value;
  if (value instanceof Error) return value.message;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object')
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, of]) => (of === undefined ? [] : [[key, plain(of)] as const])),
    );
  return value as Plain;
}
