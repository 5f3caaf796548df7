/** The operations of 9P2000.L. */
import { FileError } from '../../../iface/errno.js';
import {
  FILE_TYPE,
  type FileStatus,
  type Found,
  type SharedNode,
  type StatusChange,
} from '../../../iface/shared-folder.js';
import {
  GETATTR_BASIC,
  HEADER,
  MAX_WALK,
  NO_USER,
  OPEN,
  QID,
  REMOVE_FOLDER,
  SET,
  T,
  UNLOCKED,
  VERSION,
  type P9Reader,
  type P9Reply,
} from './p9-protocol.js';
import { clunk, createAttribute, readAttribute, walkAttribute, writeAttribute } from './p9-attributes.js';
import { MAX_MESSAGE, openMode, type P9Session } from './p9-session.js';

export interface P9Request {
  readonly session: P9Session;
  readonly reader: P9Reader;
  readonly reply: P9Reply;
}

export type Operation = (request: P9Request) => void;

const BILLION = 1_000_000_000n;

/** type[1] version[4] path[8]. The version changes with the file. */
function writeQid(reply: P9Reply, { mode, ino, modified }: FileStatus): void {
  const type = mode & FILE_TYPE.MASK;
  const kind = type === FILE_TYPE.FOLDER ? QID.FOLDER : type === FILE_TYPE.SYMLINK ? QID.SYMLINK : QID.FILE;
  const version = Number(BigInt.asUintN(32, modified ^ (modified >> 32n)));
  reply.u8(kind).u32(version).u64(ino);
}

const version: Operation = ({ session, reader, reply }) => {
  const size = Math.min(reader.u32(), MAX_MESSAGE);
  const wanted = reader.string();
  session.clear();
  if (size < 4096) throw new FileError('EINVAL');
  const known = wanted === VERSION;
  if (known) session.messageSize = size;
  reply.u32(size).string(known ? VERSION : 'unknown');
};

const attach: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  reader.skip(4);
  reader.string();
  reader.string();
  const uid = reader.u32();
  session.checkFree(number);
  const { folder } = session;
  const status = folder.status(folder.root);
  folder.hold(folder.root);
  session.add(number, folder.root, uid === NO_USER ? 0 : uid);
  writeQid(reply, status);
};

const walk: Operation = ({ session, reader, reply }) => {
  const [from, to, count] = [reader.u32(), reader.u32(), reader.u16()];
  if (count > MAX_WALK) throw new FileError('EINVAL');
  const fid = session.fid(from);
  const start = session.node(from);
  if (to !== from) session.checkFree(to);
  const names = Array.from({ length: count }, () => reader.string());
  const { folder } = session;
  let node = start;
  folder.hold(node);
  const seen: FileStatus[] = [];
  try {
    for (const name of names) {
      const next = step(session, node, name, seen.length === 0);
      if (!next) break;
      folder.release(node);
      ({ node } = next);
      seen.push(next.status);
    }
    reply.u16(seen.length);
    for (const status of seen) writeQid(reply, status);
  } catch (error) {
    folder.release(node);
    throw error;
  }
  // A walk that ends early says how far it came, and makes no fid.
  if (seen.length < count) folder.release(node);
  else if (to === from) session.move(fid, node);
  else session.add(to, node, fid.uid);
};

/** One name of a walk. What fails at the first is an error, later on the end. */
function step({ folder }: P9Session, node: SharedNode, name: string, first: boolean): Found | undefined {
  try {
    const found = name === '..' ? folder.parent(node) : folder.lookup(node, name);
    if (!found) throw new FileError('ENOENT');
    return found;
  } catch (error) {
    if (first || !(error instanceof FileError)) throw error;
    return undefined;
  }
}

const getAttributes: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  const { file } = session.fid(number);
  const status = file ? file.status() : session.folder.status(session.node(number));
  reply.u64(GETATTR_BASIC);
  writeQid(reply, status);
  reply.u32(status.mode, status.uid, status.gid).u64(BigInt(status.links), BigInt(status.device), status.size);
  reply.u64(BigInt(status.blockSize), status.blocks);
  for (const time of [status.accessed, status.modified, status.changed]) {
    const nanoseconds = ((time % BILLION) + BILLION) % BILLION;
    reply.u64(BigInt.asUintN(64, (time - nanoseconds) / BILLION), nanoseconds);
  }
  // Birth time, generation, data version.
  reply.zeros(32);
};

const setAttributes: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const [valid, mode, uid, gid] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()];
  const size = reader.extent();
  const time = (): bigint => BigInt.asIntN(64, reader.u64()) * BILLION + (reader.u64() % BILLION);
  const [accessed, modified] = [time(), time()];
  const change: StatusChange = {
    ...(valid & SET.MODE && { mode: mode & 0o7777 }),
    ...(valid & SET.UID && { uid }),
    ...(valid & SET.GID && { gid }),
    ...(valid & SET.SIZE && { size }),
    ...(valid & SET.ATIME && { accessed: valid & SET.ATIME_SET ? accessed : 'now' }),
    ...(valid & SET.MTIME && { modified: valid & SET.MTIME_SET ? modified : 'now' }),
  };
  const { file, open } = session.fid(number);
  session.folder.change(session.node(number), change, openMode(Math.max(open, 0)).write ? file : undefined);
};

