/**
 * Locks on image files, as QEMU sets them, so that each sees the other's: locks of the open file description, which the kernel
 * removes when the process ends, however it ends.
 *
 * A user of an image holds read locks on byte 100 + n for each thing n that it does with it, and on byte 200 + n for each that
 * others must not do. Whoever comes next looks for such locks of others.
 */
import { UsageError } from '../../base/errors.js';
import { libc, LOCK } from './native/libc.js';

/** Things that are done with an image; their numbers are QEMU's permissions. */
const READS = 0;
const WRITES = 1;
const RESIZES = 3;
const HOLDS = 100;
const FORBIDS = 200;

/** EACCES and EAGAIN: somebody else has a lock. Others mean that the file system knows no locks. */
const HELD: readonly number[] = [13, 11];

/** `unavailable`: this host, or this file system, has no such locks. */
export type LockOutcome = 'locked' | 'unavailable';

/**
 * Locks an open file for as long as it is open: readers share it, a writer has it alone. Throws a one-line error when another
 * user is in the way.
 */
export function lockImage(fd: number, name: string, writable: boolean): LockOutcome {
  if (!libc) return 'unavailable';
  const does = writable ? [READS, WRITES, RESIZES] : [READS];
  const forbids = [WRITES, RESIZES];
  for (const byte of [...does.map((thing) => HOLDS + thing), ...forbids.map((thing) => FORBIDS + thing)]) {
    const error = libc.lock(fd, LOCK.READ, byte, 1);
    if (HELD.includes(error)) throw inUse(name, writable);
    if (error !== 0) return 'unavailable';
  }
  const inTheWay = [...does.map((thing) => FORBIDS + thing), ...forbids.map((thing) => HOLDS + thing)];
  for (const byte of inTheWay) if (libc.isLocked(fd, LOCK.WRITE, byte, 1) === true) throw inUse(name, writable);
  return 'locked';
}

/** Whether somebody uses an open file as an image, this process included. False where that cannot be told. */
export const isImageUsed = (fd: number): boolean => libc?.isLocked(fd, LOCK.WRITE, HOLDS + READS, 1) === true;

function inUse(name: string, writable: boolean): UsageError {
  return new UsageError(
    writable
      ? `the disk ${name} is in use by another machine or program`
      : `the disk ${name} is being written by another machine or program`,
  );
}
