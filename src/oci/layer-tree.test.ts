/** How layers lie on each other. */
import { describe, expect, it } from 'vitest';
import type { FsFolder, FsNode } from '../block/ext4/tree.js';
import { layer, type LayerMember } from '../testing/oci-images.js';
import { findNode, LayerTree } from './layer-tree.js';
import { TarReader } from './tar-reader.js';

function stack(...layers: (readonly LayerMember[])[]): FsFolder {
  const tree = new LayerTree({ entries: 1000 });
  for (const members of layers) {
    tree.nextLayer();
    const reader = new TarReader({ entry: (entry) => tree.apply(entry) });
    reader.push(layer(members));
    reader.end();
  }
  return tree.root;
}

/** All paths, with what they are. */
function shown(folder: FsFolder, above = ''): string[] {
  return [...folder.children]
    .flatMap(([name, node]) => [
      `${above}${name}${mark(node)}`,
      ...(node.kind === 'folder' ? shown(node, `${above}${name}/`) : []),
    ])
    .sort();
}
const mark = (node: FsNode): string =>
  node.kind === 'folder' ? '/' : node.kind === 'link' ? `>${node.target}` : node.kind === 'file' ? `:${node.size}` : '';

const folder = (path: string, mode = 0o755): LayerMember => ({ path, kind: 'folder', mode });
const file = (path: string, size = 1): LayerMember => ({ path, content: 'x'.repeat(size) });
const link = (path: string, target: string): LayerMember => ({ path, kind: 'link', target });
const same = (path: string, target: string): LayerMember => ({ path, kind: 'hard-link', target });

describe('layers', () => {
  it('replace and add files, and keep what is in a folder that comes again', () => {
    const root = stack(
      [folder('a', 0o700), file('a/x', 1), file('a/y', 2)],
      [folder('a', 0o711), file('a/x', 3), file('a/z')],
    );
    expect(shown(root)).toEqual(['a/', 'a/x:3', 'a/y:2', 'a/z:1']);
    expect(findNode(root, 'a')?.mode).toBe(0o711);
  });

  it('put a file where a folder was, and the other way round', () => {
    expect(shown(stack([folder('a'), file('a/x')], [file('a')]))).toEqual(['a:1']);
    expect(shown(stack([file('a')], [folder('a'), file('a/x')]))).toEqual(['a/', 'a/x:1']);
    expect(shown(stack([link('a', '/b'), folder('b')], [folder('a'), file('a/x')]))).toEqual(['a/', 'a/x:1', 'b/']);
  });

  it('remove what a whiteout names, of lower layers only', () => {
    expect(shown(stack([file('a'), folder('b'), file('b/x')], [file('.wh.a', 0), file('.wh.b', 0)]))).toEqual([]);
    // In either order.
    expect(shown(stack([file('a', 1)], [file('a', 2), file('.wh.a', 0)]))).toEqual(['a:2']);
    expect(shown(stack([folder('b'), file('b/x')], [file('b/y'), file('.wh.b', 0)]))).toEqual(['b/', 'b/y:1']);
    expect(shown(stack([file('a')], [file('.wh.nothing', 0)]))).toEqual(['a:1']);
  });

  it('remove everything lower in a folder with an opaque whiteout, wherever that stands', () => {
    const lower = [folder('a'), file('a/x'), folder('a/b'), file('a/b/y')];
    expect(shown(stack(lower, [folder('a'), file('a/.wh..wh..opq', 0), file('a/new')]))).toEqual(['a/', 'a/new:1']);
    expect(shown(stack(lower, [file('a/b/new'), file('a/.wh..wh..opq', 0)]))).toEqual(['a/', 'a/b/', 'a/b/new:1']);
    expect(shown(stack(lower, [file('.wh..wh..opq', 0)]))).toEqual([]);
  });

  it('share files by hard links, across layers too', () => {
    const root = stack([file('a', 5)], [same('b', 'a'), same('/c', './b'), same('a', 'a')]);
    expect(findNode(root, 'b')).toBe(findNode(root, 'a'));
    expect(findNode(root, 'c')).toBe(findNode(root, 'a'));
    expect(shown(stack([file('a', 5)], [same('b', 'a')], [file('.wh.a', 0)]))).toEqual(['b:5']);
  });

  it('follow links within the image, and never out of it', () => {
    const root = stack(
      [folder('usr/lib'), link('lib', 'usr/lib'), link('up', '../../..'), link('abs', '/usr')],
      [file('lib/x'), file('up/y'), file('abs/z')],
    );
    expect(shown(root)).toEqual([
      'abs>/usr',
      'lib>usr/lib',
      'up>../../..',
      'usr/',
      'usr/lib/',
      'usr/lib/x:1',
      'usr/z:1',
      'y:1',
    ]);
    expect(shown(stack([file('/abs/x'), file('./a//b/./c/../d')]))).toEqual([
      'a/',
      'a/b/',
      'a/b/d:1',
      'abs/',
      'abs/x:1',
    ]);
  });

  it('have devices, pipes, and an own root', () => {
    const root = stack([
      { path: './', kind: 'folder', mode: 0o1777, uid: 5 },
      { path: 'etc/dev', kind: 'block-device', major: 8, minor: 1 },
      { path: 'p', kind: 'fifo' },
    ]);
    expect(root).toMatchObject({ mode: 0o1777, uid: 5 });
    expect(findNode(root, 'etc/dev')).toMatchObject({ kind: 'block-device', major: 8, minor: 1 });
  });

  it.each<readonly [string, readonly (readonly LayerMember[])[], RegExp]>([
    ['lead out', [[file('../x')]], /leads out of the image/],
    ['lead out behind a folder', [[file('a/../../x')]], /leads out of the image/],
    ['go through a file', [[file('a'), file('a/b')]], /part of which is no folder/],
    ['go round', [[link('a', 'b'), link('b', 'a'), file('a/x')]], /make a loop/],
    ['link to nothing', [[same('a', 'b')]], /hard link to nothing/],
    ['link to a folder', [[folder('b'), same('a', 'b')]], /hard link to nothing/],
    ['link out', [[same('a', '../../etc/passwd')]], /leads out of the image/],
    ['remove ..', [[file('a/.wh...', 0)]], /removes nothing/],
    ['remove nothing', [[file('a/.wh.', 0)]], /removes nothing/],
    ['have files in what is removed', [[file('.wh.a/x')]], /something in what it removes/],
    ['have long names', [[file('n'.repeat(256))]], /name of more than 255/],
    ['have long paths', [[file('n/'.repeat(2100))]], /path of more than 4096/],
    ['are too many', [Array.from({ length: 1001 }, (_, i) => file(`f${i}`))], /more than 1000 files/],
    ['imply too many', [[file(`${'n/'.repeat(900)}x`), file(`${'m/'.repeat(900)}x`)]], /more than 1000 files/],
    ['are links without a target', [[link('a', '')]], /leads nowhere/],
    [
      'have too many attributes',
      [
        Array.from({ length: 70 }, (_, i) => ({
          ...file(`f${i}`),
          xattrs: new Map([['user.x', new Uint8Array(4_000_000)]]),
        })),
      ],
      /extended attributes of more than/,
    ],
  ])('are refused when they %s', (_, layers, message) => {
    expect(() => stack(...layers)).toThrow(message);
  });
});
