/** The supervisor of a user's machines: where it listens, and how it is started when it is wanted. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HostError } from '../base/errors.js';
import { findRuntimeFolder, makeRuntimeFolder } from '../host/node/runtime-folder.js';
import { ApiClient } from './client.js';
import { NodeTransport } from './node-transport.js';

/** Not `.sock`: it is no machine's. */
export const SUPERVISOR_SOCKET = 'supervisor.api';
const LOG = 'supervisor.log';
/** Milliseconds that it has to begin. */
const PATIENCE = 15_000;
const PAUSE = 25;

/** From the sources too, where tests run. */
const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Whether somebody listens there. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.on('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.on('error', () => resolve(false));
  });
}

const clientAt = (socket: string): ApiClient => new ApiClient(new NodeTransport(`unix:${socket}`));

/** A client of the supervisor that runs; undefined: none does, so it has no machines. */
export async function findSupervisor(): Promise<ApiClient | undefined> {
  const folder = findRuntimeFolder();
  if (folder === undefined) return undefined;
  const socket = path.join(folder, SUPERVISOR_SOCKET);
  return (await answers(socket)) ? clientAt(socket) : undefined;
}

function lastLine(file: string): string {
  const line = readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  return line.replace(/^vitrine: /, '') || `see ${file}`;
}

/** A client of the supervisor, which is started if none runs. Rejected with a one-line error when it does not come up. */
export async function startSupervisor(): Promise<ApiClient> {
  const folder = makeRuntimeFolder();
  const socket = path.join(folder, SUPERVISOR_SOCKET);
  if (await answers(socket)) return clientAt(socket);
  const logFile = path.join(folder, LOG);
  const log = openSync(logFile, 'a', 0o600);
  let hasFailed = false;
  try {
    // Two at a time do no harm: one finds that the other is there, and ends.
    const child = spawn(process.execPath, [program, 'supervise'], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
    });
    const failed = (): void => {
      hasFailed = true;
    };
    child.on('error', failed);
    child.on('exit', (code) => {
      if (code !== 0) failed();
    });
    child.unref();
  } finally {
    closeSync(log);
  }
  for (let waited = 0; waited < PATIENCE; waited += PAUSE) {
    if (await answers(socket)) return clientAt(socket);
    if (hasFailed) throw new HostError(`the supervisor of machines did not start: ${lastLine(logFile)}`);
    await delay(PAUSE);
  }
  throw new HostError(`the supervisor of machines did not start: see ${logFile}`);
}
