/** Errors on their way between threads, which would lose their classes. */
import { HostError, UsageError, VitrineError } from '../../base/errors.js';

/** For the user to act on: what he gave, what the host lacks, something else. Or a bug. */
export type ErrorKind = 'usage' | 'host' | 'other' | 'bug';

/** An error on its way between threads, which keeps only what it says. */
export interface PortableError {
  readonly message: string;
  readonly kind: ErrorKind;
  readonly stack: string;
}

export function kindOf(error: unknown): ErrorKind {
  if (error instanceof UsageError) return 'usage';
  if (error instanceof HostError) return 'host';
  return error instanceof VitrineError ? 'other' : 'bug';
}

const CLASSES = { usage: UsageError, host: HostError, other: VitrineError, bug: Error } as const;

export const errorOf = (kind: ErrorKind, message: string): Error => new CLASSES[kind](message);

/** An error that has come from another thread. */
export function revive({ message, kind, stack }: PortableError): Error {
  const error = errorOf(kind, message);
  error.stack = stack;
  return error;
}
