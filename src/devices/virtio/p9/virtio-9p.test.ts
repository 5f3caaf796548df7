import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fuzz } from '../../../testing/fuzz/target.js';
import { p9Target } from '../../../testing/fuzz/targets/p9.js';
import type { fields } from '../../../testing/fuse-client.js';
import { attributesWork, temporaryShare } from '../../../testing/fuse-client.js';
import { p9Message as message, p9Text as text, u16le as u16 } from '../../../testing/p9-messages.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { VirtioDriver } from '../../../testing/virtio-driver.js';
import { RLERROR, T } from './p9-protocol.js';
import { P9Server, Virtio9p } from './virtio-9p.js';

const [EPERM, ENOENT, EIO, EBADF, EINVAL, EROFS, EPROTO, EOPNOTSUPP, ESTALE] = [1, 2, 5, 9, 22, 30, 71, 95, 116];
const [E2BIG, EEXIST, ENFILE, ENODATA] = [7, 17, 23, 61];

const u8 = (value: number): Uint8Array => Uint8Array.of(value);

type Values = Parameters<typeof fields>;

interface Answer {
  readonly errno: number;
  readonly body: Buffer;
}

function answerOf(type: number, bytes: Uint8Array | undefined): Answer {
  if (!bytes) throw new Error('no answer');
  const all = Buffer.from(bytes);
  expect([all.readUInt32LE(0), all.readUInt16LE(5)]).toEqual([all.length, 9]);
  if (all[4] === RLERROR) return { errno: all.readUInt32LE(7), body: Buffer.alloc(0) };
  expect(all[4]).toBe(type + 1);
  return { errno: 0, body: all.subarray(7) };
}

const version = message(T.VERSION, 65536, text('9P2000.L'));
const attach = message(T.ATTACH, 0, 0xffff_ffff, text('root'), text(''), 0);

/** A server with the root as fid 0. */
function attached(readOnly = false) {
  const share = temporaryShare(readOnly);
  const server = new P9Server(share.folder);
  const send = (type: number, ...values: Values): Answer =>
    answerOf(type, server.handle(message(type, ...values), 65536));
  expect(answerOf(T.VERSION, server.handle(version, 4096)).errno).toBe(0);
  expect(answerOf(T.ATTACH, server.handle(attach, 4096)).errno).toBe(0);
  const walk = (from: number, to: number, ...names: string[]): Answer =>
    send(T.WALK, from, to, u16(names.length), ...names.map(text));
  const create = (fid: number, name: string): void => {
    walk(0, fid);
    expect(send(T.LCREATE, fid, text(name), 2, 0o640, 0).errno).toBe(0);
  };
  return { ...share, server, send, walk, create };
}

