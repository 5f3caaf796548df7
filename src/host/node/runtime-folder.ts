/** A folder of this user's alone, for sockets that live no longer than what listens at them. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { HostError } from '../../base/errors.js';
import { reasonOf } from './read-file.js';

/** Where it is: in $XDG_RUNTIME_DIR (XDG Base Directory Specification 0.8), or else for temporary files. Undefined: this host has no users. */
export function runtimeFolder(): string | undefined {
  const user = process.getuid?.();
  if (user === undefined) return undefined;
  const base = process.env['XDG_RUNTIME_DIR'];
  return base !== undefined && path.isAbsolute(base)
    ? path.join(base, 'vitrine')
    : path.join(tmpdir(), `vitrine-${String(user)}`);
}

/** Makes it, if it is not there. Throws a one-line error when it cannot be had, or others can change what is in it. */
export function makeRuntimeFolder(): string {
  const folder = runtimeFolder();
  if (folder === undefined) throw new HostError('there is no place for the sockets of machines here');
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = fs.lstatSync(folder);
    if (!fs.lstatSync(folder).isDirectory() || uid !== process.getuid?.() || (mode & 0o077) !== 0)
      throw new HostError(`${folder} is not a folder of this user's alone`);
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    throw new HostError(`cannot make the folder ${folder}: ${reasonOf(cause)}`, { cause });
  }
  return folder;
}
