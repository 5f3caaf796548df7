/** Container images through the API: pulled from Debian's docker-registry, some by way of a server that lies. */
import { once } from 'node:events';
import * as fs from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { ApiClient } from '../api/client.js';
import type { EventMessage } from '../api/schemas.js';
import { fakeServer, type FakeServer } from '../testing/fake-server.js';
import { layer, startRegistry, umociImage, type TestRegistry } from '../testing/oci-images.js';
import { describeWith, quickAccelerator, requireFile, requireGuest, requireTool } from '../testing/tools.js';
import type * as Supervise from './supervise.js';

const amd64 = await requireGuest('amd64');
const busybox = await requireFile('/bin/busybox', 'busybox-static');
const registryTool = await requireTool('docker-registry');
const skopeo = await requireTool('skopeo');
const umoci = await requireTool('umoci');
const quick = await quickAccelerator();
// What starts workers comes from dist/, as the workers do.
const { library } = (await import(new URL('../../dist/server/supervise.js', import.meta.url).href)) as typeof Supervise;

/** htpasswd -B: user "anna", password "geheim". */
const HTPASSWD = 'anna:$2b$04$I8Y6ZxP8DRXZ4P1yY5VBgOVOzWHbNrqZ8xcGSq8PK21gYy2TsrnVW';

/** A registry behind a server that changes what it says of blobs, or keeps it to itself. */
class Between {
  /** `lie`: another byte; `stall`: half of it. */
  how: 'lie' | 'stall' | undefined;
  /** Somebody waits for the other half. */
  readonly stalled: Promise<void>;
  private markStalled: () => void = () => {};

  private constructor(private readonly server: Server) {
    this.stalled = new Promise((resolve) => (this.markStalled = resolve));
  }

