/**
 * The machines of this user that run: each has a socket in a folder of the user's, named after it, where its monitor listens. What
 * answers there runs; there is nothing else to be kept up to date.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { HostError, UsageError } from '../../base/errors.js';
import { isAlive } from '../../host/node/processes.js';
import { findRuntimeFolder, makeRuntimeFolder } from '../../host/node/runtime-folder.js';
import { LONGEST_PATH } from '../../host/node/socket-path.js';
import { isInUse } from './listen-unix.js';
import type { QmpServer } from './qmp-server.js';

const SUFFIX = '.sock';
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
/** Milliseconds after which nobody begins to listen any more at a socket that was made. */
const STALE = 5000;

/** Throws a one-line error when a machine, or a snapshot of one, cannot be called that. */
export function checkMachineName(name: string, what = 'machine'): string {
  if (!NAME.test(name))
    throw new UsageError(
      `a ${what} cannot be called "${name}": a name has letters, digits, and _ . - behind the first, 63 at most`,
    );
  return name;
}

let unnamed = 0;

/** What a machine without a name is called: after its process, and the later ones of that with a number. */
function ownName(): string {
  unnamed++;
  return `vm-${String(process.pid)}${unnamed > 1 ? `-${String(unnamed)}` : ''}`;
}

/** Lets others of this user find a machine by its monitor. What it is called; throws a one-line error when that cannot be. */
export async function register(monitor: QmpServer, name = ownName()): Promise<string> {
  const folder = makeRuntimeFolder();
  await sweep(folder);
  const file = path.join(folder, checkMachineName(name) + SUFFIX);
  if (Buffer.byteLength(file) > LONGEST_PATH) throw new HostError(`the name ${file} is too long for a socket`);
  try {
    await monitor.listen({ kind: 'unix', path: file });
  } catch (error) {
    if (error instanceof HostError && error.message.endsWith('it is in use'))
      throw new HostError(`a machine called ${name} runs already`, { cause: error });
    throw error;
  }
  return name;
}

/** Takes away what killed processes have left of machines without a name. */
async function sweep(folder: string): Promise<void> {
  for (const name of fs.readdirSync(folder)) {
    const pid = Number(/^vm-(\d+)(-\d+)?\.sock$/.exec(name)?.[1] ?? process.pid);
    const file = path.join(folder, name);
    // Somebody may have called a machine that.
    if (!isAlive(pid) && !(await isInUse(file))) fs.rmSync(file, { force: true });
  }
}

export interface RegisteredMachine {
  readonly name: string;
  /** Where its monitor listens. */
  readonly socket: string;
}

/** What is registered, in the order of names; what was killed may still be. */
export function registered(): RegisteredMachine[] {
  const folder = findRuntimeFolder();
  if (folder === undefined) return [];
  return fs
    .readdirSync(folder)
    .filter((file) => file.endsWith(SUFFIX) && NAME.test(file.slice(0, -SUFFIX.length)))
    .sort()
    .map((file) => ({ name: file.slice(0, -SUFFIX.length), socket: path.join(folder, file) }));
}

/** Nobody listens at a machine's socket: it goes, unless somebody may be about to. */
export function forgetMachine({ socket }: RegisteredMachine, now: number): void {
  const status = fs.statSync(socket, { throwIfNoEntry: false });
  if (status?.isSocket() && now - status.mtimeMs > STALE) fs.rmSync(socket, { force: true });
}
