import { execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileError } from '../../../iface/errno.js';
import type { SharedNode } from '../../../iface/shared-folder.js';
import { HostFolder } from './host-folder.js';
import { Owners } from './status.js';

const READ = { read: true, write: false, truncate: false };
const WRITE = { read: true, write: true, truncate: false };
const ROOT = { mode: 0o644, uid: 0, gid: 0 };
const FOLDER = { ...ROOT, mode: 0o755 };

let top: string;
let shared: string;
const open: HostFolder[] = [];

function share(options: ConstructorParameters<typeof HostFolder>[2] = {}, readOnly = false): HostFolder {
  const folder = new HostFolder(shared, readOnly, options);
  open.push(folder);
  return folder;
}

function find(folder: HostFolder, ...names: string[]): SharedNode {
  let at: SharedNode = folder.root;
  for (const name of names) {
    const found = folder.lookup(at, name);
    if (!found) throw new Error(`no ${name}`);
    at = found.node;
  }
  return at;
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof FileError) return error.code;
    throw error;
  }
  return 'ok';
}

function contents(folder: HostFolder, node: SharedNode): string {
  const file = folder.open(node, READ);
  const bytes = new Uint8Array(100);
  const count = file.read(bytes, 0);
  file.close();
  return Buffer.from(bytes.subarray(0, count)).toString('latin1');
}

beforeEach(() => {
  top = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-share-'));
  shared = path.join(top, 'shared');
  fs.mkdirSync(path.join(shared, 'a/b'), { recursive: true });
  fs.writeFileSync(path.join(shared, 'a/file'), 'inside');
  fs.mkdirSync(path.join(top, 'outside'));
  fs.writeFileSync(path.join(top, 'outside/file'), 'secret');
});

afterEach(() => {
  for (const folder of open.splice(0)) folder.close();
  fs.rmSync(top, { recursive: true, force: true });
});

