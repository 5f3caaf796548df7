/** What a file system holds, before it is written: plain objects in memory, contents apart. */

/**
 * Bytes as text: each character is one byte, 0 … 255. Names in a Linux file system are bytes that need not be UTF-8, and text of
 * this kind carries them unchanged.
 */
export type ByteString = string;

/** A moment: whole seconds since 1970, which may be negative, and nanoseconds, 0 … 999,999,999. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** What every file has. */
export interface FsAttributes {
  /** Permissions with setuid, setgid and sticky: the lower twelve bits of st_mode. */
  readonly mode: number;
  /** 0 … 2**32 - 1. */
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
  /** Extended attributes by their full names, as getxattr(2) has them: `security.capability`. */
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** A stretch of a file that has data, in bytes; what is between two is a hole. */
export interface DataRange {
  readonly offset: number;
  readonly length: number;
}

export interface FsFolder extends FsAttributes {
  readonly kind: 'folder';
  readonly children: ReadonlyMap<ByteString, FsNode>;
}

export interface FsFile extends FsAttributes {
  readonly kind: 'file';
  /** Bytes. */
  readonly size: number;
  /** In ascending order, apart from each other, within the size. */
  readonly data: readonly DataRange[];
}

export interface FsLink extends FsAttributes {
  readonly kind: 'link';
  readonly target: ByteString;
}

export interface FsDevice extends FsAttributes {
  readonly kind: 'character-device' | 'block-device';
  /** 0 … 4095. */
  readonly major: number;
  /** 0 … 2**20 - 1. */
  readonly minor: number;
}

export interface FsPipe extends FsAttributes {
  readonly kind: 'fifo' | 'socket';
}

/** One object in two places is a hard link; a folder must be in one place only. */
export type FsNode = FsFolder | FsFile | FsLink | FsDevice | FsPipe;

export function bytesOf(text: ByteString): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** For messages: as UTF-8 where it is, with what is not printable escaped. */
export function readable(text: ByteString): string {
  // Control characters of names must not reach a terminal.
  return JSON.stringify(new TextDecoder().decode(bytesOf(text))).slice(1, -1);
}
