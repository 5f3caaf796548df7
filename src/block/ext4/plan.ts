/** Gives every file of a tree its inode and its blocks. */
import { ImageError } from '../image.js';
import { packAttributes, type PackedAttributes } from './attributes.js';
import { directoryBlocks } from './directory.js';
import { extentTree, MAX_EXTENT, type Extent, type ExtentBlock } from './extents.js';
import { BLOCK, BLOCKS_PER_GROUP, CONTENT_SIZE, INODE, MAX_LINKS, MAX_NAME, MAX_TARGET } from './layout.js';
import { Space } from './space.js';
import { readable, type ByteString, type FsFile, type FsFolder, type FsNode } from './tree.js';

/** Bytes of a group, and so of the smallest file system. */
export const GROUP_SIZE = BLOCKS_PER_GROUP * BLOCK;
/** Block numbers have 32 bits here. */
const MAX_SIZE = 2 ** 32 * BLOCK;

/** Blocks of the journal in a file system of so many blocks. */
const journalBlocks = (blocks: number): number => (blocks < 2 ** 18 ? 4096 : 16384);

const LOST_AND_FOUND = 'lost+found';

/** Where a file is. */
export interface Planned {
  readonly node: FsNode;
  readonly inode: number;
  /** How many names it has; of a folder, what refers to it. */
  links: number;
  /** Of a folder: the inode above. */
  readonly parent: number;
  readonly attributes: PackedAttributes;
  /** The block of its attributes; 0: none. */
  readonly attributeBlock: number;
  readonly extents: readonly Extent[];
  /** What stands in the inode. */
  readonly content: Uint8Array;
  readonly treeBlocks: readonly ExtentBlock[];
}

/** A file system in which everything has its place. */
export interface Plan {
  readonly space: Space;
  readonly files: readonly Planned[];
  readonly byNode: ReadonlyMap<FsNode, Planned>;
  readonly journal: readonly Extent[];
}

interface Found {
  readonly node: FsNode;
  readonly path: string;
  readonly parent: number;
  readonly inode: number;
  links: number;
}

/** Numbers everything, folders before what is in them. */
function number(root: FsFolder): Found[] {
  const found: Found[] = [{ node: root, path: '', parent: INODE.ROOT, inode: INODE.ROOT, links: 2 }];
  const known = new Map<FsNode, Found>([[root, found[0]]]);
  // The first free number is the folder's that fsck puts into it what it finds.
  let next: number = INODE.FIRST;
  const add = (node: FsNode, name: ByteString, above: Found): void => {
    const path = `${above.path}/${name}`;
    checkName(name, path);
    const before = known.get(node);
    if (before) {
      if (node.kind === 'folder') throw new ImageError(`the folder ${readable(path)} is in two places`);
      if (++before.links > MAX_LINKS) throw new ImageError(`${readable(path)} has more than ${MAX_LINKS} names`);
      return;
    }
    checkNode(node, path);
    const one = { node, path, parent: above.inode, inode: next++, links: node.kind === 'folder' ? 2 : 1 };
    if (node.kind === 'folder') above.links++;
    known.set(node, one);
    found.push(one);
  };
  const rescue = root.children.get(LOST_AND_FOUND);
  if (rescue) add(rescue, LOST_AND_FOUND, found[0]);
  // A folder's own entry stands before those in it, so this visits all of them.
  for (let i = 0; i < found.length; i++) {
    const above = found[i];
    if (above.node.kind !== 'folder') continue;
    for (const [name, node] of above.node.children) if (i !== 0 || name !== LOST_AND_FOUND) add(node, name, above);
  }
  return found;
}

function checkName(name: ByteString, path: string): void {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name))
    throw new ImageError(`a file cannot have the name ${readable(path)}`);
  if (name.length > MAX_NAME) throw new ImageError(`the name ${readable(path)} is longer than ${MAX_NAME} bytes`);
}

function checkNode(node: FsNode, path: string): void {
  if (node.kind === 'link' && (node.target === '' || node.target.length > MAX_TARGET || node.target.includes('\0')))
    throw new ImageError(`the symbolic link ${readable(path)} is empty or longer than ${MAX_TARGET} bytes`);
  if (node.kind === 'character-device' || node.kind === 'block-device') {
    const { major, minor } = node;
    if (!(major >= 0 && major < 4096 && minor >= 0 && minor < 2 ** 20))
      throw new ImageError(`Linux has no device ${major}:${minor}, which ${readable(path)} is to be`);
  }
}

/** The blocks of a file that have data, as runs of blocks. */
function dataBlocks(file: FsFile, path: string): { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  let end = 0;
  for (const { offset, length } of file.data) {
    if (!(offset >= end && length >= 0 && offset + length <= file.size))
      throw new ImageError(`the data of ${readable(path)} lies outside of it, or twice`);
    if (length === 0) continue;
    end = offset + length;
    const first = Math.floor(offset / BLOCK);
    const last = Math.floor((end - 1) / BLOCK);
    const before = runs.at(-1);
    if (before && first <= before.first + before.count) before.count = last + 1 - before.first;
    else runs.push({ first, count: last + 1 - first });
  }
  if (Math.ceil(file.size / BLOCK) >= 2 ** 32)
    throw new ImageError(`${readable(path)} is larger than ext4 can have it`);
  return runs;
}

