import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DiskFile } from './disk-file.js';
import { libc } from './native/libc.js';
import { isPageAligned, pageAligned } from './page-aligned.js';

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

  it.runIf(process.platform === 'linux')('knows the holes of a file that is only read', () => {
    const name = path.join(folder, 'sparse');
    const made = DiskFile.create(name);
    made.truncate(8 << 20);
    made.write(4 << 20, new Uint8Array(1 << 20).fill(1));
    expect(made.isHole(0, 4096)).toBe(false);
    made.close();
    const file = DiskFile.open(name, { writable: false, lock: true });
    const holes = (length: number): number[] =>
      Array.from({ length: (8 << 20) / length }, (_, i) => i).filter((i) => file.isHole(i * length, length));
    expect(holes(1 << 20)).toEqual([0, 1, 2, 3, 5, 6, 7]);
    expect(holes(2 << 20)).toEqual([0, 1, 3]);
    expect(file.isHole((5 << 20) - 4096, 8192)).toBe(false);
    expect(file.isHole((8 << 20) - 4096, 8192)).toBe(false);
    file.close();
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

describe.runIf(process.platform === 'linux')('DiskFile past the cache of the host', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-direct-'));
  const name = path.join(folder, 'disk');
  afterAll(() => rmSync(folder, { recursive: true }));
  const open = (direct: boolean): DiskFile => DiskFile.open(name, { writable: true, lock: true, direct });
  const cached = (): number => {
    const { stdout } = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', name], { encoding: 'utf8' });
    return Number(stdout);
  };
  const canPassBy = (): boolean => {
    writeFileSync(name, new Uint8Array(4096));
    try {
      open(true).close();
      return true;
    } catch {
      return false;
    }
  };

  it.runIf(canPassBy())('holds what was written, in any pieces, by either way (file systems with O_DIRECT)', () => {
    const size = 3_000_000;
    const model = new Uint8Array(size);
    writeFileSync(name, model);
    // Moved straight, or by way of a buffer because of where they are or begin.
    const pages = pageAligned(1_600_000);
    const places = [pages, pages.subarray(512), pages.subarray(4096), new Uint8Array(pages.length)];
    const files = [open(true), DiskFile.open(name, { writable: true, lock: false })];
    let state = 12345;
    const random = (below: number): number => (state = (state * 1103515245 + 12345) % 2 ** 31) % below;
    for (let round = 0; round < 300; round++) {
      const sector = random(2) === 0 ? 512 : 4096;
      const offset = random(Math.floor(size / sector)) * sector;
      const length = Math.min(size - offset, (1 + random(round % 50 === 0 ? 3000 : 40)) * 512);
      const file = files[random(8) === 0 ? 1 : 0];
      if (random(2) === 0) {
        const bytes = places[random(4)].subarray(0, length).fill(random(256));
        file.write(offset, bytes);
        model.set(bytes, offset);
      } else {
        const bytes = places[random(4)].subarray(0, length).fill(1);
        expect(file.read(offset, bytes)).toBe(length);
        expect(Buffer.compare(bytes, model.subarray(offset, offset + length)), `at ${offset}`).toBe(0);
      }
    }
    for (const place of places) {
      // From a multiple of 4 KiB on: the end is met past the cache.
      const end = place.subarray(0, 8192);
      expect(files[0].read(size - (size % 4096), end)).toBe(size % 4096);
      expect(Buffer.compare(end.subarray(0, size % 4096), model.subarray(size - (size % 4096)))).toBe(0);
      expect(files[0].read(size - 5000, end)).toBe(5000);
    }
    for (const file of files) file.close();
    expect(Buffer.compare(readFileSync(name), model)).toBe(0);
  });
  it.runIf(canPassBy())('leaves nothing there (file systems with O_DIRECT)', () => {
    writeFileSync(name, new Uint8Array(2 ** 20));
    const file = open(true);
    for (let at = 0; at < 2 ** 20; at += 65536) {
      file.write(at, new Uint8Array(65536).fill(1));
      file.read(at, new Uint8Array(65536));
    }
    file.close();
    expect(cached()).toBe(0);
    const other = open(false);
    other.read(0, new Uint8Array(65536));
    other.close();
    expect(cached()).toBeGreaterThanOrEqual(65536);
  });
  it.runIf(canPassBy())('knows memory that needs no buffer between (file systems with O_DIRECT)', () => {
    writeFileSync(name, new Uint8Array(16384).fill(7));
    const fd = openSync(name, constants.O_RDONLY | constants.O_DIRECT);
    const pages = pageAligned(16384);
    expect([readSync(fd, pages.subarray(4096), 0, 4096, 0), pages[4096]]).toEqual([4096, 7]);
    closeSync(fd);
    const part = (at: number): boolean => isPageAligned(pages.subarray(at));
    expect([part(0), part(8192), part(512), part(4095), isPageAligned(new Uint8Array(4096))]).toEqual([
      ...[true, true, false, false, false],
    ]);
  });
  it('does without such memory where the process has no addresses left for it', () => {
    const none = vi.spyOn(WebAssembly, 'Memory').mockImplementation(function () {
      throw new RangeError('WebAssembly.Memory(): could not allocate memory');
    });
    const memory = pageAligned(8192);
    expect([none.mock.calls.length, memory.length, isPageAligned(memory)]).toEqual([1, 8192, false]);
    none.mockRestore();
  });
  it('is refused where there is no such way', () => {
    const none = (): DiskFile => DiskFile.open('/proc/version', { writable: false, lock: false, direct: true });
    expect(none).toThrow(/^the disk \/proc\/version cannot be used with cache=none: the host, or the file system/);
  });
});
