/**
 * A folder of the host that a guest shares, as the servers of its file systems see it: a tree of nodes that nothing
 * leads out of. All operations complete before they return; what fails throws a `FileError`.
 *
 * Names and targets of symbolic links are bytes, kept as strings of one character a byte (Latin-1). A name is not empty,
 * not `.` or `..`, and has no `/` and no NUL: others are refused with EINVAL.
 */

/** Bytes as a string, one character (0 … 255) each. */
export type ByteString = string;

/** File types, the bits of `st_mode` that S_IFMT covers (POSIX.1-2017 sys/stat.h, values of Linux). */
export const FILE_TYPE = {
  MASK: 0o170000,
  FIFO: 0o010000,
  CHARACTER: 0o020000,
  FOLDER: 0o040000,
  BLOCK: 0o060000,
  REGULAR: 0o100000,
  SYMLINK: 0o120000,
  SOCKET: 0o140000,
} as const;

/** A file, folder or whatever else, known by what it is rather than by its name. Held until `release`. */
export interface SharedNode {
  /** One of FILE_TYPE. It never changes. */
  readonly type: number;
  /** Unique among the nodes that were ever held, from 1. */
  readonly serial: number;
}

export interface FileStatus {
  /** Inode number, made unique in the shared tree. */
  readonly ino: bigint;
  /** Type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly links: number;
  /** As the guest is to see them. */
  readonly uid: number;
  readonly gid: number;
  /** Of device nodes: major and minor number as Linux encodes them in 32 bits. */
  readonly device: number;
  /** Bytes. */
  readonly size: bigint;
  /** Allocated space in units of 512 bytes. */
  readonly blocks: bigint;
  /** Preferred size of transfers, bytes. */
  readonly blockSize: number;
  /** Nanoseconds since 1970-01-01 UTC. */
  readonly accessed: bigint;
  readonly modified: bigint;
  readonly changed: bigint;
}

/** What to change of a file; what is absent stays. */
export interface StatusChange {
  /** Permissions, 12 bits. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes. */
  readonly size?: number;
  /** Nanoseconds since 1970-01-01 UTC, or the host's present time. */
  readonly accessed?: bigint | 'now';
  readonly modified?: bigint | 'now';
}

/** Whom a new file belongs to, and who may what. */
export interface NewFile {
  /** Permissions, 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface OpenMode {
  readonly read: boolean;
  readonly write: boolean;
  readonly truncate: boolean;
}

export interface Found {
  readonly node: SharedNode;
  readonly status: FileStatus;
}

/** An open regular file. */
export interface SharedFile {
  readonly node: SharedNode;
  /** Returns how many bytes were read: fewer than asked for at the end of the file. `offset` in bytes. */
  read(into: Uint8Array, offset: number): number;
  /** Returns how many bytes were written: fewer than given when the host has no more room. */
  write(bytes: Uint8Array, offset: number): number;
  status(): FileStatus;
  /** What was written is durable; with `dataOnly`, not all of its status. */
  sync(dataOnly: boolean): void;
  close(): void;
}

/** An entry of a folder. */
export interface FolderEntry {
  readonly name: ByteString;
  /** One of FILE_TYPE. */
  readonly type: number;
}

/** Room in the file system that the folder is in. Counts of blocks and files. */
export interface Space {
  /** Bytes. */
  readonly blockSize: number;
  readonly blocks: bigint;
  readonly free: bigint;
  /** Free to users who are not privileged. */
  readonly available: bigint;
  readonly files: bigint;
  readonly freeFiles: bigint;
}

/** Whether an attribute has to be there before it is set. */
export type AttributeSet = 'always' | 'absent' | 'present';

/** Extended attributes (xattr(7)). Names are without NULs and not empty. */
export interface SharedAttributes {
  /** ENODATA: there is none of that name. */
  get(node: SharedNode, name: ByteString): Uint8Array;
  /** EEXIST: it is there; ENODATA: it is not. */
  set(node: SharedNode, name: ByteString, value: Uint8Array, when: AttributeSet): void;
  list(node: SharedNode): readonly ByteString[];
  remove(node: SharedNode, name: ByteString): void;
}

/** Bytes of an attribute's value at most: XATTR_SIZE_MAX of Linux. */
export const MAX_ATTRIBUTE = 65_536;

export interface SharedFolder {
  readonly readOnly: boolean;
  /** Undefined: this host has none. */
  readonly attributes: SharedAttributes | undefined;
  /** Always held. */
  readonly root: SharedNode;
  /** Undefined: there is no such name. The node is held. */
  lookup(folder: SharedNode, name: ByteString): Found | undefined;
  /** The folder that a folder is in; the root's is itself. Held. */
  parent(folder: SharedNode): Found;
  hold(node: SharedNode): void;
  /** Gives up what `count` lookups, creations or holds took. */
  release(node: SharedNode, count?: number): void;
  status(node: SharedNode): FileStatus;
  /** `file`: where the guest has it open for writing, for changes of size that need no permission any more. */
  change(node: SharedNode, change: StatusChange, file?: SharedFile): FileStatus;
  readLink(node: SharedNode): ByteString;
  open(node: SharedNode, mode: OpenMode): SharedFile;
  /** Creates a file, or with `exclusive` false opens one that is there. The node is held. */
  create(
    folder: SharedNode,
    name: ByteString,
    file: NewFile,
    mode: OpenMode & { readonly exclusive: boolean },
  ): Found & { readonly file: SharedFile };
  createFolder(folder: SharedNode, name: ByteString, file: NewFile): Found;
  createSymlink(folder: SharedNode, name: ByteString, target: ByteString, file: NewFile): Found;
  link(node: SharedNode, folder: SharedNode, name: ByteString): Found;
  /** `replace` false: EEXIST when the new name is taken. */
  rename(from: SharedNode, name: ByteString, to: SharedNode, newName: ByteString, replace: boolean): void;
  removeFile(folder: SharedNode, name: ByteString): void;
  removeFolder(folder: SharedNode, name: ByteString): void;
  /** Everything in a folder but `.` and `..`, in no particular order. */
  list(folder: SharedNode): readonly FolderEntry[];
  /** What was done to a folder is durable. */
  syncFolder(folder: SharedNode): void;
  space(): Space;
  /** Names that lead from the root to a node; undefined when it has been removed or was not found lately. */
  pathOf(node: SharedNode): readonly ByteString[] | undefined;
  /** Gives everything up but the root: the guest has started anew. */
  clear(): void;
}
