import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheRoot, publish, withTemporaryFolder } from './cache.js';

let root = '';
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'vitrine-cache-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

describe('cacheRoot', () => {
  it('follows the XDG specification', () => {
    expect(cacheRoot({ XDG_CACHE_HOME: '/var/cache/me' })).toBe('/var/cache/me/vitrine');
    expect(cacheRoot({ XDG_CACHE_HOME: 'not/absolute' })).toMatch(/^\/.*\/\.cache\/vitrine$/);
    expect(cacheRoot({})).toMatch(/^\/.*\/\.cache\/vitrine$/);
  });
});

describe('withTemporaryFolder', () => {
  it('leaves nothing behind, whether the work succeeds or fails', async () => {
    await withTemporaryFolder(root, (folder) => writeFile(path.join(folder, 'file'), 'x'));
    const failing = withTemporaryFolder(root, async (folder) => {
      await writeFile(path.join(folder, 'file'), 'x');
      throw new Error('failed');
    });
    await expect(failing).rejects.toThrow('failed');
    expect(await readdir(path.join(root, 'tmp'))).toEqual([]);
  });

  it('removes what a killed run left, but nothing that is in use', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => child.on('exit', resolve));
    const hour = 60 * 60;
    const old = Date.now() / 1000 - 2 * hour;
    const make = async (name: string, time: number): Promise<void> => {
      await mkdir(path.join(root, 'tmp', name), { recursive: true });
      await utimes(path.join(root, 'tmp', name), time, time);
    };
    await make(`${child.pid ?? 0}-old`, old);
    await make(`${child.pid ?? 0}-new`, Date.now() / 1000);
    await make(`${process.pid}-mine`, old);
    await withTemporaryFolder(root, async () => {});
    expect((await readdir(path.join(root, 'tmp'))).sort()).toEqual(
      [`${child.pid ?? 0}-new`, `${process.pid}-mine`].sort(),
    );
  });

  it('says where it cannot write', async () => {
    await writeFile(path.join(root, 'tmp'), 'a file in its way');
    await expect(withTemporaryFolder(root, async () => {})).rejects.toThrow(`cannot write to the cache ${root}`);
  });
});

describe('publish', () => {
  it('keeps the first of two that make the same', async () => {
    const place = path.join(root, 'home', 'place');
    for (const text of ['first', 'second']) {
      await mkdir(path.join(root, text));
      await writeFile(path.join(root, text, 'file'), text);
      await publish(path.join(root, text), place);
    }
    expect(await readFile(path.join(place, 'file'), 'utf8')).toBe('first');
  });
});
