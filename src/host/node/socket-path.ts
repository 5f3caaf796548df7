/** Sockets in the file system: what is wrong with a path, before the system says it less well. */
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { HostError } from '../../base/errors.js';

/** Bytes that the path of a socket can have: sun_path of unix(7) is 108, of macOS 104, with the zero at its end. */
export const LONGEST_PATH = process.platform === 'darwin' ? 103 : 107;

/**
 * Throws a reason in a few words when nothing can listen at a path. Node cuts long ones off without a word, and a file that is no
 * socket answers as a socket does at which nobody listens any more.
 */
export function checkSocketPath(path: string): void {
  if (path === '') throw new HostError('it has no name');
  if (Buffer.byteLength(path) > LONGEST_PATH) throw new HostError('the name is too long for a socket');
  // The system's own answer would be that it is not permitted.
  if (!fs.existsSync(dirname(path))) throw new HostError(`there is no folder ${dirname(path)}`);
  const status = fs.statSync(path, { throwIfNoEntry: false });
  if (status && !status.isSocket()) throw new HostError('it is a file of another kind');
}
