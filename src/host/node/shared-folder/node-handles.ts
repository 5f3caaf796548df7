/**
 * Descriptors of nodes that name them without opening them (O_PATH, open(2)). A file is reached through
 * /proc/self/fd/N of its folder, so that no symbolic link is ever followed on the way, whoever puts one there.
 */
import * as fs from 'node:fs';
import { FileError } from '../../../iface/errno.js';
import type { ByteString } from '../../../iface/shared-folder.js';
import type { HostNode, NodeTable, Place } from './host-node.js';
import { fileError } from './host-call.js';

/** O_PATH of Linux, asm-generic/fcntl.h: the same on all machines that Node runs on. Node has no name for it. */
const O_PATH = 0o10000000;

/** Bytes that mean themselves in UTF-8, and are usual in names. */
const PLAIN = /^[ -~]*$/;

/** A path that the host takes byte by byte. */
export function pathIn(handle: number, name: ByteString): string | Buffer {
  const folder = `/proc/self/fd/${handle}/`;
  return PLAIN.test(name) ? folder + name : Buffer.from(folder + name, 'latin1');
}

export const pathOfHandle = (handle: number): string => `/proc/self/fd/${handle}`;

export class NodeHandles {
  /** Nodes with a handle; the one used last at the end. */
  private readonly recent = new Set<HostNode>();

  constructor(
    private readonly root: { readonly node: HostNode; readonly handle: number },
    private readonly table: NodeTable,
    private readonly limit: number,
  ) {}

  get size(): number {
    return this.recent.size;
  }

  /** A descriptor of the node: of an open file, or one that only names it. Throws ESTALE when it cannot be found. */
  of(node: HostNode): number {
    if (node === this.root.node) return this.root.handle;
    if (node.handle >= 0) {
      this.recent.delete(node);
      this.recent.add(node);
      return node.handle;
    }
    const [open] = node.open;
    return open ?? this.reopen(node);
  }

  /** Path of a name in a folder. */
  path(folder: HostNode, name: ByteString): string | Buffer {
    return pathIn(this.of(folder), name);
  }

  /** Goes up to a folder whose handle is there, then down again, without recursion: a guest makes trees as deep as it likes. */
  private reopen(node: HostNode): number {
    const missing = [node];
    for (let at = node.places.at(0)?.folder; at && at !== this.root.node && at.handle < 0; at = at.places.at(0)?.folder)
      missing.push(at);
    for (let at = missing.pop(); at; at = missing.pop()) if (at.handle < 0) this.openOne(at);
    return node.handle;
  }

  private openOne(node: HostNode): void {
    for (const place of [...node.places]) {
      const handle = this.tryPlace(node, place);
      if (handle < 0) continue;
      node.handle = handle;
      this.recent.add(node);
      this.shrink(this.limit, node);
      return;
    }
    throw new FileError('ESTALE');
  }

  /** A handle, or -1: there is something else now. */
  private tryPlace(node: HostNode, place: Place): number {
    let handle: number;
    try {
      handle = this.openPath(this.path(place.folder, place.name), O_PATH | fs.constants.O_NOFOLLOW);
    } catch (error) {
      if (error instanceof FileError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) {
        this.table.dropPlace(node, place);
        return -1;
      }
      throw error;
    }
    const { dev, ino, mode } = fs.fstatSync(handle, { bigint: true });
    if (dev === node.device && ino === node.ino && (Number(mode) & 0o170000) === node.type) return handle;
    fs.closeSync(handle);
    this.table.dropPlace(node, place);
    return -1;
  }

  /** Opens; when the process has no descriptor left, once more with fewer handles. */
  openPath(path: string | Buffer, flags: number, mode?: number): number {
    try {
      return fs.openSync(path, flags, mode);
    } catch (error) {
      const failure = fileError(error);
      const full = failure instanceof FileError && (failure.code === 'EMFILE' || failure.code === 'ENFILE');
      if (!full || this.recent.size < 32) throw failure;
      // The path may go through a handle: those of the last few folders stay.
      this.shrink(16, undefined);
      try {
        return fs.openSync(path, flags, mode);
      } catch (again) {
        throw fileError(again);
      }
    }
  }

  private shrink(limit: number, keep: HostNode | undefined): void {
    for (const node of this.recent) {
      if (this.recent.size <= limit) break;
      if (node !== keep) this.close(node);
    }
  }

  close(node: HostNode): void {
    if (node.handle < 0) return;
    fs.closeSync(node.handle);
    node.handle = -1;
    this.recent.delete(node);
  }

  closeAll(): void {
    this.shrink(0, undefined);
  }
}
