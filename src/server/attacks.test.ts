/** What a tenant, or somebody who is none, may try. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { HostError } from '../base/errors.js';
import { fakeServer, type FakeServer } from '../testing/fake-server.js';
import { HeldBytes } from './held-bytes.js';
import { mostFiles } from './host-limits.js';
import { availableMemory } from './host-memory.js';
import { StartLine } from './start-line.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-attacks-'));
afterAll(() => rmSync(folder, { recursive: true }));

let server: FakeServer;
const ports = { address: '127.0.0.1', from: 20_000, to: 29_999 };
beforeAll(async () => {
  server = await fakeServer(folder, { alice: {}, bob: {}, eve: { ports } }, { availableMemory: () => 3000 });
  await server.as('alice').create({ name: 'one' });
  await server.as('eve').create({ name: 'own' });
});
afterAll(() => server.close());

/** What a server says to bytes, until it hangs up. */
function said(bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (part: Buffer) => (text += part.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

const HEAD = (): string => `Host: x\r\nAuthorization: Bearer ${server.token('eve')}\r\n`;
const ask = (target: string, options: RequestInit = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${server.port}${target}`, {
    ...options,
    headers: { Authorization: `Bearer ${server.token('eve')}`, 'Content-Type': 'application/json' },
  });

it.each([
  [
    'two lengths of one body',
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/info HTTP/1.1\r\n',
  ],
  ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello'],
  ['a length that is none', 'Content-Length: +5\r\n\r\nhello'],
  ['an encoding that is none', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
  ['an encoding in front of another', 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
  ['a chunk without an end', 'Transfer-Encoding: chunked\r\n\r\n5\nhello0\r\n\r\n'],
  ['a space before a colon', 'Content-Length : 5\r\n\r\nhello'],
  ['a line that goes on', 'X: a\r\n b\r\nContent-Length\r\n : 5\r\n\r\n'],
  ['a head that is too long', `X: ${'x'.repeat(20_000)}\r\n\r\n`],
])('a request cannot hide another: %s', async (_, rest) => {
  const text = await said(`POST /v1/tickets HTTP/1.1\r\n${HEAD()}${rest}`);
  expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
  expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  expect(text).not.toContain('"tenant"');
});

it('takes no path for another', async () => {
  const paths = [
    '/v1/snapshots/..%2f..%2falice%2fsnapshots%2fkept',
    '/v1/snapshots/%2e%2e',
    '/v1/machines/own%2f..%2fone',
    '/v1/machines/one',
    '/v1/machines/..%2fone/files?path=/etc/passwd',
    '/v1/machines/own%00',
    '/v1//machines/own',
    '/v1/machines/constructor',
    '/console/..%2fserver%2fserve.js',
    '/console/../../package.json',
  ];
  for (const target of paths) {
    const text = await said(`GET ${target} HTTP/1.1\r\n${HEAD()}Connection: close\r\n\r\n`);
    expect(text, target).toMatch(/^HTTP\/1\.1 404 /);
  }
  // In a page of somebody's who has made a name lead here, as by DNS: without a token, whatever it calls this server.
  const rebound = `GET /v1/machines HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n`;
  expect(await said(rebound)).toMatch(/^HTTP\/1\.1 401 /);
});

it('takes no bodies that are larger than they need be, nor deeper', async () => {
  const status = async (target: string, body: NonNullable<RequestInit['body']>): Promise<number> =>
    (await ask(target, { method: 'POST', body, ...(body instanceof ReadableStream && { duplex: 'half' }) })).status;
  expect(await status('/v1/machines', ' '.repeat(5 * 2 ** 20))).toBe(413);
  const piece = Buffer.alloc(2 ** 20, ' ');
  let left = 6;
  const stream = new ReadableStream({
    pull: (controller) => (left-- > 0 ? controller.enqueue(piece) : controller.close()),
  });
  expect(await status('/v1/machines', stream)).toBe(413);
  const deep = `{"memory":${'['.repeat(500_000)}${']'.repeat(500_000)}}`;
  const answer = await ask('/v1/machines', { method: 'POST', body: deep });
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringMatching(/nested too deep/)]);
  expect(server.errors).toEqual([]);
});

it('keeps no more of a command than it may write, and of a tenant than it may keep', async () => {
  const eve = server.as('eve');
  await expect(eve.exec('own', { command: 'yes' })).rejects.toMatchObject({ status: 400, code: 'failed' });
  const held = new HeldBytes(100);
  const [first, second] = [held.hold(), held.hold()];
  first.add(60);
  expect(() => second.add(41)).toThrow('more than 100 bytes');
  second.add(40);
  first.release();
  first.release();
  expect(held.now).toBe(40);
});

it('ends connections whose upgrade it refuses', async () => {
  const before = await connections();
  const sockets = Array.from({ length: 8 }, () =>
    connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true }),
  );
  onTestFinished(() => sockets.forEach((socket) => void socket.destroy()));
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n';
  for (const socket of sockets)
    socket.on('error', () => {}).write(`GET /v1/events HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`);
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on('end', resolve).resume())));
  // Whatever their other ends do.
  await expect.poll(connections, { timeout: 10_000 }).toBeLessThanOrEqual(before);
});

const connections = (): Promise<number> =>
  new Promise((resolve) => server.server.getConnections((_error, count) => resolve(count)));

it('gives up strangers who do not ask, or do not listen, and lets those whom it knows wait', async () => {
  expect(server.server.timeout).toBeGreaterThan(0);
  expect(server.server.headersTimeout).toBeLessThanOrEqual(30_000);
  const before = server.server.timeout;
  onTestFinished(() => void server.server.setTimeout(before));
  server.server.setTimeout(300);
  const begun = performance.now();
  expect(await said('')).toBe('');
  expect(performance.now() - begun).toBeLessThan(5000);
  expect((await server.as('eve').exec('own', { command: 'sleep' })).exitCode).toBe(0);
});

it('tells a client that is still sending why it is refused', async () => {
  const body = Buffer.alloc(16 * 2 ** 20);
  const answer = await ask('/v1/machines/nonesuch/files?path=/x', { method: 'PUT', body });
  expect([answer.status, await answer.json()]).toMatchObject([404, { error: { code: 'not-found' } }]);
});

it('tells tenants nothing of its own files', async () => {
  const failing = await fakeServer(
    path.join(folder, 'failing'),
    { alice: {} },
    { maker: { create: broken, restore: broken } },
  );
  onTestFinished(() => failing.close());
  const alice = failing.as('alice');
  await expect(alice.create({})).rejects.toThrow(/^the server could not do that$/);
  await alice.create({ name: 'late', wait: false });
  await expect
    .poll(async () => (await alice.get('late')).exit, { timeout: 10_000 })
    .toEqual({
      kind: 'failed',
      message: 'the server could not do that',
    });
  await expect(alice.exec('late', { command: 'id', env: { 'A=B': 'x' } })).rejects.toMatchObject({ code: 'invalid' });
});

const broken = (): Promise<never> => Promise.reject(new HostError('cannot read /srv/secret/kernel'));

it('says when to come again', async () => {
  const request = { method: 'POST', body: JSON.stringify({ memory: 4000, name: 'large' }) };
  const answer = await ask('/v1/machines', request);
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5']);
  expect(await answer.json()).toMatchObject({ error: { code: 'busy' } });
  expect((await server.as('eve').list()).map(({ name }) => name)).toEqual(['own']);
  const eve = server.as('eve');
  for (let i = 0; i < 64; i++) await eve.openPort('own', { guestPort: 80 });
  const last = await ask('/v1/machines/own/ports', { method: 'POST', body: '{"guestPort":80}' });
  expect([last.status, last.headers.get('retry-after')]).toEqual([429, '2']);
});

it("leaves other tenants' tickets alone", async () => {
  const { ticket } = await server.as('alice').ticket();
  const [alice] = server.service.all.filter(({ name }) => name === 'alice');
  for (let i = 0; i < 20_000; i++) server.parts.tickets.issue({ tenant: server.service.all[2], token: 'x' });
  expect(server.parts.tickets.redeem(ticket)?.tenant).toBe(alice);
});

it('ends what was opened with a token that is taken away', async () => {
  const bob = server.as('bob');
  await bob.create({ name: 'two' });
  const { ticket } = await bob.ticket();
  const closed = new Promise((resolve) => bob.events(() => {}, resolve));
  const relay = new WebSocket(`ws://127.0.0.1:${server.port}/v1/relay`, {
    headers: { Authorization: `Bearer ${server.token('bob')}` },
  });
  await new Promise((resolve) => relay.on('open', resolve));
  const ended = new Promise((resolve) => relay.on('close', resolve));
  const logs = (async () => {
    for await (const part of await bob.logs('two', { follow: true })) expect(part.length).toBe(0);
  })();
  await pause(50);
  server.revoke('bob');
  await Promise.all([closed, ended, expect(logs).rejects.toThrow()]);
  await expect(bob.list()).rejects.toMatchObject({ status: 401 });
  const answer = await fetch(`http://127.0.0.1:${server.port}/v1/machines/two/files?path=/x&ticket=${ticket}`);
  expect(answer.status).toBe(401);
});

