import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { FakeMemory } from '../../../host/fake/memory.js';
import {
  fields,
  fuseAnswer,
  fuseInit,
  fuseRequest,
  attributesWork,
  giveAttribute,
  temporaryShare,
  type FuseAnswer,
} from '../../../testing/fuse-client.js';
import { fuzz } from '../../../testing/fuzz/target.js';
import { fuseTarget } from '../../../testing/fuzz/targets/fuse.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { VirtioDriver } from '../../../testing/virtio-driver.js';
import { OPCODE } from './fuse-protocol.js';
import { FuseServer } from './fuse-server.js';
import { VirtioFs } from './virtio-fs.js';

const [ENOENT, EIO, EBADF, EACCES_ESTALE, EINVAL, EROFS, ENOSYS, EPROTO] = [2, 5, 9, 116, 22, 30, 38, 71];
const EFBIG = 27;
const [EPERM, E2BIG, EEXIST, ERANGE, ENODATA, EOPNOTSUPP] = [1, 7, 17, 34, 61, 95];

/** A server that INIT was sent to. */
function mounted(readOnly = false) {
  const share = temporaryShare(readOnly);
  const server = new FuseServer(share.folder);
  const send = (opcode: number, node: bigint | number, ...body: Parameters<typeof fields>): FuseAnswer =>
    fuseAnswer(server.handle(fuseRequest(opcode, node, fields(...body)), 1 << 21));
  expect(fuseAnswer(server.handle(fuseInit, 4096)).errno).toBe(0);
  const entry = (answer: FuseAnswer): bigint => {
    expect(answer.errno).toBe(0);
    return answer.body.readBigUInt64LE(0);
  };
  const lookup = (node: bigint | number, name: string): bigint => entry(send(OPCODE.LOOKUP, node, name));
  const create = (node: bigint | number, name: string, flags = 2): { node: bigint; handle: bigint } => {
    const answer = send(OPCODE.CREATE, node, flags, 0o100644, 0, 0, name);
    return { node: entry(answer), handle: answer.body.readBigUInt64LE(128) };
  };
  const write = (handle: bigint, offset: bigint, data: string, flags = 2, how = 0): FuseAnswer =>
    send(OPCODE.WRITE, 2, handle, offset, data.length, how, 0n, flags, 0, Buffer.from(data, 'latin1'));
  const read = (handle: bigint, offset: bigint, size: number): string =>
    send(OPCODE.READ, 2, handle, offset, size, 0, 0n, 0, 0).body.toString('latin1');
  return { ...share, server, send, lookup, create, write, read, entry };
}

/** Entries of READDIR: offset and name. */
function entries(
  body: Buffer,
  plus = false,
): { readonly next: bigint; readonly name: string; readonly node: bigint }[] {
  const found = [];
  for (let at = 0; at < body.length;) {
    const node = plus ? body.readBigUInt64LE(at) : 0n;
    if (plus) at += 128;
    const length = body.readUInt32LE(at + 16);
    found.push({ node, next: body.readBigUInt64LE(at + 8), name: body.toString('latin1', at + 24, at + 24 + length) });
    at += Math.ceil((24 + length) / 8) * 8;
  }
  return found;
}

