/** Container images from the command line: made, listed, pulled, run, removed. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { DiskFile } from '../host/node/disk-file.js';
import { VitrineProcess, type Ended } from '../testing/machine-process.js';
import { layer, startRegistry, umociImage } from '../testing/oci-images.js';
import { describeWith, quickBoot, requireFile, requireGuest, requireTool } from '../testing/tools.js';

const amd64 = await requireGuest('amd64');
const busybox = await requireFile('/bin/busybox', 'busybox-static');
const registryTool = await requireTool('docker-registry');
const skopeo = await requireTool('skopeo');
const umoci = await requireTool('umoci');

let root = '';
let env: Record<string, string> = {};
beforeAll(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-image-'));
});
beforeEach(() => {
  // A cache of the test's own, with the guests of the machine's.
  const cache = fs.mkdtempSync(path.join(root, 'cache-'));
  env = { XDG_CACHE_HOME: cache, DOCKER_CONFIG: root };
  fs.mkdirSync(path.join(cache, 'vitrine'));
  fs.mkdirSync(path.join(cacheRoot(), 'guests'), { recursive: true });
  fs.symlinkSync(path.join(cacheRoot(), 'guests'), path.join(cache, 'vitrine/guests'));
});
afterAll(() => fs.rmSync(root, { recursive: true }));

const vitrine = (...args: readonly string[]): Promise<Ended> => new VitrineProcess(args, env).ended;

/** A command that works; what it printed. */
async function told(...args: readonly string[]): Promise<string> {
  const { code, output, errors } = await vitrine(...args);
  expect(code, errors).toBe(0);
  return output;
}

