/** File systems that are written here, under e2fsprogs' eyes. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { randomTree } from '../../testing/random-tree.js';
import { describeWith, requireTool } from '../../testing/tools.js';
import type { FsAttributes, FsFile, FsFolder, FsNode } from './tree.js';
import { Ext4Image, type Ext4Options } from './write.js';

const e2fsck = await requireTool('e2fsck', 'e2fsprogs');
const debugfs = await requireTool('debugfs', 'e2fsprogs');

const UUID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const PLAIN: FsAttributes = {
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 1_700_000_000, nanoseconds: 5 },
  xattrs: new Map(),
};

const folder = (children: Iterable<readonly [string, FsNode]> = []): FsFolder => ({
  kind: 'folder',
  ...PLAIN,
  mode: 0o755,
  children: new Map(children),
});
const file = (size: number): FsFile => ({
  kind: 'file',
  ...PLAIN,
  size,
  data: size > 0 ? [{ offset: 0, length: size }] : [],
});

function temporary(): string {
  const place = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-ext4-'));
  onTestFinished(() => fs.rmSync(place, { recursive: true }));
  return place;
}

/** Writes an image and returns its file. */
function write(
  root: FsFolder,
  contents: ReadonlyMap<FsFile, Uint8Array> = new Map(),
  options: Partial<Ext4Options> = {},
): string {
  const place = path.join(temporary(), 'disk');
  const fd = fs.openSync(place, 'w');
  const sink = {
    write: (offset: number, bytes: Uint8Array) => void fs.writeSync(fd, bytes, 0, bytes.length, offset),
    truncate: (size: number) => fs.ftruncateSync(fd, size),
  };
  const image = new Ext4Image(root, { uuid: UUID, made: 1_700_000_000, label: 'root', free: 2 ** 20, ...options });
  for (const _ of image.writeMetadata(sink));
  for (const [node, bytes] of contents) {
    const put = image.contentWriter(node, sink);
    // In pieces that fit nothing.
    for (const { offset, length } of node.data)
      for (let at = 0; at < length; at += 70_001)
        put(offset + at, bytes.subarray(offset + at, offset + Math.min(length, at + 70_001)));
  }
  fs.closeSync(fd);
  return place;
}

async function expectClean(image: string): Promise<void> {
  const { status, stdout, stderr } = await e2fsck.run(['-fn', image]);
  expect(stdout + stderr).not.toMatch(/\? no|optimi|corrupt|WARNING/i);
  expect(status, stdout + stderr).toBe(0);
}

async function ask(image: string, commands: readonly string[]): Promise<string> {
  const script = `${image}.commands`;
  fs.writeFileSync(script, commands.map((line) => `${line}\n`).join(''), 'latin1');
  const { stdout } = await debugfs.run(['-f', script, image]);
  return stdout;
}

