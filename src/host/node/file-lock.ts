/** Locks between processes that share a folder, such as the cache. */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { libc, LOCK } from './native/libc.js';

/** EACCES and EAGAIN: somebody else has it. */
const HELD: readonly number[] = [13, 11];
/** Milliseconds between two looks. */
const PAUSE = 50;

/** `shared`: with other shared ones. */
export type LockMode = 'shared' | 'exclusive';

/** Whether there are such locks here; without them everyone goes ahead at once. */
export const canLock = libc !== undefined;

/**
 * Does `work` while the file is locked; it is made when it is not there. Waits for whoever has the lock, until `signal` ends that;
 * `work` may remove the file. The system takes the lock away from a process that ends, however it ends.
 */
export async function withFileLock<T>(
  file: string,
  mode: LockMode,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    const handle = await open(file, 'a+');
    try {
      await acquire(handle.fd, mode, signal);
      if (await isStillThere(handle, file)) return await work();
      // Whoever had it before has removed it: others may lock another file of that name by now.
    } finally {
      await handle.close();
    }
  }
}

async function acquire(fd: number, mode: LockMode, signal: AbortSignal | undefined): Promise<void> {
  for (;;) {
    const error = libc?.lock(fd, mode === 'shared' ? LOCK.READ : LOCK.WRITE, 0, 1) ?? 0;
    // Another error means that the file system has no locks.
    if (!HELD.includes(error)) return;
    await delay(PAUSE, undefined, signal && { signal });
  }
}

async function isStillThere(handle: FileHandle, file: string): Promise<boolean> {
  const [locked, named] = await Promise.all([handle.stat(), stat(file).catch(() => undefined)]);
  return locked.ino === named?.ino && locked.dev === named.dev;
}
