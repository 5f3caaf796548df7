/** Images on a server, which runs on a thread of its own: who reads an image waits. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { BlockBackend } from '../../iface/block.js';
import type * as tools from './disk-tools.js';
import type * as disks from './disks.js';
import { imageOpener } from './image-store.js';

/** Serves `content` in parts, as it is told to. Each request is noted. */
const SERVER = `
const { parentPort, workerData } = require('node:worker_threads');
const http = require('node:http');
const words = new Int32Array(workerData.shared);
const [MODE, VERSION, REQUESTS] = [0, 1, 2];
const content = Buffer.from(workerData.content);
http.createServer((request, response) => {
  Atomics.add(words, REQUESTS, 1);
  const mode = Atomics.load(words, MODE);
  if (mode === 1) return response.writeHead(404).end('none');
  if (mode === 2) return response.writeHead(200, { 'content-length': content.length }).end(content);
  if (mode === 3 && Atomics.load(words, REQUESTS) % 2 === 1) return request.socket.destroy();
  const [, first, last] = /bytes=(\\d+)-(\\d+)/.exec(request.headers.range) ?? [];
  const part = content.subarray(+first, +last + 1);
  const size = mode === 5 ? '9'.repeat(20) : content.length;
  const headers = { 'content-range': 'bytes ' + first + '-' + last + '/' + size };
  if (mode !== 6) headers.etag = '"' + Atomics.load(words, VERSION) + '"';
  if (mode === 4 && part.length > 1) return response.writeHead(206, headers).end(Buffer.concat([part, part]));
  response.writeHead(206, headers).end(part);
}).listen(0, '127.0.0.1', function () { parentPort.postMessage(this.address().port); });
`;
const MODE = { NORMAL: 0, NOT_FOUND: 1, WHOLE: 2, FLAKY: 3, TOO_MUCH: 4, HUGE: 5, NO_VERSION: 6 } as const;

const SIZE = 3 << 20;
const content = Uint8Array.from({ length: SIZE }, (_, i) => (i >>> 9) % 251);
const words = new Int32Array(new SharedArrayBuffer(16));
const cache = mkdtempSync(path.join(tmpdir(), 'vitrine-http-'));
process.env['XDG_CACHE_HOME'] = cache;
const server = new Worker(SERVER, { eval: true, workerData: { shared: words.buffer, content } });
const port = await new Promise<number>((resolve) => server.once('message', resolve));
const url = `http://127.0.0.1:${port}/disk.img`;
// The worker that fetches comes from dist/, and so does what starts it.
const dist = new URL('../../../dist/runtime/node/', import.meta.url);
const { openDisk } = (await import(new URL('disks.js', dist).href)) as typeof disks;
const { checkDisk, createDisk } = (await import(new URL('disk-tools.js', dist).href)) as typeof tools;

afterAll(async () => {
  await server.terminate();
  rmSync(cache, { recursive: true });
});
beforeEach(() => {
  words.fill(0);
  rmSync(path.join(cache, 'vitrine'), { recursive: true, force: true });
});

const failures: string[] = [];
function open(name = url, readOnly = true): BlockBackend {
  return openDisk(
    {
      path: name,
      format: 'auto',
      readOnly,
      temporary: false,
      attach: 'virtio',
      media: 'disk',
      serial: null,
      internal: null,
    },
    { warn: (text) => failures.push(text) },
  );
}

function read(disk: BlockBackend, offset: number, length: number): Uint8Array | string {
  const bytes = new Uint8Array(length);
  const answer = { status: 'none' };
  disk.read(offset, bytes, (status) => (answer.status = status));
  return answer.status === 'ok' ? bytes : answer.status;
}

/** Comparing that much element by element takes its time. */
function holdsAll(disk: BlockBackend): boolean {
  const all = read(disk, 0, SIZE);
  return typeof all !== 'string' && Buffer.compare(all, content) === 0;
}

