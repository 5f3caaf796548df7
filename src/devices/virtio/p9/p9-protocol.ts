/**
 * 9P2000.L, the dialect of Plan 9's file protocol that Linux speaks: types and numbers as in Linux's include/net/9p/9p.h and
 * in the protocol description of diod. A message is size[4] type[1] tag[2] and its fields, little-endian; size counts itself.
 */
import { byteString, MessageReader, MessageWriter } from '../message.js';
import type { ByteString } from '../../../iface/shared-folder.js';

export const VERSION = '9P2000.L';

/** Types of requests; an answer is one more. */
export const T = {
  STATFS: 8,
  LOPEN: 12,
  LCREATE: 14,
  SYMLINK: 16,
  MKNOD: 18,
  RENAME: 20,
  READLINK: 22,
  GETATTR: 24,
  SETATTR: 26,
  XATTRWALK: 30,
  XATTRCREATE: 32,
  READDIR: 40,
  FSYNC: 50,
  LOCK: 52,
  GETLOCK: 54,
  LINK: 70,
  MKDIR: 72,
  RENAMEAT: 74,
  UNLINKAT: 76,
  VERSION: 100,
  ATTACH: 104,
  FLUSH: 108,
  WALK: 110,
  READ: 116,
  WRITE: 118,
  CLUNK: 120,
  REMOVE: 122,
} as const;

/** The answer to whatever failed. */
export const RLERROR = 7;

export const HEADER = 7;
/** A header and an error number. */
export const ERROR_SIZE = 11;
/** Names in one walk, at most. */
export const MAX_WALK = 16;

/** Types in a qid. */
export const QID = { FOLDER: 0x80, SYMLINK: 0x02, FILE: 0 } as const;

/** Fields that getattr tells: all but birth time, generation and data version. */
export const GETATTR_BASIC = 0x7ffn;

/** Which fields of setattr are valid. */
export const SET = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_SET: 1 << 7,
  MTIME_SET: 1 << 8,
} as const;

/** Flags of lopen and lcreate: those of open(2) on x86. */
export const OPEN = {
  ACCESS: 3,
  WRITE_ONLY: 1,
  EXCLUSIVE: 0o200,
  TRUNCATE: 0o1000,
  APPEND: 0o2000,
  FOLDER: 0o200000,
} as const;

/** Flag of unlinkat. */
export const REMOVE_FOLDER = 0x200;

/** The type of a lock that is none. */
export const UNLOCKED = 2;

/** No fid, as attach names it. */
export const NO_USER = 0xffff_ffff;

export class P9Reader extends MessageReader {
  readonly size: number;
  readonly type: number;
  readonly tag: number;

  /** `bytes` begins with a whole header. */
  constructor(bytes: Uint8Array) {
    super(bytes, HEADER);
    this.size = this.view.getUint32(0, true);
    this.type = this.view.getUint8(4);
    this.tag = this.view.getUint16(5, true);
  }

  /** len[2] and so many bytes. */
  string(): ByteString {
    return byteString(this.data(this.u16()));
  }
}

export class P9Reply extends MessageWriter {
  constructor() {
    super(HEADER);
  }

  string(text: ByteString): this {
    return this.u16(text.length).text(text);
  }

  /** Room for 32 bits that are known later. */
  reserve(): number {
    const { at } = this;
    this.u32(0);
    return at;
  }

  settle(place: number, value: number): void {
    this.view.setUint32(place, value, true);
  }

  /** With its header: valid until the next request. */
  finish(type: number, tag: number): Uint8Array {
    this.view.setUint32(0, this.at, true);
    this.view.setUint8(4, type);
    this.view.setUint16(5, tag, true);
    return this.bytes.subarray(0, this.at);
  }

  error(tag: number, errno: number): Uint8Array {
    this.begin(ERROR_SIZE);
    return this.u32(errno).finish(RLERROR, tag);
  }
}
