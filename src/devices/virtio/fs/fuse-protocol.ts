/**
 * The FUSE protocol as Linux has it in include/uapi/linux/fuse.h, version 7.31: what VIRTIO 1.2 §5.11 carries. All numbers
 * are little-endian, as virtio has them.
 */
import { FileError } from '../../../iface/errno.js';
import type { ByteString } from '../../../iface/shared-folder.js';

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
} as const;

export const GETATTR_FH = 1 << 0;
export const WRITE_CACHE = 1 << 0;
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

/** Takes a request apart; what ends too early is EINVAL. */
export class RequestReader {
  private readonly view: DataView;
  private at = IN_HEADER;
  readonly header: RequestHeader;

  /** `bytes` begins with a whole header. */
  constructor(private readonly bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.view = view;
    this.header = {
      length: view.getUint32(0, true),
      opcode: view.getUint32(4, true),
      unique: view.getBigUint64(8, true),
      node: readNumber(view, 16),
      uid: view.getUint32(24, true),
      gid: view.getUint32(28, true),
    };
  }

  private take(count: number): number {
    const { at } = this;
    if (count > this.bytes.length - at) throw new FileError('EINVAL');
    this.at = at + count;
    return at;
  }

  skip(count: number): this {
    this.take(count);
    return this;
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }

  /** An identifier or a count: what a double does not hold exactly reads as -1. */
  number(): number {
    return readNumber(this.view, this.take(8));
  }

  /** An offset or a size in a file: nothing is beyond what a double holds. */
  offset(): number {
    const value = this.number();
    if (value < 0) throw new FileError('EINVAL');
    return value;
  }

  /** Bytes up to a NUL. */
  name(): ByteString {
    const end = this.bytes.indexOf(0, this.at);
    if (end < 0) throw new FileError('EINVAL');
    const name = byteString(this.bytes.subarray(this.at, end));
    this.at = end + 1;
    return name;
  }

  data(count: number): Uint8Array {
    const at = this.take(count);
    return this.bytes.subarray(at, at + count);
  }
}

function readNumber(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(at, true) : -1;
}

/** In pieces, because a call takes only so many arguments. */
export function byteString(bytes: Uint8Array): ByteString {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
}

/** A reply under construction, behind the place of its header, in a buffer that is used again for the next one. */
export class Reply {
  /** Grows to the largest reply that was asked for. */
  private bytes = new Uint8Array(4096);
  private view = new DataView(this.bytes.buffer);
  private at = OUT_HEADER;
  private room = 0;

  /** `room`: bytes that the guest has for it, header included. */
  begin(room: number): void {
    this.at = OUT_HEADER;
    this.room = room;
  }

  /** Bytes that still fit. */
  get left(): number {
    return this.room - this.at;
  }

  get length(): number {
    return this.at;
  }

  /** Forgets what follows. */
  cut(at: number): void {
    this.at = at;
  }

  private take(count: number): number {
    const { at } = this;
    if (count > this.room - at) throw new FileError('EINVAL');
    this.ensure(at + count);
    this.at = at + count;
    return at;
  }

  private ensure(size: number): void {
    if (size <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(size, 2 * this.bytes.length));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  u16(value: number): this {
    this.view.setUint16(this.take(2), value, true);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) this.view.setUint32(this.take(4), value, true);
    return this;
  }

  u64(value: bigint): this {
    this.view.setBigUint64(this.take(8), value, true);
    return this;
  }

  number(value: number): this {
    return this.u32(value % 2 ** 32, Math.floor(value / 2 ** 32));
  }

  text(text: ByteString): this {
    const at = this.take(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[at + i] = text.charCodeAt(i);
    return this;
  }

  zeros(count: number): this {
    const at = this.take(count);
    this.bytes.fill(0, at, at + count);
    return this;
  }

  /** Room of which `fill` says how much it used. */
  fill(most: number, fill: (into: Uint8Array) => number): this {
    const at = this.take(most);
    this.at = at + fill(this.bytes.subarray(at, at + most));
    return this;
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
