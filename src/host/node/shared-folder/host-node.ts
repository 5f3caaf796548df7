/** The nodes of a shared folder: what of the host's tree the guest knows, and by which names it can be found. */
import { FileError } from '../../../iface/errno.js';
import { FILE_TYPE, type ByteString, type SharedNode } from '../../../iface/shared-folder.js';

/** A name under which a node was seen. */
export interface Place {
  readonly folder: HostNode;
  readonly name: ByteString;
}

/** Names of one file that are kept: others are found again by lookup. */
const MAX_PLACES = 8;

export class HostNode implements SharedNode {
  /** Holds by the servers, and places of other nodes in this folder. */
  refs = 0;
  /** The newest first. */
  readonly places: Place[] = [];
  /** Known nodes in this folder. */
  children: Map<ByteString, HostNode> | undefined;
  /** An O_PATH descriptor, or -1. Belongs to `NodeHandles`. */
  handle = -1;
  /** Descriptors of open files. */
  readonly open = new Set<number>();

  constructor(
    readonly serial: number,
    readonly type: number,
    readonly device: bigint,
    readonly ino: bigint,
  ) {}

  get isFolder(): boolean {
    return this.type === FILE_TYPE.FOLDER;
  }
}

const keyOf = (device: bigint, ino: bigint): string => `${String(device)}:${String(ino)}`;

export class NodeTable {
  private readonly nodes = new Map<string, HostNode>();
  private serial = 1;
  private total = 0;

  /** `limit`: most nodes that are kept. `forget` is told of each that is dropped. */
  constructor(
    private readonly limit: number,
    private readonly forget: (node: HostNode) => void,
  ) {}

  get size(): number {
    return this.total;
  }

  /** The node of what was seen, not yet held. Throws when there are too many. */
  find(device: bigint, ino: bigint, type: number): HostNode {
    const key = keyOf(device, ino);
    const known = this.nodes.get(key);
    // The host may use the number of a file that is gone for another one.
    if (known?.type === type) return known;
    if (this.total >= this.limit) throw new FileError('ENFILE');
    const node = new HostNode(this.serial++, type, device, ino);
    this.nodes.set(key, node);
    this.total++;
    return node;
  }

  /** Notes that a node was seen there, and whatever was there before no longer is. */
  place(node: HostNode, folder: HostNode, name: ByteString): void {
    const before = folder.children?.get(name);
    if (before === node) return;
    // A folder below itself (bind mounts do that) would make paths without an end.
    if (node.isFolder) {
      for (let above: HostNode | undefined = folder; above; above = above.places.at(0)?.folder)
        if (above === node) throw new FileError('ELOOP');
    }
    this.displace(folder, name);
    // A folder has one name.
    const keep = node.isFolder ? 0 : MAX_PLACES - 1;
    for (const old of node.places.slice(keep)) this.dropPlace(node, old);
    node.places.unshift({ folder, name });
    folder.children ??= new Map();
    folder.children.set(name, node);
    folder.refs++;
  }

  /** Nothing is there any more. */
  displace(folder: HostNode, name: ByteString): void {
    const node = folder.children?.get(name);
    const place = node?.places.find((one) => one.folder === folder && one.name === name);
    if (node && place) this.dropPlace(node, place);
  }

  /** The guest removed it: its number may soon be that of another file. */
  removed(folder: HostNode, name: ByteString): void {
    const node = folder.children?.get(name);
    this.displace(folder, name);
    if (node?.places.length === 0) this.detach(node);
  }

  dropPlace(node: HostNode, place: Place): void {
    node.places.splice(node.places.indexOf(place), 1);
    if (place.folder.children?.get(place.name) === node) place.folder.children.delete(place.name);
    this.release(place.folder, 1);
  }

  private detach(node: HostNode): void {
    const key = keyOf(node.device, node.ino);
    if (this.nodes.get(key) === node) this.nodes.delete(key);
  }

  /** Forgets all but the root. Nodes that somebody still has lead nowhere. */
  clear(root: HostNode): void {
    for (const node of this.nodes.values()) {
      node.places.length = 0;
      node.children = undefined;
      // Whoever releases it later changes nothing.
      node.refs = Infinity;
    }
    this.nodes.clear();
    this.nodes.set(keyOf(root.device, root.ino), root);
    this.total = 1;
  }

  /** Drops a node when nobody holds it, and with it those that only it held. */
  release(node: HostNode, count: number): void {
    node.refs -= count;
    const loose = node.refs <= 0 ? [node] : [];
    for (let next = loose.pop(); next; next = loose.pop()) {
      this.detach(next);
      this.total--;
      this.forget(next);
      for (const { folder, name } of next.places.splice(0)) {
        if (folder.children?.get(name) === next) folder.children.delete(name);
        folder.refs--;
        if (folder.refs <= 0) loose.push(folder);
      }
    }
  }
}
