import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';

/** What went wrong with a file, in a few words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a directory';
    case 'ENOSPC':
      return 'no space left on the device';
    case 'EROFS':
      return 'the file system is read-only';
    default:
      return code ?? String(error);
  }
}

/** Reads a whole file; a failure is one line that names it. `what` is what it was to be: `kernel`, `initrd`. */
export function readWholeFile(path: string, what: string): Uint8Array {
  try {
    return fs.readFileSync(path);
  } catch (cause) {
    throw new HostError(`cannot read the ${what} ${path}: ${reasonOf(cause)}`, { cause });
  }
}
