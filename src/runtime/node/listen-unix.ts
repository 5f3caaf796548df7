import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { HostError } from '../../base/errors.js';

/** Whether somebody listens at a socket in the file system. What a killed process left there is not used by anybody. */
async function isInUse(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Listens at a socket in the file system, in place of one that a killed process left there. */
export async function listenUnix(server: Server, path: string): Promise<void> {
  // The system's own answer would be that it is not permitted.
  if (!fs.existsSync(dirname(path))) throw new HostError(`there is no folder ${dirname(path)}`);
  if (fs.statSync(path, { throwIfNoEntry: false })?.isSocket() && !(await isInUse(path)))
    fs.rmSync(path, { force: true });
  server.listen(path);
  await once(server, 'listening');
}
