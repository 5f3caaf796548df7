import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isPublic, parseAddress } from '../net/addresses.js';
import { fakeServer, type FakeServer } from '../testing/fake-server.js';
import { OutputLog } from './output-log.js';
import { networkOf } from './plan-machine.js';
import { Quota } from './quota.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-limits-'));
afterAll(() => rmSync(folder, { recursive: true }));
let server: FakeServer;
beforeAll(async () => {
  server = await fakeServer(folder, {
    alice: { limits: { machines: 3, memory: 2000, cpus: 4, disk: 600, cpuCap: 120, cpuShares: 900 } },
  });
});
afterAll(() => server.close());

it('counts what a tenant has, and gives it back', async () => {
  const alice = server.as('alice');
  await alice.create({ name: 'a', memory: 1000, cpus: 2 });
  await expect(alice.create({ memory: 1001 })).rejects.toMatchObject({ code: 'limit', status: 429 });
  await expect(alice.create({ memory: 2001 })).rejects.toMatchObject({ code: 'forbidden', status: 403 });
  await expect(alice.create({ cpus: 3 })).rejects.toMatchObject({ code: 'limit' });
  await expect(alice.fork('a', {}).then(() => alice.fork('a', {}))).rejects.toMatchObject({ code: 'limit' });
  expect((await alice.info()).usage).toEqual({ machines: 2, cpus: 4, memory: 2000, disk: 0 });
  for (const { name } of await alice.list()) await alice.remove(name);
  expect((await alice.info()).usage).toEqual({ machines: 0, cpus: 0, memory: 0, disk: 0 });
});

it('counts snapshots', async () => {
  const alice = server.as('alice');
  await alice.create({ name: 'a', memory: 500 });
  await alice.snapshot('a', { name: 'first' });
  await expect(alice.snapshot('a', { name: 'first' })).rejects.toMatchObject({ code: 'conflict' });
  expect((await alice.info()).usage.disk).toBe(1);
  await alice.create({ name: 'large', memory: 600 });
  await expect(alice.snapshot('large', { name: 'second' })).rejects.toMatchObject({ code: 'forbidden' });
  await alice.removeSnapshot('first');
  expect((await alice.info()).usage.disk).toBe(0);
  await Promise.all(['a', 'large'].map((name) => alice.remove(name)));
});

it("deals a tenant's processor time out to its machines", async () => {
  const alice = server.as('alice');
  const made = server.limits.length;
  await alice.create({ name: 'a' });
  expect(server.limits[made]).toEqual({ shares: 900, cap: 120 });
  await alice.create({ name: 'b', cpuShares: 2048 });
  expect(server.limits.slice(made)).toEqual([
    { shares: 300, cap: 40 },
    { shares: 600, cap: 80 },
  ]);
  await alice.create({ name: 'c', cpuCap: 10 });
  expect(server.limits[made + 2].cap).toBe(10);
  for (const name of ['b', 'c']) await alice.remove(name);
  expect(server.limits[made]).toEqual({ shares: 900, cap: 120 });
  await alice.remove('a');
});

it('gives nothing beyond a limit, however often it is asked', () => {
  const quota = new Quota({ machines: 2 });
  const [first] = [quota.take({ machines: 1 }), quota.take({ machines: 1 })];
  expect(() => quota.take({ machines: 1 })).toThrow('you may have 2 machines, and have 2');
  first.release();
  first.release();
  quota.take({ machines: 1 });
  expect(() => quota.take({ machines: 1 })).toThrow('no room');
});

it('lets machines reach what their tenant may', () => {
  expect(networkOf(undefined, {}, false)).toEqual({ restrict: true, allow: [{ host: 'public:*' }] });
  expect(networkOf(true, {}, false)).toEqual({ restrict: true, allow: [{ host: 'public:*' }] });
  expect(networkOf({ restrict: true, allow: [{ host: 'example.org', port: 443 }] }, {}, false)).toEqual({
    restrict: true,
    allow: [{ host: 'public:example.org', port: 443 }],
  });
  expect(() => networkOf({ allow: [{ host: 'example.org' }] }, {}, true)).toThrow('"allow" needs "restrict": true');
  expect(() => networkOf({ restrict: true, allow: [{ host: '10.0.2.2' }] }, {}, false)).toThrow(
    'no address of the internet',
  );
  expect(networkOf(undefined, { network: 'none' }, false)).toBe(false);
  expect(networkOf(undefined, {}, true)).toBe(true);
  const listed = { network: { allow: [{ host: 'example.org', port: 443 }] } };
  expect(networkOf(undefined, listed, false)).toEqual({ restrict: true, allow: [{ host: 'example.org', port: 443 }] });
  expect(() => networkOf({ restrict: true, allow: [{ host: 'example.org' }] }, listed, false)).toThrow('not among');
  expect(networkOf({ restrict: true, allow: [] }, listed, false)).toEqual({ restrict: true, allow: [] });
});

it.each([
  ['8.8.8.8', true],
  ['2606:4700::1', true],
  ['10.0.0.1', false],
  ['172.31.255.255', false],
  ['172.32.0.1', true],
  ['192.168.1.1', false],
  ['127.0.0.1', false],
  ['169.254.169.254', false],
  ['100.64.0.1', false],
  ['::1', false],
  ['::ffff:10.0.0.1', false],
  ['fd00::1', false],
  ['fe80::1', false],
  ['64:ff9b::a00:1', false],
  ['2002:a00:1::', false],
])('%s is of the internet: %s', (text, expected) => {
  const address = parseAddress(text);
  expect(address && isPublic(address)).toBe(expected);
});

it('keeps the end of what is written, for those who look and those who follow', async () => {
  const log = new OutputLog(100_000);
  for (let i = 0; i < 50_000; i++) log.add(Buffer.from(`${i}\n`));
  const kept = Buffer.from(log.from(0)).toString();
  expect(kept.length).toBeGreaterThanOrEqual(100_000);
  expect(kept.length).toBeLessThan(120_000);
  expect(kept.endsWith('49998\n49999\n')).toBe(true);
  let text = '';
  const following = (async () => {
    for await (const bytes of log.read({ follow: true, tail: 6 })) text += Buffer.from(bytes).toString();
  })();
  await new Promise((resolve) => setImmediate(resolve));
  log.add(Buffer.from('more'));
  log.end();
  await following;
  expect(text).toBe('49999\nmore');
});
