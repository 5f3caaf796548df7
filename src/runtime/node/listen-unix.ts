import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { HostError } from '../../base/errors.js';
import { checkSocketPath } from '../../host/node/socket-path.js';

/** Nobody listens at a socket. */
export class NobodyListens extends HostError {}

/** Connects to a socket in the file system. Throws `NobodyListens` when nobody does; one whose owner is busy is no such socket. */
export async function connectUnix(path: string): Promise<Socket> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ECONNREFUSED' || code === 'ENOENT') throw new NobodyListens(`nobody listens at ${path}`, { cause });
    throw new HostError(`cannot connect to ${path}: ${String(code)}`, { cause });
  }
  return socket;
}

/** Whether somebody listens at a socket in the file system. What a killed process left there is not used by anybody. */
export async function isInUse(path: string): Promise<boolean> {
  try {
    (await connectUnix(path)).destroy();
    return true;
  } catch (error) {
    return !(error instanceof NobodyListens);
  }
}

/** Listens at a socket in the file system, in place of one that a killed process left there. */
export async function listenUnix(server: Server, path: string): Promise<void> {
  checkSocketPath(path);
  if (fs.existsSync(path) && !(await isInUse(path))) fs.rmSync(path, { force: true });
  server.listen(path);
  await once(server, 'listening');
}
