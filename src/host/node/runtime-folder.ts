/** A folder of this user's alone, for sockets that live no longer than what listens at them. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { HostError } from '../../base/errors.js';
import { reasonOf } from './read-file.js';

/** Where it is: in $XDG_RUNTIME_DIR (XDG Base Directory Specification 0.8), or else for temporary files. Undefined: this host has no users. */
function runtimeFolder(): string | undefined {
  const user = process.getuid?.();
  if (user === undefined) return undefined;
  const base = process.env['XDG_RUNTIME_DIR'];
  return base !== undefined && path.isAbsolute(base)
    ? path.join(base, 'vitrine')
    : path.join(tmpdir(), `vitrine-${String(user)}`);
}

/** Whether it is no link, and nobody else can look into it or change it: others can make one of its name among temporary files. */
function isOwn(folder: string): boolean {
  const status = fs.lstatSync(folder, { throwIfNoEntry: false });
  return status?.isDirectory() === true && status.uid === process.getuid?.() && (status.mode & 0o777) === 0o700;
}

/** Where it is, if it is there and this user's alone. */
export function findRuntimeFolder(): string | undefined {
  const folder = runtimeFolder();
  try {
    return folder !== undefined && isOwn(folder) ? folder : undefined;
  } catch {
    // Nor can it be there: a file is where a folder should be, or this user may not look.
    return undefined;
  }
}

/** Makes it, if it is not there. Throws a one-line error when it cannot be had, or others can change what is in it. */
export function makeRuntimeFolder(): string {
  const folder = runtimeFolder();
  if (folder === undefined) throw new HostError('there is no place for the sockets of machines here');
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new HostError(`cannot make the folder ${folder}: ${reasonOf(cause)}`, { cause });
  }
  if (!isOwn(folder)) throw new HostError(`${folder} is not a folder of this user's alone`);
  return folder;
}