describe('vitrine image', () => {
  it('makes images of folders and archives, shows and removes them', async () => {
    const folder = path.join(root, 'folder');
    fs.mkdirSync(path.join(folder, 'etc'), { recursive: true });
    fs.writeFileSync(path.join(folder, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n');
    fs.linkSync(path.join(folder, 'etc/passwd'), path.join(folder, 'same'));
    fs.symlinkSync('etc/passwd', path.join(folder, 'link'));
    const options = [
      '--entrypoint',
      '/bin/app',
      '--cmd',
      'a',
      '--cmd',
      'b c',
      '--env',
      'A=1',
      '--user',
      'web',
      '--workdir',
      '/srv',
    ];
    const made = await told('image', 'build-from', folder, '--name', 'mine:1', ...options);
    expect(made).toMatch(/^mine:1 sha256:[0-9a-f]{64}\n$/);
    // The same files are the same image.
    expect(await told('image', 'build-from', folder, '--name', 'mine:2', ...options)).toBe(made.replace(':1', ':2'));
    const archive = path.join(root, 'archive.tar');
    fs.writeFileSync(archive, layer([{ path: 'file', content: 'x' }]));
    await told('image', 'build-from', archive, '--name', 'archived', '--json');
    const list = await told('image', 'ls');
    expect(list.split('\n')[0]).toMatch(/^NAME +DIGEST +PLATFORM +SIZE +PULLED$/);
    expect(list).toMatch(/^archived:latest +sha256:[0-9a-f]{12} +linux\/amd64 /m);
    const all = JSON.parse(await told('image', 'ls', '--json')) as { name: string; digest: string }[];
    expect(all.map(({ name }) => name)).toEqual(['archived:latest', 'mine:1', 'mine:2']);
    const seen = JSON.parse(await told('image', 'inspect', 'mine:1', '--json')) as Record<string, unknown>;
    expect(seen['config']).toMatchObject({ entrypoint: ['/bin/app'], cmd: ['a', 'b c'], user: 'web', workdir: '/srv' });
    expect(seen['credentials']).toMatchObject({ uid: 33, gid: 33, home: '/srv' });
    expect(await told('image', 'inspect', 'mine:1')).toMatch(/^user +web \(33:33\)$/m);
    await told('image', 'rm', 'mine:1', 'archived');
    expect(JSON.parse(await told('image', 'ls', '--json'))).toHaveLength(1);
    expect(fs.existsSync(seen['rootDisk'] as string)).toBe(true);
    expect(await told('image', 'rm', 'mine:2')).toMatch(/MiB are free again|KiB are free again/);
    expect(fs.existsSync(seen['rootDisk'] as string)).toBe(false);
    const left = path.join(env['XDG_CACHE_HOME'], 'vitrine/oci/blobs/sha256', 'e'.repeat(64));
    fs.writeFileSync(left, 'x');
    expect(JSON.parse(await told('image', 'prune', '--json'))).toEqual({ freed: expect.any(Number) as number });
    expect(fs.existsSync(left)).toBe(false);
  });

  it('keeps an image whose name another one gets, until it is told otherwise', async () => {
    const make = async (text: string): Promise<string> => {
      const archive = path.join(root, 'changing.tar');
      fs.writeFileSync(archive, layer([{ path: 'file', content: text }]));
      const made = await told('image', 'build-from', archive, '--name', 'mine', '--json');
      return (JSON.parse(made) as { rootDisk: string }).rootDisk;
    };
    const old = await make('x');
    await make('y');
    expect(await told('image', 'ls')).toMatch(/^mine:latest +sha256:.*\nmine:<none> +sha256:[0-9a-f]{12} /m);
    const all = JSON.parse(await told('image', 'ls', '--json')) as { name: string; untagged?: true }[];
    expect(all.map(({ untagged }) => untagged)).toEqual([undefined, true]);
    expect(all[1].name).toMatch(/^mine@sha256:/);
    expect(await told('image', 'prune')).toMatch(/\none untagged image stays; --untagged removes it, too\n$/);
    expect(fs.existsSync(old)).toBe(true);
    expect(await told('image', 'prune', '--untagged')).not.toContain('stays');
    expect(fs.existsSync(old)).toBe(false);
    expect(JSON.parse(await told('image', 'ls', '--json'))).toHaveLength(1);
  });

  it('does not remove what a machine runs from, unless it is forced to, and then the name alone', async () => {
    const archive = path.join(root, 'used.tar');
    fs.writeFileSync(archive, layer([{ path: 'file', content: 'used' }]));
    const made = await told('image', 'build-from', archive, '--name', 'used', '--json');
    const { rootDisk } = JSON.parse(made) as { readonly rootDisk: string };
    // As a machine has it.
    const disk = DiskFile.open(rootDisk, { writable: false, lock: true });
    try {
      const refused = await vitrine('image', 'rm', 'used');
      expect(refused).toMatchObject({ code: 1, errors: 'vitrine: a machine that runs needs the image used\n' });
      await told('image', 'rm', '--force', 'used');
      const stays = 'one untagged image stays: machines or snapshots need it';
      expect(await told('image', 'prune', '--untagged')).toContain(stays);
      expect(fs.existsSync(rootDisk)).toBe(true);
    } finally {
      disk.close();
    }
  });

  it.each([
    [['image', 'pull', 'UPPER'], /is no name of an image/],
    [['image', 'pull', 'oci-archive:/nowhere'], /cannot read \/nowhere: no such file/],
    [['image', 'pull', '127.0.0.1:1/x'], /127\.0\.0\.1:1: it refuses the connection/],
    [['image', 'pull', 'x', '--platform', 'linux'], /not OS\/ARCHITECTURE/],
    [['image', 'rm', 'none'], /there is no image none here/],
    [['image', 'inspect', 'none'], /vitrine image pull fetches it/],
    [['image', 'build-from', '/nowhere', '--name', 'x'], /cannot read \/nowhere/],
    [['image', 'build-from', '/tmp', '--name', 'oci:x'], /is no name for a new image|no name of an image/],
    [['run', 'oci:/nowhere'], /no such file/],
    [['run', './nowhere'], /there is no folder .\/nowhere/],
    [['run', 'amd64', '--user', 'x'], /--user needs a container image/],
    [['run', 'amd64', '--', 'ls'], /only a container image is given a program/],
    [['run', 'oci:x', '--kernel', 'y'], /either an image/],
    [['run', 'oci:x', '--console', 'hvc0'], /runs on ttyS0/],
    [['run', 'oci:x', '--env', '=nonsense'], /not NAME=VALUE/],
  ])('says in one line what is wrong with %j', async (args, message) => {
    const { code, errors } = await vitrine(...args);
    expect(errors).toMatch(message);
    expect(
      errors
        .trim()
        .split('\n')
        .filter((line) => line.startsWith('vitrine: ')),
    ).toHaveLength(1);
    expect(errors).not.toContain('internal error');
    expect(code).toBe(1);
  });
});

/** A registry with one image, `app`, whose layer it keeps half of to itself. */
async function stallingRegistry(): Promise<{ readonly host: string; goOn(): void; readonly ranges: unknown[] }> {
  const packed = layer([{ path: 'file', content: randomBytes(200_000) }]);
  const digest = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digest(packed)] } };
  const blobs = [Buffer.from(JSON.stringify(config)), packed];
  const [about, content] = blobs.map((bytes, i) => ({
    mediaType: `application/vnd.oci.image.${i === 0 ? 'config.v1+json' : 'layer.v1.tar'}`,
    digest: digest(bytes),
    size: bytes.length,
  }));
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config: about, layers: [content] });
  const ranges: unknown[] = [];
  let stalls = true;
  const server = createServer(({ url = '', headers }, answer) => {
    if (url.includes('/manifests/')) answer.writeHead(200, { 'content-type': mediaType }).end(manifest);
    const blob = blobs.find((bytes) => url.endsWith(`/blobs/${digest(bytes)}`));
    if (blob !== packed) answer.end(blob);
    else if (stalls) answer.writeHead(200, { 'content-length': blob.length }).write(blob.subarray(0, 100_000));
    else {
      ranges.push(headers.range);
      const from = Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
      const range = `bytes ${from}-${blob.length - 1}/${blob.length}`;
      answer.writeHead(from > 0 ? 206 : 200, { 'content-range': range }).end(blob.subarray(from));
    }
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, goOn: () => (stalls = false), ranges };
}