it('begins machines in turns of their owners, a few at a time, where there is memory', async () => {
  const line = new StartLine(() => 1256, 1, 3);
  const order: string[] = [];
  const { signal } = new AbortController();
  let go = (): void => {};
  const first = line.begin(
    { owner: {}, memory: 900, signal, waits: () => {} },
    () => new Promise<void>((resolve) => (go = resolve)),
  );
  const [alice, bob] = [{}, {}];
  const given = new AbortController();
  const begin = (owner: object, name: string, by = signal): Promise<void> =>
    line.begin({ owner, memory: 1000, signal: by, waits: () => order.push(`${name} waits`) }, () => {
      order.push(name);
      return Promise.resolve();
    });
  const all = [begin(alice, 'a1'), begin(alice, 'a2', given.signal), begin(alice, 'a3')];
  await expect(begin(bob, 'b0')).rejects.toMatchObject({ code: 'busy', status: 503 });
  given.abort(new Error('taken back'));
  await expect(all[1]).rejects.toThrow('taken back');
  all.push(begin(bob, 'b1'));
  await pause(1);
  go();
  await Promise.all([first, all[0], all[2], all[3]]);
  expect(order.filter((text) => !text.endsWith('waits'))).toEqual(['a1', 'b1', 'a3']);
  await expect(
    line.begin({ owner: alice, memory: 1001, signal, waits: () => {} }, () => Promise.resolve()),
  ).rejects.toThrow('no 1001 MiB');
});

