/** Operations on open files and folders, and on the file system as a whole. */
import { FileError } from '../../../iface/errno.js';
import { FILE_TYPE, type FolderEntry, type Found } from '../../../iface/shared-folder.js';
import { endSpecialRights, writeEntry } from './fuse-names.js';
import { FSYNC_DATA_ONLY, OPEN, OPEN_KILL_SUIDGID, SEEK, WRITE_CACHE, WRITE_KILL_SUIDGID } from './fuse-protocol.js';
import type { Operation, Request } from './fuse-request.js';
import { openMode } from './fuse-session.js';

/** Most that one request reads or writes, bytes: 256 pages. */
export const MAX_TRANSFER = 0x10_0000;

export const open: Operation = (request) => {
  const { session, folder, reader, reply } = request;
  const [flags, how] = [reader.u32(), reader.u32()];
  session.checkRoom();
  const file = folder.open(request.node(), openMode(flags));
  if (how & OPEN_KILL_SUIDGID && flags & OPEN.TRUNCATE) endSpecialRights(folder, file.node, file.status());
  reply.number(session.addFile(reader.header.node, flags, file)).u32(0, 0);
};

export const openFolder: Operation = (request) => {
  const { session, reader, reply } = request;
  if (request.node().type !== FILE_TYPE.FOLDER) throw new FileError('ENOTDIR');
  session.checkRoom();
  reply.number(session.addFolder(reader.header.node)).u32(0, 0);
};

/** RELEASE and RELEASEDIR. */
export const release: Operation = ({ session, reader }) => session.closeHandle(reader.number());

export const read: Operation = ({ session, reader, reply }) => {
  const { file } = session.file(reader.number());
  const offset = reader.offset();
  const size = Math.min(reader.u32(), MAX_TRANSFER, reply.left);
  reply.fill(size, (into) => file.read(into, offset));
};

export const write: Operation = ({ session, folder, reader, reply }) => {
  const { file } = session.file(reader.number());
  const offset = reader.extent();
  const size = reader.u32();
  const how = reader.u32();
  // Behind the owner of locks: the file's flags as they are now, which fcntl(2) may have changed since OPEN. Then padding.
  const flags = reader.skip(8).u32();
  const data = reader.skip(4).data(size);
  // What the guest's page cache writes back goes where it belongs; what a program appends goes to the end as it is now.
  const append = (flags & OPEN.APPEND) !== 0 && (how & WRITE_CACHE) === 0;
  reply.u32(file.write(data, append ? Number(file.status().size) : offset), 0);
  if (how & WRITE_KILL_SUIDGID) endSpecialRights(folder, file.node, file.status());
};

export const sync: Operation = ({ session, reader }) => {
  const { file } = session.file(reader.number());
  file.sync((reader.u32() & FSYNC_DATA_ONLY) !== 0);
};

export const syncFolder: Operation = (request) => request.folder.syncFolder(request.node());

/** The whole file is data, and behind it begins the one hole (lseek(2) allows to say so). */
export const seek: Operation = ({ session, reader, reply }) => {
  const { file } = session.file(reader.number());
  const offset = reader.u64();
  const whence = reader.u32();
  const { size } = file.status();
  if (whence !== SEEK.DATA && whence !== SEEK.HOLE) throw new FileError('EINVAL');
  if (offset >= size) throw new FileError('ENXIO');
  reply.u64(whence === SEEK.DATA ? offset : size);
};

/** Node reserves no space and makes no holes; a C library then writes zeros where that is what was asked for. */
export const allocate: Operation = () => {
  throw new FileError('EOPNOTSUPP');
};

export const statfs: Operation = ({ folder, reply }) => {
  const { blockSize, blocks, free, available, files, freeFiles } = folder.space();
  for (const count of [blocks, free, available, files, freeFiles]) reply.u64(count);
  // namelen, frsize, then padding and spare.
  reply.u32(blockSize, 255, blockSize).zeros(28);
};

/** Numbers of directory entries: struct fuse_dirent is 24 bytes and the name, rounded up to 8. */
const DIRENT = 24;
const ENTRY_OUT = 128;

const padded = (length: number): number => Math.ceil(length / 8) * 8;

export const readFolder: Operation = (request) => readEntries(request, false);

/** Each entry with what LOOKUP would have answered. */
export const readFolderPlus: Operation = (request) => readEntries(request, true);

function readEntries(request: Request, plus: boolean): void {
  const { session, reader, reply } = request;
  const handle = reader.number();
  const offset = reader.offset();
  const room = Math.min(reader.u32(), reply.left, MAX_TRANSFER);
  const entries = session.entries(handle, offset === 0);
  const end = reply.length + room;
  // Offset n: the n first of `.`, `..` and the entries have been told.
  for (let next = offset; next < entries.length + 2; next++) {
    const name = next < 2 ? '..'.slice(next - 1) : entries[next - 2].name;
    const size = (plus ? ENTRY_OUT : 0) + padded(DIRENT + name.length);
    if (reply.length + size > end) break;
    if (next < 2) writeDot(request, plus, next, name);
    else writeNamed(request, plus, next, entries[next - 2]);
  }
}

function writeDirent({ reply }: Request, ino: bigint, next: number, type: number, name: string): void {
  reply.u64(ino).number(next + 1);
  // d_type of readdir(3): the type of st_mode, shifted.
  reply.u32(name.length, (type & FILE_TYPE.MASK) >> 12).text(name);
  reply.zeros(padded(name.length) - name.length);
}

/** `.` and `..` have no entry of their own: node 0 says so. */
function writeDot(request: Request, plus: boolean, next: number, name: string): void {
  const { folder, reply } = request;
  if (plus) reply.zeros(ENTRY_OUT);
  const node = request.node();
  let ino: bigint;
  if (next === 0) ino = folder.status(node).ino;
  else {
    const above = folder.parent(node);
    folder.release(above.node);
    ({ ino } = above.status);
  }
  writeDirent(request, ino, next, FILE_TYPE.FOLDER, name);
}

function writeNamed(request: Request, plus: boolean, next: number, entry: FolderEntry): void {
  const { session, folder, reply } = request;
  const found = look(request, entry.name);
  if (!plus || !found) {
    // A file that is gone meanwhile is told as it was: the guest finds out when it asks for it.
    if (plus) reply.zeros(ENTRY_OUT);
    writeDirent(request, found?.status.ino ?? 1n, next, entry.type, entry.name);
    if (found) folder.release(found.node);
    return;
  }
  writeEntry(reply, session.enter(found), found.status);
  writeDirent(request, found.status.ino, next, found.status.mode, entry.name);
}

function look(request: Request, name: string): Found | undefined {
  try {
    return request.folder.lookup(request.node(), name);
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}
