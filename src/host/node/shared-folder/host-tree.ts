/** The host's tree below a shared folder: which node is seen at a name, which path leads to it, and its status. */
import * as fs from 'node:fs';
import { HostError } from '../../../base/errors.js';
import { FileError } from '../../../iface/errno.js';
import { FILE_TYPE, type ByteString, type FileStatus, type Found } from '../../../iface/shared-folder.js';
import { reasonOf } from '../read-file.js';
import { NodeTable, type HostNode } from './host-node.js';
import { NodeHandles, pathOfHandle } from './node-handles.js';
import { InodeNumbers, statusOf, type Owners } from './status.js';

export interface TreeLimits {
  /** Nodes that are known at once. */
  readonly nodes: number;
  /** Descriptors kept to reach nodes by. */
  readonly handles: number;
}

/** A node that was looked up, held. */
export interface FoundNode extends Found {
  readonly node: HostNode;
}

export class HostTree {
  readonly root: HostNode;
  readonly table: NodeTable;
  readonly handles: NodeHandles;
  private readonly rootHandle: number;
  private readonly numbers = new InodeNumbers();

  /** Throws a one-line error when there is no such folder, or this host cannot confine a guest to it. */
  constructor(
    path: string,
    readonly owners: Owners,
    limits: TreeLimits,
  ) {
    if (process.platform !== 'linux' || !fs.existsSync('/proc/self/fd'))
      throw new HostError('sharing a folder with a guest needs Linux with /proc on this host');
    try {
      this.rootHandle = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    } catch (cause) {
      const reason = isOther(path) ? 'it is no folder' : reasonOf(cause);
      throw new HostError(`cannot share ${path}: ${reason}`, { cause });
    }
    const { dev, ino } = fs.fstatSync(this.rootHandle, { bigint: true });
    this.table = new NodeTable(limits.nodes, (node) => this.handles.close(node));
    this.root = this.table.find(dev, ino, FILE_TYPE.FOLDER);
    this.root.refs = Infinity;
    this.handles = new NodeHandles({ node: this.root, handle: this.rootHandle }, this.table, limits.handles);
  }

  // ---- what is at a name ----

  see(folder: HostNode, name: ByteString): FoundNode | undefined {
    const stat = fs.lstatSync(this.pathIn(folder, name), { bigint: true, throwIfNoEntry: false });
    if (!stat) {
      this.table.displace(folder, name);
      return undefined;
    }
    return { node: this.note(folder, name, stat), status: this.convert(stat) };
  }

  /** The node of what was seen at a place, held. */
  note(folder: HostNode, name: ByteString, stat: fs.BigIntStats): HostNode {
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

  mustSee(folder: HostNode, name: ByteString): FoundNode {
    const found = this.see(folder, name);
    // Somebody on the host took it away at once.
    if (!found) throw new FileError('ENOENT');
    return found;
  }

  /** What was at a name is at another one now. */
  moved(source: HostNode, name: ByteString, target: HostNode, newName: ByteString): void {
    const node = source.children?.get(name);
    // Two names of one file: rename(2) leaves both.
    if (node && target.children?.get(newName) === node) return;
    this.table.removed(target, newName);
    if (!node) return;
    node.refs++;
    this.table.displace(source, name);
    this.table.place(node, target, newName);
    this.table.release(node, 1);
  }

  // ---- which path leads there ----

  /** Leads to this very file, whatever its name means by now. */
  pathTo(node: HostNode): string {
    return pathOfHandle(this.handles.of(node));
  }

  /** Path of a name in a folder. */
  pathIn(folder: HostNode, name: ByteString): string | Buffer {
    return this.handles.path(folder, name);
  }

  /** By name in its folder: for symbolic links, which no descriptor stands for. */
  pathByName(node: HostNode): string | Buffer {
    const place = node.places.at(0);
    if (!place) throw new FileError('ESTALE');
    return this.pathIn(place.folder, place.name);
  }

  /** Names that lead from the root to a node. Undefined: it has none any more. */
  namesOf(node: HostNode): readonly ByteString[] | undefined {
    const names: ByteString[] = [];
    let at = node;
    while (at !== this.root) {
      const place = at.places.at(0);
      if (!place) return undefined;
      names.push(place.name);
      at = place.folder;
    }
    return names.reverse();
  }

  // ---- status ----

  /** As the guest is to see it. */
  convert(stat: fs.BigIntStats): FileStatus {
    return statusOf(stat, this.owners, this.numbers);
  }

  stat(node: HostNode): fs.BigIntStats {
    if (node.handle < 0 && node.open.size === 0 && node !== this.root) {
      // By name alone, which takes no descriptor; where that does not lead to it any more, `of` knows better.
      const place = node.places.at(0);
      const stat =
        place && fs.lstatSync(this.pathIn(place.folder, place.name), { bigint: true, throwIfNoEntry: false });
      if (stat?.ino === node.ino && stat.dev === node.device) return stat;
    }
    return fs.fstatSync(this.handles.of(node), { bigint: true });
  }

  /** Of the file system that the root is on. */
  statfs(): fs.BigIntStatsFs {
    return fs.statfsSync(pathOfHandle(this.rootHandle), { bigint: true });
  }

  /** Forgets all but the root. */
  clear(): void {
    this.handles.closeAll();
    this.table.clear(this.root);
  }

  /** Gives the tree up altogether; `clear` comes first. */
  close(): void {
    fs.closeSync(this.rootHandle);
  }
}

/** Whether there is something that is no folder. */
function isOther(path: string): boolean {
  try {
    return !fs.statSync(path).isDirectory();
  } catch {
    return false;
  }
}
