/** Directories: blocks of entries, in the order given, without an index. ext4 documentation, "Directory Entries". */
import { BLOCK } from './layout.js';
import { bytesOf, type ByteString } from './tree.js';

export interface DirectoryEntry {
  readonly name: ByteString;
  readonly inode: number;
  /** The type's number in directories. */
  readonly type: number;
}

/** Bytes of an entry before its name. */
const HEADER = 8;

const room = (name: ByteString): number => (HEADER + name.length + 3) & ~3;

/** How many blocks the entries take, `.` and `..` among them. */
export function directoryBlocks(names: Iterable<ByteString>): number {
  let blocks = 1;
  let used = room('.') + room('..');
  for (const name of names) {
    const size = room(name);
    if (used + size > BLOCK) {
      blocks++;
      used = 0;
    }
    used += size;
  }
  return blocks;
}

/** The directory's blocks, one behind the other. */
export function writeDirectory(entries: readonly DirectoryEntry[], blocks: number): Uint8Array {
  const bytes = new Uint8Array(blocks * BLOCK);
  const view = new DataView(bytes.buffer);
  let last = 0;
  let at = 0;
  /** The last entry of a block reaches to its end. */
  const close = (end: number): void => view.setUint16(last + 4, end - last, true);
  for (const { name, inode, type } of entries) {
    const size = room(name);
    const end = (Math.floor(at / BLOCK) + 1) * BLOCK;
    if (at + size > end) {
      close(end);
      at = end;
    }
    view.setUint32(at, inode, true);
    view.setUint16(at + 4, size, true);
    view.setUint8(at + 6, name.length);
    view.setUint8(at + 7, type);
    bytes.set(bytesOf(name), at + HEADER);
    last = at;
    at += size;
    // Exactly full: the next one begins a block, and this one ends where it should.
  }
  close(bytes.length);
  return bytes;
}
