import * as fs from 'node:fs';
import * as path from 'node:path';
import { HostError } from '../../base/errors.js';
import { reasonOf } from './read-file.js';

/** Where this process writes a file before it is renamed into place. */
export const temporaryName = (file: string): string => `${file}.${process.pid}.tmp`;

/** An open file as something to write to at any place. */
export const writeTo = (fd: number): { write(offset: number, bytes: Uint8Array): void } => ({
  write: (offset, bytes) => {
    for (let at = 0; at < bytes.length;) at += fs.writeSync(fd, bytes, at, bytes.length - at, offset + at);
  },
});

/**
 * Writes a file whole or not at all: under another name in the same folder, made durable (unless that does not matter), then
 * renamed over what was there.
 */
export function writeFileSafely(
  file: string,
  what: string,
  write: (target: { write(offset: number, bytes: Uint8Array): void }) => void,
  durable = true,
): void {
  const temporary = temporaryName(file);
  try {
    checkPlace(file);
    const fd = fs.openSync(temporary, 'wx', 0o600);
    try {
      write(writeTo(fd));
      if (durable) fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, file);
    if (durable) syncFolder(path.dirname(file));
  } catch (cause) {
    fs.rmSync(temporary, { force: true });
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause;
    throw new HostError(`cannot write the ${what} ${file}: ${reasonOf(cause)}`, { cause });
  }
}

/** Throws unless a file may be renamed to there. Root may put one in place of /dev/null, and would be sorry. */
function checkPlace(file: string): void {
  const there = fs.statSync(file, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw Object.assign(new Error(), { syscall: 'stat', code: 'EISDIR' });
  if (there && !there.isFile()) throw Object.assign(new Error(), { syscall: 'stat', code: 'ENODEV' });
}

/** Throws a one-line error unless a file can be created there: said before the work, not after. */
export function checkWritable(file: string, what: string): void {
  try {
    if (file === '') throw Object.assign(new Error(), { code: 'ENOENT' });
    checkPlace(file);
    // Tried, because permissions do not tell all: /proc grants them and refuses.
    const trial = temporaryName(file);
    fs.closeSync(fs.openSync(trial, 'wx', 0o600));
    fs.rmSync(trial);
  } catch (cause) {
    throw new HostError(`cannot write the ${what} ${file}: ${reasonOf(cause)}`, { cause });
  }
}

/** Makes the renaming durable, where folders can be synced. */
function syncFolder(folder: string): void {
  let fd: number | undefined;
  try {
    fd = fs.openSync(folder, 'r');
    fs.fsyncSync(fd);
  } catch {
    // Not on this file system: the file itself is complete either way.
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** A file that is read in pieces. */
export class FileSource {
  readonly size: number;
  readonly fd: number;

  /** `what` is what messages call it. Throws a one-line error when it cannot be read. */
  constructor(
    readonly name: string,
    private readonly what: string,
  ) {
    try {
      this.fd = fs.openSync(name, 'r');
      this.size = fs.fstatSync(this.fd).size;
      fs.readSync(this.fd, new Uint8Array(1), 0, 1, 0);
    } catch (cause) {
      throw this.unreadable(cause);
    }
  }

  private unreadable(cause: unknown): HostError {
    return new HostError(`cannot read the ${this.what} ${this.name}: ${reasonOf(cause)}`, { cause });
  }

  /** Exactly that many bytes. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    try {
      for (let at = 0; at < length;) {
        const count = fs.readSync(this.fd, bytes, at, length - at, offset + at);
        if (count === 0) throw new Error('it has become shorter');
        at += count;
      }
    } catch (cause) {
      throw this.unreadable(cause);
    }
    return bytes;
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}
