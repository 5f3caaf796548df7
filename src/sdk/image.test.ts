/** Machines of container images, from a registry to a command's result. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { layer, startRegistry, umociImage, type TestRegistry } from '../testing/oci-images.js';
import { describeWith, requireFile, requireGuest, requireTool } from '../testing/tools.js';
import type * as Sdk from './index.js';

const guest = await requireGuest('amd64');
const busybox = await requireFile('/bin/busybox', 'busybox-static');
const registryTool = await requireTool('docker-registry');
const skopeo = await requireTool('skopeo');
const umoci = await requireTool('umoci');
// What starts workers comes from dist/, as the workers do.
const sdk = (await import(new URL('../../dist/sdk/index.js', import.meta.url).href)) as typeof Sdk;

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-sdk-image-'));
const before = process.env['XDG_CACHE_HOME'];
let registry: TestRegistry | undefined;

describeWith([guest, busybox, registryTool, skopeo, umoci], 'a machine of a container image', () => {
  let name = '';
  beforeAll(async () => {
    const layout = path.join(folder, 'layout');
    const files = layer([
      { path: 'bin/busybox', content: readFileSync(busybox.path), mode: 0o755 },
      ...['sh', 'id', 'cat', 'env'].map((one) => ({ path: `bin/${one}`, kind: 'link' as const, target: 'busybox' })),
      { path: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\napp:x:1234:567::/home/app:/bin/sh\n' },
      { path: 'srv', kind: 'folder', uid: 1234, gid: 567 },
    ]);
    const config = ['--config.env', 'COLOUR=a b', '--config.user', 'app', '--config.workingdir', '/srv'];
    await umociImage(umoci, layout, 'app', [files], config);
    registry = await startRegistry(registryTool, folder);
    name = `${registry.host}/app`;
    const args = [
      '--insecure-policy',
      'copy',
      '--quiet',
      '--dest-tls-verify=false',
      `oci:${layout}:app`,
      `docker://${name}`,
    ];
    expect(await skopeo.run(args)).toMatchObject({ status: 0 });
    // A cache of the test's own, with the guests of the machine's.
    mkdirSync(path.join(folder, 'vitrine'));
    mkdirSync(path.join(cacheRoot(), 'guests'), { recursive: true });
    symlinkSync(path.join(cacheRoot(), 'guests'), path.join(folder, 'vitrine/guests'));
    process.env['XDG_CACHE_HOME'] = folder;
  });
  afterAll(() => {
    registry?.stop();
    if (before === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = before;
    rmSync(folder, { recursive: true });
  });

  it('has its files, and runs commands as the image says', async () => {
    const steps: string[] = [];
    await using vm = await sdk.Vm.create({ image: name, memory: 256, onProgress: ({ text }) => steps.push(text) });
    expect(new Set(steps)).toContain(`pulling ${name}`);
    expect(await vm.fs.readText('/etc/hosts')).toMatch(/^127\.0\.0\.1 localhost vitrine$/m);
    expect(await vm.fs.readText('/etc/resolv.conf')).toBe('nameserver 10.0.2.3\n');
    await vm.fs.write('/srv/note', 'written from outside');
    const { stdout, exitCode } = await vm.exec('id -u; pwd; echo "$COLOUR"; cat note; exit 3');
    expect(stdout).toBe('1234\n/srv\na b\nwritten from outside');
    expect(exitCode).toBe(3);
    expect((await vm.exec(['/bin/busybox', 'df', '/'], { user: '0' })).stdout).toMatch(/\/dev\/vda .* \/$/m);
  });

  it('is refused with one line where there is no such image', async () => {
    await expect(sdk.Vm.create({ image: `${name}:none` })).rejects.toMatchObject({
      name: 'OciError',
      code: 'not-found',
    });
    await expect(sdk.Vm.create({ image: name, keepWrites: true })).rejects.toThrow(/a disk of your own/);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(sdk.Vm.create({ image: `${name}:other`, signal })).rejects.toThrow('enough');
  });
});
