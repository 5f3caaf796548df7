/** A folder of this host, shared with a guest. */
import * as fs from 'node:fs';
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
import { allowedMode, changeStatus, settleNew } from './change-status.js';
import { openAttributes } from './host-attributes.js';
import { fileError, hostCall } from './host-call.js';
import { HostFile } from './host-file.js';
import { HostNode } from './host-node.js';
import { HostTree, type TreeLimits } from './host-tree.js';
import { Owners } from './status.js';

export interface FolderLimits extends TreeLimits {
  /** Files open at once. */
  readonly files: number;
}

const LIMITS: FolderLimits = { nodes: 1 << 20, handles: 512, files: 4096 };

export class HostFolder implements SharedFolder {
  readonly root: HostNode;
  readonly attributes: SharedAttributes | undefined;
  private readonly tree: HostTree;
  private readonly files = new Set<HostFile>();
  private readonly limits: FolderLimits;

  /** Throws a one-line error when there is no such folder, or this host cannot confine a guest to it. */
  constructor(
    path: string,
    readonly readOnly: boolean,
    options: { readonly limits?: Partial<FolderLimits>; readonly owners?: Owners } = {},
  ) {
    this.limits = { ...LIMITS, ...options.limits };
    this.tree = new HostTree(path, options.owners ?? new Owners(), this.limits);
    this.root = this.tree.root;
    this.attributes = openAttributes(readOnly, (node) => hostCall(() => this.tree.pathTo(asNode(node))));
  }

  /** What is held of the host, for tests: nodes, descriptors of nodes, open files. */
  get held(): { readonly nodes: number; readonly handles: number; readonly files: number } {
    const { table, handles } = this.tree;
    return { nodes: table.size, handles: handles.size, files: this.files.size };
  }

  // ---- nodes ----

  lookup(folder: SharedNode, name: ByteString): Found | undefined {
    const parent = asFolder(folder);
    checkName(name);
    return hostCall(() => this.tree.see(parent, name));
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
    this.tree.table.release(asNode(node), count);
  }

  status(node: SharedNode): FileStatus {
    return hostCall(() => this.statusNow(asNode(node)));
  }

  private statusNow(node: HostNode): FileStatus {
    return this.tree.convert(this.tree.stat(node));
  }

  change(node: SharedNode, change: StatusChange, file?: SharedFile): FileStatus {
    this.mutable();
    const target = asNode(node);
    return hostCall(() => {
      changeStatus(this.tree, target, change, file instanceof HostFile ? file.descriptor : undefined);
      return this.statusNow(target);
    });
  }