describe('FUSE', () => {
  it('agrees on version 7.31, and on no older one', () => {
    const server = new FuseServer(temporaryShare().folder);
    const init = (major: number, minor: number): FuseAnswer =>
      fuseAnswer(server.handle(fuseRequest(26, 0, fields(major, minor, 0, 0)), 4096));
    expect(init(7, 30).errno).toBe(EPROTO);
    expect(init(6, 99).errno).toBe(EPROTO);
    for (const { errno, body } of [init(8, 0), init(7, 31), init(7, 99)]) {
      expect({ errno, length: body.length }).toEqual({ errno: 0, length: 64 });
      expect([body.readUInt32LE(0), body.readUInt32LE(4)]).toEqual([7, 31]);
    }
    expect(init(7, 38).body.readUInt32LE(20)).toBe(1 << 20);
  });

  it('answers nothing else before INIT', () => {
    const server = new FuseServer(temporaryShare().folder);
    expect(fuseAnswer(server.handle(fuseRequest(OPCODE.GETATTR, 1, fields(0, 0, 0n)), 4096)).errno).toBe(EIO);
  });

  it('creates, writes, reads and removes a file', () => {
    const { path: place, send, create, write, read } = mounted();
    const { node, handle } = create(1, 'file');
    expect(write(handle, 0n, 'hello').body.readUInt32LE(0)).toBe(5);
    expect(write(handle, 5n, ' world').errno).toBe(0);
    expect(read(handle, 3n, 100)).toBe('lo world');
    expect(fs.readFileSync(path.join(place, 'file'), 'latin1')).toBe('hello world');
    const attributes = send(OPCODE.GETATTR, node, 0, 0, 0n).body;
    expect(attributes.readBigUInt64LE(16 + 8)).toBe(11n);
    expect(send(OPCODE.RELEASE, node, handle, 0, 0, 0n).errno).toBe(0);
    expect(send(OPCODE.READ, node, handle, 0n, 10, 0, 0n, 0, 0).errno).toBe(EBADF);
    expect(send(OPCODE.UNLINK, 1, 'file').errno).toBe(0);
    expect(send(OPCODE.LOOKUP, 1, 'file').errno).toBe(ENOENT);
  });

  it('has no place for what would be further out than a file goes, and nothing to read there', () => {
    const { create, write, read } = mounted();
    const { handle } = create(1, 'file');
    expect(write(handle, 2n ** 53n, 'x').errno).toBe(EFBIG);
    expect(read(handle, 2n ** 63n, 10)).toBe('');
  });

  it('appends behind what the host has written meanwhile, but not what a page cache writes back', () => {
    const { path: place, create, write, read } = mounted();
    const O_APPEND = 0o2002;
    const { handle } = create(1, 'log', O_APPEND);
    write(handle, 0n, 'one ', O_APPEND);
    fs.appendFileSync(path.join(place, 'log'), 'two ');
    write(handle, 4n, 'three', O_APPEND);
    write(handle, 0n, 'ONE', O_APPEND, 1);
    // A program has taken O_APPEND away: each write says how the file is now.
    write(handle, 4n, 'TWO');
    expect(read(handle, 0n, 100)).toBe('ONE TWO three');
  });

  it('lists folders in pieces, with what lookup would have said', () => {
    const { path: place, send } = mounted();
    for (let i = 0; i < 50; i++) fs.writeFileSync(path.join(place, `n${i}`), '');
    const handle = send(OPCODE.OPENDIR, 1, 0, 0).body.readBigUInt64LE(0);
    for (const [opcode, plus] of [
      [OPCODE.READDIR, false],
      [OPCODE.READDIRPLUS, true],
    ] as const) {
      const names: string[] = [];
      const nodes = new Set<bigint>();
      for (let offset = 0n; ;) {
        const part = entries(send(opcode, 1, handle, offset, 600, 0, 0n, 0, 0).body, plus);
        const last = part.at(-1);
        if (!last) break;
        for (const { name, node } of part) {
          names.push(name);
          nodes.add(node);
        }
        offset = last.next;
      }
      expect(names.sort()).toEqual(['.', '..', ...fs.readdirSync(place)].sort());
      expect(nodes.size).toBe(plus ? 51 : 1);
    }
  });

  it('lists a large folder before anything else was asked for, whatever its names', () => {
    for (let length = 1; length <= 24; length++) {
      const { path: place, send } = mounted();
      const names = Array.from({ length: 200 }, (_, i) => i.toString(16).padStart(2, '0').padStart(length, 'x'));
      for (const name of names) fs.writeFileSync(path.join(place, name), '');
      const handle = send(OPCODE.OPENDIR, 1, 0, 0).body.readBigUInt64LE(0);
      const opcode = length % 2 ? OPCODE.READDIR : OPCODE.READDIRPLUS;
      const found = entries(send(opcode, 1, handle, 0n, 1 << 16, 0, 0n, 0, 0).body, length % 2 === 0);
      expect(found.map(({ name }) => name).sort()).toEqual(['.', '..', ...names].sort());
    }
  });

  it('gives a node one number, until it is forgotten as often as it was looked up', () => {
    const { folder, path: place, send, server, lookup } = mounted();
    fs.writeFileSync(path.join(place, 'file'), '');
    const node = lookup(1, 'file');
    expect(lookup(1, 'file')).toBe(node);
    server.handle(fuseRequest(OPCODE.FORGET, node, fields(1n)), 0);
    expect(send(OPCODE.GETATTR, node, 0, 0, 0n).errno).toBe(0);
    server.handle(fuseRequest(OPCODE.BATCH_FORGET, 0, fields(2, 0, node, 1n, 999n, 1n)), 0);
    expect(send(OPCODE.GETATTR, node, 0, 0, 0n).errno).toBe(EACCES_ESTALE);
    expect(folder.held.nodes).toBe(1);
    expect(lookup(1, 'file')).not.toBe(node);
  });

  it('makes folders, links and regular files, and no others', () => {
    const { path: place, send, entry } = mounted();
    const folder = entry(send(OPCODE.MKDIR, 1, 0o755, 0, 'd'));
    const file = entry(send(OPCODE.MKNOD, folder, 0o100640, 0, 0, 0, 'f'));
    expect(send(OPCODE.MKNOD, folder, 0o010644, 0, 0, 0, 'fifo').errno).toBe(1);
    expect(send(OPCODE.MKNOD, folder, 0o020644, 0x103, 0, 0, 'null').errno).toBe(1);
    const link = entry(send(OPCODE.SYMLINK, 1, 'l', '../../etc'));
    expect(send(OPCODE.READLINK, link).body.toString()).toBe('../../etc');
    expect(entry(send(OPCODE.LINK, 1, file, 'f2'))).toBe(file);
    expect(send(OPCODE.RENAME2, 1, folder, 1, 0, 'f2', 'f').errno).toBe(17);
    expect(send(OPCODE.RENAME2, 1, folder, 2, 0, 'f2', 'f').errno).toBe(EINVAL);
    expect(send(OPCODE.RENAME, 1, folder, 'f2', 'f3').errno).toBe(0);
    expect(fs.readdirSync(path.join(place, 'd')).sort()).toEqual(['f', 'f3']);
    expect(send(OPCODE.RMDIR, 1, 'd').errno).toBe(39);
  });

  it('sets what is asked for and nothing else', () => {
    const { path: place, send, create } = mounted();
    const { node } = create(1, 'file');
    const set = (valid: number, size: bigint, seconds: bigint, mode: number): FuseAnswer =>
      send(OPCODE.SETATTR, node, valid, 0, 0n, size, 0n, seconds, seconds, 0n, 500_000, 250_000, 0, mode, 0, 1, 1, 0);
    expect(set(8 | 1, 5n, 0n, 0o600).body.readBigUInt64LE(24)).toBe(5n);
    const stat = fs.statSync(path.join(place, 'file'), { bigint: true });
    expect([stat.size, Number(stat.mode & 0o777n)]).toEqual([5n, 0o600]);
    set(32, 0n, -10n, 0);
    expect(fs.statSync(path.join(place, 'file'), { bigint: true }).mtimeNs).toBe(-10_000_000_000n);
    expect(fs.statSync(path.join(place, 'file')).size).toBe(5);
    expect(set(8, 1n << 60n, 0n, 0).errno).toBe(EFBIG);
  });

  it('tells what it does not do', () => {
    const { send, create } = mounted();
    const { node, handle } = create(1, 'file');
    for (const opcode of [25, 31, 34, 39, 40, 47, 48, 999]) expect(send(opcode, node).errno).toBe(ENOSYS);
    expect(send(OPCODE.FALLOCATE, node, handle, 0n, 100n, 0, 0).errno).toBe(95);
    expect(send(OPCODE.STATFS, 1).body.length).toBe(80);
    expect(send(OPCODE.LSEEK, node, handle, 0n, 3, 0).errno).toBe(6);
  });

  it.skipIf(!attributesWork)('sets, reads, lists and removes extended attributes', () => {
    const { path: place, folder, send, create } = mounted();
    const { node } = create(1, 'file');
    const set = (name: string, value: string, flags = 0): number =>
      send(OPCODE.SETXATTR, node, value.length, flags, name, Buffer.from(value, 'latin1')).errno;
    const get = (name: string, room: number): FuseAnswer => send(OPCODE.GETXATTR, node, room, 0, name);
    expect([set('user.a', 'one'), set('user.b\u00e9', ''), set('user.a', '', 1)]).toEqual([0, 0, EEXIST]);
    expect([set('user.c', 'x', 2), set('user.a', 'two\0three', 2), set('user.a', '', 3)]).toEqual([ENODATA, 0, EINVAL]);
    expect(get('user.a', 100).body.toString()).toBe('two\0three');
    expect(get('user.a', 0).body.readUInt32LE(0)).toBe(9);
    expect([get('user.a', 8).errno, get('user.c', 8).errno]).toEqual([ERANGE, ENODATA]);
    const list = (room: number): FuseAnswer => send(OPCODE.LISTXATTR, node, room, 0);
    expect(list(100).body.toString('latin1').split('\0').sort()).toEqual(['', 'user.a', 'user.b\u00e9']);
    expect([list(0).body.readUInt32LE(0), list(14).errno]).toEqual([15, ERANGE]);
    // What would be the host's as well, or is not the guest's affair.
    expect(
      ['security.capability', 'security.selinux', 'trusted.x', 'system.posix_acl_access'].map((n) => set(n, 'x')),
    ).toEqual([EPERM, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP]);
    expect(get('security.capability', 100).errno).toBe(ENODATA);
    expect([set('', 'x'), set(`user.${'x'.repeat(251)}`, 'x'), set('user.', 'x')]).toEqual([ERANGE, ERANGE, EINVAL]);
    expect(send(OPCODE.SETXATTR, node, 65_537, 0, 'user.big', new Uint8Array(65_537)).errno).toBe(E2BIG);
    expect(send(OPCODE.SETXATTR, node, 9, 0, 'user.short', 'x').errno).toBe(EINVAL);
    const remove = (name: string): number => send(OPCODE.REMOVEXATTR, node, name).errno;
    expect([remove('user.a'), remove('user.a'), remove('trusted.x')]).toEqual([0, ENODATA, EOPNOTSUPP]);
    // A symbolic link has none, and what it leads to is not asked.
    fs.symlinkSync('file', path.join(place, 'link'));
    const link = send(OPCODE.LOOKUP, 1, 'link').body.readBigUInt64LE(0);
    expect(send(OPCODE.SETXATTR, link, 1, 0, 'user.x', 'x').errno).toBe(EPERM);
    expect([
      send(OPCODE.GETXATTR, link, 9, 0, 'user.b\u00e9').errno,
      send(OPCODE.LISTXATTR, link, 9, 0).body.length,
    ]).toEqual([ENODATA, 0]);
    expect(folder.attributes?.list(folder.root)).toEqual([]);
  });

  it.skipIf(!attributesWork)('shows attributes of a folder that is shared for reading, and changes none', () => {
    const { path: place, send } = mounted(true);
    fs.writeFileSync(path.join(place, 'f'), '');
    giveAttribute(place, 'f', 'user.a', 'x');
    const node = send(OPCODE.LOOKUP, 1, 'f').body.readBigUInt64LE(0);
    expect(send(OPCODE.GETXATTR, node, 9, 0, 'user.a').body.toString()).toBe('x');
    expect(send(OPCODE.SETXATTR, node, 1, 0, 'user.a', 'y').errno).toBe(EROFS);
    expect(send(OPCODE.REMOVEXATTR, node, 'user.a').errno).toBe(EROFS);
  });

  it('ends special rights of programs that others write to', () => {
    const { path: place, send, lookup, write } = mounted();
    const file = path.join(place, 'program');
    const modeAfter = (change: (node: bigint) => void, mode = 0o6755): number => {
      fs.writeFileSync(file, 'x');
      fs.chmodSync(file, mode);
      change(lookup(1, 'program'));
      return fs.statSync(file).mode & 0o7777;
    };
    const opened = (node: bigint, flags: number, how: number): bigint =>
      send(OPCODE.OPEN, node, flags, how).body.readBigUInt64LE(0);
    expect(modeAfter((node) => write(opened(node, 2, 0), 0n, 'y', 2, 4))).toBe(0o755);
    expect(modeAfter((node) => opened(node, 0o1002, 1))).toBe(0o755);
    const truncate = (node: bigint): FuseAnswer =>
      send(OPCODE.SETATTR, node, 8 | 0x800, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0);
    expect(modeAfter((node) => expect(truncate(node).body.readUInt32LE(16 + 60) & 0o7777).toBe(0o755))).toBe(0o755);
    expect(modeAfter((node) => opened(node, 2, 1))).toBe(0o6755);
    // Without a right for the group to run it, set-group-ID means mandatory locking.
    expect(modeAfter((node) => write(opened(node, 2, 0), 0n, 'y', 2, 4), 0o7645)).toBe(0o3645);
    expect(modeAfter((node) => write(opened(node, 2, 0), 0n, 'y', 2, 4), 0o2745)).toBe(0o2745);
    expect(modeAfter((node) => write(opened(node, 2, 0), 0n, 'y', 2, 4), 0o2715)).toBe(0o715);
    expect(modeAfter((node) => expect(truncate(node).body.readUInt32LE(16 + 60) & 0o7777).toBe(0o2644), 0o6644)).toBe(
      0o2644,
    );
  });

  it('writes nothing to a folder that is shared for reading', () => {
    const { path: place, send } = mounted(true);
    expect(send(OPCODE.CREATE, 1, 2, 0o100644, 0, 0, 'new').errno).toBe(EROFS);
    expect(send(OPCODE.MKDIR, 1, 0o755, 0, 'new').errno).toBe(EROFS);
    expect(fs.readdirSync(place)).toEqual([]);
  });

  it('refuses names and numbers that are none', () => {
    const { send } = mounted();
    for (const name of ['..', '.', 'a/b', '']) expect(send(OPCODE.LOOKUP, 1, name).errno).toBe(EINVAL);
    expect(send(OPCODE.LOOKUP, 1, Buffer.from('no end')).errno).toBe(EINVAL);
    expect(send(OPCODE.LOOKUP, 1n << 60n, 'x').errno).toBe(EACCES_ESTALE);
    expect(send(OPCODE.READ, 1, 1n << 63n, 0n, 10, 0, 0n, 0, 0).errno).toBe(EBADF);
  });

  it('survives random messages', () => fuzz(fuseTarget, 20000));
});

