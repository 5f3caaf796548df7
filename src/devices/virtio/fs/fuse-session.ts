/** What a guest knows of a shared folder by numbers: nodes it has looked up, files and folders it has open. */
import { FileError } from '../../../iface/errno.js';
import type {
  ByteString,
  FolderEntry,
  Found,
  OpenMode,
  SharedFile,
  SharedFolder,
  SharedNode,
} from '../../../iface/shared-folder.js';
import { array, bool, int, nullable, range, str, struct, u32, type Infer } from '../../../snapshot/schema.js';
import { walk } from '../walk-paths.js';
import { OPEN, ROOT_ID } from './fuse-protocol.js';

const MAX_NODES = 1 << 21;
/** Open files and folders. */
const MAX_HANDLES = 8192;
/** Entries of folders that are kept between two reads of an open one. */
const MAX_LISTED = 1 << 20;

const id = range(1, Number.MAX_SAFE_INTEGER);

export const sessionSchema = struct({
  /** INIT has been done. */
  ready: bool,
  nextNode: id,
  nextHandle: id,
  nodes: array(
    struct({
      id,
      lookups: int,
      type: u32,
      /** Names from the root with slashes between; none of what was removed. */
      path: nullable(str),
    }),
    { max: MAX_NODES },
  ),
  handles: array(struct({ id, node: id, kind: range(0, 1), flags: u32 }), { max: MAX_HANDLES }),
});
export type SessionState = Infer<typeof sessionSchema>;

interface KnownNode {
  /** Undefined: it was not there any more when the machine was restored. */
  readonly node: SharedNode | undefined;
  lookups: number;
  readonly type: number;
  readonly lostPath: ByteString | null;
}

interface OpenHandle {
  readonly nodeId: number;
  /** Of open(2). */
  readonly flags: number;
  readonly kind: 'file' | 'folder';
  /** Undefined: it could not be opened again when the machine was restored. */
  readonly file: SharedFile | undefined;
  /** What the folder held when it was read from its beginning. */
  entries: readonly FolderEntry[] | undefined;
}

export const openMode = (flags: number): OpenMode => ({
  read: (flags & OPEN.ACCESS) !== OPEN.WRITE_ONLY,
  write: (flags & OPEN.ACCESS) !== 0,
  truncate: (flags & OPEN.TRUNCATE) !== 0,
});

export class FuseSession {
  ready = false;
  private nextNode = ROOT_ID + 1;
  private nextHandle = 1;
  private readonly known = new Map<number, KnownNode>();
  private readonly ids = new Map<SharedNode, number>();
  private readonly handles = new Map<number, OpenHandle>();

  /** Open folders whose entries are kept, the oldest first. */
  private readonly listed = new Set<OpenHandle>();
  private listedEntries = 0;

  constructor(readonly folder: SharedFolder) {}

  // ---- nodes ----

  node(nodeId: number): SharedNode {
    if (nodeId === ROOT_ID) return this.folder.root;
    const node = this.known.get(nodeId)?.node;
    if (!node) throw new FileError('ESTALE');
    return node;
  }

  /** The number of a node that was just found: the guest has looked it up once more. */
  enter({ node }: Found): number {
    if (node === this.folder.root) {
      this.folder.release(node);
      return ROOT_ID;
    }
    const known = this.ids.get(node);
    const entry = known === undefined ? undefined : this.known.get(known);
    if (known !== undefined && entry) {
      entry.lookups++;
      this.folder.release(node);
      return known;
    }
    const fresh = this.nextNode++;
    this.ids.set(node, fresh);
    this.known.set(fresh, { node, lookups: 1, type: node.type, lostPath: null });
    return fresh;
  }

  forget(nodeId: number, lookups: number): void {
    const entry = this.known.get(nodeId);
    if (!entry) return;
    entry.lookups -= lookups < 0 ? entry.lookups : lookups;
    if (entry.lookups > 0) return;
    this.known.delete(nodeId);
    if (!entry.node) return;
    this.ids.delete(entry.node);
    this.folder.release(entry.node);
  }

  // ---- handles ----

  private add(handle: OpenHandle): number {
    const fresh = this.nextHandle++;
    this.handles.set(fresh, handle);
    return fresh;
  }

