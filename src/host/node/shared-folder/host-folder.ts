/** A folder of this host, shared with a guest. */
import * as fs from 'node:fs';
import { HostError } from '../../../base/errors.js';
import { FileError } from '../../../iface/errno.js';
import {
  FILE_TYPE,
  type ByteString,
  type FileStatus,
  type FolderEntry,
  type Found,
  type NewFile,
  type OpenMode,
  type SharedAttributes,
  type SharedFile,
  type SharedFolder,
  type SharedNode,
  type Space,
  type StatusChange,
} from '../../../iface/shared-folder.js';
import { reasonOf } from '../read-file.js';
import { openAttributes } from './host-attributes.js';
import { fileError, hostCall } from './host-call.js';
import { HostFile } from './host-file.js';
import { HostNode, NodeTable } from './host-node.js';
import { NodeHandles, pathOfHandle } from './node-handles.js';
import { InodeNumbers, Owners, statusOf } from './status.js';

export interface FolderLimits {
  /** Nodes that are known at once. */
  readonly nodes: number;
  /** Descriptors kept to reach nodes by. */
  readonly handles: number;
  /** Files open at once. */
  readonly files: number;
}

const LIMITS: FolderLimits = { nodes: 1 << 20, handles: 512, files: 4096 };

/** Bits of a mode that mean more than who may do what: a guest's are not the host's affair. */
const SPECIAL_OF_FILES = 0o6000;
const SET_USER_ID = 0o4000;
const SET_GROUP_ID = 0o2000;
const GROUP_RUNS = 0o0010;

export class HostFolder implements SharedFolder {
  readonly root: HostNode;
  readonly attributes: SharedAttributes | undefined;
  private readonly table: NodeTable;
  private readonly handles: NodeHandles;
  private readonly rootHandle: number;
  private readonly owners: Owners;
  private readonly numbers = new InodeNumbers();
  private readonly files = new Set<HostFile>();
  private readonly limits: FolderLimits;

  /** Throws a one-line error when there is no such folder, or this host cannot confine a guest to it. */
  constructor(
    path: string,
    readonly readOnly: boolean,
    options: { readonly limits?: Partial<FolderLimits>; readonly owners?: Owners } = {},
  ) {
    if (process.platform !== 'linux' || !fs.existsSync('/proc/self/fd'))
      throw new HostError('sharing a folder with a guest needs Linux with /proc on this host');
    this.limits = { ...LIMITS, ...options.limits };
    this.owners = options.owners ?? new Owners();
    try {
      this.rootHandle = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    } catch (cause) {
      throw new HostError(`cannot share ${path}: ${reasonOf(cause)}`, { cause });
    }
    const { dev, ino } = fs.fstatSync(this.rootHandle, { bigint: true });
    this.table = new NodeTable(this.limits.nodes, (node) => this.handles.close(node));
    this.root = this.table.find(dev, ino, FILE_TYPE.FOLDER);
    this.root.refs = Infinity;
    this.handles = new NodeHandles({ node: this.root, handle: this.rootHandle }, this.table, this.limits.handles);
    this.attributes = openAttributes(readOnly, (node) => hostCall(() => pathOfHandle(this.handles.of(asNode(node)))));
  }

  /** What is held of the host, for tests: nodes, descriptors of nodes, open files. */
  get held(): { readonly nodes: number; readonly handles: number; readonly files: number } {
    return { nodes: this.table.size, handles: this.handles.size, files: this.files.size };
  }

  // ---- nodes ----

  lookup(folder: SharedNode, name: ByteString): Found | undefined {
    const parent = asFolder(folder);
    checkName(name);
    return hostCall(() => this.see(parent, name));
  }

  private see(folder: HostNode, name: ByteString): Found | undefined {
    const stat = fs.lstatSync(this.handles.path(folder, name), { bigint: true, throwIfNoEntry: false });
    if (!stat) {
      this.table.displace(folder, name);
      return undefined;
    }
    return { node: this.note(folder, name, stat), status: this.convert(stat) };
  }

