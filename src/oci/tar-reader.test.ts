/** Archives by GNU tar, in all its formats, and by our own writer. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { layer } from '../testing/oci-images.js';
import { describeWith, requireTool } from '../testing/tools.js';
import { TarReader, type TarEntry } from './tar-reader.js';

const tar = await requireTool('tar');

interface Read extends TarEntry {
  readonly content: Uint8Array;
}

/** Reads an archive in pieces of a size. */
function read(bytes: Uint8Array, piece = 1 << 20): Read[] {
  const found: Read[] = [];
  const reader = new TarReader({
    entry: (entry) => found.push({ ...entry, content: new Uint8Array(entry.size) }),
    content: (data, offset) => found.at(-1)?.content.set(data, offset),
  });
  for (let at = 0; at < bytes.length; at += piece) reader.push(bytes.subarray(at, at + piece));
  reader.end();
  return found;
}

function temporary(): string {
  const place = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-tar-'));
  onTestFinished(() => fs.rmSync(place, { recursive: true }));
  return place;
}

describeWith([tar], 'GNU tar', () => {
  const long = `${'d'.repeat(90)}/${'n'.repeat(120)}`;
  it.each(['v7', 'oldgnu', 'gnu', 'ustar', 'posix'])(
    'writes archives of the format %s that are read',
    async (format) => {
      const place = temporary();
      const v7 = format === 'v7';
      fs.mkdirSync(path.join(place, 'folder', 'd'.repeat(90)), { recursive: true, mode: 0o751 });
      fs.writeFileSync(path.join(place, 'folder/file'), 'content\n', { mode: 0o640 });
      fs.chmodSync(path.join(place, 'folder/file'), 0o4751);
      fs.utimesSync(path.join(place, 'folder/file'), 1_600_000_000, 1_600_000_000.25);
      fs.linkSync(path.join(place, 'folder/file'), path.join(place, 'folder/same'));
      fs.symlinkSync(v7 || format === 'ustar' ? 'short' : 'x'.repeat(300), path.join(place, 'folder/link'));
      if (!v7 && format !== 'ustar') fs.writeFileSync(path.join(place, 'folder', long), 'far away');
      const file = path.join(place, 'archive.tar');
      const args = ['--format', format, '--sort=name', '-cf', file, '-C', place, 'folder'];
      expect((await tar.run(args)).status).toBe(0);
      for (const piece of [1 << 20, 511, 7]) {
        const entries = new Map(
          read(fs.readFileSync(file), piece).map((entry) => [entry.path.replace(/\/$/, ''), entry]),
        );
        expect(entries.get('folder')?.kind).toBe('folder');
        const one = entries.get('folder/file');
        expect(one).toMatchObject({ kind: 'file', mode: 0o4751, size: 8, uid: process.getuid?.() });
        expect(one?.mtime).toEqual({ seconds: 1_600_000_000, nanoseconds: format === 'posix' ? 250_000_000 : 0 });
        expect(Buffer.from(one?.content ?? []).toString()).toBe('content\n');
        expect(entries.get('folder/same')).toMatchObject({ kind: 'hard-link', target: 'folder/file' });
        expect(entries.get('folder/link')?.kind).toBe('link');
        if (v7 || format === 'ustar') continue;
        expect(entries.get('folder/link')?.target).toBe('x'.repeat(300));
        expect(Buffer.from(entries.get(`folder/${long}`)?.content ?? []).toString()).toBe('far away');
      }
    },
  );

  it.each([
    ['gnu', '1.0'],
    ['posix', '0.0'],
    ['posix', '0.1'],
    ['posix', '1.0'],
  ])('writes sparse files of the format %s, %s', async (format, version) => {
    const place = temporary();
    const size = 3_000_000;
    const content = new Uint8Array(size);
    const fd = fs.openSync(path.join(place, 'sparse'), 'w');
    fs.ftruncateSync(fd, size);
    // More pieces than a header holds.
    for (let i = 0; i < 40; i++) {
      const piece = new Uint8Array(1000).fill(i + 1);
      fs.writeSync(fd, piece, 0, piece.length, i * 65_536);
      content.set(piece, i * 65_536);
    }
    fs.closeSync(fd);
    const file = path.join(place, 'archive.tar');
    const args = ['--format', format, '--sparse', `--sparse-version=${version}`, '--hole-detection=raw'];
    expect((await tar.run([...args, '-cf', file, '-C', place, 'sparse'])).status).toBe(0);
    expect(fs.statSync(file).size).toBeLessThan(1_000_000);
    for (const piece of [1 << 20, 1000]) {
      const [entry] = read(fs.readFileSync(file), piece);
      expect(entry).toMatchObject({ kind: 'file', path: 'sparse', size });
      expect(entry.data.length).toBeGreaterThan(30);
      expect(Buffer.compare(entry.content, content)).toBe(0);
    }
  });
});