  checkRoom(): void {
    if (this.handles.size >= MAX_HANDLES) throw new FileError('ENFILE');
  }

  addFile(nodeId: number, flags: number, file: SharedFile): number {
    return this.add({ nodeId, flags, kind: 'file', file, entries: undefined });
  }

  addFolder(nodeId: number): number {
    return this.add({ nodeId, flags: 0, kind: 'folder', file: undefined, entries: undefined });
  }

  file(handle: number): { readonly file: SharedFile; readonly flags: number } {
    const found = this.handles.get(handle);
    if (found?.kind !== 'file') throw new FileError('EBADF');
    if (!found.file) throw new FileError('EIO');
    return { file: found.file, flags: found.flags };
  }

  /** The file, if the guest named a handle and it is one. */
  fileIfOpen(handle: number): SharedFile | undefined {
    return this.handles.get(handle)?.file;
  }

  /** What an open folder holds; read anew when the guest begins at its start. */
  entries(handle: number, anew: boolean): readonly FolderEntry[] {
    const found = this.handles.get(handle);
    if (found?.kind !== 'folder') throw new FileError('EBADF');
    if (!anew && found.entries) return found.entries;
    this.dropEntries(found);
    const entries = this.folder.list(this.node(found.nodeId));
    found.entries = entries;
    this.listed.add(found);
    this.listedEntries += entries.length;
    for (const old of this.listed) {
      if (this.listedEntries <= MAX_LISTED || old === found) break;
      this.dropEntries(old);
    }
    return entries;
  }

  private dropEntries(handle: OpenHandle): void {
    if (!this.listed.delete(handle)) return;
    this.listedEntries -= handle.entries?.length ?? 0;
    handle.entries = undefined;
  }

  closeHandle(handle: number): void {
    const found = this.handles.get(handle);
    if (!found) return;
    found.file?.close();
    this.dropEntries(found);
    this.handles.delete(handle);
  }

  /** The guest is gone, or starts anew. */
  clear(): void {
    for (const handle of [...this.handles.keys()]) this.closeHandle(handle);
    for (const { node } of this.known.values()) if (node) this.folder.release(node);
    this.known.clear();
    this.ids.clear();
    this.ready = false;
    this.nextNode = ROOT_ID + 1;
    this.nextHandle = 1;
  }

  // ---- saved state ----

  save(): SessionState {
    return {
      ready: this.ready,
      nextNode: this.nextNode,
      nextHandle: this.nextHandle,
      nodes: [...this.known].map(([nodeId, { node, lookups, type, lostPath }]) => ({
        id: nodeId,
        lookups,
        type,
        path: node ? (this.folder.pathOf(node)?.join('/') ?? null) : lostPath,
      })),
      handles: [...this.handles].map(([handle, { nodeId, flags, kind }]) => ({
        id: handle,
        node: nodeId,
        kind: kind === 'file' ? 0 : 1,
        flags,
      })),
    };
  }

  /** Finds everything again by its path. What is not there, or is something else now, answers ESTALE and EIO. */
  restore(state: SessionState): void {
    this.clear();
    this.ready = state.ready;
    this.nextNode = state.nextNode;
    this.nextHandle = state.nextHandle;
    walk(
      this.folder,
      state.nodes.map(({ path }) => path),
      (index, found) => {
        const { id: nodeId, lookups, type, path } = state.nodes[index];
        const same = found?.type === type && !this.ids.has(found) && found !== this.folder.root;
        if (same) {
          this.folder.hold(found);
          this.ids.set(found, nodeId);
        }
        this.known.set(nodeId, { node: same ? found : undefined, lookups, type, lostPath: path });
      },
    );
    for (const { id: handle, node, kind, flags } of state.handles)
      this.handles.set(handle, {
        nodeId: node,
        flags,
        kind: kind === 0 ? 'file' : 'folder',
        file: kind === 0 ? this.reopen(node, flags) : undefined,
        entries: undefined,
      });
  }

  private reopen(nodeId: number, flags: number): SharedFile | undefined {
    try {
      return this.folder.open(this.node(nodeId), { ...openMode(flags), truncate: false });
    } catch (error) {
      if (error instanceof FileError) return undefined;
      throw error;
    }
  }
}