  /** The node of what was seen at a place, held. */
  private note(folder: HostNode, name: ByteString, stat: fs.BigIntStats): HostNode {
    const node = this.table.find(stat.dev, stat.ino, Number(stat.mode) & FILE_TYPE.MASK);
    node.refs++;
    try {
      this.table.place(node, folder, name);
    } catch (error) {
      this.table.release(node, 1);
      throw error;
    }
    return node;
  }

  private mustSee(folder: HostNode, name: ByteString): Found & { readonly node: HostNode } {
    const found = this.see(folder, name);
    // Somebody on the host took it away at once.
    if (!found) throw new FileError('ENOENT');
    return { node: asNode(found.node), status: found.status };
  }

  private convert(stat: fs.BigIntStats): FileStatus {
    return statusOf(stat, this.owners, this.numbers);
  }

  parent(folder: SharedNode): Found {
    const node = asFolder(folder).places.at(0)?.folder ?? this.root;
    const status = this.status(node);
    this.hold(node);
    return { node, status };
  }

  hold(node: SharedNode): void {
    asNode(node).refs++;
  }

  release(node: SharedNode, count = 1): void {
    this.table.release(asNode(node), count);
  }

  status(node: SharedNode): FileStatus {
    return hostCall(() => this.convert(this.stat(asNode(node))));
  }

  private stat(node: HostNode): fs.BigIntStats {
    if (node.handle < 0 && node.open.size === 0 && node !== this.root) {
      // By name alone, which takes no descriptor; where that does not lead to it any more, `of` knows better.
      const place = node.places.at(0);
      const stat =
        place && fs.lstatSync(this.handles.path(place.folder, place.name), { bigint: true, throwIfNoEntry: false });
      if (stat?.ino === node.ino && stat.dev === node.device) return stat;
    }
    return fs.fstatSync(this.handles.of(node), { bigint: true });
  }

  // ---- status ----

  change(node: SharedNode, change: StatusChange, file?: SharedFile): FileStatus {
    this.mutable();
    const target = asNode(node);
    return hostCall(() => {
      const path = pathOfHandle(this.handles.of(target));
      if (change.size !== undefined) {
        if (target.isFolder) throw new FileError('EISDIR');
        if (target.type !== FILE_TYPE.REGULAR) throw new FileError('EINVAL');
        if (file instanceof HostFile) fs.ftruncateSync(file.descriptor, change.size);
        else fs.truncateSync(path, change.size);
      }
      if (change.uid !== undefined || change.gid !== undefined) this.changeOwner(target, path, change);
      if (change.mode !== undefined) {
        if (target.type === FILE_TYPE.SYMLINK) throw new FileError('EOPNOTSUPP');
        fs.chmodSync(path, allowedMode(change.mode, target.type) | this.keptSetGroup(target, change.mode));
      }
      if (change.accessed !== undefined || change.modified !== undefined) this.changeTimes(target, path, change);
      return this.convert(this.stat(target));
    });
  }

  /** Set-group-ID that a file of the host has, and that gives no rights since its group may not run it, can be kept. */
  private keptSetGroup(node: HostNode, mode: number): number {
    const harmless = node.type === FILE_TYPE.REGULAR && (mode & (SET_GROUP_ID | GROUP_RUNS)) === SET_GROUP_ID;
    return harmless ? Number(this.stat(node).mode) & SET_GROUP_ID : 0;
  }

  private changeOwner(node: HostNode, path: string, { uid, gid }: StatusChange): void {
    if (!this.owners.privileged) {
      const now = this.convert(this.stat(node));
      if ((uid ?? now.uid) !== now.uid || (gid ?? now.gid) !== now.gid) throw new FileError('EPERM');
      return;
    }
    if (node.type === FILE_TYPE.SYMLINK) fs.lchownSync(this.placePath(node), uid ?? -1, gid ?? -1);
    else fs.chownSync(path, uid ?? -1, gid ?? -1);
  }

  private changeTimes(node: HostNode, path: string, { accessed, modified }: StatusChange): void {
    const now = (): bigint => BigInt(Date.now()) * 1_000_000n;
    const old = this.stat(node);
    const pick = (wanted: bigint | 'now' | undefined, before: bigint): number | Date =>
      seconds(wanted === 'now' ? now() : (wanted ?? before));
    const [a, m] = [pick(accessed, old.atimeNs), pick(modified, old.mtimeNs)];
    if (node.type === FILE_TYPE.SYMLINK) fs.lutimesSync(this.placePath(node), a, m);
    else fs.utimesSync(path, a, m);
  }