describe.skipIf(process.platform !== 'linux')('a shared folder', () => {
  it('has no names that lead out of it', () => {
    const folder = share();
    for (const name of ['', '.', '..', 'a/file', '/', '../outside', 'a\0'])
      expect(
        codeOf(() => folder.lookup(folder.root, name)),
        name,
      ).toBe('EINVAL');
    expect(codeOf(() => folder.lookup(folder.root, 'x'.repeat(256)))).toBe('ENAMETOOLONG');
    expect(folder.parent(folder.root).node).toBe(folder.root);
  });

  it('shows symbolic links and follows none', () => {
    fs.symlinkSync('../outside', path.join(shared, 'link'));
    fs.symlinkSync(path.join(top, 'outside/file'), path.join(shared, 'absolute'));
    const folder = share();
    const [link, absolute] = [find(folder, 'link'), find(folder, 'absolute')];
    expect(folder.readLink(link)).toBe('../outside');
    expect(codeOf(() => folder.lookup(link, 'file'))).toBe('ENOTDIR');
    expect(codeOf(() => folder.list(link))).toBe('ENOTDIR');
    expect(codeOf(() => folder.open(absolute, WRITE))).toBe('ENXIO');
    expect(codeOf(() => folder.change(absolute, { size: 0 }))).toBe('EINVAL');
    expect(codeOf(() => folder.change(absolute, { mode: 0o777 }))).toBe('EOPNOTSUPP');
    folder.change(absolute, { modified: 10n ** 18n, accessed: 10n ** 18n });
    // Creating through a link that dangles would create its target.
    fs.symlinkSync(path.join(top, 'outside/new'), path.join(shared, 'dangling'));
    expect(codeOf(() => folder.create(folder.root, 'dangling', ROOT, { ...WRITE, exclusive: false }))).toBe('ENXIO');
    expect(fs.readdirSync(path.join(top, 'outside'))).toEqual(['file']);
    expect(fs.readFileSync(path.join(top, 'outside/file'), 'utf8')).toBe('secret');
    expect(fs.statSync(path.join(top, 'outside/file')).mtimeMs).not.toBe(10 ** 12);
  });

  it('stays in it when a folder that the guest knows becomes a symbolic link', () => {
    const folder = share({ limits: { handles: 0 } });
    const a = find(folder, 'a');
    const file = find(folder, 'a', 'file');
    // With a handle of it the guest would go on in it under its new name. The last one used is kept.
    fs.mkdirSync(path.join(shared, 'elsewhere'));
    folder.list(find(folder, 'elsewhere'));
    fs.renameSync(path.join(shared, 'a'), path.join(shared, 'gone'));
    fs.symlinkSync('../outside', path.join(shared, 'a'));
    for (const work of [
      () => folder.lookup(a, 'file'),
      () => folder.create(a, 'new', ROOT, { ...WRITE, exclusive: true }),
      () => folder.open(file, READ),
      () => folder.removeFile(a, 'file'),
      () => folder.rename(a, 'file', folder.root, 'mine', true),
      () => folder.list(a),
    ])
      expect(codeOf(work)).toBe('ESTALE');
    expect(fs.readdirSync(path.join(top, 'outside'))).toEqual(['file']);
  });

  it('stays in it while a process of the host swaps folders for symbolic links', () => {
    const [real, aside] = [path.join(shared, 'a'), path.join(shared, 'aside')];
    fs.writeFileSync(path.join(shared, 'a/victim'), 'inside');
    fs.writeFileSync(path.join(top, 'outside/victim'), 'secret');
    const swap =
      `const fs = require('fs'); for (let i = 0; i < 1e9; i++) { fs.renameSync(${JSON.stringify(real)}, ${JSON.stringify(aside)});` +
      `fs.symlinkSync('../outside', ${JSON.stringify(real)}); fs.unlinkSync(${JSON.stringify(real)});` +
      `fs.renameSync(${JSON.stringify(aside)}, ${JSON.stringify(real)}); }`;
    const swapper = spawn(process.execPath, ['-e', swap], { stdio: 'ignore' });
    const folder = share({ limits: { handles: 0 } });
    const seen = new Set<string>();
    let swapped = 0;
    const end = Date.now() + 1500;
    while (Date.now() < end) {
      const a = folder.lookup(folder.root, 'a');
      if (a?.node.type !== find(folder).type) swapped++;
      if (!a) continue;
      try {
        const file = folder.lookup(a.node, 'victim');
        if (file) {
          seen.add(contents(folder, file.node));
          folder.release(file.node);
        }
        const made = folder.create(a.node, 'made', ROOT, { ...WRITE, exclusive: false });
        made.file.close();
        folder.release(made.node);
        folder.removeFile(a.node, 'made');
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
      }
      folder.release(a.node);
    }
    swapper.kill('SIGKILL');
    expect([...seen]).toEqual(['inside']);
    expect(swapped).toBeGreaterThan(0);
    expect(fs.readdirSync(path.join(top, 'outside')).sort()).toEqual(['file', 'victim']);
  });

  it('finds nodes again when few descriptors are kept, however deep they lie', () => {
    const folder = share({ limits: { handles: 4 } });
    let at: SharedNode = folder.root;
    const nodes: SharedNode[] = [];
    for (let i = 0; i < 300; i++) {
      at = folder.createFolder(at, 'd', FOLDER).node;
      nodes.push(at);
    }
    const made = folder.create(at, 'leaf', ROOT, { ...WRITE, exclusive: true });
    made.file.write(Buffer.from('deep'), 0);
    made.file.close();
    for (const node of nodes) folder.status(node);
    expect(folder.held.handles).toBeLessThanOrEqual(4);
    expect(contents(folder, made.node)).toBe('deep');
    expect(folder.pathOf(made.node)).toHaveLength(301);
  });

  it('goes on with folders and files that are renamed', () => {
    const folder = share();
    const a = find(folder, 'a');
    const file = folder.open(find(folder, 'a', 'file'), WRITE);
    folder.rename(folder.root, 'a', folder.root, 'z', true);
    folder.rename(a, 'file', folder.root, 'moved', true);
    file.write(Buffer.from('IN'), 0);
    expect(contents(folder, find(folder, 'moved'))).toBe('INside');
    expect(folder.lookup(a, 'file')).toBeUndefined();
    expect(folder.list(a)).toEqual([{ name: 'b', type: 0o040000 }]);
    expect(folder.pathOf(a)).toEqual(['z']);
    file.close();
  });

  it('replaces a name only when asked to', () => {
    const folder = share();
    const a = find(folder, 'a');
    folder.create(folder.root, 'other', ROOT, { ...WRITE, exclusive: true }).file.close();
    expect(codeOf(() => folder.rename(folder.root, 'other', a, 'file', false))).toBe('EEXIST');
    expect(codeOf(() => folder.rename(folder.root, 'a', a, 'b', false))).toBe('EEXIST');
    folder.rename(folder.root, 'other', a, 'free', false);
    folder.rename(a, 'b', folder.root, 'b2', false);
    expect(fs.readdirSync(shared).sort()).toEqual(['a', 'b2']);
    expect(fs.readdirSync(path.join(shared, 'a')).sort()).toEqual(['file', 'free']);
  });

  it('keeps a file that was removed while it is open', () => {
    const folder = share();
    const node = find(folder, 'a', 'file');
    const file = folder.open(node, WRITE);
    folder.removeFile(find(folder, 'a'), 'file');
    expect(folder.status(node).links).toBe(0);
    expect(folder.change(node, { size: 3 }, file).size).toBe(3n);
    expect(folder.pathOf(node)).toBeUndefined();
    file.close();
    folder.clear();
  });

  it('knows a file with two names as one', () => {
    const folder = share();
    const node = find(folder, 'a', 'file');
    const linked = folder.link(node, folder.root, 'second');
    expect(linked.node).toBe(node);
    expect(linked.status.links).toBe(2);
    folder.removeFile(find(folder, 'a'), 'file');
    expect(contents(folder, node)).toBe('inside');
  });

  it('does not write where it may not', () => {
    const folder = share({}, true);
    const [a, file] = [find(folder, 'a'), find(folder, 'a', 'file')];
    for (const work of [
      () => folder.open(file, WRITE),
      () => folder.open(file, { ...READ, truncate: true }),
      () => folder.create(a, 'new', ROOT, { ...READ, exclusive: false }),
      () => folder.create(a, 'file', ROOT, { ...READ, exclusive: false }),
      () => folder.createFolder(a, 'new', FOLDER),
      () => folder.createSymlink(a, 'new', 'x', ROOT),
      () => folder.link(file, a, 'new'),
      () => folder.rename(a, 'file', a, 'new', true),
      () => folder.removeFile(a, 'file'),
      () => folder.removeFolder(a, 'b'),
      () => folder.change(file, { mode: 0o777 }),
      () => folder.change(file, { size: 0 }),
      () => folder.change(file, { modified: 'now' }),
    ])
      expect(codeOf(work)).toBe('EROFS');
    expect(contents(folder, file)).toBe('inside');
  });

  it('opens nothing but regular files', () => {
    execFileSync('mkfifo', [path.join(shared, 'fifo')]);
    const folder = share();
    const fifo = find(folder, 'fifo');
    expect(folder.status(fifo).mode & 0o170000).toBe(0o010000);
    expect(codeOf(() => folder.open(fifo, READ))).toBe('ENXIO');
    expect(codeOf(() => folder.create(folder.root, 'fifo', ROOT, { ...WRITE, exclusive: false }))).toBe('ENXIO');
    expect(codeOf(() => folder.change(fifo, { size: 0 }))).toBe('EINVAL');
  });

  it('bounds what it holds of the host', () => {
    const folder = share({ limits: { files: 3, nodes: 6 } });
    const file = find(folder, 'a', 'file');
    const files = [1, 2, 3].map(() => folder.open(file, READ));
    expect(codeOf(() => folder.open(file, READ))).toBe('ENFILE');
    files[0].close();
    folder.open(file, READ).close();
    for (let i = 0; i < 3; i++) folder.create(folder.root, `n${i}`, ROOT, { ...WRITE, exclusive: true }).file.close();
    expect(codeOf(() => folder.create(folder.root, 'one more', ROOT, { ...WRITE, exclusive: true }))).toBe('ENFILE');
    for (const one of files) one.close();
    folder.clear();
    expect(folder.held).toEqual({ nodes: 1, handles: 0, files: 0 });
  });

  it('forgets what nobody holds', () => {
    const folder = share();
    for (let i = 0; i < 100; i++) {
      const [a, file] = [find(folder, 'a'), find(folder, 'a', 'file')];
      contents(folder, file);
      // `find` held the folder on the way as well.
      folder.release(a, 2);
      folder.release(file);
    }
    expect(folder.held).toEqual({ nodes: 1, handles: 0, files: 0 });
  });

  it('keeps times to the microsecond, and permissions whatever the umask', () => {
    const folder = share();
    const node = find(folder, 'a', 'file');
    const modified = 1_700_000_000_123_456_789n;
    const status = folder.change(node, { modified, accessed: 1n, mode: 0o6666 });
    expect(status.modified).toBe(1_700_000_000_123_456_000n);
    expect(folder.change(node, { accessed: 5000n }).modified).toBe(status.modified);
    // Set-user-ID is not the guest's to give.
    expect(status.mode & 0o7777).toBe(0o666);
    const made = folder.create(folder.root, 'open', { ...ROOT, mode: 0o666 }, { ...WRITE, exclusive: true });
    made.file.close();
    expect(made.status.mode & 0o7777).toBe(0o666);
    expect(folder.createFolder(folder.root, 'sticky', { ...ROOT, mode: 0o1777 }).status.mode & 0o7777).toBe(0o1777);
  });

  it('keeps set-group-ID that a file has where it gives no rights', () => {
    const folder = share();
    const node = find(folder, 'a', 'file');
    const after = (before: number, mode: number): number => {
      fs.chmodSync(path.join(shared, 'a/file'), before);
      return folder.change(node, { mode }).mode & 0o7777;
    };
    expect(after(0o2644, 0o2645)).toBe(0o2645);
    expect(after(0o2644, 0o644)).toBe(0o644);
    // Its group would run it.
    expect(after(0o2644, 0o2654)).toBe(0o654);
    expect(after(0o644, 0o2644)).toBe(0o644);
    expect(after(0o6755, 0o6645)).toBe(0o2645);
  });

  it('maps owners for who is not root: the user is root, all others are nobody', () => {
    const { uid, gid } = fs.statSync(shared);
    const mine = share({ owners: new Owners(uid === 0 ? 4242 : uid, gid) });
    const node = find(mine, 'a', 'file');
    expect(mine.status(node).uid).toBe(uid === 0 ? 65534 : 0);
    expect(mine.status(node).gid).toBe(0);
    expect(codeOf(() => mine.change(node, { uid: 1000 }))).toBe('EPERM');
    expect(codeOf(() => mine.change(node, { gid: 0 }))).toBe('ok');
  });

  it('takes names byte by byte', () => {
    const folder = share();
    const name = 'caf\xe9 \x01\xff';
    folder.create(folder.root, name, ROOT, { ...WRITE, exclusive: true }).file.close();
    expect(folder.list(folder.root).map((entry) => entry.name)).toContain(name);
    expect(folder.lookup(folder.root, name)).toBeDefined();
    expect(fs.readdirSync(shared, 'buffer').some((entry) => entry.equals(Buffer.from(name, 'latin1')))).toBe(true);
    folder.createSymlink(folder.root, 'l', name, ROOT);
    expect(folder.readLink(find(folder, 'l'))).toBe(name);
  });

  it('is refused with one line when it is not there', () => {
    expect(() => new HostFolder(path.join(top, 'nowhere'), false)).toThrow(/^cannot share .*nowhere: no such/i);
    expect(() => new HostFolder(path.join(shared, 'a/file'), false)).toThrow(/^cannot share .*file: it is no folder$/);
    const below = path.join(shared, 'a/file/below');
    expect(() => new HostFolder(below, false)).toThrow(/^cannot share .*below: a part of the path is not a directory$/);
  });
});
