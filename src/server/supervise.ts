/** `vitrine supervise`: keeps the machines that a user has started in the background, on a socket that is the user's alone. */
import { chmodSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SUPERVISOR_SOCKET } from '../api/node-supervisor.js';
import { makeRuntimeFolder } from '../host/node/runtime-folder.js';
import { withFileLock } from '../host/node/file-lock.js';
import { listenUnix } from '../runtime/node/listen-unix.js';
import { publishMachine, Vm } from '../sdk/index.js';
import { StateFolder, stateRoot } from './folders.js';
import { fileHandlers } from './handlers/files.js';
import { machineHandlers } from './handlers/machines.js';
import { serverHandlers } from './handlers/server.js';
import { socketHandlers } from './handlers/sockets.js';
import { ApiServer } from './http-server.js';
import { ImageShelf } from './image-shelf.js';
import { Log } from './log.js';
import { Measurements } from './measurements.js';
import { productVersion } from './product-version.js';
import { Quota } from './quota.js';
import { Service, type VmMaker } from './service.js';
import { awaitSignal } from './signals.js';
import { outliveStrayErrors } from './stray-errors.js';
import { SnapshotShelf } from './snapshot-shelf.js';
import { LOCAL, Tenant } from './tenant.js';
import { Tickets } from './tickets.js';

/** Milliseconds that it stays when its last machine has ended, and nobody has asked for anything. */
const LINGER = 60_000;
const LOOK = 1000;
/** Milliseconds to find out that another one runs. */
const PATIENCE = 300;

/** Machines as the library makes them. */
export const library: VmMaker = {
  create: (options) => Vm.create(options),
  restore: (file, options) => Vm.restore(file, options),
};

/** All that a user's own server is made of, but where it listens. */
export function localServer(
  maker: VmMaker,
  state: StateFolder,
  log: Log,
): { service: Service; api: ApiServer; tenant: Tenant } {
  const version = productVersion();
  const service = new Service({
    maker,
    log,
    publish: async (vm, name) => {
      await publishMachine(vm.machine, { name, version });
    },
  });
  const quota = new Quota({});
  const tenant: Tenant = new Tenant({
    name: LOCAL,
    local: true,
    settings: {},
    quota,
    snapshots: new SnapshotShelf(path.join(state.root, 'snapshots'), quota),
    images: new ImageShelf(
      undefined,
      quota,
      () => undefined,
      () => tenant.imageUsers,
    ),
  });
  service.add(tenant);
  const api = new ApiServer({
    service,
    version,
    // Only this user can reach the socket.
    authenticate: () => ({ tenant, token: '' }),
    holds: () => true,
    tickets: new Tickets(),
    // No page is loaded from there.
    allowsOrigin: () => false,
    handlers: { ...machineHandlers, ...fileHandlers, ...serverHandlers },
    sockets: socketHandlers,
    log,
    measurements: new Measurements(),
  });
  return { service, api, tenant };
}

/** Until it is told to end, or nobody needs it. */
async function lastUse(tenant: Tenant, ended: Promise<unknown>, linger: number): Promise<void> {
  const over = { yet: false };
  void ended.then(() => (over.yet = true));
  for (let idle = 0; idle < linger && !over.yet; idle += LOOK) {
    await Promise.race([delay(LOOK), ended]);
    if (tenant.active.length > 0 || tenant.calls > 0) idle = 0;
  }
}

export async function supervise(linger = LINGER): Promise<number> {
  const folder = makeRuntimeFolder();
  const log = new Log((line) => process.stderr.write(line));
  const held = { yet: false };
  try {
    return await withFileLock(path.join(folder, 'supervisor.lock'), 'exclusive', AbortSignal.timeout(PATIENCE), () => {
      held.yet = true;
      return new StateFolder(path.join(stateRoot(), 'supervisor')).use(async () => run(folder, log, linger));
    });
  } catch (error) {
    if (held.yet || !(error instanceof Error && error.name === 'AbortError')) throw error;
    // Another one runs: whoever wanted one has one.
    return 0;
  }
}

async function run(folder: string, log: Log, linger: number): Promise<number> {
  const state = new StateFolder(path.join(stateRoot(), 'supervisor'));
  const { service, api, tenant } = localServer(library, state, log);
  const socket = path.join(folder, SUPERVISOR_SOCKET);
  await listenUnix(api.server, socket);
  chmodSync(socket, 0o600);
  log.info('listening', { socket });
  const finish = outliveStrayErrors(log);
  const signal = awaitSignal();
  await lastUse(tenant, signal.came, linger);
  log.info('ending', { machines: tenant.active.length });
  api.close();
  await service.close();
  api.terminate();
  signal.forget();
  finish();
  rmSync(socket, { force: true });
  return 0;
}