  /** By name in its folder: for symbolic links, which no descriptor stands for. */
  private placePath(node: HostNode): string | Buffer {
    const place = node.places.at(0);
    if (!place) throw new FileError('ESTALE');
    return this.handles.path(place.folder, place.name);
  }

  readLink(node: SharedNode): ByteString {
    const link = asNode(node);
    if (link.type !== FILE_TYPE.SYMLINK) throw new FileError('EINVAL');
    return hostCall(() => fs.readlinkSync(this.placePath(link), 'latin1'));
  }

  // ---- files ----

  open(node: SharedNode, mode: OpenMode): SharedFile {
    const target = asNode(node);
    if (target.isFolder) throw new FileError('EISDIR');
    // What a device node or a FIFO of the host leads to is the host's.
    if (target.type !== FILE_TYPE.REGULAR) throw new FileError('ENXIO');
    if (mode.write || mode.truncate) this.mutable();
    this.checkFiles();
    return hostCall(() => {
      // By its handle: that is this very file, whatever its name means by now.
      const path = pathOfHandle(this.handles.of(target));
      return this.opened(target, this.handles.openPath(path, accessFlags(mode) | truncateFlag(mode)));
    });
  }

  private checkFiles(): void {
    if (this.files.size >= this.limits.files) throw new FileError('ENFILE');
  }

  private opened(node: HostNode, descriptor: number): HostFile {
    node.refs++;
    const file = new HostFile(
      node,
      descriptor,
      (from) => this.convert(fs.fstatSync(from, { bigint: true })),
      (closed) => {
        this.files.delete(closed);
        this.table.release(closed.node, 1);
      },
    );
    this.files.add(file);
    return file;
  }

  create(
    folder: SharedNode,
    name: ByteString,
    file: NewFile,
    mode: OpenMode & { readonly exclusive: boolean },
  ): Found & { readonly file: SharedFile } {
    const parent = this.writableFolder(folder, name);
    this.checkFiles();
    return hostCall(() => {
      const allowed = allowedMode(file.mode, FILE_TYPE.REGULAR);
      let descriptor: number;
      try {
        const flags = fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW | accessFlags(mode);
        descriptor = this.handles.openPath(this.handles.path(parent, name), flags, allowed);
      } catch (error) {
        if (mode.exclusive || !(error instanceof FileError) || error.code !== 'EEXIST') throw error;
        const found = this.mustSee(parent, name);
        try {
          return { ...found, file: this.open(found.node, mode) };
        } catch (failure) {
          this.table.release(found.node, 1);
          throw failure;
        }
      }
      try {
        let stat = fs.fstatSync(descriptor, { bigint: true });
        if (this.settle(file, allowed, stat, descriptor)) stat = fs.fstatSync(descriptor, { bigint: true });
        const node = this.note(parent, name, stat);
        return { node, status: this.convert(stat), file: this.opened(node, descriptor) };
      } catch (error) {
        fs.closeSync(descriptor);
        throw error;
      }
    });
  }

  /** Gives what was just created its owner and the mode that the host's umask may have cut. True: something changed. */
  private settle(file: NewFile, mode: number, stat: fs.BigIntStats, target: number | string): boolean {
    let changed = false;
    const owned = this.owners.privileged && (Number(stat.uid) !== file.uid || Number(stat.gid) !== file.gid);
    // A group that the folder hands down stays.
    const gid = Number(stat.gid) !== file.gid && !this.owners.isOwn(Number(stat.uid), Number(stat.gid)) ? -1 : file.gid;
    if (owned) {
      if (typeof target === 'number') fs.fchownSync(target, file.uid, gid);
      else fs.chownSync(target, file.uid, gid);
      changed = true;
    }
    if ((Number(stat.mode) & 0o1777) !== (mode & 0o1777)) {
      const wanted = mode | (Number(stat.mode) & 0o2000);
      if (typeof target === 'number') fs.fchmodSync(target, wanted);
      else fs.chmodSync(target, wanted);
      changed = true;
    }
    return changed;
  }

