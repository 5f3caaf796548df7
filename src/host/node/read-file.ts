import * as fs from 'node:fs';
import { HostError, UsageError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';

/** What went wrong with a file, in a few words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EEXIST':
      return 'it is there already';
    case 'EISDIR':
      return 'it is a directory';
    case 'EFBIG':
      return 'it is too large, or has no end';
    case 'ENOTDIR':
      return 'a part of the path is not a directory';
    case 'ENOSPC':
      return 'no space left on the device';
    case 'ENODEV':
      return 'it is no regular file';
    case 'ELOOP':
      return 'its symbolic links lead in a circle';
    case 'ENXIO':
      return 'it is a socket, or a pipe that nobody reads';
    case 'EROFS':
      return 'the file system is read-only';
    default:
      return code ?? String(error);
  }
}

/** Awaits work on a file or a folder. Throws a one-line error that says `what` could not be done with it. */
export async function orFileError<T>(what: string, file: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause;
    const reason = cause.code === 'ENOENT' ? 'no such file or folder' : reasonOf(cause);
    throw new HostError(`cannot ${what} ${file}: ${reason}`, { cause });
  }
}

/** More than any kernel, initrd or BIOS that fits into a machine, in bytes. */
const MAX_SIZE = 2048 * MIB - 1;
/** Bytes that are read at a time from what does not tell its size. */
const PIECE = MIB;

/** Bytes that are taken from a device: /dev/zero has no end. */
const MAX_FROM_DEVICE = 64 * MIB;

/** Reads to the end of what does not tell where that is, unless it is too far. */
function readToEnd(fd: number, limit: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let size = 0; size <= limit;) {
    const piece = new Uint8Array(PIECE);
    const count = fs.readSync(fd, piece);
    if (count === 0) return Buffer.concat(pieces);
    pieces.push(piece.subarray(0, count));
    size += count;
  }
  throw Object.assign(new Error(), { code: 'EFBIG' });
}

function readAll(path: string): Uint8Array {
  const fd = fs.openSync(path, 'r');
  try {
    const stat = fs.fstatSync(fd);
    if (stat.size > MAX_SIZE) throw Object.assign(new Error(), { code: 'EFBIG' });
    if (stat.isFile()) return fs.readFileSync(fd);
    return readToEnd(fd, stat.isCharacterDevice() ? MAX_FROM_DEVICE : MAX_SIZE);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Reads a whole file; a failure is one line that names it, and an empty file is one. `what` is what it was to be: `kernel`,
 * `initrd`.
 */
export function readWholeFile(path: string, what: string): Uint8Array {
  let data: Uint8Array;
  try {
    data = readAll(path);
  } catch (cause) {
    throw new HostError(`cannot read the ${what} ${path}: ${reasonOf(cause)}`, { cause });
  }
  if (data.length === 0) throw new UsageError(`the ${what} ${path} is empty`);
  return data;
}
