import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moduleIndex, readModuleInfo, readModules } from './kernel-modules.js';

const info = (...fields: string[]): Uint8Array => Buffer.from(`\x7fELF\0\0${fields.join('\0')}\0tail`, 'latin1');

describe('readModuleInfo', () => {
  it('reads dependencies and aliases', () => {
    const data = info('license=GPL', 'depends=virtio,virtio-ring', 'alias=virtio:d00000002v*', 'alias=x', 'intree=Y');
    expect(readModuleInfo(data)).toEqual({ depends: ['virtio', 'virtio_ring'], aliases: ['virtio:d00000002v*', 'x'] });
  });
  it('knows a module that depends on none', () => {
    expect(readModuleInfo(info('depends='))).toEqual({ depends: [], aliases: [] });
  });
});

describe('readModules', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vitrine-modules-'));
    await mkdir(path.join(folder, 'kernel/drivers/virtio'), { recursive: true });
    const write = (file: string, ...fields: string[]): Promise<void> =>
      writeFile(path.join(folder, 'kernel/drivers', file), info(...fields));
    await write('virtio/virtio.ko', 'depends=');
    await write('virtio/virtio_ring.ko', 'depends=virtio');
    await write('virtio/virtio-blk.ko', 'depends=virtio-ring,virtio,built-in', 'alias=virtio:d00000002v*');
    await write('virtio/unwanted.ko', 'depends=');
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('brings dependencies first, and leaves out what is built in', async () => {
    const modules = await readModules(folder, ['virtio_blk', 'virtio_pci', 'virtio'], folder, { cache: folder });
    expect(modules.map(({ name, depends }) => [name, depends])).toEqual([
      ['virtio', []],
      ['virtio_ring', ['virtio']],
      ['virtio_blk', ['virtio_ring', 'virtio']],
    ]);
  });
  it('indexes them for modprobe, the deepest dependency last', async () => {
    const modules = await readModules(folder, ['virtio_blk'], folder, { cache: folder });
    expect(moduleIndex(modules)).toEqual({
      dependencies: 'virtio.ko:\nvirtio_ring.ko: virtio.ko\nvirtio_blk.ko: virtio_ring.ko virtio.ko\n',
      aliases: 'alias virtio:d00000002v* virtio_blk\n',
    });
  });
});
