/** Images made by umoci, carried by skopeo, kept in Debian's docker-registry. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DiskFile } from '../host/node/disk-file.js';
import { layer, startRegistry, umociImage, type TestRegistry } from '../testing/oci-images.js';
import { describeWith, requireTool } from '../testing/tools.js';
import { OciError } from './errors.js';
import { ImageStore, type PullProgress } from './image-store.js';

const registryTool = await requireTool('docker-registry');
const skopeo = await requireTool('skopeo');
const umoci = await requireTool('umoci');
const e2fsck = await requireTool('e2fsck', 'e2fsprogs');
const debugfs = await requireTool('debugfs', 'e2fsprogs');

let root = '';
let layout = '';
let registry: TestRegistry;
let closed: TestRegistry;
let store: ImageStore;
/** A cache of each test's own. */
let cache = '';

/** htpasswd -B: user "anna", password "geheim". */
const HTPASSWD = 'anna:$2b$04$I8Y6ZxP8DRXZ4P1yY5VBgOVOzWHbNrqZ8xcGSq8PK21gYy2TsrnVW';

const CONFIG = [
  ...['--config.entrypoint', '/bin/app', '--config.cmd', 'one', '--config.cmd', 'two words'],
  ...[
    '--config.env',
    'COLOUR=blue',
    '--config.env',
    'EMPTY=',
    '--config.user',
    'app:team',
    '--config.workingdir',
    '/srv/data',
  ],
  ...['--config.exposedports', '8080/tcp', '--config.exposedports', '53/udp', '--config.stopsignal', 'SIGINT'],
];

const CAPABILITY = Uint8Array.from([1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]);

const LAYERS = [
  layer([
    { path: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\nteam:x:2000:app\n' },
    { path: 'bin', kind: 'folder' },
    {
      path: 'bin/app',
      content: 'first',
      mode: 0o4755,
      uid: 3,
      gid: 4,
      xattrs: new Map([['security.capability', CAPABILITY]]),
    },
    { path: 'bin/gone', content: 'gone' },
    { path: 'dev/null', kind: 'character-device', major: 1, minor: 3 },
    { path: 'large', content: Buffer.alloc(3_000_000, 'large') },
  ]),
  layer([
    {
      path: 'bin/app',
      content: 'second',
      mode: 0o755,
      uid: 3,
      gid: 4,
      xattrs: new Map([['security.capability', CAPABILITY]]),
    },
    { path: 'bin/.wh.gone' },
    { path: 'bin/same', kind: 'hard-link', target: 'bin/app' },
  ]),
];

const digest = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** What a file of a disk holds. */
async function content(disk: string, file: string): Promise<string> {
  return (await debugfs.run(['-R', `cat ${file}`, disk])).stdout;
}

async function copy(from: string, to: string, ...options: string[]): Promise<void> {
  const args = [
    '--insecure-policy',
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    '--src-tls-verify=false',
    ...options,
    from,
    to,
  ];
  const { status, stderr } = await skopeo.run(args, { env: { HOME: root } });
  if (status !== 0) throw new Error(stderr);
}

/** Waits for an error of ours, which must be one line. */
async function failure(work: Promise<unknown>): Promise<OciError> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OciError);
  expect((error as OciError).message).not.toContain('\n');
  return error as OciError;
}

/** Everything below a folder. */
const below = (folder: string): string[] =>
  fs.existsSync(folder) ? (fs.readdirSync(folder, { recursive: true }) as string[]).sort() : [];

