/**
 * The FUSE protocol as Linux has it in include/uapi/linux/fuse.h, version 7.31: what VIRTIO 1.2 §5.11 carries. All numbers
 * are little-endian, as virtio has them.
 */
import { MessageReader, MessageWriter, readNumber } from '../message.js';

export const FUSE_VERSION = { MAJOR: 7, MINOR: 31 } as const;

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
} as const;

/** Flags of INIT. */
export const INIT = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  /** Who writes, truncates or gives away tells us when that ends a file's special rights: version 7.33. */
  HANDLE_KILLPRIV_V2: 1 << 28,
} as const;

/** Which fields of SETATTR are valid. */
export const SET = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const;

export const GETATTR_FH = 1 << 0;
export const WRITE_CACHE = 1 << 0;
export const WRITE_KILL_SUIDGID = 1 << 2;
/** Of OPEN and CREATE, behind the flags of open(2). */
export const OPEN_KILL_SUIDGID = 1 << 0;
export const FSYNC_DATA_ONLY = 1 << 0;

/** Flags of open(2), asm-generic/fcntl.h. */
export const OPEN = {
  ACCESS: 3,
  WRITE_ONLY: 1,
  READ_WRITE: 2,
  EXCLUSIVE: 0o200,
  TRUNCATE: 0o1000,
  APPEND: 0o2000,
} as const;

/** renameat2(2). */
export const RENAME_NOREPLACE = 1;

/** lseek(2). */
export const SEEK = { DATA: 3, HOLE: 4 } as const;

export const ROOT_ID = 1;

/** struct fuse_in_header and fuse_out_header: bytes. */
export const IN_HEADER = 40;
export const OUT_HEADER = 16;

/** struct fuse_in_header. */
export interface RequestHeader {
  readonly length: number;
  readonly opcode: number;
  readonly unique: bigint;
  /** More than a node can have reads as -1. */
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
}

/** Takes a request apart. */
export class RequestReader extends MessageReader {
  readonly header: RequestHeader;

  /** `bytes` begins with a whole header. */
  constructor(bytes: Uint8Array) {
    super(bytes, IN_HEADER);
    const { view } = this;
    this.header = {
      length: view.getUint32(0, true),
      opcode: view.getUint32(4, true),
      unique: view.getBigUint64(8, true),
      node: readNumber(view, 16),
      uid: view.getUint32(24, true),
      gid: view.getUint32(28, true),
    };
  }
}

/** An answer under construction. */
export class Reply extends MessageWriter {
  constructor() {
    super(OUT_HEADER);
  }

  /** With its header: valid until the next request. `errno` positive or 0. */
  finish(unique: bigint, errno: number): Uint8Array {
    if (errno !== 0) this.at = OUT_HEADER;
    this.view.setUint32(0, this.at, true);
    this.view.setInt32(4, -errno, true);
    this.view.setBigUint64(8, unique, true);
    return this.bytes.subarray(0, this.at);
  }
}
