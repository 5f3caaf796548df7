/** Images that lie, that try to get out, whose pull is given up, and disks that are full: in the library and on the command line. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { runCommand } from '../guests/command.js';
import { VitrineProcess, type Ended } from '../testing/machine-process.js';
import { layer, startRegistry, umociImage, type TestRegistry } from '../testing/oci-images.js';
import { describeWith, requireMountNamespaces, requireTool } from '../testing/tools.js';
import type * as Sdk from '../sdk/index.js';

const [registryTool, skopeo, umoci, debugfs, namespaces] = await Promise.all([
  requireTool('docker-registry'),
  requireTool('skopeo'),
  requireTool('umoci'),
  requireTool('debugfs', 'e2fsprogs'),
  requireMountNamespaces(),
]);
// What starts workers comes from dist/, as the workers do.
const library = new URL('../../dist/sdk/index.js', import.meta.url);
const main = new URL('../../dist/cli/main.js', import.meta.url);
const sdk = (await import(library.href)) as typeof Sdk;

/** Does not get smaller by packing. */
const CONTENT = randomBytes(2 ** 21);

/** A way to a registry on which only so many bytes come through, until it is opened. */
class Narrow {
  private readonly sockets = new Set<net.Socket>();
  private readonly held = new Set<net.Socket>();
  /** Bytes that came through. */
  passed = 0;

  private constructor(
    private readonly server: net.Server,
    private limit: number,
  ) {}

