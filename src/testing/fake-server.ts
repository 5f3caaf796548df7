/** A server whose machines are none: for what concerns requests alone. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import path from 'node:path';
import { ApiClient } from '../api/client.js';
import { NodeTransport } from '../api/node-transport.js';
import type { Vm } from '../sdk/index.js';
import { StateFolder } from '../server/folders.js';
import { fileHandlers } from '../server/handlers/files.js';
import { machineHandlers } from '../server/handlers/machines.js';
import { serverHandlers } from '../server/handlers/server.js';
import { socketHandlers } from '../server/handlers/sockets.js';
import { ApiServer, type ServerParts } from '../server/http-server.js';
import { Log, silent } from '../server/log.js';
import { Measurements } from '../server/measurements.js';
import { allowsOrigin } from '../server/origins.js';
import { Service, type VmMaker } from '../server/service.js';
import { TenantBook } from '../server/tenant-book.js';
import { hashOf, parseConfig, type TenantSettings } from '../server/tenant-config.js';
import { Tickets } from '../server/tickets.js';

/** Whose pages may ask. */
export const ORIGIN = 'https://console.example.org';

export interface FakeServer {
  readonly port: number;
  readonly parts: ServerParts;
  readonly service: Service;
  /** Limits that machines were given, by the order in which they were made. */
  readonly limits: { shares?: number; cap?: number | undefined }[];
  /** Defects of the server's that it has told of. */
  readonly errors: readonly string[];
  /** What listens. */
  readonly server: Server;
  token(tenant: string): string;
  /** Takes a tenant's tokens away. */
  revoke(tenant: string): void;
  as(tenant: string): ApiClient;
  close(): Promise<void>;
}

/** What tests call of a machine; everything else of it fails. */
export function fakeVm(limits: FakeServer['limits']): Vm {
  let end: (exit: { readonly kind: 'stopped' }) => void = () => {};
  const exited = new Promise((resolve) => (end = resolve));
  const own: FakeServer['limits'][number] = {};
  limits.push(own);
  const vm = {
    exited,
    display: {},
    machine: {
      facts: { accel: 'wasm', cpus: 1, threads: 1, memory: 2 ** 20, resizable: false, note: undefined },
      usage: [{ time: 1, retired: 2n, exits: 3 }],
      limits: { shares: 1024, cap: undefined },
      limit: (wanted: object) => Object.assign(own, wanted),
      screenshot: () => Promise.resolve(Uint8Array.of(1)),
      requestFrame: () => {},
    },
    exec: async (command: unknown, { onStdout }: { readonly onStdout: (bytes: Uint8Array) => void }) => {
      if (command === 'sleep') await pause(700);
      else if (command === 'yes') for (let i = 0; i < 65; i++) onStdout(new Uint8Array(2 ** 20));
      return { exitCode: 0 };
    },
    ports: {
      forward: ({ hostPort }: { readonly hostPort: number }) =>
        Promise.resolve({ hostAddress: '127.0.0.1', hostPort, close: () => {} }),
    },
    fs: {
      readTo: async (_path: string, take: (bytes: Uint8Array) => Promise<void>) => take(Buffer.from('x')),
    },
    snapshot: (file: string) => {
      writeFileSync(file, 'a machine');
      return Promise.resolve();
    },
    fork: () => Promise.resolve(fakeVm(limits)),
    pause: () => Promise.resolve(),
    resume: () => Promise.resolve(),
    reset: () => Promise.resolve(),
    stop: () => {
      end({ kind: 'stopped' });
      return Promise.resolve();
    },
    shutdown: () => {
      end({ kind: 'stopped' });
      return Promise.resolve();
    },
  };
  // All that the server calls in these tests.
  return vm as unknown as Vm;
}

/** `folder`: of the test, for what the server keeps. `maker`: where its machines come from, if they are to be any. */
export async function fakeServer(
  folder: string,
  tenants: Readonly<Record<string, TenantSettings>>,
  { maker, availableMemory }: { readonly maker?: VmMaker; readonly availableMemory?: () => number } = {},
): Promise<FakeServer> {
  const token = (tenant: string): string => `vitrine_${tenant}-token`;
  const limits: FakeServer['limits'] = [];
  const make = (): Promise<Vm> => Promise.resolve(fakeVm(limits));
  const errors: string[] = [];
  const log = new Log((line) => {
    if (line.includes('"level":"error"')) errors.push(line);
  });
  const service = new Service({
    log,
    maker: maker ?? { create: make, restore: make },
    ...(availableMemory && { availableMemory }),
  });
  const config = parseConfig(
    JSON.stringify({
      tenants: Object.fromEntries(
        Object.entries(tenants).map(([name, settings]) => [name, { ...settings, tokens: [hashOf(token(name))] }]),
      ),
    }),
    'the configuration',
  );
  const book = new TenantBook(service, new StateFolder(path.join(folder, 'state')), silent);
  book.configure(config);
  const parts: ServerParts = {
    service,
    version: '0',
    authenticate: (authorization) => book.authenticate(config, authorization),
    holds: (grant) => book.holds(config, grant),
    tickets: new Tickets(),
    allowsOrigin: (origin, host, secure) => allowsOrigin(origin, host, secure, [ORIGIN]),
    handlers: { ...machineHandlers, ...fileHandlers, ...serverHandlers },
    sockets: socketHandlers,
    log,
    measurements: new Measurements(),
  };
  const api = new ApiServer(parts);
  api.server.listen(0, '127.0.0.1');
  await once(api.server, 'listening');
  const { port } = api.server.address() as AddressInfo;
  return {
    port,
    server: api.server,
    parts,
    service,
    limits,
    errors,
    token,
    revoke: (tenant) => {
      config.tenants[tenant] = { ...config.tenants[tenant], tokens: [] };
      api.recheck();
    },
    as: (tenant) => new ApiClient(new NodeTransport(`http://127.0.0.1:${port}`, { token: token(tenant) })),
    async close() {
      api.close();
      await service.close();
      api.terminate();
    },
  };
}