function takeExtents(space: Space, logical: number, count: number): Extent[] {
  const extents: Extent[] = [];
  let at = logical;
  for (const run of space.take(count))
    for (let done = 0; done < run.length; done += MAX_EXTENT) {
      const length = Math.min(MAX_EXTENT, run.length - done);
      extents.push({ logical: at, physical: run.start + done, length });
      at += length;
    }
  return extents;
}

/** Device numbers as Linux's inodes have them: the old form where they fit (fs/ext4/inode.c, new_encode_dev). */
function deviceContent(major: number, minor: number): Uint8Array {
  const content = new Uint8Array(CONTENT_SIZE);
  const view = new DataView(content.buffer);
  if (major < 256 && minor < 256) view.setUint32(0, (major << 8) | minor, true);
  else view.setUint32(4, ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, true);
  return content;
}

function place(found: Found, space: Space): Planned {
  const { node, path } = found;
  const attributes = packAttributes(node.xattrs);
  const take = (): number => space.take(1)[0].start;
  const attributeBlock = attributes.block ? take() : 0;
  const result = (extents: readonly Extent[], content?: Uint8Array): Planned => {
    const { root, blocks } = content ? { root: content, blocks: [] } : extentTree(extents, take);
    return { ...found, attributes, attributeBlock, extents, content: root, treeBlocks: blocks };
  };
  switch (node.kind) {
    case 'folder':
      return result(takeExtents(space, 0, directoryBlocks(node.children.keys())));
    case 'file':
      return result(dataBlocks(node, path).flatMap(({ first, count }) => takeExtents(space, first, count)));
    case 'link': {
      // A short target stands where the extents of others do, with a NUL.
      if (node.target.length >= CONTENT_SIZE) return result(takeExtents(space, 0, 1));
      const content = new Uint8Array(CONTENT_SIZE);
      for (let i = 0; i < node.target.length; i++) content[i] = node.target.charCodeAt(i);
      return result([], content);
    }
    case 'character-device':
    case 'block-device':
      return result([], deviceContent(node.major, node.minor));
    default:
      return result([], new Uint8Array(CONTENT_SIZE));
  }
}

/** Bytes that a tree takes, tables of the file system apart; never too few. */
function contentSize(found: readonly Found[]): number {
  let blocks = 0;
  for (const { node, path } of found) {
    // Attributes and nodes of the tree of extents.
    blocks += node.xattrs.size > 0 ? 1 : 0;
    if (node.kind === 'folder') blocks += directoryBlocks(node.children.keys()) + 1;
    else if (node.kind === 'link') blocks++;
    else if (node.kind === 'file')
      for (const { count } of dataBlocks(node, path)) blocks += count + Math.ceil(count / MAX_EXTENT / 100) + 1;
  }
  return blocks * BLOCK;
}

export interface SpaceWanted {
  /** Bytes of the whole file system, rounded up to whole groups of 128 MiB. Default: what the files need, and `free`. */
  readonly size?: number | undefined;
  /** Bytes that are free in it, about. Default 8 GiB. */
  readonly free?: number | undefined;
}

const DEFAULT_FREE = 8 * 2 ** 30;

/** Throws a one-line error (ImageError) when the tree cannot be a file system, or does not fit. */
export function planExt4(root: FsFolder, { size, free = DEFAULT_FREE }: SpaceWanted = {}): Plan {
  const tree = root.children.has(LOST_AND_FOUND) ? root : withLostAndFound(root);
  const found = number(tree);
  const inodes = found.length + INODE.FIRST;
  const content = contentSize(found);
  // Tables, journal and whatever else take less than an eighth.
  const wanted = size ?? (content + journalBlocks(2 ** 18) * BLOCK) * 1.15 + inodes * 512 + free;
  const whole = Math.max(1, Math.ceil(wanted / GROUP_SIZE)) * GROUP_SIZE;
  if (!(whole < MAX_SIZE)) throw new ImageError(`a file system of ${whole} bytes is larger than can be made here`);
  const space = new Space(whole, inodes);
  const journal = takeExtents(space, 0, journalBlocks(space.blocks));
  const files = found.map((one) => place(one, space));
  return { space, files, byNode: new Map(files.map((file) => [file.node, file])), journal };
}

function withLostAndFound(root: FsFolder): FsFolder {
  const { uid, gid, mtime } = { uid: 0, gid: 0, mtime: root.mtime };
  const rescue: FsFolder = { kind: 'folder', mode: 0o700, uid, gid, mtime, xattrs: new Map(), children: new Map() };
  return { ...root, children: new Map([...root.children, [LOST_AND_FOUND, rescue]]) };
}
