import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { routeIds, routeOf } from '../api/routes.js';
import { MachineRequest } from '../api/schemas.js';
import { fakeServer, type FakeServer } from '../testing/fake-server.js';
import { RandomSource } from '../testing/random-source.js';
import { queryOf } from './request-body.js';
import { problemOf } from './validate.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));
let server: FakeServer;
beforeAll(async () => {
  server = await fakeServer(folder, { alice: {} });
  await server.as('alice').create({ name: 'one' });
});
afterAll(() => server.close());

const LETTERS = Array.from('ab=&%+25\u00e9');
const NAMES = ['one', 'one', 'one', '', '../..', '%2e%2e', 'x'.repeat(5000), '0', '-1'] as const;
const VALUES = [
  'one',
  '',
  '../..',
  '%2e%2e',
  '\u0000',
  'x'.repeat(5000),
  0,
  -1,
  1.5,
  2 ** 53,
  NaN,
  null,
  true,
  [],
  {},
  ['a'],
  [[[]]],
  { __proto__: null, constructor: 1 },
] as const;
const KEYS = [
  ...Object.keys(MachineRequest.properties),
  '__proto__',
  'constructor',
  'toString',
  'columns',
  'guestPort',
  'grace',
  'x',
];

function randomJson(random: RandomSource, depth = 0): unknown {
  if (depth > 3 || random.once(3)) return random.pick(VALUES);
  if (random.once(4)) return Array.from({ length: random.below(4) }, () => randomJson(random, depth + 1));
  const fields = Array.from({ length: random.below(6) }, () => [random.pick(KEYS), randomJson(random, depth + 1)]);
  return Object.fromEntries(fields) as unknown;
}

/** Sends bytes, and gives what comes until the connection ends, or nothing more does. */
function exchange(bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(server.port, '127.0.0.1');
    socket.setTimeout(150, () => socket.destroy());
    socket.on('data', (part) => (text += part.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
    socket.end(bytes);
  });
}

function randomRequest(random: RandomSource): Uint8Array {
  const route = routeOf(random.pick(routeIds));
  const name = encodeURIComponent(random.pick(NAMES));
  const target = route.path.replace('{name}', name).replace('{port}', name);
  const query = random.once(2)
    ? ''
    : `?${random.pick(['path', 'what', 'tail', 'x', '%', '&&'])}=${name}&follow=${name}`;
  const body = route.body === undefined ? '' : JSON.stringify(randomJson(random));
  const head = [
    `${route.method} ${target}${query} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Authorization: Bearer ${server.token('alice')}`,
    'Connection: close',
    ...(route.webSocket
      ? [
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
        ]
      : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`]),
  ];
  const bytes = new Uint8Array(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`));
  return random.damage(bytes, 2);
}

it('outlives requests of any kind', async () => {
  const random = new RandomSource(1);
  const statuses = new Set<string>();
  // The machine answers only some of what is asked: what fails in it must be told from what fails in the server.
  const all = Array.from({ length: 600 }, () => randomRequest(random));
  for (let at = 0; at < all.length; at += 50)
    for (const answer of await Promise.all(all.slice(at, at + 50).map(exchange))) {
      const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1];
      if (status !== undefined) statuses.add(status);
      else expect(answer).toBe('');
    }
  for (const expected of ['200', '400', '401', '404']) expect(statuses).toContain(expected);
  expect((await server.as('alice').info()).tenant).toBe('alice');
});

it('takes no JSON that its schema does not have', () => {
  const random = new RandomSource(2);
  for (let i = 0; i < 20_000; i++) {
    const value = JSON.parse(JSON.stringify(randomJson(random)) ?? 'null') as unknown;
    const problem = problemOf(MachineRequest, value);
    expect(problem === undefined || !/[\r\n]/.test(problem)).toBe(true);
    if (problem !== undefined) continue;
    for (const key of Object.keys(value as object)) expect(Object.hasOwn(MachineRequest.properties, key)).toBe(true);
  }
});

it('reads what stands behind a question mark, or refuses it', () => {
  const random = new RandomSource(3);
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: random.below(20) }, () => random.pick(LETTERS)).join('');
    try {
      for (const value of Object.values(queryOf(text))) expect(typeof value).toBe('string');
    } catch (error) {
      expect(error).toMatchObject({ name: 'ApiError', code: 'invalid' });
    }
  }
});

it('outlives messages of any kind', async () => {
  const random = new RandomSource(4);
  const targets = ['/v1/machines/one/exec', '/v1/events', '/v1/relay', '/v1/machines/one/display'];
  for (let round = 0; round < 40; round++) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}${random.pick(targets)}`, {
      headers: { Authorization: `Bearer ${server.token('alice')}` },
    });
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.on('open', () => {
      for (let i = 0; i < 20 && socket.readyState === WebSocket.OPEN; i++)
        socket.send(random.once(2) ? random.bytes(random.below(2000)) : (JSON.stringify(randomJson(random)) ?? 'null'));
      setTimeout(() => socket.close(), 20);
    });
    await closed;
  }
  expect((await server.as('alice').info()).tenant).toBe('alice');
  expect(server.errors.filter((line) => !line.includes('is not a function'))).toEqual([]);
});
