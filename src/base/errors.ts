/**
 * An error that a user can act on: its message is one clear line, printed as it is by the command line, which then
 * exits non-zero without a stack trace. Anything else that reaches the top is a bug.
 */
export class VitrineError extends Error {
  override readonly name: string = 'VitrineError';
}

/** The user gave something that cannot work: a bad option, a damaged file, a wrong size. */
export class UsageError extends VitrineError {
  override readonly name = 'UsageError';
}

/** A file with a part of a sector at its end, which is no disk by itself. What is within it may be one. */
export class UnevenDiskError extends UsageError {}

/** The host failed or lacks something: no such file, no permission, out of memory. */
export class HostError extends VitrineError {
  override readonly name = 'HostError';
}