describeWith([registryTool, skopeo, umoci, e2fsck, debugfs], 'images', () => {
  beforeAll(async () => {
    root = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-oci-'));
    layout = path.join(root, 'layout');
    await umociImage(umoci, layout, 'app', LAYERS, CONFIG);
    await umociImage(umoci, layout, 'bare', [LAYERS[0]]);
    registry = await startRegistry(registryTool, root);
    closed = await startRegistry(registryTool, root, HTPASSWD);
    await copy(`oci:${layout}:app`, `docker://${registry.host}/team/app:gzip`);
    await copy(`oci:${layout}:app`, `docker://${registry.host}/team/app:zstd`, '--dest-compress-format', 'zstd');
    await copy(`oci:${layout}:app`, `docker://${registry.host}/team/app:docker`, '--format', 'v2s2');
  });
  beforeEach(() => {
    cache = fs.mkdtempSync(path.join(root, 'cache-'));
    store = new ImageStore({ cache });
  });
  afterAll(() => {
    registry.stop();
    closed.stop();
    fs.rmSync(root, { recursive: true });
  });

  it.each(['gzip', 'zstd', 'docker'])('come from a registry (%s)', async (tag) => {
    const steps: PullProgress[] = [];
    const name = `${registry.host}/team/app:${tag}`;
    const image = await store.pull(name, { onProgress: (step) => steps.push(step) });
    expect(image.name).toBe(name);
    expect(image.config).toMatchObject({
      entrypoint: ['/bin/app'],
      cmd: ['one', 'two words'],
      user: 'app:team',
      workdir: '/srv/data',
      stopSignal: 'SIGINT',
      platform: { os: 'linux', architecture: 'amd64' },
    });
    expect(image.config.env).toContain('COLOUR=blue');
    expect(image.config.env).toContain('EMPTY=');
    expect(image.config.env.some((pair) => pair.startsWith('PATH='))).toBe(true);
    expect([...image.config.exposedPorts].sort((a, b) => a.port - b.port)).toEqual([
      { port: 53, protocol: 'udp' },
      { port: 8080, protocol: 'tcp' },
    ]);
    expect(image.credentials).toEqual({ uid: 1000, gid: 2000, groups: [], home: '/home/app' });
    expect((await e2fsck.run(['-fn', image.rootDisk])).status).toBe(0);
    expect(await content(image.rootDisk, '/bin/same')).toBe('second');
    expect(await content(image.rootDisk, '/bin/gone')).toBe('');
    expect((await content(image.rootDisk, '/large')).length).toBe(3_000_000);
    const { stdout } = await debugfs.run(['-R', 'stat /bin/app', image.rootDisk]);
    expect(stdout).toMatch(/Mode: +0755 .*User: +3 +Group: +4 .*Links: 2.*security\.capability \(20\)/s);
    expect((await debugfs.run(['-R', 'stat /dev/null', image.rootDisk])).stdout).toContain('character special');
    const fetched = steps.filter(({ phase }) => phase === 'fetch');
    expect(fetched.at(-1)?.done).toBe(fetched.at(-1)?.total);
    expect(steps.at(-1)?.phase).toBe('build');
    // The same again, without asking.
    expect(await store.find(name)).toEqual(image);
    expect(below(path.join(cache, 'tmp'))).toEqual([]);
  });

  it('have the same digest however they come, and are kept once', async () => {
    const first = await store.pull(`${registry.host}/team/app:gzip`);
    const again = await store.pull(`${registry.host}/team/app@${first.digest}`);
    expect(again.digest).toBe(first.digest);
    expect(again.rootDisk).toBe(first.rootDisk);
    expect((await store.list()).length).toBe(2);
    expect(await store.remove(`${registry.host}/team/app:gzip`)).toBe(0);
    expect(fs.existsSync(first.rootDisk)).toBe(true);
    expect(await store.remove(first.digest)).toBeGreaterThan(1000);
    expect(below(path.join(cache, 'oci')).filter((name) => /[0-9a-f]{32}/.test(name))).toEqual([]);
    expect((await failure(store.remove('alpine'))).code).toBe('not-found');
  });

  it('whose tag goes to another one stay, untagged, until they are removed', async () => {
    const tag = `${registry.host}/team/app:moves`;
    await copy(`oci:${layout}:app`, `docker://${tag}`);
    const first = await store.pull(tag);
    await copy(`oci:${layout}:bare`, `docker://${tag}`);
    const second = await store.pull(tag);
    expect(second.digest).not.toBe(first.digest);
    // What is asked for with the tag is the new one; saved machines have the old one's disk.
    expect((await store.find(tag))?.digest).toBe(second.digest);
    await store.prune();
    await copy(`oci:${layout}:bare`, `docker://${registry.host}/team/app:other`);
    await store.pull(`${registry.host}/team/app:other`);
    await store.remove(`${registry.host}/team/app:other`);
    expect(await content(first.rootDisk, '/bin/app')).toBe('second');
    const untagged = `${registry.host}/team/app@${first.digest}`;
    expect((await store.list()).map(({ name, formerly }) => [name, formerly])).toEqual([
      [tag, undefined],
      [untagged, tag],
    ]);
    expect((await store.find(untagged))?.rootDisk).toBe(first.rootDisk);
    // It gets the tag back, and the other one is without.
    await copy(`oci:${layout}:app`, `docker://${tag}`);
    expect((await store.pull(tag)).rootDisk).toBe(first.rootDisk);
    const records = await store.list();
    expect(records.map(({ digest: one, formerly }) => [one, formerly])).toEqual([
      [first.digest, undefined],
      [second.digest, tag],
    ]);
    expect(await store.prune((record) => record.digest !== second.digest)).toBe(0);
    expect(await store.remove(second.digest)).toBeGreaterThan(1000);
    expect(fs.existsSync(second.rootDisk)).toBe(false);
    await copy(`oci:${layout}:bare`, `docker://${tag}`);
    await store.pull(tag);
    expect(await store.prune(() => true)).toBeGreaterThan(1000);
    expect(fs.existsSync(first.rootDisk)).toBe(false);
    expect((await store.list()).map(({ name }) => name)).toEqual([tag]);
  });

  it('that have another name are not kept twice when they lose one', async () => {
    const tag = `${registry.host}/team/app:moves`;
    await copy(`oci:${layout}:app`, `docker://${tag}`);
    const { digest: one } = await store.pull(tag);
    await store.pull(`${registry.host}/team/app@${one}`);
    await copy(`oci:${layout}:bare`, `docker://${tag}`);
    await store.pull(tag);
    expect((await store.list()).filter(({ formerly }) => formerly !== undefined)).toEqual([]);
  });

  it('come from layouts and archives, packed or not', async () => {
    const archives = {
      oci: path.join(root, 'oci.tar'),
      docker: path.join(root, 'docker.tar'),
      packed: path.join(root, 'packed.tar.gz'),
    };
    await copy(`oci:${layout}:app`, `oci-archive:${archives.oci}:app`);
    await copy(`oci:${layout}:app`, `docker-archive:${archives.docker}:team/app:new`);
    fs.writeFileSync(archives.packed, gzipSync(fs.readFileSync(archives.docker)));
    const names = [
      `oci:${layout}:app`,
      `oci-archive:${archives.oci}`,
      `oci-archive:${archives.oci}:app`,
      `docker-archive:${archives.docker}`,
      `docker-archive:${archives.docker}:team/app:new`,
      `docker-archive:${archives.packed}`,
    ];
    const digests = new Set<string>();
    for (const name of names) {
      const image = await store.pull(name);
      digests.add(image.digest);
      expect(image.config.cmd, name).toEqual(['one', 'two words']);
      expect(await content(image.rootDisk, '/bin/app'), name).toBe('second');
    }
    // One for what came with a manifest, one for what docker save leaves without.
    expect(digests.size).toBe(2);
  });

  it('in a layout that has several must be told apart', async () => {
    expect((await failure(store.pull(`oci:${layout}`))).message).toMatch(
      /has 2 images: say which.*there are app, bare/,
    );
    expect((await failure(store.pull(`oci:${layout}:other`))).code).toBe('not-found');
    expect((await failure(store.pull(`oci:${root}`))).message).toMatch(/no image layout/);
    expect((await failure(store.pull('docker-archive:/nowhere'))).message).toMatch(/no such file/);
  });

  it('of old versions of docker save have links for layers and no digests', async () => {
    const config = JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/bin/app'] },
      rootfs: { type: 'layers', diff_ids: LAYERS.slice(0, 1).flatMap((bytes) => [digest(bytes), digest(bytes)]) },
    });
    const manifest = JSON.stringify([
      { Config: 'c.json', RepoTags: ['app:1', 'app:latest'], Layers: ['a/layer.tar', 'b/layer.tar'] },
    ]);
    const file = path.join(root, 'old.tar');
    fs.writeFileSync(
      file,
      layer([
        { path: 'a', kind: 'folder' },
        { path: 'a/layer.tar', content: LAYERS[0] },
        { path: 'b/layer.tar', kind: 'link', target: '../a/layer.tar' },
        { path: 'c.json', content: config },
        { path: 'manifest.json', content: manifest },
      ]),
    );
    for (const tag of ['', ':app', ':app:1'])
      expect(await content((await store.pull(`docker-archive:${file}${tag}`)).rootDisk, '/bin/app')).toBe('first');
    expect((await failure(store.pull(`docker-archive:${file}:other`))).message).toMatch(/there are app:1, app:latest/);
  });

  it('of other platforms are refused, with those that there are', async () => {
    const index = JSON.parse(fs.readFileSync(path.join(layout, 'index.json'), 'utf8')) as {
      manifests: { digest: string; size: number }[];
    };
    const [{ digest: one, size }] = index.manifests;
    const at = (architecture: string, variant?: string): object => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: one,
      size,
      platform: { os: 'linux', architecture, variant },
    });
    const put = async (tag: string, manifests: object[]): Promise<void> => {
      const type = 'application/vnd.oci.image.index.v1+json';
      const body = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests });
      const answer = await fetch(`http://${registry.host}/v2/team/app/manifests/${tag}`, {
        method: 'PUT',
        body,
        headers: { 'content-type': type },
      });
      expect(answer.status).toBe(201);
    };
    // The registry wants to have what an index names.
    await copy(`oci:${layout}:app`, `docker://${registry.host}/team/app:one`, '--preserve-digests');
    await put('many', [at('arm64'), at('amd64', 'v3'), at('amd64'), at('unknown')]);
    expect((await store.pull(`${registry.host}/team/app:many`)).digest).toBe(one);
    await put('arm', [at('arm64'), at('amd64', 'v3'), at('unknown')]);
    expect((await failure(store.pull(`${registry.host}/team/app:arm`))).message).toMatch(
      /not there for linux\/amd64; there are linux\/arm64, linux\/amd64\/v3$/,
    );
    const wrong = store.pull(`${registry.host}/team/app:arm`, { platform: { os: 'linux', architecture: 'arm64' } });
    expect((await failure(wrong)).message).toMatch(/for linux\/amd64, not for linux\/arm64/);
  });

  it('that are not there, and registries that are not', async () => {
    expect((await failure(store.pull(`${registry.host}/team/none`))).code).toBe('not-found');
    expect((await failure(store.pull(`${registry.host}/team/app:none`))).message).toMatch(
      /there is no .*team\/app:none/,
    );
    expect((await failure(store.pull('127.0.0.1:1/x'))).code).toBe('network');
    expect(await store.list()).toEqual([]);
  });

  it('behind a login are had with the one that Docker knows', async () => {
    const name = `${closed.host}/team/app:gzip`;
    const folder = fs.mkdtempSync(path.join(root, 'docker-'));
    const before = { config: process.env['DOCKER_CONFIG'], path: process.env['PATH'] };
    const configure = (config: object): void =>
      fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config));
    process.env['DOCKER_CONFIG'] = folder;
    try {
      expect(await failure(store.pull(name))).toMatchObject({
        code: 'unauthorized',
        message: expect.stringMatching(/docker login/) as string,
      });
      configure({ auths: { [closed.host]: { auth: Buffer.from('anna:falsch').toString('base64') } } });
      expect((await failure(store.pull(name))).message).toMatch(/refuses the login/);
      configure({ auths: { [`http://${closed.host}/v1/`]: { auth: Buffer.from('anna:geheim').toString('base64') } } });
      await store.pull(name);
      await store.remove(name);
      const helper = path.join(folder, 'docker-credential-test');
      fs.writeFileSync(
        helper,
        `#!/bin/sh\nread -r server\n[ "$server" = ${closed.host} ] || { echo "credentials not found in native keychain"; exit 1; }\necho '{"ServerURL":"x","Username":"anna","Secret":"geheim"}'\n`,
        { mode: 0o755 },
      );
      process.env['PATH'] = `${folder}:${before.path ?? ''}`;
      configure({ credHelpers: { [closed.host]: 'test' } });
      await store.pull(name);
      configure({ credsStore: 'test', auths: { [registry.host]: {} } });
      await store.pull(`${registry.host}/team/app:gzip`);
    } finally {
      process.env['PATH'] = before.path;
      if (before.config === undefined) delete process.env['DOCKER_CONFIG'];
      else process.env['DOCKER_CONFIG'] = before.config;
    }
  });

  it('that lie leave nothing behind', async () => {
    const bad = path.join(root, 'bad');
    fs.cpSync(layout, bad, { recursive: true });
    const index = JSON.parse(fs.readFileSync(path.join(bad, 'index.json'), 'utf8')) as {
      manifests: { digest: string }[];
    };
    const blob = (name: string): string => path.join(bad, 'blobs', name.replace(':', '/'));
    const manifest = JSON.parse(fs.readFileSync(blob(index.manifests[0].digest), 'utf8')) as {
      layers: { digest: string }[];
    };
    const top = blob(manifest.layers[1].digest);
    const good = fs.readFileSync(top);
    const nothing = async (work: Promise<unknown>): Promise<string> => {
      const { message } = await failure(work);
      expect(await store.list()).toEqual([]);
      // Parts of others that were under way may go on later; what lied is gone.
      const lied = manifest.layers[1].digest.replace(':', '-');
      const left = below(path.join(cache, 'oci')).filter((name) => name.endsWith('.raw') || name.endsWith(lied));
      expect(left).toEqual([]);
      return message;
    };
    const changed = Buffer.from(good);
    changed[changed.length - 1] ^= 1;
    fs.writeFileSync(top, changed);
    expect(await nothing(store.pull(`oci:${bad}:app`))).toMatch(/not what its digest says/);
    fs.writeFileSync(top, Buffer.concat([good, Buffer.alloc(10)]));
    expect(await nothing(store.pull(`oci:${bad}:app`))).toMatch(/longer than the/);
    fs.writeFileSync(top, good.subarray(0, 20));
    expect(await nothing(store.pull(`oci:${bad}:app`))).toMatch(/instead of/);
    fs.rmSync(top);
    expect(await nothing(store.pull(`oci:${bad}:app`))).toMatch(/has no blobs/);
    const tiny = new ImageStore({ cache, limits: { unpacked: 100_000 } });
    expect(await nothing(tiny.pull(`oci:${layout}:app`))).toMatch(/unpacks to more than|are allowed/);
    const few = new ImageStore({ cache, limits: { entries: 5 } });
    expect(await nothing(few.pull(`oci:${layout}:app`))).toMatch(/more than 5 files/);
  });

  it('whose pull is given up can be pulled later', async () => {
    const name = `${registry.host}/team/app:gzip`;
    for (const phase of ['resolve', 'fetch', 'build'] as const) {
      const controller = new AbortController();
      const reason = new Error('enough');
      const onProgress = (step: PullProgress): void => {
        if (step.phase === phase) controller.abort(reason);
      };
      await expect(store.pull(name, { onProgress, signal: controller.signal })).rejects.toBe(reason);
      expect(await store.list()).toEqual([]);
      expect(below(path.join(cache, 'tmp'))).toEqual([]);
    }
    await store.pull(name);
  });

  it('are pulled by several at once', async () => {
    const name = `${registry.host}/team/app:zstd`;
    const images = await Promise.all([1, 2, 3, 4].map(() => new ImageStore({ cache }).pull(name)));
    expect(new Set(images.map(({ rootDisk }) => rootDisk)).size).toBe(1);
    expect((await e2fsck.run(['-fn', images[0].rootDisk])).status).toBe(0);
  });
});

