/** What schemas are put together of. */
import {
  Type,
  type TBoolean,
  type TInteger,
  type TObject,
  type TOptionalWithFlag,
  type TSchema,
  type TString,
  type TUnsafe,
} from '@sinclair/typebox';

/** At most 4,096 letters unless it is said otherwise. */
export const text = (
  description: string,
  options: { readonly maxLength?: number; readonly pattern?: string } = {},
): TString => Type.String({ maxLength: 4096, ...options, description });
export const integer = (minimum: number, maximum: number, description: string): TInteger =>
  Type.Integer({ minimum, maximum, description });
export const flag = (description: string): TBoolean => Type.Boolean({ description });
export const maybe = <T extends TSchema>(schema: T): TOptionalWithFlag<T, true> => Type.Optional(schema);

/** An object of which nothing but these may be given. */
export const only = <P extends Record<string, TSchema>>(properties: P, description: string): TObject<P> =>
  Type.Object(properties, { additionalProperties: false, description });

/** One of some words. */
export const oneOf = <const T extends readonly string[]>(names: T, description: string): TUnsafe<T[number]> =>
  Type.Unsafe<T[number]>(
    Type.Union(
      names.map((word) => Type.Literal(word)),
      { description },
    ),
  );

/** What machines and snapshots can be called. */
export const NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$';
export const name = (description: string): TString => Type.String({ pattern: NAME_PATTERN, description });