const open: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  const flags = reader.u32();
  const fid = session.fid(number);
  const node = session.node(number);
  if (fid.open >= 0) throw new FileError('EBADF');
  if (node.type === FILE_TYPE.FOLDER) {
    if (flags & OPEN.ACCESS) throw new FileError('EISDIR');
  } else {
    if (flags & OPEN.FOLDER) throw new FileError('ENOTDIR');
    fid.file = session.folder.open(node, openMode(flags));
  }
  fid.open = flags & 0xff_ffff;
  writeQid(reply, fid.file ? fid.file.status() : session.folder.status(node));
  reply.u32(0);
};

const create: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  const name = reader.string();
  const [flags, mode, gid] = [reader.u32(), reader.u32(), reader.u32()];
  const fid = session.fid(number);
  if (fid.open >= 0) throw new FileError('EBADF');
  const file = { mode: mode & 0o7777, uid: fid.uid, gid };
  const how = { ...openMode(flags), exclusive: (flags & OPEN.EXCLUSIVE) !== 0 };
  const made = session.folder.create(session.node(number), name, file, how);
  session.move(fid, made.node);
  fid.file = made.file;
  fid.open = flags & 0xff_ffff;
  writeQid(reply, made.status);
  reply.u32(0);
};

/** A new node for which no fid is made. */
function answerNew({ session, reply }: P9Request, { node, status }: Found): void {
  session.folder.release(node);
  writeQid(reply, status);
}

const makeFolder: Operation = (request) => {
  const { session, reader } = request;
  const number = reader.u32();
  const name = reader.string();
  const [mode, gid] = [reader.u32(), reader.u32()];
  const file = { mode: mode & 0o7777, uid: session.fid(number).uid, gid };
  answerNew(request, session.folder.createFolder(session.node(number), name, file));
};

const symlink: Operation = (request) => {
  const { session, reader } = request;
  const number = reader.u32();
  const [name, target, gid] = [reader.string(), reader.string(), reader.u32()];
  const file = { mode: 0o777, uid: session.fid(number).uid, gid };
  answerNew(request, session.folder.createSymlink(session.node(number), name, target, file));
};

/** Regular files only: Node makes no others, and device nodes are nothing that a guest makes on its host. */
const makeNode: Operation = (request) => {
  const { session, reader } = request;
  const number = reader.u32();
  const name = reader.string();
  const mode = reader.u32();
  const gid = reader.skip(8).u32();
  const type = mode & FILE_TYPE.MASK;
  if (type !== FILE_TYPE.REGULAR && type !== 0) throw new FileError('EPERM');
  const made = session.folder.create(
    session.node(number),
    name,
    { mode: mode & 0o7777, uid: session.fid(number).uid, gid },
    { read: false, write: true, truncate: false, exclusive: true },
  );
  made.file.close();
  answerNew(request, made);
};

const link: Operation = ({ session, reader }) => {
  const [folder, source] = [session.node(reader.u32()), session.node(reader.u32())];
  session.folder.release(session.folder.link(source, folder, reader.string()).node);
};

const renameAt: Operation = ({ session, reader }) => {
  const [from, name] = [session.node(reader.u32()), reader.string()];
  const [to, newName] = [session.node(reader.u32()), reader.string()];
  session.folder.rename(from, name, to, newName, true);
};

/** Does something with the folder that a node is in and its name there. */
function withName({ folder }: P9Session, node: SharedNode, work: (parent: SharedNode, name: string) => void): void {
  const path = folder.pathOf(node);
  const name = path?.at(-1);
  if (!path || name === undefined) throw new FileError(path ? 'EBUSY' : 'ESTALE');
  let at = folder.root;
  folder.hold(at);
  try {
    for (const part of path.slice(0, -1)) {
      const next = folder.lookup(at, part);
      if (!next) throw new FileError('ESTALE');
      folder.release(at);
      at = next.node;
    }
    work(at, name);
  } finally {
    folder.release(at);
  }
}

const rename: Operation = ({ session, reader }) => {
  const [node, to, newName] = [session.node(reader.u32()), session.node(reader.u32()), reader.string()];
  withName(session, node, (parent, name) => session.folder.rename(parent, name, to, newName, true));
};

const unlinkAt: Operation = ({ session, reader }) => {
  const [folder, name] = [session.node(reader.u32()), reader.string()];
  if (reader.u32() & REMOVE_FOLDER) session.folder.removeFolder(folder, name);
  else session.folder.removeFile(folder, name);
};

