import { mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith, requireTool } from '../../testing/tools.js';
import { writeCpio, type CpioEntry } from './cpio.js';

const entries: CpioEntry[] = [
  { kind: 'folder', path: 'bin' },
  { kind: 'file', path: 'bin/tool', data: new TextEncoder().encode('#!/bin/sh\n'), mode: 0o755 },
  { kind: 'file', path: 'odd-length', data: new Uint8Array([1, 2, 3]) },
  { kind: 'link', path: 'sh', target: 'bin/tool' },
];

it('writes the newc header field by field', () => {
  const archive = Buffer.from(writeCpio([{ kind: 'character-device', path: 'console', major: 5, minor: 1 }]));
  // magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const header = ['070701', '00000001', '00002180', '00000000', '00000000', '00000001', '00000000', '00000000'];
  header.push('00000000', '00000000', '00000005', '00000001', '00000008', '00000000');
  expect(archive.toString('latin1')).toMatch(new RegExp(`^${header.join('')}console\0{3}070701`));
  expect(archive.length % 4).toBe(0);
  expect(archive.toString('latin1')).toContain('TRAILER!!!');
});

it('depends on the contents alone', () => {
  expect(writeCpio(entries)).toEqual(writeCpio(entries));
});

const cpio = await requireTool('cpio');
describeWith([cpio], 'an archive unpacked by cpio', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vitrine-cpio-'));
    await writeFile(path.join(folder, 'archive'), writeCpio(entries));
    const { status, stderr } = await cpio.run(['-i', '--quiet', '-F', 'archive'], { cwd: folder });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('has the files with their contents and modes', async () => {
    expect(await readFile(path.join(folder, 'odd-length'))).toEqual(Buffer.from([1, 2, 3]));
    expect((await stat(path.join(folder, 'bin/tool'))).mode & 0o7777).toBe(0o755);
    expect(await readlink(path.join(folder, 'sh'))).toBe('bin/tool');
  });
});
