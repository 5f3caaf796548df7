/** Checks what comes from outside against its schema. */
import { TypeGuard, type TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';

/** Bytes of what a message tells of a value. */
const SHOWN = 60;

function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? 'nothing';
  } catch {
    // Lists in lists by the hundred thousand.
    return 'something that is nested too deep';
  }
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

const placeOf = (path: string): string => (path === '' ? 'it' : path.slice(1).replaceAll('/', '.'));

/** The words that a value can be, where it is one of some. */
function wordsOf(schema: TSchema): string[] | undefined {
  if (!TypeGuard.IsUnion(schema)) return undefined;
  const words = schema.anyOf.flatMap((one) => (TypeGuard.IsLiteralString(one) ? [one.const] : []));
  return words.length === schema.anyOf.length ? words : undefined;
}

/** What is wrong with a value, in one line; undefined: nothing. */
export function problemOf(schema: TSchema, value: unknown): string | undefined {
  if (Value.Check(schema, value)) return undefined;
  const error = Value.Errors(schema, value).First();
  if (!error) return 'it is not what it should be';
  const words = wordsOf(error.schema);
  if (words) return `${placeOf(error.path)}: ${show(error.value)} is none of ${words.join(', ')}`;
  const wrong = error.value === undefined ? '' : `: ${show(error.value)}`;
  return `${placeOf(error.path)}: ${error.message.charAt(0).toLowerCase()}${error.message.slice(1)}${wrong}`.replace(
    /[\r\n]+/g,
    ' ',
  );
}