describe('vitrine image pull that is interrupted', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('by %s says so in a line, and leaves what the next one goes on with', async (signal, code) => {
    const registry = await stallingRegistry();
    const name = `${registry.host}/app:latest`;
    const partial = path.join(env['XDG_CACHE_HOME'], 'vitrine/oci/partial');
    const program = new VitrineProcess(['image', 'pull', name], env);
    const come = (): number => {
      const parts = fs.existsSync(partial) ? fs.readdirSync(partial) : [];
      return Math.max(0, ...parts.map((part) => fs.statSync(path.join(partial, part)).size));
    };
    await expect.poll(come, { timeout: 20_000 }).toBe(100_000);
    program.kill(signal);
    const ended = await program.ended;
    expect(ended.errors.split('\n').slice(-2)).toEqual([`vitrine: stopped by ${signal} while pulling ${name}`, '']);
    expect([ended.code, ended.output]).toEqual([code, '']);
    expect(fs.readdirSync(path.join(env['XDG_CACHE_HOME'], 'vitrine/tmp'))).toEqual([]);
    expect(await told('image', 'ls', '--json')).toBe('[]\n');
    registry.goOn();
    expect(await told('image', 'pull', name)).toMatch(/app:latest sha256:/);
    expect(registry.ranges).toEqual(['bytes=100000-']);
  });
});

describeWith([amd64, busybox, registryTool, skopeo, umoci], 'vitrine run with a container image', () => {
  it("runs its program as the image says, with the program's exit code", async () => {
    const layout = path.join(root, 'layout');
    const script =
      '#!/bin/sh\nid -u; id -g; pwd; echo "$COLOUR/$HOME"; echo "$#:$2"; cat /etc/secret 2>/dev/null || echo closed\nexit 42\n';
    const bytes = layer([
      { path: 'bin/busybox', content: fs.readFileSync(busybox.path), mode: 0o755 },
      ...['sh', 'id', 'cat'].map((name) => ({ path: `bin/${name}`, kind: 'link' as const, target: '/bin/busybox' })),
      { path: 'usr/local/bin/app', content: script, mode: 0o755 },
      { path: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\napp:x:1234:567::/home/app:/bin/sh\n' },
      { path: 'etc/secret', content: 'secret', mode: 0o600 },
    ]);
    const config = [
      '--config.entrypoint',
      'app',
      '--config.cmd',
      'one',
      '--config.cmd',
      "two 'words'",
      '--config.env',
      'COLOUR=a b',
      '--config.user',
      'app',
      '--config.workingdir',
      '/srv/data',
    ];
    await umociImage(umoci, layout, 'app', [bytes], config);
    const registry = await startRegistry(registryTool, root);
    try {
      const to = `docker://${registry.host}/app:1`;
      const { status, stderr } = await skopeo.run([
        '--insecure-policy',
        'copy',
        '--quiet',
        '--dest-tls-verify=false',
        `oci:${layout}:app`,
        to,
      ]);
      expect(status, stderr).toBe(0);
      const { code, output, errors } = await vitrine('run', `oci:${registry.host}/app:1`);
      expect(output.replaceAll('\r', ''), errors).toBe("1234\n567\n/srv/data\na b//home/app\n2:two 'words'\nclosed\n");
      expect(errors).toMatch(/pulling .*app:1/);
      expect(code).toBe(42);
    } finally {
      registry.stop();
    }
    // It is there now: no registry is asked. What the machine before wrote is gone.
    const again = await vitrine(
      'run',
      `oci:${registry.host}/app:1`,
      '--machine',
      'microvm',
      ...(await quickBoot()),
      '--entrypoint',
      'sh',
      '--user',
      '0',
      '-e',
      'COLOUR=red',
      '--',
      '-c',
      'cat /etc/secret; echo $COLOUR; [ -e /left ] && echo left; echo >/left; kill -9 $$',
    );
    expect(again.output.replaceAll('\r', ''), again.errors).toBe('secretred\n');
    expect(again.code).toBe(137);
  });
});
