/**
 * Layers put one on the other, in memory: OCI image specification 1.1, layer.md ("Applying Changesets", "Whiteouts"). Nothing is
 * unpacked to the host's file system, so owners, devices and attributes are kept without any rights, and no path can lead out.
 */
import type {
  ByteString,
  FsAttributes,
  FsDevice,
  FsFile,
  FsFolder,
  FsLink,
  FsPipe,
  DataRange,
  Timestamp,
} from '../block/ext4/tree.js';
import { readable } from '../block/ext4/tree.js';
import { OciError } from './errors.js';
import type { TarEntry } from './tar-reader.js';

/** A folder while layers are put on. */
export interface MutableFolder extends FsFolder {
  mode: number;
  uid: number;
  gid: number;
  mtime: Timestamp;
  xattrs: ReadonlyMap<ByteString, Uint8Array>;
  readonly children: Map<ByteString, LayerNode>;
}

/** A file whose contents are still in its layer. */
export interface LayerFile extends FsFile {
  readonly data: readonly DataRange[];
  readonly source: { readonly layer: number; readonly entry: number };
}

export type LayerNode = MutableFolder | LayerFile | FsLink | FsDevice | FsPipe;

export interface TreeLimits {
  /** Entries of all layers together, and folders that they only imply. */
  readonly entries: number;
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** What aufs keeps for itself. */
const AUFS = '.wh..wh.';
/** Bytes, as in Linux: PATH_MAX and NAME_MAX. */
const MAX_PATH = 4096;
const MAX_NAME = 255;
/** Bytes of all extended attributes: they stay in memory until the disk is made. SELinux's labels take some 40 a file. */
const MAX_ATTRIBUTES = 256 * 2 ** 20;
/** Links that are followed on the way to one file, as Linux has it. */
const MAX_FOLLOWED = 40;

const NO_XATTRS: ReadonlyMap<ByteString, Uint8Array> = new Map();

function newFolder(mtime: Timestamp): MutableFolder {
  return { kind: 'folder', mode: 0o755, uid: 0, gid: 0, mtime, xattrs: NO_XATTRS, children: new Map() };
}

export class LayerTree {
  readonly root = newFolder({ seconds: 0, nanoseconds: 0 });
  /** The last layer that had an entry or something below it: what a whiteout in the same layer spares. */
  private readonly layers = new WeakMap<LayerNode, number>();
  private layer = -1;
  private entries = 0;
  private attributes = 0;

  constructor(private readonly limits: TreeLimits) {}

  /** What follows is of the next layer, which lies on those before. Returns its number. */
  nextLayer(): number {
    return ++this.layer;
  }

  /** Puts an entry of the layer in its place. Throws a one-line error (OciError). */
  apply(entry: TarEntry): void {
    this.count();
    for (const value of entry.xattrs.values()) this.attributes += value.length;
    if (this.attributes > MAX_ATTRIBUTES)
      throw new OciError('too-large', `the image has extended attributes of more than ${MAX_ATTRIBUTES} bytes`);
    const names = this.split(entry.path);
    const name = names.pop();
    if (name === undefined) {
      // The root itself.
      if (entry.kind === 'folder') setAttributes(this.root, entry);
      return;
    }
    if (names.some((one) => one.startsWith(AUFS))) return;
    const parent = this.folderAt(names, entry);
    if (name.startsWith(WHITEOUT)) {
      this.whiteOut(parent, name, entry.path);
      return;
    }
    this.put(parent, name, entry);
  }

  private count(): void {
    if (++this.entries > this.limits.entries)
      throw new OciError('too-large', `the image has more than ${this.limits.entries} files`);
  }

  /** Components of a path, which begins at the root however it is written. */
  private split(path: ByteString): ByteString[] {
    if (path.length > MAX_PATH) throw new OciError('damaged', `a layer has a path of more than ${MAX_PATH} bytes`);
    const names: ByteString[] = [];
    for (const name of path.split('/')) {
      if (name === '' || name === '.') continue;
      if (name !== '..') names.push(name);
      else if (names.pop() === undefined)
        throw new OciError('damaged', `a layer has the path ${readable(path)}, which leads out of the image`);
      if (name.length > MAX_NAME)
        throw new OciError('damaged', `a layer has a name of more than ${MAX_NAME} bytes in ${readable(path)}`);
    }
    return names;
  }