describe('9P2000.L', () => {
  it('agrees on its version, and on no other', () => {
    const server = new P9Server(temporaryShare().folder);
    const ask = (size: number, name: string): Answer =>
      answerOf(T.VERSION, server.handle(message(T.VERSION, size, text(name)), 4096));
    expect(answerOf(T.ATTACH, server.handle(attach, 4096)).errno).toBe(EPROTO);
    expect(ask(8192, '9P2000').body.subarray(6).toString()).toBe('unknown');
    expect(answerOf(T.ATTACH, server.handle(attach, 4096)).errno).toBe(EPROTO);
    expect(ask(100, '9P2000.L').errno).toBe(EINVAL);
    expect(ask(0xffff_ffff, '9P2000.L').body.readUInt32LE(0)).toBe(1 << 20);
  });

  it('creates, writes, reads, renames and removes a file', () => {
    const { path: place, send, walk, create } = attached();
    create(1, 'file');
    expect(send(T.WRITE, 1, 0n, 5, Buffer.from('hello')).body.readUInt32LE(0)).toBe(5);
    expect(send(T.READ, 1, 1n, 100).body.subarray(4).toString()).toBe('ello');
    expect(send(T.LCREATE, 1, text('again'), 2, 0o640, 0).errno).toBe(EBADF);
    expect(send(T.CLUNK, 1).errno).toBe(0);
    expect(send(T.CLUNK, 1).errno).toBe(EBADF);
    expect(send(T.RENAMEAT, 0, text('file'), 0, text('second')).errno).toBe(0);
    walk(0, 2, 'second');
    expect(send(T.RENAME, 2, 0, text('third')).errno).toBe(0);
    expect(fs.readFileSync(path.join(place, 'third'), 'utf8')).toBe('hello');
    expect(send(T.REMOVE, 2).errno).toBe(0);
    expect(send(T.CLUNK, 2).errno).toBe(EBADF);
    expect(fs.readdirSync(place)).toEqual([]);
  });

  it('walks as far as it comes, and nowhere out of the folder', () => {
    const { path: place, send, walk } = attached();
    fs.mkdirSync(path.join(place, 'a/b'), { recursive: true });
    fs.symlinkSync('/', path.join(place, 'l'));
    expect(walk(0, 1, 'a', 'b').body.readUInt16LE(0)).toBe(2);
    expect(walk(0, 2, 'a', 'c').body.readUInt16LE(0)).toBe(1);
    expect(send(T.CLUNK, 2).errno).toBe(EBADF);
    expect(walk(0, 2, 'c').errno).toBe(ENOENT);
    expect(walk(1, 1, '..', '..', '..').body.readUInt16LE(0)).toBe(3);
    const root = send(T.GETATTR, 0, 0x7ffn).body.subarray(8, 21);
    expect(send(T.GETATTR, 1, 0x7ffn).body.subarray(8, 21)).toEqual(root);
    expect(walk(0, 3, 'l', 'etc').body.readUInt16LE(0)).toBe(1);
    expect(walk(0, 3, 'a/b').errno).toBe(EINVAL);
    expect(walk(0, 0).errno).toBe(0);
    walk(0, 4, 'l');
    expect(send(T.READLINK, 4).body.subarray(2).toString()).toBe('/');
    expect(send(T.LOPEN, 4, 0).errno).toBe(6);
    expect(walk(0, 4).errno).toBe(EBADF);
  });

  it.skipIf(!attributesWork)('reads and writes extended attributes by fids that stand for them', () => {
    const { path: place, folder, send, walk } = attached();
    fs.writeFileSync(path.join(place, 'file'), '');
    walk(0, 1, 'file');
    const set = (fid: number, name: string, value: string, flags = 0): number[] => {
      walk(1, fid);
      const made = send(T.XATTRCREATE, fid, text(name), BigInt(value.length), flags).errno;
      const bytes = Buffer.from(value, 'latin1');
      const half = bytes.length >> 1;
      const parts = value === '' || made !== 0 ? [] : [[0, half] as const, [half, bytes.length] as const];
      const written = parts.map(
        ([from, to]) => send(T.WRITE, fid, BigInt(from), to - from, bytes.subarray(from, to)).errno,
      );
      return [made, ...written, send(T.CLUNK, fid).errno];
    };
    const get = (name: string): Answer => {
      const { errno } = send(T.XATTRWALK, 1, 9, text(name));
      if (errno !== 0) return { errno, body: Buffer.alloc(0) };
      const first = send(T.READ, 9, 0n, 3).body.subarray(4);
      const rest = send(T.READ, 9, 3n, 100).body.subarray(4);
      expect([send(T.READ, 9, 200n, 100).body.length, send(T.CLUNK, 9).errno]).toEqual([4, 0]);
      return { errno, body: Buffer.concat([first, rest]) };
    };
    expect(set(2, 'user.a', 'a value')).toEqual([0, 0, 0, 0]);
    expect(get('user.a').body.toString()).toBe('a value');
    expect(set(2, 'user.a', 'again', 1)).toEqual([0, 0, EEXIST, 0]);
    expect(set(2, 'user.b', 'new', 2)).toEqual([0, 0, ENODATA, 0]);
    expect(set(2, 'user.empty', '')).toEqual([0, 0]);
    expect(get('').body.toString().split('\0').sort()).toEqual(['', 'user.a', 'user.empty']);
    // Removed by replacing it by nothing.
    expect([set(2, 'user.a', '', 2), set(2, 'user.a', '', 2)]).toEqual([
      [0, 0],
      [0, ENODATA],
    ]);
    expect(get('user.a').errno).toBe(ENODATA);
    expect(set(2, 'security.capability', 'x')).toEqual([0, 0, EPERM, 0]);
    expect(set(2, 'trusted.x', 'x')).toEqual([0, 0, EOPNOTSUPP, 0]);
    // What is not whole is not set; what is no attribute is not one.
    walk(1, 2);
    expect(send(T.XATTRCREATE, 2, text('user.c'), 5n, 0).errno).toBe(0);
    expect(send(T.XATTRCREATE, 2, text('user.c'), 5n, 0).errno).toBe(EBADF);
    expect(send(T.WRITE, 2, 1n, 2, Buffer.from('xx')).errno).toBe(EINVAL);
    expect(send(T.WRITE, 2, 0n, 6, Buffer.from('xxxxxx')).errno).toBe(EINVAL);
    expect(send(T.READ, 2, 0n, 6).errno).toBe(EBADF);
    expect([send(T.CLUNK, 2).errno, get('user.c').errno]).toEqual([0, ENODATA]);
    expect(send(T.XATTRCREATE, 1, text('user.c'), 70_000n, 0).errno).toBe(E2BIG);
    expect(send(T.XATTRWALK, 1, 0, text('')).errno).toBe(EBADF);
    // No more of them than fit in memory.
    for (let fid = 100; fid < 356; fid++) expect(send(T.XATTRWALK, 1, fid, text('')).errno).toBe(0);
    expect(send(T.XATTRWALK, 1, 400, text('')).errno).toBe(ENFILE);
    for (let fid = 100; fid < 356; fid++) send(T.CLUNK, fid);
    expect(send(T.XATTRWALK, 1, 400, text('')).errno).toBe(0);
    send(T.CLUNK, 400);
    send(T.CLUNK, 1);
    expect(folder.held.nodes).toBe(1);
  });

  it('lists folders in pieces', () => {
    const { path: place, send, walk } = attached();
    for (let i = 0; i < 50; i++) fs.writeFileSync(path.join(place, `n${i}`), '');
    walk(0, 1);
    send(T.LOPEN, 1, 0o200000);
    const names: string[] = [];
    for (let offset = 0n; ;) {
      const { body } = send(T.READDIR, 1, offset, 300);
      expect(body.readUInt32LE(0)).toBe(body.length - 4);
      if (body.length === 4) break;
      for (let at = 4; at < body.length;) {
        offset = body.readBigUInt64LE(at + 13);
        const length = body.readUInt16LE(at + 22);
        names.push(body.toString('latin1', at + 24, at + 24 + length));
        at += 24 + length;
      }
    }
    expect(names.sort()).toEqual(['.', '..', ...fs.readdirSync(place)].sort());
  });

  it('makes folders, links and regular files, and no others; sets what is asked for', () => {
    const { path: place, send, walk } = attached();
    expect(send(T.MKDIR, 0, text('d'), 0o750, 0).errno).toBe(0);
    expect(send(T.MKNOD, 0, text('f'), 0o100600, 0, 0, 0).errno).toBe(0);
    expect(send(T.MKNOD, 0, text('null'), 0o020600, 1, 3, 0).errno).toBe(EPERM);
    expect(send(T.SYMLINK, 0, text('l'), text('../..'), 0).errno).toBe(0);
    walk(0, 1, 'f');
    expect(send(T.LINK, 0, 1, text('g')).errno).toBe(0);
    expect(send(T.SETATTR, 1, 1 | 8, 0o644, 0, 0, 7n, 0n, 0n, 0n, 0n).errno).toBe(0);
    expect(send(T.SETATTR, 1, 0x120, 0, 0, 0, 0n, 0n, 0n, 99n, 5000n).errno).toBe(0);
    const { body } = send(T.GETATTR, 1, 0x7ffn);
    expect([body.readUInt32LE(21) & 0o777, body.readBigUInt64LE(33), body.readBigUInt64LE(49)]).toEqual([
      0o644,
      2n,
      7n,
    ]);
    expect(fs.statSync(path.join(place, 'f'), { bigint: true }).mtimeNs).toBe(99_000_005_000n);
    expect(send(T.UNLINKAT, 0, text('d'), 0x200).errno).toBe(0);
    expect(send(T.UNLINKAT, 0, text('l'), 0).errno).toBe(0);
    expect(fs.readdirSync(place).sort()).toEqual(['f', 'g']);
  });

  it('grants locks, and tells what it does not do', () => {
    const { send, create } = attached();
    create(1, 'f');
    expect(send(T.LOCK, 1, u8(1), 0, 0n, 0n, 5, text('client')).body).toEqual(Buffer.from([0]));
    expect(send(T.GETLOCK, 1, u8(1), 0n, 0n, 5, text('client')).body[0]).toBe(2);
    expect(send(T.FSYNC, 1, 0).errno).toBe(0);
    expect(send(T.FSYNC, 0, 0).errno).toBe(0);
    expect(send(T.STATFS, 0).body.length).toBe(60);
    expect(send(T.FLUSH, u16(3)).errno).toBe(0);
    for (const type of [102, 6, 250]) expect(send(type, 1, 5, text('security.capability')).errno).toBe(EOPNOTSUPP);
  });

  it('writes nothing to a folder that is shared for reading', () => {
    const { send, walk } = attached(true);
    expect(send(T.MKDIR, 0, text('d'), 0o750, 0).errno).toBe(EROFS);
    walk(0, 1);
    expect(send(T.LCREATE, 1, text('f'), 0, 0o600, 0).errno).toBe(EROFS);
  });

  it('survives random messages', () => fuzz(p9Target, 20000));
});