describe('the reader of archives', () => {
  it('reads what the writer writes: attributes that are not text, large numbers, times before 1970', () => {
    const value = Uint8Array.from([0, 0xff, 0x0a, 0x3d, 0x80]);
    const member = {
      path: `${'a/'.repeat(200)}\u00e9\u00ff`,
      kind: 'file',
      mode: 0o6755,
      uid: 3_000_000_000,
      gid: 2 ** 32 - 2,
      mtime: { seconds: -12, nanoseconds: 500_000_000 },
      xattrs: new Map([
        ['security.capability', value],
        ['user.empty', new Uint8Array(0)],
      ]),
    } as const;
    const device = { path: 'd', kind: 'character-device', major: 10, minor: 229 } as const;
    const [one, other] = read(layer([{ ...member, content: 'x' }, device]));
    expect(one).toMatchObject(member);
    expect(other).toMatchObject(device);
  });

  it('passes over kinds it does not know, and comments', () => {
    const bytes = layer([
      { path: 'unknown', content: 'z'.repeat(600) },
      { path: 'known', content: 'k' },
    ]);
    bytes.write('V', 156, 'latin1');
    resum(bytes, 0);
    expect(read(bytes).map((entry) => entry.path)).toEqual(['known']);
  });

  it.each<readonly [string, (bytes: Buffer) => Uint8Array, RegExp]>([
    ['is cut off in a file', (bytes) => bytes.subarray(0, 700), /ends in the middle/],
    ['is cut off in a header', (bytes) => bytes.subarray(0, 100), /ends in the middle/],
    ['has a wrong sum', (bytes) => (bytes.writeUInt8(1, 300), bytes), /sum of a header/],
    ['goes on behind its end', (bytes) => Buffer.concat([new Uint8Array(512), bytes]), /behind its end/],
    ['has a number of letters', (bytes) => resum((bytes.write('xyz', 124), bytes), 0), /a number in it is none/],
    ['has a negative size', (bytes) => resum((bytes.fill(0xff, 124, 136), bytes), 0), /size in it is negative/],
    ['is no archive', () => Buffer.alloc(2000, 'text '), /sum of a header/],
  ])('says so when the archive %s', (_, damage, message) => {
    expect(() => read(damage(layer([{ path: 'file', content: 'x'.repeat(400) }])))).toThrow(message);
  });

  it.each([
    ['9999 path=x\n', /record of a pax header/],
    ['5 x\n\n', /record of a pax header/],
    ['13 size=1e9\n', /record|no number/],
    ['12 size=ab9\n', /no number/],
    ['13 mtime=x.y\n', /a time in it is none/],
    ['22 GNU.sparse.major=2\n31 GNU.sparse.realsize=1000000\n', /sparse file of unknown kind|record/],
    ['25 GNU.sparse.size=100\n\n', /record/],
    ['23 GNU.sparse.size=100\n25 GNU.sparse.map=0,5,2,9\n', /overlap|record/],
  ])('refuses the records %j', (records, message) => {
    const fixed = records.split(/(?<=\n)(?=.)/s).join('');
    const header = layer([{ path: 'x', content: fixed }]).subarray(0, 1024);
    header.write('x', 156, 'latin1');
    resum(header, 0);
    expect(() => read(Buffer.concat([header, layer([{ path: 'file', content: '0123456789' }])]))).toThrow(message);
  });
});

describe('what extends an entry', () => {
  const extended = (records: string): Buffer => {
    const header = layer([{ path: 'x', content: records }]).subarray(0, -1024);
    header.write('x', 156, 'latin1');
    return resum(header, 0);
  };

  it('is bounded, however many headers it is spread over', () => {
    const record = (i: number): Buffer => extended(`1000004 key${i}=${'v'.repeat(999_990)}\n`);
    const file = layer([{ path: 'file' }]);
    expect(read(Buffer.concat([record(1), record(2), record(3), file])).map(({ path }) => path)).toEqual(['file']);
    const many = [1, 2, 3, 4, 5].map(record);
    expect(() => read(Buffer.concat([...many, file]))).toThrow(/extended header is too large/);
  });

  it('is no map of a sparse file without lines', () => {
    const header = extended('22 GNU.sparse.major=1\n29 GNU.sparse.realsize=10000\n');
    const file = layer([{ path: 'file', content: '1'.repeat(2000) }]);
    expect(() => read(Buffer.concat([header, file]))).toThrow(/map of a sparse file is none/);
  });
});

/** Makes the sum of a header right again. */
function resum(bytes: Buffer, at: number): Buffer {
  bytes.fill(' ', at + 148, at + 156);
  let sum = 0;
  for (let i = 0; i < 512; i++) sum += bytes[at + i];
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  return bytes;
}