/** The inode numbers of all paths, as debugfs lists them. */
function* paths(root: FsFolder, above = ''): Generator<readonly [string, FsNode]> {
  for (const [name, node] of root.children) {
    yield [`${above}/${name}`, node];
    if (node.kind === 'folder') yield* paths(node, `${above}/${name}`);
  }
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

describeWith([e2fsck, debugfs], 'an ext4 file system', () => {
  it('is clean when it is empty, and has what mke2fs gives', async () => {
    const image = write(folder());
    await expectClean(image);
    const told = await ask(image, ['stats']);
    expect(told).toMatch(
      /Filesystem features: +has_journal ext_attr dir_index filetype extent flex_bg sparse_super large_file huge_file dir_nlink extra_isize/,
    );
    expect(told).toMatch(/Filesystem UUID: +01020304-0506-0708-090a-0b0c0d0e0f10/);
    expect(told).toMatch(/Filesystem volume name: +root/);
  });

  it.each([1, 2, 3, 4, 5, 6])(
    'of random files is clean, and holds them (seed %i)',
    async (seed) => {
      const { root, contents } = randomTree(seed, 300);
      const image = write(root, contents);
      await expectClean(image);
      // Names with quotation marks cannot be told to debugfs.
      const all = [...paths(root)].filter(([name]) => !/["\\]/.test(name));
      const told = (
        await ask(
          image,
          all.map(([name]) => `stat ${quoted(name)}`),
        )
      )
        .split(/^debugfs: stat .*\n/m)
        .slice(1);
      expect(told.length).toBe(all.length);
      all.forEach(([name, node], i) => {
        const text = told[i];
        const type = {
          file: 'regular',
          folder: 'directory',
          link: 'symlink',
          fifo: 'FIFO',
          socket: 'socket',
        } as Record<string, string>;
        const kind = type[node.kind] ?? node.kind.replace('-device', ' special');
        expect(text, name).toContain(`Type: ${kind}`);
        expect(text, name).toMatch(new RegExp(`Mode: +0?${node.mode.toString(8).padStart(4, '0')} `));
        // debugfs takes them for signed.
        expect(text, name).toMatch(new RegExp(`User: +${node.uid | 0} +Group: +${node.gid | 0} `));
        if (node.kind === 'file') expect(text).toMatch(new RegExp(`Size: ${node.size}$`, 'm'));
        if (node.kind === 'character-device')
          expect(text).toContain(
            `Device major/minor number: ${String(node.major).padStart(2, '0')}:${String(node.minor).padStart(2, '0')}`,
          );
        if (node.kind === 'link' && node.target.length < 60) expect(text).toContain(`Fast link dest: "${node.target}"`);
        for (const [key, value] of node.xattrs)
          expect(text).toMatch(new RegExp(`^ +${key} \\(${value.length}\\)`, 'm'));
      });
      const out = temporary();
      const files = all.filter((pair): pair is readonly [string, FsFile] => pair[1].kind === 'file');
      await ask(
        image,
        files.map(([name], i) => `dump ${quoted(name)} ${out}/${i}`),
      );
      files.forEach(([, node], i) => {
        expect(
          Buffer.compare(fs.readFileSync(path.join(out, String(i))), contents.get(node) ?? new Uint8Array(0)),
        ).toBe(0);
      });
    },
    60_000,
  );

  it('keeps attributes byte by byte, in the inode or in a block', async () => {
    const value = Uint8Array.from([1, 0, 0, 2, 0, 0x20, 0, 0, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const small = new Map([['security.capability', value]]);
    const acl = Uint8Array.from([
      2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0,
      255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ]);
    const large = new Map([['user.long', new Uint8Array(3000).fill(7)], ...small, ['system.posix_acl_access', acl]]);
    const image = write(
      folder([
        ['small', { ...file(0), xattrs: small }],
        ['large', { ...file(0), xattrs: large }],
      ]),
    );
    await expectClean(image);
    const out = temporary();
    await ask(
      image,
      ['small', 'large'].map((name) => `ea_get -f ${out}/${name} ${name} security.capability`),
    );
    for (const name of ['small', 'large']) expect([...fs.readFileSync(path.join(out, name))]).toEqual([...value]);
    expect(await ask(image, ['ea_list large'])).toMatch(/posix_acl_access/);
  });

  it('has large files, and files whose pieces do not fit into the inode', async () => {
    const large = file(300 * 2 ** 20);
    // Each piece takes an extent: several levels of the tree.
    const pieces = Array.from({ length: 3000 }, (_, i) => ({ offset: i * 8192, length: 4096 }));
    const sparse: FsFile = { ...file(0), size: 2 ** 36, data: pieces };
    const content = new Uint8Array(3000 * 8192);
    for (const { offset } of pieces) content.fill(1 + (offset & 0x7f), offset, offset + 4096);
    const image = write(
      folder([
        ['large', large],
        ['sparse', sparse],
        ['empty', { ...file(0), size: 12345 }],
      ]),
      new Map([[sparse, content]]),
    );
    await expectClean(image);
    expect(await ask(image, ['stat sparse'])).toMatch(/Size: 68719476736/);
    // Nothing was written for the large one.
    expect(fs.statSync(image).blocks * 512).toBeLessThan(40 * 2 ** 20);
    const block = /\n?(\d+)/.exec((await ask(image, ['bmap sparse 5998'])).replace(/^debugfs.*\n/, ''))?.[1];
    const fd = fs.openSync(image, 'r');
    const there = new Uint8Array(4096);
    fs.readSync(fd, there, 0, 4096, Number(block) * 4096);
    fs.closeSync(fd);
    expect(there.every((byte) => byte === 1 + ((2999 * 8192) & 0x7f))).toBe(true);
  });

  it('has folders with many files, many folders, and files with many names', async () => {
    const one = file(5000);
    const names = folder(Array.from({ length: 64_999 }, (_, i) => [`name-${i}`, one] as const));
    const folders = folder(Array.from({ length: 65_100 }, (_, i) => [`folder-${i}`, folder()] as const));
    const files = folder(Array.from({ length: 30_000 }, (_, i) => [`f${i}`, file(i % 3 === 0 ? 10 : 0)] as const));
    const image = write(
      folder([
        ['names', names],
        ['folders', folders],
        ['files', files],
        ['one', one],
      ]),
    );
    await expectClean(image);
    expect(() =>
      write(
        folder([
          ['names', names],
          ['two', one],
          ['one', one],
        ]),
      ),
    ).toThrow(/more than 65000 names/);
  });

  it('fills several flexible groups, and a given size', async () => {
    const image = write(folder([['large', file(2500 * 2 ** 20)]]), new Map(), { size: 6 * 2 ** 30 });
    expect(fs.statSync(image).size).toBe(6 * 2 ** 30);
    await expectClean(image);
    expect(() => write(folder([['large', file(2500 * 2 ** 20)]]), new Map(), { size: 2 ** 31 })).toThrow(/do not fit/);
  });

  it.each([
    ['..', /cannot have the name/],
    ['a/b', /cannot have the name/],
    ['x'.repeat(256), /longer than 255/],
    ['nul\0', /cannot have the name/],
  ])('refuses the name %j', (name, message) => {
    expect(() => write(folder([[name, file(0)]]))).toThrow(message);
  });

  it('refuses what ext4 does not store', () => {
    const link = (target: string): FsNode => ({ kind: 'link', ...PLAIN, target });
    const attributes = (name: string, length: number): FsNode => ({
      ...file(0),
      xattrs: new Map([[name, new Uint8Array(length)]]),
    });
    const twice = folder();
    for (const [node, message] of [
      [link(''), /symbolic link/],
      [link('x'.repeat(4096)), /symbolic link/],
      [{ kind: 'block-device', ...PLAIN, major: 4096, minor: 0 }, /no device 4096:0/],
      [attributes('nonsense', 1), /does not store/],
      [attributes('user.a', 4096), /more than ext4 stores/],
      [attributes('system.posix_acl_access', 5), /access control list/],
      [{ ...file(0), size: 10, data: [{ offset: 5, length: 6 }] }, /outside/],
      [{ ...file(0), size: 2 ** 45 }, /larger than ext4/],
      [
        folder([
          ['a', twice],
          ['b', twice],
        ]),
        /in two places/,
      ],
    ] as const)
      expect(() => write(folder([['it', node]]))).toThrow(message);
  });
});
