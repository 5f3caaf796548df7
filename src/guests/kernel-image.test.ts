import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWith, requireTool } from '../testing/tools.js';
import { cacheRoot } from '../host/node/cache.js';
import { extractVmlinux, findPayload } from './kernel-image.js';

/** Wraps a payload as a bzImage of boot protocol 2.15 with three sectors of set-up code. */
function bzImage(payload: Uint8Array, fields: { version?: number; length?: number } = {}): Uint8Array {
  const setup = 4 * 512;
  const code = 64;
  const image = Buffer.alloc(setup + code + payload.length + 32);
  image[0x1f1] = 3;
  image.write('HdrS', 0x202, 'latin1');
  image.writeUInt16LE(fields.version ?? 0x020f, 0x206);
  image.writeUInt32LE(code, 0x248);
  image.writeUInt32LE(fields.length ?? payload.length, 0x24c);
  image.set(payload, setup + code);
  return image;
}

const kernel = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(5000, 'vitrine')]);
const size = Buffer.alloc(4);
size.writeUInt32LE(kernel.length);

describe('findPayload', () => {
  it('finds a gzip payload whole', () => {
    expect(findPayload(bzImage(gzipSync(kernel)))).toEqual({ format: 'gzip', data: gzipSync(kernel) });
  });
  it('leaves out the size after the other formats', () => {
    for (const [format, magic] of [
      ['xz', 'fd377a585a00'],
      ['lz4', '02214c18'],
      ['zstd', '28b52ffd'],
    ]) {
      const data = Buffer.concat([Buffer.from(magic, 'hex'), Buffer.from('packed')]);
      expect(findPayload(bzImage(Buffer.concat([data, size])))).toEqual({ format, data });
    }
  });
  it('refuses what is not a bzImage, too old, or cut off', () => {
    const image = bzImage(gzipSync(kernel));
    expect(findPayload(new Uint8Array(10))).toBeUndefined();
    expect(findPayload(kernel)).toBeUndefined();
    expect(findPayload(bzImage(gzipSync(kernel), { version: 0x0207 }))).toBeUndefined();
    expect(findPayload(bzImage(gzipSync(kernel), { length: 1 << 30 }))).toBeUndefined();
    expect(findPayload(image.subarray(0, 0x300))).toBeUndefined();
    expect(findPayload(bzImage(Buffer.from('of an unknown kind')))).toBeUndefined();
  });
});

describe('extractVmlinux', () => {
  let folder = '';
  const options = { cache: cacheRoot() };
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vitrine-kernel-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  const extract = async (payload: Uint8Array): Promise<Buffer> => {
    await writeFile(path.join(folder, 'vmlinuz'), bzImage(payload));
    await extractVmlinux(path.join(folder, 'vmlinuz'), path.join(folder, 'vmlinux'), folder, options);
    return readFile(path.join(folder, 'vmlinux'));
  };

  it('unpacks gzip and a kernel that is not packed', async () => {
    expect(await extract(gzipSync(kernel))).toEqual(kernel);
    expect(await extract(Buffer.concat([kernel, size]))).toEqual(kernel);
  });
  it('says so where there is nothing to unpack', async () => {
    await expect(extract(Buffer.from('of an unknown kind'))).rejects.toThrow('vmlinuz is not a bzImage');
  });
});

const tools = [
  [await requireTool('xz', 'xz-utils'), ['--check=crc32', '--x86', '--lzma2', '-c', '-k']],
  [await requireTool('lz4'), ['-l', '-c', '-k']],
  [await requireTool('zstd'), ['-q', '-c', '-k']],
] as const;
for (const [tool, args] of tools) {
  describeWith([tool], `a kernel packed by ${tool.name} as Linux does it`, () => {
    it('is unpacked', async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-kernel-'));
      try {
        await writeFile(path.join(folder, 'kernel'), kernel);
        const packed = path.join(folder, 'packed');
        const made = await tool.run([...args, path.join(folder, 'kernel')], { stdoutFile: packed });
        expect(made).toMatchObject({ status: 0 });
        await writeFile(path.join(folder, 'vmlinuz'), bzImage(Buffer.concat([await readFile(packed), size])));
        const options = { cache: cacheRoot() };
        await extractVmlinux(path.join(folder, 'vmlinuz'), path.join(folder, 'vmlinux'), folder, options);
        expect(await readFile(path.join(folder, 'vmlinux'))).toEqual(kernel);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });
}