  createFolder(folder: SharedNode, name: ByteString, file: NewFile): Found {
    const parent = this.writableFolder(folder, name);
    return hostCall(() => {
      const mode = allowedMode(file.mode, FILE_TYPE.FOLDER);
      fs.mkdirSync(this.handles.path(parent, name), mode);
      const found = this.mustSee(parent, name);
      try {
        const stat = this.stat(found.node);
        const path = pathOfHandle(this.handles.of(found.node));
        if (found.node.isFolder && this.settle(file, mode, stat, path))
          return { node: found.node, status: this.convert(this.stat(found.node)) };
        return found;
      } catch (error) {
        this.table.release(found.node, 1);
        throw error;
      }
    });
  }

  createSymlink(folder: SharedNode, name: ByteString, target: ByteString, { uid, gid }: NewFile): Found {
    const parent = this.writableFolder(folder, name);
    return hostCall(() => {
      const path = this.handles.path(parent, name);
      fs.symlinkSync(Buffer.from(target, 'latin1'), path);
      if (this.owners.privileged && !this.owners.isOwn(uid, gid)) fs.lchownSync(path, uid, gid);
      return this.mustSee(parent, name);
    });
  }

  link(node: SharedNode, folder: SharedNode, name: ByteString): Found {
    const parent = this.writableFolder(folder, name);
    const source = asNode(node);
    if (source.isFolder) throw new FileError('EPERM');
    return hostCall(() => {
      // link(2) follows no symbolic link here; that it is still this file is seen before and after.
      this.stat(source);
      fs.linkSync(this.placePath(source), this.handles.path(parent, name));
      const found = this.mustSee(parent, name);
      if (found.node === source) return found;
      this.table.release(found.node, 1);
      throw new FileError('ESTALE');
    });
  }

  rename(from: SharedNode, name: ByteString, to: SharedNode, newName: ByteString, replace: boolean): void {
    const [source, target] = [this.writableFolder(from, name), this.writableFolder(to, newName)];
    hostCall(() => {
      const [oldPath, newPath] = [this.handles.path(source, name), this.handles.path(target, newName)];
      if (replace) fs.renameSync(oldPath, newPath);
      else renameAnew(oldPath, newPath);
      const moved = source.children?.get(name);
      // Two names of one file: rename(2) leaves both.
      if (moved && target.children?.get(newName) === moved) return;
      this.table.removed(target, newName);
      if (!moved) return;
      moved.refs++;
      this.table.displace(source, name);
      this.table.place(moved, target, newName);
      this.table.release(moved, 1);
    });
  }

  removeFile(folder: SharedNode, name: ByteString): void {
    const parent = this.writableFolder(folder, name);
    hostCall(() => fs.unlinkSync(this.handles.path(parent, name)));
    this.table.removed(parent, name);
  }

  removeFolder(folder: SharedNode, name: ByteString): void {
    const parent = this.writableFolder(folder, name);
    hostCall(() => fs.rmdirSync(this.handles.path(parent, name)));
    this.table.removed(parent, name);
  }

  // ---- folders ----

  list(folder: SharedNode): readonly FolderEntry[] {
    const path = pathOfHandle(this.handles.of(asFolder(folder)));
    return hostCall(() => {
      try {
        const found = fs.readdirSync(path, { withFileTypes: true, encoding: 'latin1' });
        return found.map((entry) => ({ name: entry.name, type: typeOf(entry) }));
      } catch (error) {
        // A file system that does not tell types: Node asks for them itself, but cannot where names are not UTF-8.
        if (!(fileError(error) instanceof FileError)) throw error;
        return this.listByNames(asFolder(folder), path);
      }
    });
  }

  private listByNames(folder: HostNode, path: string): FolderEntry[] {
    return fs.readdirSync(path, 'latin1').flatMap((name) => {
      const stat = fs.lstatSync(this.handles.path(folder, name), { throwIfNoEntry: false });
      return stat ? [{ name, type: stat.mode & FILE_TYPE.MASK }] : [];
    });
  }

