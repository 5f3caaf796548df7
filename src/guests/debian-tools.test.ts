import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { libraryFolders } from './debian-tools.js';

it('finds the libraries of an unpacked tree, and those that belong to one of them alone', async () => {
  const tree = await mkdtemp(path.join(tmpdir(), 'vitrine-tree-'));
  onTestFinished(() => rm(tree, { recursive: true }));
  const files = ['libpulse.so.0', 'pulseaudio/libpulsecommon-16.1.so', 'gio/modules/x', 'dri/swrast_dri.so'];
  const lib = path.join(tree, 'usr/lib/x86_64-linux-gnu');
  for (const file of ['../python3/libother.so', ...files].map((name) => path.join(lib, name))) {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, '');
  }
  expect(await libraryFolders(tree)).toEqual([lib, path.join(lib, 'pulseaudio')]);
  expect(await libraryFolders(path.join(tree, 'none'))).toEqual([]);
});