  /** The folder that a path leads to, through links, never out of the image; what is missing is made. */
  private folderAt(names: readonly ByteString[], { path, mtime }: TarEntry): MutableFolder {
    const above: MutableFolder[] = [this.root];
    const rest = [...names].reverse();
    let followed = 0;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      const folder = above[above.length - 1];
      if (name === '' || name === '.') continue;
      if (name === '..') {
        // Above the root is the root.
        if (above.length > 1) above.pop();
        continue;
      }
      let node = folder.children.get(name);
      if (node === undefined) {
        if (name.startsWith(WHITEOUT))
          throw new OciError('damaged', `a layer has something in what it removes: ${readable(path)}`);
        this.count();
        node = newFolder(mtime);
        folder.children.set(name, node);
      }
      if (node.kind === 'link') {
        if (++followed > MAX_FOLLOWED) throw new OciError('damaged', `the links in ${readable(path)} make a loop`);
        if (node.target.startsWith('/')) above.splice(1);
        rest.push(...node.target.split('/').reverse());
        continue;
      }
      if (node.kind !== 'folder')
        throw new OciError('damaged', `a layer has the path ${readable(path)}, part of which is no folder`);
      above.push(node);
      if (above.length > MAX_PATH / 2) throw new OciError('damaged', `${readable(path)} lies too deep`);
    }
    for (const folder of above) this.layers.set(folder, this.layer);
    return above[above.length - 1];
  }

  private whiteOut(parent: MutableFolder, name: ByteString, path: ByteString): void {
    if (name === OPAQUE) {
      this.hideLower(parent);
      return;
    }
    if (name.startsWith(AUFS)) return;
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw new OciError('damaged', `a layer removes nothing: ${readable(path)}`);
    const node = parent.children.get(hidden);
    if (node === undefined) return;
    if (this.layers.get(node) !== this.layer) parent.children.delete(hidden);
    else if (node.kind === 'folder') this.hideLower(node);
  }

  /** Removes what lower layers have in a folder. */
  private hideLower(folder: MutableFolder): void {
    const folders = [folder];
    for (let next = folders.pop(); next !== undefined; next = folders.pop())
      for (const [name, node] of next.children) {
        if (this.layers.get(node) !== this.layer) next.children.delete(name);
        else if (node.kind === 'folder') folders.push(node);
      }
  }

  private put(parent: MutableFolder, name: ByteString, entry: TarEntry): void {
    const before = parent.children.get(name);
    if (entry.kind === 'folder' && before?.kind === 'folder') {
      setAttributes(before, entry);
      this.layers.set(before, this.layer);
      return;
    }
    const node = this.make(entry);
    // A hard link to itself.
    if (node === before) return;
    // What is put in place again comes last in its folder, as if it were new.
    parent.children.delete(name);
    parent.children.set(name, node);
    this.layers.set(node, this.layer);
  }

  private make(entry: TarEntry): LayerNode {
    const { kind, mode, uid, gid, mtime, xattrs } = entry;
    const attributes: FsAttributes = { mode, uid, gid, mtime, xattrs };
    switch (kind) {
      case 'folder':
        return { kind, ...attributes, children: new Map() };
      case 'file': {
        const { size, data, index } = entry;
        return { kind, ...attributes, size, data, source: { layer: this.layer, entry: index } };
      }
      case 'link':
        if (entry.target === '' || entry.target.length >= MAX_PATH)
          throw new OciError('damaged', `the link ${readable(entry.path)} leads nowhere`);
        return { kind, ...attributes, mode: 0o777, target: entry.target };
      case 'hard-link':
        return this.linked(entry);
      case 'fifo':
        return { kind, ...attributes };
      default:
        return { kind, ...attributes, major: entry.major, minor: entry.minor };
    }
  }

  private linked(entry: TarEntry): LayerNode {
    const names = this.split(entry.target);
    const name = names.pop();
    const node = name === undefined ? undefined : this.find(names)?.children.get(name);
    if (node === undefined || node.kind === 'folder')
      throw new OciError('damaged', `${readable(entry.path)} is a hard link to nothing: ${readable(entry.target)}`);
    return node;
  }

  /** A folder that is there, through links. */
  private find(names: readonly ByteString[]): MutableFolder | undefined {
    const node = findNode(this.root, names.join('/'));
    return node?.kind === 'folder' ? (node as MutableFolder) : undefined;
  }
}

function setAttributes(folder: MutableFolder, { mode, uid, gid, mtime, xattrs }: FsAttributes): void {
  Object.assign(folder, { mode, uid, gid, mtime, xattrs });
}

/** What a path leads to, links followed and never above the root; undefined where there is nothing. */
export function findNode(root: FsFolder, path: ByteString): ReturnType<FsFolder['children']['get']> {
  const above: FsFolder[] = [root];
  const rest = path.split('/').reverse();
  let followed = 0;
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (above.length > 1) above.pop();
      continue;
    }
    const node = above[above.length - 1].children.get(name);
    if (node?.kind === 'link') {
      if (++followed > MAX_FOLLOWED) return undefined;
      if (node.target.startsWith('/')) above.splice(1);
      rest.push(...node.target.split('/').reverse());
    } else if (node?.kind === 'folder') above.push(node);
    else return rest.every((left) => left === '' || left === '.') ? node : undefined;
  }
  return above[above.length - 1];
}
