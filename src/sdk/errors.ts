/** Errors of the programming interface. All of them are VitrineErrors: one line that says what to do. */
import { VitrineError } from '../base/errors.js';
import type { ExecResult } from './exec.js';

export { AgentGoneError } from './agent/connection.js';
export { ProtocolError } from './agent/protocol.js';

/** What an AbortSignal gives as its reason, or a callback has thrown, as an error. */
export const asError = (reason: unknown): Error =>
  reason instanceof Error ? reason : new Error(String(reason), { cause: reason });

/** A command could not be started, or wrote more than it may. */
export class ExecError extends VitrineError {
  override readonly name: string = 'ExecError';
  constructor(
    message: string,
    /** `ENOENT`, `EACCES` …, as Linux calls it; undefined where it is none of these. */
    readonly code?: string,
  ) {
    super(message);
  }
}

/** A command that was to succeed (`check`) ended otherwise. */
export class ExitError extends ExecError {
  override readonly name = 'ExitError';
  constructor(
    message: string,
    readonly result: ExecResult,
  ) {
    super(message);
  }
}

/** A command took longer than it was given, and was killed. */
export class ExecTimeoutError extends ExecError {
  override readonly name = 'ExecTimeoutError';
  constructor(
    message: string,
    /** What it wrote until then. */
    readonly result: ExecResult,
  ) {
    super(message);
  }
}

/** Something with a file of the guest's failed. */
export class GuestFileError extends VitrineError {
  override readonly name = 'GuestFileError';
  constructor(
    message: string,
    /** `ENOENT`, `EEXIST` …, as Linux calls it. */
    readonly code: string,
    readonly path: string,
  ) {
    super(message);
  }
}

/** The machine has ended, or did not come up. */
export class VmError extends VitrineError {
  override readonly name = 'VmError';
}
