import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { openApi } from '../api/openapi.js';
import { matchRoute, routeIds, routeOf, type Route, type RouteId } from '../api/routes.js';
import { fakeServer, ORIGIN, type FakeServer } from '../testing/fake-server.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-access-'));
afterAll(() => rmSync(folder, { recursive: true }));

let server: FakeServer;
beforeAll(async () => {
  server = await fakeServer(folder, {
    alice: { network: 'open' },
    bob: {},
    eve: { network: 'none' },
    root: { operator: true },
  });
  const alice = server.as('alice');
  await alice.create({ name: 'one', display: true });
  await alice.snapshot('one', { name: 'kept' });
});
afterAll(() => server.close());

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Values that a route takes. */
const QUERY: Readonly<Partial<Record<RouteId, string>>> = {
  readFile: '?path=/etc/passwd',
  writeFile: '?path=/x',
  deleteFile: '?path=/x',
  deleteImage: '?name=debian',
};
const BODY: Readonly<Partial<Record<RouteId, unknown>>> = {
  exec: { command: 'id' },
  snapshotMachine: { name: 'stolen' },
  openPort: { guestPort: 80 },
  pullImage: { name: 'localhost:1/none' },
  createMachine: { snapshot: 'kept' },
};

const pathOf = ({ path: pattern }: Route): string =>
  pattern.replace('{name}', pattern.includes('snapshots') ? 'kept' : 'one').replace('{port}', '1');

function ask(id: RouteId, headers: Readonly<Record<string, string>>, query = QUERY[id] ?? ''): Promise<Answer> {
  const route = routeOf(id);
  return route.webSocket
    ? askSocket(pathOf(route) + query, headers)
    : askHttp(route, pathOf(route) + query, headers, BODY[id]);
}

function askHttp(
  { method, body }: Pick<Route, 'method' | 'body'>,
  target: string,
  headers: Readonly<Record<string, string>>,
  value: unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      port: server.port,
      method,
      path: target,
      headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      let text = '';
      response.on('data', (part: Buffer) => (text += part.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    sent.end(value === undefined ? undefined : JSON.stringify(value));
  });
}

function askSocket(target: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}${target}`, { headers });
    socket.on('open', () => {
      socket.terminate();
      resolve({ status: 101, body: '' });
    });
    socket.on('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (part: Buffer) => (text += part.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    socket.on('error', () => {});
  });
}

const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });
const told = ({ body }: Answer): unknown => JSON.parse(body);
const SECRET = /alice|one"|kept|debian|linux/i;

/** What only looks at what is the tenant's own: another tenant's answer has nothing of it. */
const OWN: readonly RouteId[] = [
  'openapi',
  'prometheus',
  'info',
  'ticket',
  'listMachines',
  'listSnapshots',
  'listImages',
  'events',
  'relay',
];

describe.each(routeIds)('%s', (id) => {
  it('gives nothing to whoever has no token', async () => {
    const bad = [
      {},
      bearer(''),
      bearer('vitrine_wrong'),
      bearer(`${server.token('alice')}x`),
      bearer(server.token('alice').slice(0, -1)),
      { Authorization: server.token('alice') },
      { Authorization: `Basic ${Buffer.from(`alice:${server.token('alice')}`).toString('base64')}` },
      { Cookie: `token=${server.token('alice')}` },
    ];
    for (const headers of bad) {
      const answer = await ask(id, headers);
      expect(answer.status).toBe(401);
      expect(answer.body).not.toMatch(/one|kept/);
    }
    const query = QUERY[id] ?? '';
    const given = await ask(id, {}, `${query}${query === '' ? '?' : '&'}ticket=nonesuch`);
    expect(given.status).toBe(401);
  });

  it('gives nothing of another tenant', async () => {
    const answer = await ask(id, bearer(server.token('bob')));
    if (OWN.includes(id)) {
      expect(answer.status).toBe(routeOf(id).status);
      expect(answer.body).not.toMatch(id === 'openapi' ? /alice/ : SECRET);
    } else {
      // A registry that it may not use; else there is nothing of that name.
      expect(answer.status).toBe(id === 'pullImage' ? 403 : 404);
      expect(told(answer)).toMatchObject({ error: { code: id === 'pullImage' ? 'forbidden' : 'not-found' } });
    }
  });

  it('is described, and has somebody who answers', () => {
    const route = routeOf(id);
    const { paths } = openApi('1') as { paths: Record<string, Record<string, { operationId: string }>> };
    expect(paths[route.path][route.method.toLowerCase()].operationId).toBe(id);
    expect(Object.hasOwn(route.webSocket ? server.parts.sockets : server.parts.handlers, id)).toBe(true);
    expect(matchRoute(route.method, pathOf(route), route.webSocket ?? false)).toMatchObject({ id });
  });
});

it('routes all that it describes', () => {
  const { paths } = openApi('1') as { paths: Record<string, Record<string, { operationId: RouteId }>> };
  const described = Object.values(paths).flatMap((one) => Object.values(one).map(({ operationId }) => operationId));
  expect(described.sort()).toEqual([...routeIds].sort());
  const answering = [...Object.keys(server.parts.handlers), ...Object.keys(server.parts.sockets)];
  expect(answering.sort()).toEqual(described);
});

it("leaves what is another tenant's as it was", async () => {
  const alice = server.as('alice');
  expect((await alice.list()).map(({ name, state }) => [name, state])).toEqual([['one', 'running']]);
  expect((await alice.snapshots()).map(({ name }) => name)).toEqual(['kept']);
  expect(await server.as('bob').list()).toEqual([]);
});

it('shows the measurements of all to an operator alone', async () => {
  expect((await ask('prometheus', bearer(server.token('root')))).body).toMatch(/tenant="alice",machine="one"/);
  expect((await ask('prometheus', bearer(server.token('alice')))).body).not.toMatch(/bob|vitrine_http_requests_total/);
});

it('takes a ticket once, for a WebSocket or a file', async () => {
  const { ticket } = await server.as('alice').ticket();
  expect((await askHttp({ method: 'GET' }, `/v1/info?ticket=${ticket}`, {}, undefined)).status).toBe(401);
  expect((await ask('events', {}, `?ticket=${ticket}`)).status).toBe(101);
  expect((await ask('events', {}, `?ticket=${ticket}`)).status).toBe(401);
  const other = await server.as('bob').ticket();
  expect((await ask('serial', {}, `?ticket=${other.ticket}`)).status).toBe(404);
  // A file is the only other thing: of the tenant's own machine, and never shown as a page.
  const fileBy = async (tenant: string): Promise<Response> => {
    const { ticket: one } = await server.as(tenant).ticket();
    return fetch(`http://127.0.0.1:${server.port}/v1/machines/one/files?path=/etc/hostname&ticket=${one}`);
  };
  const file = await fileBy('alice');
  expect([file.status, file.headers.get('content-disposition'), await file.text()]).toEqual([200, 'attachment', 'x']);
  expect(file.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect((await fileBy('bob')).status).toBe(404);
  const third = await server.as('alice').ticket();
  const write = `/v1/machines/one/files?path=/x&ticket=${third.ticket}`;
  expect((await askHttp({ method: 'PUT' }, write, {}, undefined)).status).toBe(401);
});

