import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskFile } from './disk-file.js';
import { libc } from './native/libc.js';

describe('DiskFile', () => {
  let folder: string;
  beforeEach(() => void (folder = mkdtempSync(path.join(tmpdir(), 'vitrine-disk-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('keeps what is written one behind another, and again while the host stores it', () => {
    const name = path.join(folder, 'disk');
    const file = DiskFile.create(name);
    const piece = new Uint8Array(0x10_0000);
    const pieces = 20;
    for (const round of [1, 2])
      for (let at = 0; at < pieces; at++) file.write(at * piece.length, piece.fill(round * 100 + at));
    file.flush();
    file.close();
    const found = readFileSync(name);
    expect(found.length).toBe(pieces * piece.length);
    for (let at = 0; at < found.length; at += 4096) expect(found[at]).toBe(200 + Math.floor(at / piece.length));
  });

  it.runIf(process.platform === 'linux')('can ask the host to begin with storing', () => {
    const name = path.join(folder, 'disk');
    DiskFile.create(name).close();
    const fd = openSync(name, 'r+');
    expect(libc?.beginStoring(fd, 0, 2 ** 40)).toBe(0);
    closeSync(fd);
    const EBADF = 9;
    expect(libc?.beginStoring(fd, 0, 4096)).toBe(EBADF);
  });
});