describe('an image on a server', () => {
  it('is fetched as it is read, once', () => {
    const disk = open();
    expect(disk.size).toBe(SIZE);
    expect(read(disk, 512, 1024)).toEqual(content.slice(512, 1536));
    const after = words[2];
    expect(read(disk, 200 * 1024, 1024)).toEqual(content.slice(200 * 1024, 201 * 1024));
    expect(words[2]).toBe(after);
    expect(holdsAll(disk)).toBe(true);
    disk.close();
    const whole = words[2];
    const again = open();
    expect(holdsAll(again)).toBe(true);
    // Only whether it is still the same.
    expect(words[2]).toBe(whole + 1);
    again.close();
  });
  it('takes writes, which are thrown away', () => {
    const disk = open(url, false);
    expect(disk.readOnly).toBe(false);
    disk.write(0, new Uint8Array(512).fill(7), (status) => expect(status).toBe('ok'));
    expect((read(disk, 0, 512) as Uint8Array)[0]).toBe(7);
    disk.close();
    const again = open();
    expect(read(again, 0, 512)).toEqual(content.slice(0, 512));
    again.close();
  });
  it('can be what an image of this host stands on', () => {
    const file = path.join(cache, 'mine.qcow2');
    createDisk({ file, format: 'qcow2', size: undefined, backing: { file: url, format: 'raw' } });
    const disk = open(file, false);
    disk.write(0, new Uint8Array(512).fill(7), (status) => expect(status).toBe('ok'));
    disk.close();
    const again = open(file);
    expect((read(again, 0, 512) as Uint8Array)[0]).toBe(7);
    expect(read(again, 512, 4096)).toEqual(content.slice(512, 4608));
    again.close();
  });
  it('that has changed is another one', () => {
    const before = open();
    const { identity } = before;
    expect(read(before, 0, 512)).toEqual(content.slice(0, 512));
    Atomics.store(words, 1, 1);
    // In the middle of its use, that is an I/O error.
    expect(read(before, 2 << 20, 512)).toBe('io-error');
    expect(failures.at(-1)).toMatch(/has changed on its server while it was in use$/);
    before.close();
    const after = open();
    expect(after.identity).not.toBe(identity);
    after.close();
    const folder = path.join(cache, 'vitrine', 'http');
    expect(readdirSync(path.join(folder, readdirSync(folder)[0]))).toHaveLength(1);
  });
  it('that cannot be told from its next version is fetched anew', () => {
    words[0] = MODE.NO_VERSION;
    const disk = open();
    expect(holdsAll(disk)).toBe(true);
    disk.close();
    const before = words[2];
    const again = open();
    expect(holdsAll(again)).toBe(true);
    expect(words[2] - before).toBeGreaterThan(1);
    again.close();
    const folder = path.join(cache, 'vitrine', 'http');
    expect(readdirSync(path.join(folder, readdirSync(folder)[0]))).toHaveLength(1);
  });
  it('is asked for again when a connection breaks', () => {
    Atomics.store(words, 0, MODE.FLAKY);
    const disk = open();
    expect(read(disk, 0, 512)).toEqual(content.slice(0, 512));
    disk.close();
  });
});

describe('what cannot be used', () => {
  it.each([
    ['a file that is not there', MODE.NOT_FOUND, /^cannot read http:.*: the server answers 404$/],
    ['a server that gives whole files', MODE.WHOLE, /in parts: its server gives whole files only$/],
    ['a file of a size that there is not', MODE.HUGE, /^cannot read http:.*: the server says that it has 9{20} bytes$/],
  ])('%s is told in one line', (_what, mode, message) => {
    Atomics.store(words, 0, mode);
    expect(() => open()).toThrow(message);
  });
  it('a server that sends more than it was asked for', () => {
    Atomics.store(words, 0, MODE.TOO_MUCH);
    expect(() => open()).toThrow(/^cannot read http:.*: the server sent 524288 bytes for 262144$/);
  });
  it('a name and a password in an address', () => {
    expect(() => open(`http://a:b@127.0.0.1:${port}/x`)).toThrow('names and passwords in addresses are not supported');
  });
  it('an address that is none', () => {
    expect(() => open('http://[')).toThrow('http://[ is not an address');
  });
  it('a file of this host under an image of a server', () => {
    const { store } = imageOpener({ lock: false, warn: () => {} });
    expect(store.resolve(url, 'base.img')).toBe(`http://127.0.0.1:${port}/base.img`);
    for (const name of ['file:///etc/passwd', 'nbd://host/x'])
      expect(() => store.resolve(url, name)).toThrow(`stands on ${name}, which is not on a server`);
  });
});

describe('what is wrong with an image on a server', () => {
  it('is looked for there, and not mended', () => {
    expect(() => checkDisk(url, false)).toThrow(`the disk ${url} is not a qcow2 image`);
    expect(words[2]).toBeGreaterThan(1);
    expect(() => checkDisk(url, true)).toThrow(`${url} cannot be written: it is on a server`);
  });
});
