/** A failed assertion is a bug of Vitrine's, never a guest's or a user's mistake. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws when an invariant of our own does not hold. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The default arm of an exhaustive switch: the compiler proves that it is never reached. */
export function assertNever(value: never): never {
  throw new AssertionError(`unexpected value ${JSON.stringify(value)}`);
}