  readLink(node: SharedNode): ByteString {
    const link = asNode(node);
    if (link.type !== FILE_TYPE.SYMLINK) throw new FileError('EINVAL');
    return hostCall(() => fs.readlinkSync(this.tree.pathByName(link), 'latin1'));
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
      const path = this.tree.pathTo(target);
      return this.opened(target, this.tree.handles.openPath(path, accessFlags(mode) | truncateFlag(mode)));
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
      (from) => this.tree.convert(fs.fstatSync(from, { bigint: true })),
      (closed) => {
        this.files.delete(closed);
        this.tree.table.release(closed.node, 1);
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
        descriptor = this.tree.handles.openPath(this.tree.pathIn(parent, name), flags, allowed);
      } catch (error) {
        if (mode.exclusive || !(error instanceof FileError) || error.code !== 'EEXIST') throw error;
        const found = this.tree.mustSee(parent, name);
        try {
          return { ...found, file: this.open(found.node, mode) };
        } catch (failure) {
          this.tree.table.release(found.node, 1);
          throw failure;
        }
      }
      try {
        let stat = fs.fstatSync(descriptor, { bigint: true });
        if (settleNew(this.tree.owners, file, allowed, stat, descriptor))
          stat = fs.fstatSync(descriptor, { bigint: true });
        const node = this.tree.note(parent, name, stat);
        return { node, status: this.tree.convert(stat), file: this.opened(node, descriptor) };
      } catch (error) {
        fs.closeSync(descriptor);
        throw error;
      }
    });
  }

  createFolder(folder: SharedNode, name: ByteString, file: NewFile): Found {
    const parent = this.writableFolder(folder, name);
    return hostCall(() => {
      const mode = allowedMode(file.mode, FILE_TYPE.FOLDER);
      fs.mkdirSync(this.tree.pathIn(parent, name), mode);
      const found = this.tree.mustSee(parent, name);
      try {
        const stat = this.tree.stat(found.node);
        const path = this.tree.pathTo(found.node);
        if (found.node.isFolder && settleNew(this.tree.owners, file, mode, stat, path))
          return { node: found.node, status: this.statusNow(found.node) };
        return found;
      } catch (error) {
        this.tree.table.release(found.node, 1);
        throw error;
      }
    });
  }

  createSymlink(folder: SharedNode, name: ByteString, target: ByteString, { uid, gid }: NewFile): Found {
    const parent = this.writableFolder(folder, name);
    return hostCall(() => {
      const path = this.tree.pathIn(parent, name);
      fs.symlinkSync(Buffer.from(target, 'latin1'), path);
      if (this.tree.owners.privileged && !this.tree.owners.isOwn(uid, gid)) fs.lchownSync(path, uid, gid);
      return this.tree.mustSee(parent, name);
    });
  }

  link(node: SharedNode, folder: SharedNode, name: ByteString): Found {
    const parent = this.writableFolder(folder, name);
    const source = asNode(node);
    if (source.isFolder) throw new FileError('EPERM');
    return hostCall(() => {
      // link(2) follows no symbolic link here; that it is still this file is seen before and after.
      this.tree.stat(source);
      fs.linkSync(this.tree.pathByName(source), this.tree.pathIn(parent, name));
      const found = this.tree.mustSee(parent, name);
      if (found.node === source) return found;
      this.tree.table.release(found.node, 1);
      throw new FileError('ESTALE');
    });
  }

  rename(from: SharedNode, name: ByteString, to: SharedNode, newName: ByteString, replace: boolean): void {
    const [source, target] = [this.writableFolder(from, name), this.writableFolder(to, newName)];
    hostCall(() => {
      const [oldPath, newPath] = [this.tree.pathIn(source, name), this.tree.pathIn(target, newName)];
      if (replace) fs.renameSync(oldPath, newPath);
      else renameAnew(oldPath, newPath);
      this.tree.moved(source, name, target, newName);
    });
  }

  removeFile(folder: SharedNode, name: ByteString): void {
    const parent = this.writableFolder(folder, name);
    hostCall(() => fs.unlinkSync(this.tree.pathIn(parent, name)));
    this.tree.table.removed(parent, name);
  }

  removeFolder(folder: SharedNode, name: ByteString): void {
    const parent = this.writableFolder(folder, name);
    hostCall(() => fs.rmdirSync(this.tree.pathIn(parent, name)));
    this.tree.table.removed(parent, name);
  }

  // ---- folders ----

  list(folder: SharedNode): readonly FolderEntry[] {
    const path = this.tree.pathTo(asFolder(folder));
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
      const stat = fs.lstatSync(this.tree.pathIn(folder, name), { throwIfNoEntry: false });
      return stat ? [{ name, type: stat.mode & FILE_TYPE.MASK }] : [];
    });
  }

  syncFolder(folder: SharedNode): void {
    hostCall(() => {
      const descriptor = this.tree.handles.openPath(
        this.tree.pathTo(asFolder(folder)),
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
      const { bsize, blocks, bfree, bavail, files, ffree } = this.tree.statfs();
      return { blockSize: Number(bsize), blocks, free: bfree, available: bavail, files, freeFiles: ffree };
    });
  }

  pathOf(node: SharedNode): readonly ByteString[] | undefined {
    return this.tree.namesOf(asNode(node));
  }

  clear(): void {
    for (const file of [...this.files]) file.close();
    this.tree.clear();
  }

  /** Gives the folder up altogether. */
  close(): void {
    this.clear();
    this.tree.close();
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

function accessFlags({ read, write }: OpenMode): number {
  const access = write ? (read ? fs.constants.O_RDWR : fs.constants.O_WRONLY) : fs.constants.O_RDONLY;
  // Never to wait, never to become somebody's terminal.
  return access | fs.constants.O_NONBLOCK | fs.constants.O_NOCTTY;
}

const truncateFlag = ({ truncate }: OpenMode): number => (truncate ? fs.constants.O_TRUNC : 0);

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