  static async start(registry: string, limit: number): Promise<Narrow> {
    const server = net.createServer();
    const narrow = new Narrow(server, limit);
    server.on('connection', (near) => {
      const far = net.connect(Number(registry.split(':')[1]), '127.0.0.1');
      for (const socket of [near, far]) {
        narrow.sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          narrow.sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far);
      far.on('data', (bytes) => {
        narrow.passed += bytes.length;
        near.write(bytes);
        if (narrow.passed < narrow.limit) return;
        narrow.held.add(far);
        far.pause();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return narrow;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as net.AddressInfo).port}`;
  }

  get isHolding(): boolean {
    return this.held.size > 0;
  }

  open(): void {
    this.limit = Infinity;
    this.passed = 0;
    for (const socket of this.held) socket.resume();
    this.held.clear();
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

describeWith([registryTool, skopeo, umoci, debugfs], 'images', () => {
  const root = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-bad-'));
  const outside = path.join(root, 'outside');
  const before = { cache: process.env['XDG_CACHE_HOME'], config: process.env['DOCKER_CONFIG'] };
  let registry: TestRegistry;
  let env: Record<string, string> = {};
  let cache = '';

  /** Files of the cache, without those that are there to be locked. */
  const kept = (): string[] =>
    (fs.readdirSync(cache, { recursive: true }) as string[])
      .filter((name) => !fs.statSync(path.join(cache, name)).isDirectory() && !/(^|\/)lock$|\.lock$/.test(name))
      .sort();
  /** Nothing but what the next pull goes on with. */
  const onlyParts = (): string[] => kept().filter((name) => !/^vitrine\/oci\/(blobs|partial)\//.test(name));

  /** Most of what comes through is where the next pull looks for it. */
  const hasPart = (narrow: Narrow): boolean =>
    narrow.isHolding &&
    kept().some(
      (name) => name.startsWith('vitrine/oci/partial/') && fs.statSync(path.join(cache, name)).size > 2 ** 19,
    );

  const vitrine = (...args: readonly string[]): Promise<Ended> => new VitrineProcess(args, env).ended;

  async function expectOneLine(message: RegExp, ...args: readonly string[]): Promise<void> {
    const { code, errors, output } = await vitrine(...args);
    const lines = errors.trim().split('\n');
    expect(lines.at(-1)).toMatch(message);
    expect(lines.filter((line) => line.startsWith('vitrine: '))).toEqual([lines.at(-1)]);
    expect(errors).not.toMatch(/internal error|\n {4}at /);
    expect({ code, output }).toEqual({ code: 1, output: '' });
  }

  const refused = (image: string, signal?: AbortSignal): Promise<unknown> =>
    sdk.Vm.create({ image, ...(signal && { signal }) }).then(
      () => 'a machine',
      (error: unknown) => error,
    );

  beforeAll(async () => {
    const layout = path.join(root, 'layout');
    fs.mkdirSync(outside);
    const content = layer([{ path: 'content', content: CONTENT }]);
    await umociImage(umoci, layout, 'good', [content]);
    await umociImage(umoci, layout, 'out', [content, layer([{ path: `../../../..${outside}/file`, content: 'out' }])]);
    const lead = { path: 'lead', kind: 'link' as const, target: `/../../../../../..${outside}` };
    const devices = layer([
      { path: 'lead/file', content: 'within' },
      { path: `${outside}/absolute`, content: 'within' },
      { path: 'lead/memory', kind: 'character-device', major: 1, minor: 1, mode: 0o666 },
      { path: 'lead/disk', kind: 'block-device', major: 8, minor: 0, mode: 0o666 },
      { path: 'lead/pipe', kind: 'fifo' },
      { path: 'lead/root', content: 'x', mode: 0o4755 },
    ]);
    await umociImage(umoci, layout, 'devices', [layer([lead]), devices]);
    registry = await startRegistry(registryTool, root);
    for (const tag of ['good', 'out', 'devices']) {
      const to = `docker://${registry.host}/app:${tag}`;
      const args = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:${tag}`, to];
      expect(await skopeo.run(args, { env: { HOME: root } })).toMatchObject({ status: 0 });
    }
  });
  beforeEach(() => {
    cache = fs.mkdtempSync(path.join(root, 'cache-'));
    env = { XDG_CACHE_HOME: cache, DOCKER_CONFIG: root };
    Object.assign(process.env, env);
  });
  afterAll(() => {
    registry.stop();
    for (const [name, value] of [
      ['XDG_CACHE_HOME', before.cache],
      ['DOCKER_CONFIG', before.config],
    ] as const)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    fs.rmSync(root, { recursive: true, maxRetries: 5 });
  });

  it('that are not what their digests say', async () => {
    const name = `${registry.host}/app:good`;
    // The registry keeps blobs as files, and believes them.
    const blobs = path.join(root, 'registry/docker/registry/v2/blobs');
    const files = (fs.readdirSync(blobs, { recursive: true }) as string[]).map((file) => path.join(blobs, file));
    const largest = files
      .filter((file) => fs.statSync(file).isFile())
      .reduce((a, b) => (fs.statSync(a).size >= fs.statSync(b).size ? a : b));
    const good = fs.readFileSync(largest);
    const other = Buffer.from(good);
    other[good.length >> 1] ^= 1;
    for (const [bytes, message] of [
      [other, /what came is not what its digest says \(sha256:/],
      [good.subarray(0, -5), /has \d+ bytes instead of \d+/],
      [Buffer.concat([good, Buffer.of(0)]), /is longer than the \d+ bytes/],
    ] as const) {
      fs.writeFileSync(largest, bytes);
      const error = await refused(name);
      expect(error).toBeInstanceOf(sdk.OciError);
      expect(error).toMatchObject({ code: 'damaged', message: expect.stringMatching(message) as string });
      expect(onlyParts()).toEqual([]);
    }
    await expectOneLine(/^vitrine: .* is longer than the \d+ bytes/, 'image', 'pull', name);
    await expectOneLine(/^vitrine: .* is longer than the \d+ bytes/, 'run', `oci:${name}`);
    expect(onlyParts()).toEqual([]);
    fs.writeFileSync(largest, good);
    expect((await vitrine('image', 'pull', name)).code).toBe(0);
  });

  it('with paths that lead out', async () => {
    const name = `${registry.host}/app:out`;
    const error = await refused(name);
    expect(error).toBeInstanceOf(sdk.OciError);
    expect(error).toMatchObject({ code: 'damaged' });
    await expectOneLine(
      /^vitrine: a layer has the path \.\.\/.*, which leads out of the image$/,
      'image',
      'pull',
      name,
    );
    expect(onlyParts()).toEqual([]);
    expect(fs.readdirSync(outside)).toEqual([]);
  });

  it('with links that lead out, and devices, which stay within', async () => {
    const { rootDisk } = await new sdk.ImageStore().pull(`${registry.host}/app:devices`);
    expect(fs.readdirSync(outside)).toEqual([]);
    const all = fs.readdirSync(cache, { recursive: true, withFileTypes: true });
    expect(all.filter((found) => !found.isFile() && !found.isDirectory())).toEqual([]);
    const { stdout } = await debugfs.run(['-R', `ls -l ${outside}`, rootDisk]);
    // What they are in the guest, as Linux writes it: mode with the kind, owner, group.
    const modes = [...stdout.matchAll(/^ *\d+ +(\d+) .* (\S+) *$/gm)].map(([, mode, file]) => `${file} ${mode}`);
    expect(modes.filter((line) => !line.startsWith('.')).sort()).toEqual([
      'absolute 100644',
      'disk 60666',
      'file 100644',
      'memory 20666',
      'pipe 10644',
      'root 104755',
    ]);
  });

  it('whose pull is given up', async () => {
    for (const command of [undefined, ['image', 'pull'], ['run']]) {
      const narrow = await Narrow.start(registry.host, 2 ** 20);
      try {
        const name = `${narrow.host}/app:good`;
        if (command === undefined) {
          const controller = new AbortController();
          const reason = new Error('enough');
          const error = refused(name, controller.signal);
          await expect.poll(() => hasPart(narrow), { timeout: 20_000 }).toBe(true);
          controller.abort(reason);
          expect(await error).toBe(reason);
        } else {
          const pull = new VitrineProcess([...command, command[0] === 'run' ? `oci:${name}` : name], env);
          await expect.poll(() => hasPart(narrow), { timeout: 20_000 }).toBe(true);
          pull.kill('SIGINT');
          const { code, errors } = await pull.ended;
          expect(code, errors).toBe(130);
          expect(errors).not.toMatch(/internal error|\n {4}at /);
        }
        expect(onlyParts()).toEqual([]);
        expect(await new sdk.ImageStore().list()).toEqual([]);
        narrow.open();
        await new sdk.ImageStore().pull(name);
        // It went on where it was.
        expect(narrow.passed).toBeLessThan(CONTENT.length - 2 ** 19);
        await new sdk.ImageStore().remove(name);
      } finally {
        narrow.close();
      }
    }
  });

  describeWith([namespaces], 'on a disk that gets full', () => {
    it.each([
      ['while layers come', 1024],
      ['while their disk is made', 3072],
    ])('%s', async (_, size) => {
      const name = `${registry.host}/app:good`;
      const script =
        'mount -t tmpfs -o "size=$1k" none "$0" && shift && "$@"; echo "code $?"; find "$0" -type f ! -name "*lock"';
      const inside = (...args: readonly string[]) =>
        runCommand('unshare', ['-Urm', 'sh', '-c', script, cache, String(size), process.execPath, ...args], { env });
      const cli = await inside(main.pathname, 'image', 'pull', name);
      expect(cli.stderr.trim().split('\n').at(-1)).toMatch(/^vitrine: cannot .*: no space left on the device$/);
      expect(cli.stderr).not.toMatch(/internal error|\n {4}at /);
      const [code, ...left] = cli.stdout.trim().split('\n');
      expect(code).toBe('code 1');
      // The layer at most, which is whole, or a part of it.
      expect(left.filter((file) => !/\/vitrine\/oci\/(blobs|partial)\//.test(file))).toEqual([]);
      const program =
        `import { Vm } from ${JSON.stringify(library.href)};\n` +
        `await Vm.create({ image: ${JSON.stringify(name)} }).catch((error) => console.log(error.name, error.code, error.message));`;
      const { stdout } = await inside('--input-type=module', '-e', program);
      expect(stdout).toMatch(/^OciError storage cannot .*: no space left on the device\ncode 0\n/);
    });
  });
});