it('lets pages from elsewhere open no WebSockets', async () => {
  const from = async (origin: string): Promise<number> =>
    (await ask('events', { ...bearer(server.token('alice')), Origin: origin })).status;
  expect(await from(`http://127.0.0.1:${server.port}`)).toBe(101);
  for (const origin of ['http://evil.example', 'null', `https://127.0.0.1:${server.port}`, `http://127.0.0.1`, 'x'])
    expect(await from(origin)).toBe(403);
});

it('lets pages of the origins that it is told ask', async () => {
  const asked = async (origin: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${server.port}/v1/machines`, {
      method: 'OPTIONS',
      headers: { Origin: origin, 'Access-Control-Request-Method': 'POST' },
    });
  const answer = await asked(ORIGIN);
  expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, ORIGIN]);
  const refused = await asked('https://evil.example');
  expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, null]);
  expect((await ask('listMachines', { Origin: ORIGIN })).status).toBe(401);
});

it('has no network for tenants that may have none', async () => {
  expect((await ask('relay', bearer(server.token('eve')))).status).toBe(403);
  await expect(server.as('eve').create({ net: true })).rejects.toThrow('no network');
});

it('names files of its host to nobody but its own user', async () => {
  const bob = server.as('bob');
  for (const wanted of [
    { kernel: '/etc/passwd' },
    { disks: [{ path: '/dev/sda' }] },
    { mounts: { '/x': '/' } },
    { image: { disk: '/etc/passwd' } },
    { snapshotFile: '/etc/passwd' },
    { keepWrites: true },
    { image: 'oci:/etc' },
    { image: 'oci-archive:/etc/passwd' },
    { image: 'registry.evil.example/x' },
    { image: 'localhost:5000/x' },
  ])
    await expect(bob.create(wanted)).rejects.toMatchObject({ code: 'forbidden' });
  await bob.create({ name: 'own' });
  await expect(bob.snapshot('own', { file: '/tmp/x' })).rejects.toMatchObject({ code: 'forbidden' });
  await expect(bob.openPort('own', { guestPort: 80 })).rejects.toMatchObject({ code: 'forbidden' });
  await bob.remove('own');
});

it('says what is wrong with a request', async () => {
  const alice = bearer(server.token('alice'));
  const post = (target: string, value: unknown): Promise<Answer> =>
    askHttp({ method: 'POST', body: 'bytes' }, target, alice, value);
  const problem = async (value: unknown): Promise<unknown> => told(await post('/v1/machines', value));
  expect(await problem({ memory: 'much' })).toEqual({
    error: { code: 'invalid', message: 'the request: memory: expected integer: "much"' },
  });
  expect(await problem({ colour: 'red' })).toMatchObject({
    error: { message: expect.stringMatching(/colour/) as unknown },
  });
  expect(await problem({ accel: 'warp' })).toMatchObject({
    error: { message: 'the request: accel: "warp" is none of wasm, interp, kvm' },
  });
  expect((await askHttp({ method: 'GET' }, '/v1/nonesuch', alice, undefined)).status).toBe(404);
  expect((await askHttp({ method: 'PUT' }, '/v1/machines', alice, undefined)).status).toBe(405);
  expect((await askHttp({ method: 'GET' }, '/v1/machines/one/serial', alice, undefined)).status).toBe(426);
  expect((await askHttp({ method: 'GET' }, '/v1/machines?x=1', alice, undefined)).status).toBe(400);
  expect((await askHttp({ method: 'POST' }, '/v1/machines/one/exec', alice, { command: 'x' })).status).toBe(400);
});

it('answers with headers that keep it out of pages', async () => {
  const sent = request({ port: server.port, path: '/v1/machines' });
  sent.end();
  const [response] = (await once(sent, 'response')) as [{ readonly headers: Readonly<Record<string, string>> }];
  expect(response.headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'www-authenticate': 'Bearer realm="vitrine"',
  });
  expect(response.headers['access-control-allow-origin']).toBeUndefined();
});