  syncFolder(folder: SharedNode): void {
    hostCall(() => {
      const descriptor = this.handles.openPath(
        pathOfHandle(this.handles.of(asFolder(folder))),
        fs.constants.O_RDONLY | fs.constants.O_DIRECTORY,
      );
      try {
        fs.fsyncSync(descriptor);
      } finally {
        fs.closeSync(descriptor);
      }
    });
  }

  space(): Space {
    return hostCall(() => {
      const found = fs.statfsSync(pathOfHandle(this.rootHandle), { bigint: true });
      const { bsize, blocks, bfree, bavail, files, ffree } = found;
      return { blockSize: Number(bsize), blocks, free: bfree, available: bavail, files, freeFiles: ffree };
    });
  }

  pathOf(node: SharedNode): readonly ByteString[] | undefined {
    const names: ByteString[] = [];
    let at = asNode(node);
    while (at !== this.root) {
      const place = at.places.at(0);
      if (!place) return undefined;
      names.push(place.name);
      at = place.folder;
    }
    return names.reverse();
  }

  clear(): void {
    for (const file of [...this.files]) file.close();
    this.handles.closeAll();
    this.table.clear(this.root);
  }

  /** Gives the folder up altogether. */
  close(): void {
    this.clear();
    fs.closeSync(this.rootHandle);
  }

  private mutable(): void {
    if (this.readOnly) throw new FileError('EROFS');
  }

  private writableFolder(folder: SharedNode, name: ByteString): HostNode {
    this.mutable();
    checkName(name);
    return asFolder(folder);
  }
}

function asNode(node: SharedNode): HostNode {
  if (node instanceof HostNode) return node;
  throw new FileError('EBADF');
}

function asFolder(node: SharedNode): HostNode {
  const folder = asNode(node);
  if (!folder.isFolder) throw new FileError('ENOTDIR');
  return folder;
}

function checkName(name: ByteString): void {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0'))
    throw new FileError('EINVAL');
  if (name.length > 255) throw new FileError('ENAMETOOLONG');
}

/** Set-user-ID programs of a guest would be the host's as well. */
const allowedMode = (mode: number, type: number): number =>
  mode & 0o7777 & ~(type === FILE_TYPE.FOLDER ? SET_USER_ID : SPECIAL_OF_FILES);

function accessFlags({ read, write }: OpenMode): number {
  const access = write ? (read ? fs.constants.O_RDWR : fs.constants.O_WRONLY) : fs.constants.O_RDONLY;
  // Never to wait, never to become somebody's terminal.
  return access | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY;
}

const truncateFlag = ({ truncate }: OpenMode): number => (truncate ? fs.constants.O_TRUNC : 0);

/**
 * Node passes seconds as a double on and cuts them to microseconds: the middle of one is cut to the right one. Times before
 * 1970 it takes only as dates, and spoils their fractions.
 */
function seconds(nanoseconds: bigint): number | Date {
  if (nanoseconds < 0n) return new Date(1000 * Math.floor(Number(nanoseconds) / 1e9));
  return (Number(nanoseconds / 1000n) + 0.5) / 1e6;
}

function typeOf(entry: fs.Dirent): number {
  if (entry.isFile()) return FILE_TYPE.REGULAR;
  if (entry.isDirectory()) return FILE_TYPE.FOLDER;
  if (entry.isSymbolicLink()) return FILE_TYPE.SYMLINK;
  if (entry.isFIFO()) return FILE_TYPE.FIFO;
  if (entry.isSocket()) return FILE_TYPE.SOCKET;
  return entry.isBlockDevice() ? FILE_TYPE.BLOCK : FILE_TYPE.CHARACTER;
}

/** Renames to a name that is free, and to no other, in one step as others see it. */
function renameAnew(oldPath: string | Buffer, newPath: string | Buffer): void {
  if (fs.lstatSync(oldPath).isDirectory()) {
    // An empty folder takes the name, or nobody does; rename(2) replaces an empty folder.
    fs.mkdirSync(newPath);
    try {
      fs.renameSync(oldPath, newPath);
    } catch (error) {
      fs.rmdirSync(newPath);
      throw error;
    }
    return;
  }
  fs.linkSync(oldPath, newPath);
  fs.unlinkSync(oldPath);
}