describe('virtio-9p', () => {
  it('has a tag, and carries requests in any framing', () => {
    const device = new Virtio9p({ id: '9p0', tag: 'home', folder: temporaryShare().folder });
    const driver = new VirtioDriver(device).setUp();
    expect(driver.device(0, 2)).toBe(4);
    expect([2, 3, 4, 5].map((at) => String.fromCharCode(driver.device(at, 1))).join('')).toBe('home');
    const [queue] = driver.queues;
    const [{ data, length }] = queue.exchange([version.subarray(0, 5), version.subarray(5)], [3, 100]);
    expect(answerOf(T.VERSION, data.subarray(0, length)).errno).toBe(0);
    expect(queue.exchange([attach], [10])[0].length).toBe(0);
    expect(queue.exchange([new Uint8Array(3)], [100])[0].length).toBe(0);
    const [long] = queue.exchange([message(T.WRITE, 0, new Uint8Array(0x10_0000))], [100]);
    expect(answerOf(T.WRITE, long.data.subarray(0, long.length)).errno).toBe(EINVAL);
  });

  it('finds fids again by their paths when it is restored, and says so when they are gone', () => {
    const { folder, path: place, server, send, create, walk } = attached();
    create(1, 'kept');
    send(T.WRITE, 1, 0n, 6, Buffer.from('before'));
    create(2, 'gone');
    walk(0, 3, 'gone');
    const saved = server.save();
    server.clear();
    fs.rmSync(path.join(place, 'gone'));
    const again = new P9Server(folder);
    again.restore(saved);
    const ask = (type: number, ...values: Values): Answer =>
      answerOf(type, again.handle(message(type, ...values), 65536));
    expect(ask(T.READ, 1, 0n, 100).body.subarray(4).toString()).toBe('before');
    expect(ask(T.READ, 2, 0n, 100).errno).toBe(EIO);
    expect(ask(T.GETATTR, 3, 0x7ffn).errno).toBe(ESTALE);
    expect(again.save()).toEqual(saved);
  });

  snapshotSuite('virtio-9p', {
    create: () => new Virtio9p({ id: '9p0', tag: 'home', folder: temporaryShare().folder }),
    change: (device) => {
      const [queue] = new VirtioDriver(device).setUp().queues;
      queue.exchange([version], [100]);
      queue.exchange([attach], [100]);
    },
  });
});