it('outlives what nobody waits for', () => {
  const place = (name: string): string => JSON.stringify(new URL(`../../dist/server/${name}.js`, import.meta.url).href);
  const script = `import { outliveStrayErrors } from ${place('stray-errors')};
    import { Log } from ${place('log')};
    outliveStrayErrors(new Log((line) => process.stdout.write(line)));
    void Promise.reject(new Error('stray'));
    setTimeout(() => process.exit(7), 50);`;
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(stdout).toMatch(/"event":"internal","message":"Error: stray/);
  expect(status).toBe(7);
});

it('knows what the host has left, within its control groups', () => {
  const groups = path.join(folder, 'groups');
  mkdirSync(path.join(groups, 'a/b'), { recursive: true });
  const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);
  write('meminfo', 'MemTotal:  8388608 kB\nMemAvailable:   4194304 kB\n');
  write('self', '0::/a/b\n');
  const files = { meminfo: path.join(folder, 'meminfo'), self: path.join(folder, 'self'), groups };
  expect(availableMemory(files)).toBe(4096);
  write('groups/a/memory.max', `${2 ** 30}\n`);
  write('groups/a/memory.current', `${2 ** 29}\n`);
  write('groups/a/memory.stat', `anon 1\ninactive_file ${2 ** 20}\n`);
  write('groups/a/b/memory.max', 'max\n');
  write('groups/a/b/memory.current', '5\n');
  expect(availableMemory(files)).toBe(513);
  expect(availableMemory({ ...files, meminfo: '/nowhere' })).toBeUndefined();
  write(
    'limits',
    'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096       files\n',
  );
  expect(mostFiles(path.join(folder, 'limits'))).toBe(1024);
  expect(mostFiles('/nowhere')).toBe(Infinity);
});