describe('virtio-fs (VIRTIO 1.2 §5.11)', () => {
  function setUp() {
    const share = temporaryShare();
    const device = new VirtioFs({ id: 'fs0', tag: 'home', folder: share.folder });
    return { ...share, device, driver: new VirtioDriver(device, new FakeMemory(0x80_0000)).setUp() };
  }

  it('has a tag and one request queue', () => {
    const { driver } = setUp();
    const tag = Array.from({ length: 36 }, (_, i) => driver.device(i, 1));
    expect(Buffer.from(tag).toString()).toBe(`home${'\0'.repeat(32)}`);
    expect(driver.device(36, 4)).toBe(1);
  });

  it('carries requests in any framing, and FORGET without an answer', () => {
    const { driver, path: place } = setUp();
    fs.writeFileSync(path.join(place, 'f'), 'text');
    const queue = driver.queues[1];
    const exchange = (message: Uint8Array): FuseAnswer => {
      const [{ data, length }] = queue.exchange([message.subarray(0, 40), message.subarray(40)], [16, 80, 200]);
      return fuseAnswer(data.subarray(0, length));
    };
    expect(exchange(fuseInit).errno).toBe(0);
    const { errno, body } = exchange(fuseRequest(OPCODE.LOOKUP, 1, fields('f')));
    expect({ errno, size: body.readBigUInt64LE(48) }).toEqual({ errno: 0, size: 4n });
    expect(driver.queues[0].exchange([fuseRequest(OPCODE.FORGET, 2, fields(1n))], [])[0].length).toBe(0);
  });

  it('answers a request that is too long, and survives chains without room', () => {
    const { driver } = setUp();
    const queue = driver.queues[1];
    queue.exchange([fuseInit], [4096]);
    const [{ data, length }] = queue.exchange([fuseRequest(OPCODE.WRITE, 1, new Uint8Array(0x10_3000))], [4096]);
    expect(fuseAnswer(data.subarray(0, length)).errno).toBe(EINVAL);
    expect(queue.exchange([fuseRequest(OPCODE.STATFS, 1, fields())], [8])[0].length).toBe(0);
    expect(queue.exchange([new Uint8Array(3)], [100])[0].length).toBe(0);
    expect(queue.exchange([], [100])[0].length).toBe(0);
  });
});

