/** What the host's file system says, in the words of `FileError`. */
import { ERRNO, FileError, type ErrnoName } from '../../../iface/errno.js';

const isKnown = (code: string): code is ErrnoName => Object.hasOwn(ERRNO, code);

/** A failure of `node:fs` as a `FileError`; anything else is a bug and passes as it is. */
export function fileError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return error;
  const { code } = error;
  if (isKnown(code)) return new FileError(code);
  if (code === 'ENOTSUP') return new FileError('EOPNOTSUPP');
  // ERR_INVALID_ARG_VALUE and its kin: what no system call was asked for.
  return new FileError(code.startsWith('ERR_') ? 'EINVAL' : 'EIO');
}

/** Calls the host. */
export function hostCall<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fileError(error);
  }
}
