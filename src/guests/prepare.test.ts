import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { describeWith, requireGuest } from '../testing/tools.js';
import { cacheRoot } from '../host/node/cache.js';
import { Apt } from './apt.js';
import { ensureGuest, fetchGuest, findGuest, findTarget } from './prepare.js';
import { targets } from './targets.js';

let cache = '';
beforeEach(async () => {
  cache = await mkdtemp(path.join(tmpdir(), 'vitrine-guests-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true, force: true });
});

describe('guests', () => {
  it('have names of their own', () => {
    expect(new Set(targets.map(({ name }) => name)).size).toBe(targets.length);
  });
  it('are not guessed at', () => {
    expect(() => findTarget('amd46')).toThrow('unknown guest amd46; there are amd64, ');
  });
  it('are not there before they are prepared', async () => {
    expect(await findGuest('amd64', { cache })).toBeUndefined();
    expect(await readdir(cache)).toEqual([]);
  });
});

describe('without what it takes', () => {
  const advice = 'instead, boot a kernel of your own (vitrine run --kernel FILE --initrd FILE) or ';

  it('says what to do where there is no package manager', async () => {
    vi.stubEnv('PATH', '/nonexistent');
    const failure = fetchGuest('grub-invaders', { cache });
    await expect(failure).rejects.toThrow(
      'cannot prepare guest grub-invaders: this machine has no apt-get and dpkg-deb',
    );
    await expect(failure).rejects.toThrow(advice);
  });
});

// 7 KB, but the package lists have to be read if the cache has none.
const invaders = await requireGuest('grub-invaders');
describeWith([invaders], 'a guest from the network', () => {
  it('is prepared', async () => {
    const image = await readFile(invaders.files['invaders.exec']);
    // Multiboot specification 0.6.96 §3.1.1: the magic is within the first 8192 bytes, aligned to 4.
    const words = Array.from({ length: 2048 }, (_, index) =>
      index * 4 + 4 <= image.length ? image.readUInt32LE(index * 4) : 0,
    );
    expect(words).toContain(0x1badb002);
  });

  it('is prepared anew when another version has made it, and used where it cannot be', async () => {
    const home = path.join(cache, 'guests/grub-invaders');
    const place = async (name: string): Promise<void> => {
      await cp(path.dirname(invaders.files['invaders.exec']), path.join(home, name), { recursive: true });
      await writeFile(path.join(home, 'current'), `${name}\n`);
    };
    vi.stubEnv('PATH', '/nonexistent');
    const name = path.basename(path.dirname(invaders.files['invaders.exec']));
    await place(name);
    expect(await findGuest('grub-invaders', { cache })).toMatchObject({ isCurrent: true });
    await place(`${name.slice(0, -12)}0123456789ab`);
    expect(await findGuest('grub-invaders', { cache })).toMatchObject({ isCurrent: false });
    expect(await ensureGuest('grub-invaders', { cache })).toMatchObject({ isCurrent: false });
    await expect(fetchGuest('grub-invaders', { cache })).rejects.toThrow('no apt-get');
  });

  it('is found by runs that begin at once, of which one reads the package lists', async () => {
    const run = (): Promise<unknown[]> =>
      new Apt({ cache, suite: 'bookworm', architecture: 'amd64' }).find('grub-invaders');
    const found = await Promise.all([run(), run(), run(), run()]);
    expect(found.map(({ length }) => length)).toEqual([1, 1, 1, 1]);
    expect(await readdir(path.join(cache, 'apt', 'bookworm-amd64'))).toHaveLength(1);
  });

  it('is prepared by two runs at once, and up to date for the third', async () => {
    // The same package lists, but nothing else of the cache.
    await symlink(path.join(cacheRoot(), 'apt'), path.join(cache, 'apt'));
    const [one, two] = await Promise.all([
      fetchGuest('grub-invaders', { cache }),
      fetchGuest('grub-invaders', { cache }),
    ]);
    expect(one).toEqual(two);
    const steps: string[] = [];
    const third = await fetchGuest('grub-invaders', { cache, progress: ({ text }) => steps.push(text) });
    expect(third).toEqual(one);
    expect(steps).toEqual([]);
    expect(await findGuest('grub-invaders', { cache })).toEqual(one);
    expect(await readdir(path.join(cache, 'tmp'))).toEqual([]);

    // Whatever is missing of it makes it unprepared.
    await unlink(one.files['invaders.exec']);
    expect(await findGuest('grub-invaders', { cache })).toBeUndefined();
  });

  it('says what to do where there is no network', async () => {
    await mkdir(path.join(cache, 'apt'));
    vi.stubEnv('http_proxy', 'http://127.0.0.1:9');
    vi.stubEnv('https_proxy', 'http://127.0.0.1:9');
    const failure = fetchGuest('grub-invaders', { cache });
    await expect(failure).rejects.toThrow(
      /^cannot prepare guest grub-invaders: cannot read Debian's package lists \(is there a network\?\): .*vitrine run demo/,
    );
    expect(await readdir(cache)).toEqual(['apt', 'tmp']);
    expect(await readdir(path.join(cache, 'apt'))).toEqual(['bookworm-amd64.lock']);
  });
});