describe('an empty store', () => {
  it('knows nothing', async () => {
    const empty = new ImageStore({ cache: path.join(tmpdir(), 'vitrine-none') });
    expect(await empty.list()).toEqual([]);
    expect(await empty.find('alpine')).toBeUndefined();
  });
});

describe('an image that is needed', () => {
  const needed = path.join(tmpdir(), `vitrine-needed-${process.pid}`);
  afterAll(() => fs.rmSync(needed, { recursive: true, force: true }));

  it('loses one of two names, and its last one only by force', async () => {
    const own = new ImageStore({ cache: needed });
    fs.mkdirSync(needed);
    const archive = path.join(needed, 'image.tar');
    fs.writeFileSync(archive, layer([{ path: 'file', content: 'needed' }]));
    const { rootDisk, digest } = await own.build(archive, { name: 'one' });
    await own.build(archive, { name: 'two' });
    const names = async (): Promise<string[]> => (await own.list()).map(({ name }) => name);
    // As a machine has it.
    const disk = DiskFile.open(rootDisk, { writable: false, lock: true });
    await own.remove('two');
    await expect(own.remove('one')).rejects.toMatchObject({ code: 'in-use' });
    await expect(own.remove(digest)).rejects.toMatchObject({ code: 'in-use' });
    await own.remove('one', { force: true });
    const untagged = [`docker.io/library/one@${digest}`];
    expect(await names()).toEqual(untagged);
    await own.remove(digest, { force: true });
    await own.prune(() => true);
    expect(await names()).toEqual(untagged);
    disk.close();
    const neededBy = (): string => 'the snapshot kept';
    await expect(own.remove(digest, { neededBy })).rejects.toThrow('the snapshot kept needs the image');
    await own.prune(() => true);
    expect(await names()).toEqual([]);
    expect(fs.existsSync(rootDisk)).toBe(false);
  });
});