describe('a saved virtio-fs', () => {
  it('finds nodes and open files again by their paths, and says so when they are gone', () => {
    const { folder, path: place, server, send, create, write, read } = mounted();
    const { handle } = create(1, 'kept');
    write(handle, 0n, 'before');
    const gone = create(1, 'gone');
    const open = send(OPCODE.OPENDIR, 1, 0, 0).body.readBigUInt64LE(0);
    const saved = server.save();
    server.clear();
    fs.rmSync(path.join(place, 'gone'));
    const again = new FuseServer(folder);
    again.restore(saved);
    const sendAgain = (opcode: number, node: bigint | number, ...body: Parameters<typeof fields>): FuseAnswer =>
      fuseAnswer(again.handle(fuseRequest(opcode, node, fields(...body)), 1 << 16));
    expect(sendAgain(OPCODE.READ, 2, handle, 0n, 100, 0, 0n, 0, 0).body.toString()).toBe('before');
    expect(sendAgain(OPCODE.READ, 3, gone.handle, 0n, 100, 0, 0n, 0, 0).errno).toBe(EIO);
    expect(sendAgain(OPCODE.GETATTR, gone.node, 0, 0, 0n).errno).toBe(EACCES_ESTALE);
    expect(entries(sendAgain(OPCODE.READDIR, 1, open, 0n, 4096, 0, 0n, 0, 0).body).map(({ name }) => name)).toContain(
      'kept',
    );
    expect(again.save()).toEqual(saved);
    expect(read(handle, 0n, 1)).toBe('');
  });

  snapshotSuite('virtio-fs', {
    create: () => new VirtioFs({ id: 'fs0', tag: 'home', folder: temporaryShare().folder }),
    change: (device) => {
      const { queues } = new VirtioDriver(device).setUp();
      queues[1].exchange([fuseInit], [4096]);
      queues[1].exchange([fuseRequest(OPCODE.MKDIR, 1, fields(0o755, 0, 'd'))], [4096]);
      queues[1].exchange([fuseRequest(OPCODE.OPENDIR, 1, fields(0, 0))], [4096]);
    },
  });
});
