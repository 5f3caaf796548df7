import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { HostError } from '../../base/errors.js';

/** Temporary folders of processes that are gone are removed after this time, in milliseconds. */
const ABANDONED_AFTER = 60 * 60 * 1000;

/** Where Vitrine keeps what can be made again, after the XDG Base Directory Specification 0.8. */
export function cacheRoot(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const xdg = env['XDG_CACHE_HOME'];
  // "All paths set in these environment variables must be absolute"; others are to be ignored.
  return path.join(xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.cache'), 'vitrine');
}

/** mkdir -p; Node's own never ends below a folder where none can be made, such as /proc. */
async function makeFolders(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const parent = path.dirname(folder);
    if (code === 'EEXIST' && (await stat(folder)).isDirectory()) return;
    if (code !== 'ENOENT' || parent === folder) throw error;
    await makeFolders(parent);
    // Another run may have been quicker.
    await mkdir(folder).catch((again: unknown) => {
      if ((again as NodeJS.ErrnoException).code !== 'EEXIST') throw again;
    });
  }
}

const open = new Set<string>();
let hooked = false;

/**
 * Runs `work` with a fresh folder inside the cache (so that what it makes can be renamed into place) and removes the
 * folder afterwards, also when the process exits early. After a kill, a later run removes it.
 */
export async function withTemporaryFolder<T>(root: string, work: (folder: string) => Promise<T>): Promise<T> {
  const parent = path.join(root, 'tmp');
  try {
    await makeFolders(parent);
  } catch (error) {
    throw new HostError(`cannot write to the cache ${root}: ${(error as Error).message}`, { cause: error });
  }
  await removeAbandoned(parent);
  const folder = path.join(parent, `${process.pid}-${randomBytes(6).toString('hex')}`);
  await mkdir(folder);
  open.add(folder);
  if (!hooked) {
    hooked = true;
    process.on('exit', () => {
      for (const left of open) rmSync(left, { recursive: true, force: true });
    });
  }
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
    open.delete(folder);
  }
}

/** Removes the temporary folders of runs that were killed. The age spares those of another PID namespace. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const folder = path.join(parent, name);
    const pid = Number.parseInt(name, 10);
    if (isRunning(pid)) continue;
    const age = await stat(folder).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > ABANDONED_AFTER) await rm(folder, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Puts a finished folder or file in its place, whole or not at all. A place that is taken stays as it is: its name says
 * what it contains, so another run has made the same.
 */
export async function publish(made: string, place: string): Promise<void> {
  await mkdir(path.dirname(place), { recursive: true });
  try {
    await rename(made, place);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}