/** The fid is gone whether that works or not. */
const remove: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const { node } = session.fid(number);
  try {
    if (!node) throw new FileError('ESTALE');
    withName(session, node, (parent, name) => {
      if (node.type === FILE_TYPE.FOLDER) session.folder.removeFolder(parent, name);
      else session.folder.removeFile(parent, name);
    });
  } finally {
    session.clunk(number);
  }
};

const readLink: Operation = ({ session, reader, reply }) => {
  reply.string(session.folder.readLink(session.node(reader.u32())));
};

const readFolder: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  const offset = reader.offset();
  const count = Math.min(reader.u32(), reply.left - 4);
  const entries = session.entries(number, offset === 0);
  const node = session.node(number);
  const { folder } = session;
  const place = reply.reserve();
  const end = reply.length + count;
  // Offset n: the n first of `.`, `..` and the entries have been told.
  for (let next = offset; next < entries.length + 2; next++) {
    const name = next < 2 ? '..'.slice(next === 0 ? 1 : 0) : entries[next - 2].name;
    // qid[13] offset[8] type[1] name[s]
    if (reply.length + 24 + name.length > end) break;
    const found = next === 0 ? { node, status: folder.status(node) } : lookAt(session, node, name);
    // Gone meanwhile.
    if (!found) continue;
    if (next > 0) folder.release(found.node);
    writeQid(reply, found.status);
    reply.number(next + 1).u8((found.status.mode & FILE_TYPE.MASK) >> 12);
    reply.string(name);
  }
  reply.settle(place, reply.length - place - 4);
};

function lookAt({ folder }: P9Session, node: SharedNode, name: string): Found | undefined {
  try {
    return name === '..' ? folder.parent(node) : folder.lookup(node, name);
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}

const read: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  const offset = reader.offset();
  const count = Math.min(reader.u32(), session.messageSize - HEADER - 4, reply.left - 4);
  if (count < 0) throw new FileError('EINVAL');
  const { attribute } = session.fid(number);
  const place = reply.reserve();
  if (attribute) reply.data(readAttribute(attribute, offset, count));
  else {
    const { file } = session.file(number);
    reply.fill(count, (into) => file.read(into, offset));
  }
  reply.settle(place, reply.length - place - 4);
};

const write: Operation = ({ session, reader, reply }) => {
  const number = reader.u32();
  const offset = reader.extent();
  const data = reader.data(reader.u32());
  const fid = session.fid(number);
  if (fid.attribute) {
    writeAttribute(session, fid, offset, data);
    reply.u32(data.length);
    return;
  }
  const { file, flags } = session.file(number);
  reply.u32(file.write(data, flags & OPEN.APPEND ? Number(file.status().size) : offset));
};

const sync: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const { file } = session.fid(number);
  const dataOnly = reader.u32() !== 0;
  if (file) file.sync(dataOnly);
  else session.folder.syncFolder(session.node(number));
};

const statfs: Operation = ({ session, reader, reply }) => {
  session.fid(reader.u32());
  const { blockSize, blocks, free, available, files, freeFiles } = session.folder.space();
  // V9FS_MAGIC; namelen at the end.
  reply.u32(0x0102_1997, blockSize).u64(blocks, free, available, files, freeFiles, 0n).u32(255);
};

/** One client only: the guest's kernel keeps its programs' locks apart itself. */
const lock: Operation = ({ session, reader, reply }) => {
  session.fid(reader.u32());
  reply.u8(0);
};

const getLock: Operation = ({ session, reader, reply }) => {
  session.fid(reader.u32());
  const [start, length, process] = [reader.skip(1).u64(), reader.u64(), reader.u32()];
  reply.u8(UNLOCKED).u64(start, length).u32(process).string(reader.string());
};

/** What is not here (authentication) answers EOPNOTSUPP. */
export const OPERATIONS: Readonly<Partial<Record<number, Operation>>> = {
  [T.STATFS]: statfs,
  [T.LOPEN]: open,
  [T.LCREATE]: create,
  [T.SYMLINK]: symlink,
  [T.MKNOD]: makeNode,
  [T.RENAME]: rename,
  [T.READLINK]: readLink,
  [T.GETATTR]: getAttributes,
  [T.SETATTR]: setAttributes,
  [T.XATTRWALK]: walkAttribute,
  [T.XATTRCREATE]: createAttribute,
  [T.READDIR]: readFolder,
  [T.FSYNC]: sync,
  [T.LOCK]: lock,
  [T.GETLOCK]: getLock,
  [T.LINK]: link,
  [T.MKDIR]: makeFolder,
  [T.RENAMEAT]: renameAt,
  [T.UNLINKAT]: unlinkAt,
  [T.VERSION]: version,
  [T.ATTACH]: attach,
  // Requests are answered before the next is looked at: there is nothing to be flushed.
  [T.FLUSH]: () => {},
  [T.WALK]: walk,
  [T.READ]: read,
  [T.WRITE]: write,
  [T.CLUNK]: clunk,
  [T.REMOVE]: remove,
};