  static async start(registry: string): Promise<Between> {
    const server = createServer();
    const between = new Between(server);
    server.on('request', (asked, answer) => {
      const { method, url = '/', headers } = asked;
      const sent = request(`http://${registry}${url}`, { method, headers: { ...headers, host: registry } }, (got) => {
        void (async () => {
          const parts: Buffer[] = [];
          for await (const part of got) parts.push(part as Buffer);
          const bytes = Buffer.concat(parts);
          answer.writeHead(got.statusCode ?? 500, got.headers);
          const { how } = between;
          if (how === undefined || !url.includes('/blobs/') || bytes.length < 100_000) answer.end(bytes);
          else if (how === 'lie') answer.end(bytes.fill(bytes[5000] ^ 1, 5000, 5001));
          else {
            answer.write(bytes.subarray(0, bytes.length / 2));
            between.markStalled();
          }
        })();
      });
      sent.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return between;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** Files below a folder, without those that are there to be locked. */
const below = (folder: string): string[] =>
  fs.existsSync(folder)
    ? fs
        .readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((found) => found.isFile() && !/^lock$|\.lock$/.test(found.name))
        .map(({ name }) => name)
    : [];

describeWith([amd64, busybox, registryTool, skopeo, umoci], 'images of a server', () => {
  let root = '';
  let registry: TestRegistry;
  let closed: TestRegistry;
  let between: Between;
  let server: FakeServer;
  let alice: ApiClient;
  const config = process.env['DOCKER_CONFIG'];

  beforeAll(async () => {
    root = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-images-'));
    const layout = path.join(root, 'layout');
    const bytes = layer([
      { path: 'bin/busybox', content: fs.readFileSync(busybox.path), mode: 0o755 },
      { path: 'bin/sh', kind: 'link', target: '/bin/busybox' },
      { path: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\napp:x:1234:567::/home/app:/bin/sh\n' },
    ]);
    const options = ['--config.cmd', 'one', '--config.env', 'COLOUR=a b', '--config.user', 'app'];
    await umociImage(umoci, layout, 'app', [bytes], ['--config.entrypoint', '/bin/sh', ...options]);
    [registry, closed] = await Promise.all([
      startRegistry(registryTool, root),
      startRegistry(registryTool, root, HTPASSWD),
    ]);
    const words = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false'];
    const { status, stderr } = await skopeo.run([...words, `oci:${layout}:app`, `docker://${registry.host}/app:1`]);
    expect(status, stderr).toBe(0);
    between = await Between.start(registry.host);
    // A login of whoever runs the server, which is not for tenants.
    process.env['DOCKER_CONFIG'] = root;
    const auth = Buffer.from('anna:geheim').toString('base64');
    fs.writeFileSync(path.join(root, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    const registries = [registry.host, closed.host, between.host];
    server = await fakeServer(
      root,
      {
        alice: { registries, network: 'none', limits: { disk: 30_000 } },
        bob: { registries, limits: { disk: 2 } },
      },
      { maker: library },
    );
    alice = server.as('alice');
  });
  afterEach(() => {
    between.how = undefined;
  });
  afterAll(async () => {
    await server.close();
    between.close();
    registry.stop();
    closed.stop();
    if (config === undefined) delete process.env['DOCKER_CONFIG'];
    else process.env['DOCKER_CONFIG'] = config;
    fs.rmSync(root, { recursive: true, maxRetries: 5 });
  });

  const kept = (tenant: string): string[] => below(path.join(root, 'state/tenants', tenant));

  it('are pulled with progress, listed, counted and removed', async () => {
    const name = `${registry.host}/app:1`;
    const told: EventMessage[] = [];
    const events = alice.events((event) => told.push(event));
    await expect.poll(() => server.parts.measurements.webSockets, { timeout: 10_000 }).toBe(1);
    const image = await alice.pullImage(name);
    expect(image).toMatchObject({ name, platform: 'linux/amd64' });
    await expect.poll(() => told.map(({ type }) => type), { timeout: 10_000 }).toContain('image');
    const steps = told.flatMap(({ type, progress }) => (type === 'image-progress' && progress ? [progress] : []));
    expect(steps[0]).toBe('resolve');
    expect(steps).toContain('fetch 100 %');
    expect(steps.at(-1)).toBe('build 100 %');
    expect(told.every((event) => event.name === name)).toBe(true);
    events.close();
    expect(await alice.images()).toEqual([image]);
    expect(await server.as('bob').images()).toEqual([]);
    const { disk } = (await alice.info()).usage;
    // Packed, and the disk with its file system.
    expect(disk).toBeGreaterThanOrEqual(2);
    expect(disk).toBeLessThan(200);
    // Pulled again it is there once.
    await alice.pullImage(name);
    expect((await alice.info()).usage.disk).toBe(disk);
    await alice.removeImage(name);
    expect(await alice.images()).toEqual([]);
    expect((await alice.info()).usage.disk).toBe(0);
    expect(kept('alice')).toEqual([]);
  });

  it('that cannot be had leave nothing behind', async () => {
    const cases: readonly [string, object][] = [
      [`${registry.host}/none:1`, { status: 404, code: 'not-found' }],
      [`${registry.host}/app:none`, { status: 404, code: 'not-found' }],
      ['UPPER', { status: 400, code: 'invalid' }],
      ['oci:/etc', { status: 403, code: 'forbidden' }],
      ['debian:12', { status: 403, code: 'forbidden' }],
      [
        `${closed.host}/app:1`,
        { status: 502, code: 'failed', message: expect.stringMatching(/wants a login/) as string },
      ],
    ];
    for (const [name, error] of cases) {
      await expect(alice.pullImage(name), name).rejects.toMatchObject(error);
      // A machine of it says the same, and is not kept.
      await expect(alice.create({ image: name }), name).rejects.toMatchObject(error);
    }
    between.how = 'lie';
    const lie = { status: 502, message: expect.stringMatching(/not what its digest says/) as string };
    await expect(alice.pullImage(`${between.host}/app:1`)).rejects.toMatchObject(lie);
    await expect(alice.create({ image: `${between.host}/app:1` })).rejects.toMatchObject(lie);
    await expect(server.as('bob').pullImage(`${registry.host}/app:1`)).rejects.toMatchObject({
      status: 429,
      code: 'limit',
    });
    expect(await alice.list()).toEqual([]);
    for (const tenant of ['alice', 'bob']) {
      expect(kept(tenant)).toEqual([]);
      expect((await server.as(tenant).info()).usage).toEqual({ machines: 0, cpus: 0, memory: 0, disk: 0 });
    }
  });

  it('are taken back when a client hangs up, also by who waits', async () => {
    between.how = 'stall';
    const going = [new AbortController(), new AbortController()];
    const pulls = going.map(({ signal }) => alice.pullImage(`${between.host}/app:1`, { signal }));
    for (const pull of pulls) pull.catch(() => {});
    await between.stalled;
    const { name } = await alice.create({ image: `${between.host}/app:1`, wait: false });
    going[1].abort();
    await expect(pulls[1]).rejects.toThrow();
    // Neither waits for the one that does not come to its end.
    await alice.remove(name);
    going[0].abort();
    await expect(pulls[0]).rejects.toThrow();
    await expect.poll(() => kept('alice'), { timeout: 10_000 }).toEqual([]);
    between.how = undefined;
    await alice.pullImage(`${between.host}/app:1`);
    await alice.removeImage(`${between.host}/app:1`);
  });

  it('become machines, and what these can write counts', async () => {
    const image = `${registry.host}/app:1`;
    await alice.create({ name: 'one', image, ...quick, memory: 128, machine: 'microvm' });
    const { disk } = (await alice.info()).usage;
    expect(disk).toBeGreaterThan(8192);
    const command = '/bin/busybox id -u; echo "$COLOUR"; /bin/busybox touch /tmp/x 2>&1; echo >/etc/x';
    const { stdout } = await alice.exec('one', { command });
    expect(stdout).toMatch(/^1234\na b\n/);
    await alice.snapshot('one', { name: 'kept' });
    await alice.remove('one');
    const before = (await alice.info()).usage.disk;
    await alice.create({ name: 'two', snapshot: 'kept' });
    expect((await alice.info()).usage.disk).toBeGreaterThan(before + 8192);
    expect((await alice.exec('two', { command: 'echo "$COLOUR"' })).stdout).toBe('a b\n');
    // What a machine or a snapshot needs stays.
    const needed = (by: string): object => ({
      status: 409,
      code: 'conflict',
      message: `the ${by} needs the image ${image}`,
    });
    await expect(alice.removeImage(image)).rejects.toMatchObject(needed('machine two'));
    await alice.removeSnapshot('kept');
    await expect(alice.removeImage(image)).rejects.toMatchObject(needed('machine two'));
    expect((await alice.images())[0].neededBy).toEqual([{ kind: 'machine', name: 'two' }]);
    // It can lose its name, and what is saved then can go on.
    await alice.removeImage(image, { force: true });
    expect((await alice.images())[0].untagged).toBe(true);
    await alice.snapshot('two', { name: 'late' });
    await alice.remove('two');
    await alice.create({ name: 'three', snapshot: 'late' });
    expect((await alice.exec('three', { command: '/bin/busybox ls /bin' })).stdout).toBe('busybox\nsh\n');
    await alice.remove('three');
    const [{ digest }] = await alice.images();
    await expect(alice.removeImage(digest)).rejects.toMatchObject({ status: 409 });
    await alice.removeSnapshot('late');
    await expect.poll(() => alice.images(), { timeout: 10_000 }).toEqual([]);
    // Its layers go behind its name.
    await expect.poll(async () => (await alice.info()).usage.disk, { timeout: 10_000 }).toBe(0);
  });

  it('stay while a machine or a snapshot needs them, although their tag has gone', async () => {
    const image = `${registry.host}/app:moves`;
    const tag = async (from: string): Promise<void> => {
      const words = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false'];
      const layout = `oci:${path.join(root, 'layout')}:${from}`;
      const { status, stderr } = await skopeo.run([...words, layout, `docker://${image}`]);
      expect(status, stderr).toBe(0);
    };
    await tag('app');
    await alice.create({ name: 'old', image, ...quick, memory: 128, machine: 'microvm' });
    const [{ digest }] = await alice.images();
    await umociImage(umoci, path.join(root, 'layout'), 'new', [layer([{ path: 'etc/new', content: 'new' }])]);
    await tag('new');
    await alice.pullImage(image);
    await alice.snapshot('old', { name: 'kept' });
    const two = await alice.images();
    expect(two.map(({ untagged }) => untagged)).toEqual([undefined, true]);
    expect(two[1].digest).toBe(digest);
    // Two images are more than one.
    await alice.remove('old');
    const { disk } = (await alice.info()).usage;
    await expect(alice.removeImage(digest)).rejects.toMatchObject({ status: 409, code: 'conflict' });
    await alice.pullImage(image);
    await alice.create({ name: 'two', snapshot: 'kept' });
    expect((await alice.exec('two', { command: '/bin/busybox ls /bin' })).stdout).toBe('busybox\nsh\n');
    await alice.removeSnapshot('kept');
    expect(await alice.images()).toHaveLength(2);
    await alice.remove('two');
    await expect
      .poll(async () => (await alice.images()).map((one) => one.untagged), { timeout: 10_000 })
      .toEqual([undefined]);
    expect((await alice.info()).usage.disk).toBeLessThan(disk);
    await alice.removeImage(image);
    await expect.poll(async () => (await alice.info()).usage.disk, { timeout: 10_000 }).toBe(0);
  });
});
