/** `vitrine serve`: machines for tenants, over TCP. */
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { ServeOptions } from '../api/programs.js';
import { HostError, UsageError } from '../base/errors.js';
import { listenReason } from '../runtime/node/listen-reason.js';
import { reasonOf } from '../host/node/read-file.js';
import { StateFolder, stateRoot } from './folders.js';
import { consoleFiles } from './console-files.js';
import { availableMemory } from './host-memory.js';
import { fileHandlers } from './handlers/files.js';
import { machineHandlers } from './handlers/machines.js';
import { serverHandlers } from './handlers/server.js';
import { socketHandlers } from './handlers/sockets.js';
import { ApiServer } from './http-server.js';
import { Log } from './log.js';
import { Measurements } from './measurements.js';
import { allowsOrigin } from './origins.js';
import { productVersion } from './product-version.js';
import { Service } from './service.js';
import { awaitSignal } from './signals.js';
import { outliveStrayErrors } from './stray-errors.js';
import { library } from './supervise.js';
import { defaultConfigFile, LiveConfig } from './tenant-config.js';
import { TenantBook } from './tenant-book.js';
import { Tickets } from './tickets.js';

/** Milliseconds between two looks whether the configuration has changed. */
const LOOK = 1000;
/** Milliseconds that answers under way have when the server ends. */
const LAST_ANSWERS = 5000;

function readPem(file: string, what: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new HostError(`cannot read the ${what} ${file}: ${reasonOf(cause)}`, { cause });
  }
}

function readTls({ cert, key }: ServeOptions): { readonly cert: Buffer; readonly key: Buffer } | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError('--cert and --key are given together');
  return { cert: readPem(cert, 'certificate'), key: readPem(key, 'key') };
}

const STDERR = 2;

function openLog(file: string | undefined): number {
  if (file === undefined) return STDERR;
  try {
    return openSync(file, 'a', 0o600);
  } catch (cause) {
    throw new HostError(`cannot write the log ${file}: ${reasonOf(cause)}`, { cause });
  }
}

export async function serve(options: ServeOptions): Promise<number> {
  const tls = readTls(options);
  const state = new StateFolder(path.resolve(options.state ?? path.join(stateRoot(), 'serve')));
  return state.use(() => run(options, tls, state));
}

async function run(options: ServeOptions, tls: ReturnType<typeof readTls>, state: StateFolder): Promise<number> {
  const file = openLog(options.log);
  const log = new Log((line) => {
    // A log that cannot be written, on a full disk, does not end the server.
    try {
      writeSync(file, line);
    } catch {
      // The next line may have room.
    }
  });
  const version = productVersion();
  const service = new Service({ maker: library, log, availableMemory });
  const book = new TenantBook(service, state, log);
  const server: { api?: ApiServer } = {};
  const config = new LiveConfig(
    path.resolve(options.config ?? defaultConfigFile()),
    (changed) => {
      log.info('configuration', { tenants: Object.keys(changed.tenants).length });
      book.configure(changed);
      server.api?.recheck();
    },
    (error) => log.error('configuration', { message: error.message }),
  );
  book.configure(config.current);
  await book.open();
  const api = new ApiServer({
    service,
    version,
    authenticate: (authorization) => book.authenticate(config.refresh(), authorization),
    holds: (grant) => book.holds(config.current, grant),
    tickets: new Tickets(),
    allowsOrigin: (origin, host, secure) => allowsOrigin(origin, host, secure, config.current.origins ?? []),
    handlers: { ...machineHandlers, ...fileHandlers, ...serverHandlers },
    sockets: socketHandlers,
    log,
    measurements: new Measurements(),
    files: consoleFiles(),
    ...(tls && { tls }),
  });
  server.api = api;
  // What was opened before must end with its token, also when nobody asks for anything new.
  const looks = setInterval(() => config.refresh(), LOOK);
  looks.unref();
  await listen(api, options);
  const { port } = api.server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  const address = `${tls ? 'https' : 'http'}://${host}:${port}`;
  log.info('listening', { address, version });
  process.stdout.write(`${address}\n`);
  const finish = outliveStrayErrors(log);
  const signal = awaitSignal();
  const name = await signal.came;
  log.info('ending', { signal: name, machines: service.active.length });
  clearInterval(looks);
  finish();
  api.close();
  await service.close();
  const last = setTimeout(() => api.terminate(), LAST_ANSWERS);
  if (api.server.listening) await once(api.server, 'close');
  else await new Promise<void>((resolve) => api.server.close(() => resolve()));
  clearTimeout(last);
  log.info('ended');
  if (options.log !== undefined) closeSync(file);
  return 0;
}

async function listen({ server }: ApiServer, { host, port }: ServeOptions): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    throw new HostError(`cannot listen on ${host}:${port}: ${listenReason(cause)}`, { cause });
  }
}
