/** What a 9P client names by fids: nodes of the shared folder, some of them open. */
import { FileError } from '../../../iface/errno.js';
import type {
  AttributeSet,
  ByteString,
  FolderEntry,
  OpenMode,
  SharedFile,
  SharedFolder,
  SharedNode,
} from '../../../iface/shared-folder.js';
import { array, int, nullable, range, str, struct, u32, type Infer } from '../../../snapshot/schema.js';
import { walk } from '../walk-paths.js';
import { OPEN } from './p9-protocol.js';

/** Fids at once: a client has one for each file that it knows. */
const MAX_FIDS = 1 << 18;
/** Entries of folders that are kept between two reads of an open one. */
const MAX_LISTED = 1 << 20;

/** The largest message: its data and the two headers. */
export const MAX_MESSAGE = 0x10_0000;
const NOT_OPEN = -1;
/** Extended attributes that are read or written at once: each may take 64 KiB. */
const MAX_ATTRIBUTES = 256;

export const p9Schema = struct({
  /** 0 before the version is agreed upon. */
  messageSize: range(0, MAX_MESSAGE),
  fids: array(
    struct({
      fid: u32,
      uid: u32,
      type: u32,
      /** Names from the root with slashes between; none of what was removed. */
      path: nullable(str),
      /** Flags that it was opened with; -1: it is not open. */
      open: int,
    }),
    { max: MAX_FIDS },
  ),
});
export type P9State = Infer<typeof p9Schema>;

/** An extended attribute, or a list of names, that a fid stands for. Lost when the machine is saved. */
export interface FidAttribute {
  readonly value: Uint8Array;
  /** Of one that is being written: its name, and how many bytes have come; -1: it has been set. */
  readonly writing: { readonly name: ByteString; readonly when: AttributeSet; have: number } | undefined;
}

export interface Fid {
  /** Undefined: it was not there any more when the machine was restored. */
  node: SharedNode | undefined;
  /** On whose behalf. */
  readonly uid: number;
  type: number;
  lostPath: ByteString | null;
  /** Flags of an open file or folder, or -1. */
  open: number;
  /** Of a regular file; undefined too when it could not be opened again after a restore. */
  file: SharedFile | undefined;
  entries: readonly FolderEntry[] | undefined;
  attribute: FidAttribute | undefined;
}

export const openMode = (flags: number): OpenMode => ({
  read: (flags & OPEN.ACCESS) !== OPEN.WRITE_ONLY,
  write: (flags & OPEN.ACCESS) !== 0,
  truncate: (flags & OPEN.TRUNCATE) !== 0,
});

export class P9Session {
  messageSize = 0;
  private readonly fids = new Map<number, Fid>();
  /** Open folders whose entries are kept, the oldest first. */
  private readonly listed = new Set<Fid>();
  private listedEntries = 0;
  private attributes = 0;

  constructor(readonly folder: SharedFolder) {}

  fid(number: number): Fid {
    const fid = this.fids.get(number);
    if (!fid) throw new FileError('EBADF');
    return fid;
  }

  node(number: number): SharedNode {
    const { node } = this.fid(number);
    if (!node) throw new FileError('ESTALE');
    return node;
  }

  checkFree(number: number): void {
    if (this.fids.has(number)) throw new FileError('EBADF');
    if (this.fids.size >= MAX_FIDS) throw new FileError('ENFILE');
  }

  /** A fid for a node that is held already. */
  add(number: number, node: SharedNode, uid: number): void {
    this.fids.set(number, {
      node,
      uid,
      type: node.type,
      lostPath: null,
      open: NOT_OPEN,
      file: undefined,
      entries: undefined,
      attribute: undefined,
    });
  }

  /** The fid stands for an attribute of its node from now on. */
  setAttribute(fid: Fid, attribute: FidAttribute): void {
    this.checkAttributes();
    this.attributes++;
    fid.attribute = attribute;
  }

  checkAttributes(): void {
    if (this.attributes >= MAX_ATTRIBUTES) throw new FileError('ENFILE');
  }

  /** The fid means another node from now on, which is held already. */
  move(fid: Fid, node: SharedNode): void {
    if (fid.node) this.folder.release(fid.node);
    fid.node = node;
    fid.type = node.type;
  }

  /** An open regular file. */
  file(number: number): { readonly file: SharedFile; readonly flags: number } {
    const { file, open } = this.fid(number);
    if (open === NOT_OPEN) throw new FileError('EBADF');
    if (!file) throw new FileError('EIO');
    return { file, flags: open };
  }

  /** What an open folder holds; read anew at its start. */
  entries(number: number, anew: boolean): readonly FolderEntry[] {
    const fid = this.fid(number);
    if (fid.open === NOT_OPEN) throw new FileError('EBADF');
    if (!anew && fid.entries) return fid.entries;
    this.dropEntries(fid);
    const entries = this.folder.list(this.node(number));
    fid.entries = entries;
    this.listed.add(fid);
    this.listedEntries += entries.length;
    for (const old of this.listed) {
      if (this.listedEntries <= MAX_LISTED || old === fid) break;
      this.dropEntries(old);
    }
    return entries;
  }

  private dropEntries(fid: Fid): void {
    if (!this.listed.delete(fid)) return;
    this.listedEntries -= fid.entries?.length ?? 0;
    fid.entries = undefined;
  }

  clunk(number: number): void {
    const fid = this.fid(number);
    this.fids.delete(number);
    fid.file?.close();
    this.dropEntries(fid);
    if (fid.attribute) this.attributes--;
    if (fid.node) this.folder.release(fid.node);
  }

  clear(): void {
    for (const number of [...this.fids.keys()]) this.clunk(number);
    this.messageSize = 0;
  }

  save(): P9State {
    return {
      messageSize: this.messageSize,
      fids: [...this.fids].map(([fid, { node, uid, type, lostPath, open }]) => ({
        fid,
        uid,
        type,
        path: node ? (this.folder.pathOf(node)?.join('/') ?? null) : lostPath,
        open,
      })),
    };
  }

  /** Finds everything again by its path. What is not there, or is something else now, answers ESTALE and EIO. */
  restore(state: P9State): void {
    this.clear();
    this.messageSize = state.messageSize;
    walk(
      this.folder,
      state.fids.map(({ path }) => path),
      (index, found) => {
        const { fid, uid, type, path, open } = state.fids[index];
        const node = found?.type === type ? found : undefined;
        if (node) this.folder.hold(node);
        const file = node && open >= 0 ? this.reopen(node, open) : undefined;
        this.fids.set(fid, { node, uid, type, lostPath: path, open, file, entries: undefined, attribute: undefined });
      },
    );
  }

  private reopen(node: SharedNode, flags: number): SharedFile | undefined {
    try {
      return this.folder.open(node, { ...openMode(flags), truncate: false });
    } catch (error) {
      if (error instanceof FileError) return undefined;
      throw error;
    }
  }
}
