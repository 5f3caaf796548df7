/** Operations on names and nodes. */
import { FileError } from '../../../iface/errno.js';
import {
  FILE_TYPE,
  type FileStatus,
  type Found,
  type NewFile,
  type SharedFolder,
  type SharedNode,
  type StatusChange,
} from '../../../iface/shared-folder.js';
import type { Operation, Request } from './fuse-request.js';
import { openMode } from './fuse-session.js';
import { GETATTR_FH, OPEN, RENAME_NOREPLACE, SET, type Reply } from './fuse-protocol.js';

/** Seconds that a guest may believe what it was told; what the host changes shows after that. */
const VALID_SECONDS = 1n;

/** Permissions, inode(7). */
const MODE = { SET_USER: 0o4000, SET_GROUP: 0o2000, GROUP_RUNS: 0o0010, ALL: 0o7777 } as const;

const BILLION = 1_000_000_000n;

/** Whole seconds, rounded down, and nanoseconds. */
function splitTime(time: bigint): { readonly seconds: bigint; readonly nanoseconds: number } {
  const nanoseconds = ((time % BILLION) + BILLION) % BILLION;
  return { seconds: BigInt.asUintN(64, (time - nanoseconds) / BILLION), nanoseconds: Number(nanoseconds) };
}

const joinTime = (seconds: bigint, nanoseconds: number): bigint =>
  BigInt.asIntN(64, seconds) * BILLION + BigInt(nanoseconds);

/** struct fuse_attr. */
function writeAttributes(reply: Reply, status: FileStatus): void {
  const times = [status.accessed, status.modified, status.changed].map(splitTime);
  reply.u64(status.ino).u64(status.size).u64(status.blocks);
  for (const { seconds } of times) reply.u64(seconds);
  for (const { nanoseconds } of times) reply.u32(nanoseconds);
  reply.u32(status.mode, Math.min(status.links, 0xffff_ffff), status.uid, status.gid, status.device);
  reply.u32(status.blockSize, 0);
}

/** struct fuse_entry_out; all zeros: there is no such name, and nobody need ask again for a while. */
export function writeEntry(reply: Reply, nodeId: number, status: FileStatus): void {
  // Generation 0: numbers of nodes are never used again.
  reply.number(nodeId).u64(0n).u64(VALID_SECONDS).u64(VALID_SECONDS).u32(0, 0);
  writeAttributes(reply, status);
}

function answerEntry({ session, reply }: Request, found: Found): void {
  writeEntry(reply, session.enter(found), found.status);
}

/** struct fuse_attr_out. */
function answerAttributes({ reply }: Request, status: FileStatus): void {
  reply.u64(VALID_SECONDS).u32(0, 0);
  writeAttributes(reply, status);
}

/**
 * What a write by somebody without rights of his own does to a set-user-ID program, and to a set-group-ID one that its group may run:
 * without that the bit means mandatory locking and stays (FUSE_HANDLE_KILLPRIV_V2 in Linux's include/uapi/linux/fuse.h).
 */
export function endSpecialRights(folder: SharedFolder, node: SharedNode, { mode }: FileStatus): void {
  if ((mode & FILE_TYPE.MASK) !== FILE_TYPE.REGULAR) return;
  const ended = (mode & MODE.SET_USER) | ((mode & MODE.GROUP_RUNS) === 0 ? 0 : mode & MODE.SET_GROUP);
  if (ended !== 0) folder.change(node, { mode: mode & MODE.ALL & ~ended });
}

const newFile = ({ reader: { header } }: Request, mode: number): NewFile => ({
  mode: mode & 0o7777,
  uid: header.uid,
  gid: header.gid,
});

export const lookup: Operation = (request) => {
  const found = request.folder.lookup(request.node(), request.reader.name());
  if (!found) throw new FileError('ENOENT');
  answerEntry(request, found);
};

/** Has no answer. */
export const forget: Operation = ({ session, reader }) => {
  session.forget(reader.header.node, reader.number());
};

/** Has no answer. */
export const batchForget: Operation = ({ session, reader }) => {
  const count = reader.u32();
  reader.skip(4);
  for (let i = 0; i < count; i++) session.forget(reader.number(), reader.number());
};

export const getAttributes: Operation = (request) => {
  const { session, folder, reader } = request;
  const flags = reader.u32();
  const file = flags & GETATTR_FH ? session.fileIfOpen(reader.skip(4).number()) : undefined;
  answerAttributes(request, file ? file.status() : folder.status(request.node()));
};

export const setAttributes: Operation = (request) => {
  const { session, folder, reader } = request;
  const valid = reader.u32();
  const handle = reader.skip(4).number();
  const size = reader.extent();
  const [accessed, modified] = [reader.skip(8).u64(), reader.u64()];
  const [accessedNs, modifiedNs] = [reader.skip(8).u32(), reader.u32()];
  const mode = reader.skip(4).u32();
  const [uid, gid] = [reader.skip(4).u32(), reader.u32()];
  const time = (which: number, now: number, seconds: bigint, nanoseconds: number): bigint | 'now' | undefined => {
    if (!(valid & which)) return undefined;
    return valid & now ? 'now' : joinTime(seconds, nanoseconds);
  };
  const [a, m] = [
    time(SET.ATIME, SET.ATIME_NOW, accessed, accessedNs),
    time(SET.MTIME, SET.MTIME_NOW, modified, modifiedNs),
  ];
  const change: StatusChange = {
    ...(valid & SET.MODE && { mode: mode & 0o7777 }),
    ...(valid & SET.UID && { uid }),
    ...(valid & SET.GID && { gid }),
    ...(valid & SET.SIZE && { size }),
    ...(a !== undefined && { accessed: a }),
    ...(m !== undefined && { modified: m }),
  };
  const file = valid & SET.FH ? session.fileIfOpen(handle) : undefined;
  const status = folder.change(request.node(), change, file);
  if (valid & SET.KILL_SUIDGID) endSpecialRights(folder, request.node(), status);
  answerAttributes(request, valid & SET.KILL_SUIDGID ? folder.status(request.node()) : status);
};

export const readLink: Operation = (request) => {
  request.reply.text(request.folder.readLink(request.node()));
};

export const symlink: Operation = (request) => {
  const name = request.reader.name();
  const target = request.reader.name();
  answerEntry(request, request.folder.createSymlink(request.node(), name, target, newFile(request, 0o777)));
};

/** Regular files only: Node makes no others, and device nodes are nothing that a guest makes on its host. */
export const makeNode: Operation = (request) => {
  const { folder, reader } = request;
  const mode = reader.u32();
  const name = reader.skip(12).name();
  const type = mode & FILE_TYPE.MASK;
  if (type !== FILE_TYPE.REGULAR && type !== 0) throw new FileError('EPERM');
  const how = { read: false, write: true, truncate: false, exclusive: true };
  const { file, ...found } = folder.create(request.node(), name, newFile(request, mode), how);
  file.close();
  answerEntry(request, found);
};

export const makeFolder: Operation = (request) => {
  const mode = request.reader.u32();
  const name = request.reader.skip(4).name();
  answerEntry(request, request.folder.createFolder(request.node(), name, newFile(request, mode)));
};

export const unlink: Operation = (request) => request.folder.removeFile(request.node(), request.reader.name());

export const removeFolder: Operation = (request) => request.folder.removeFolder(request.node(), request.reader.name());

function renameTo(request: Request, to: number, flags: number): void {
  // Exchanging two names and leaving a whiteout take system calls that Node does not have.
  if (flags & ~RENAME_NOREPLACE) throw new FileError('EINVAL');
  const { session, folder, reader } = request;
  const [name, newName] = [reader.name(), reader.name()];
  folder.rename(request.node(), name, session.node(to), newName, !(flags & RENAME_NOREPLACE));
}

export const rename: Operation = (request) => renameTo(request, request.reader.number(), 0);

export const rename2: Operation = (request) => {
  const to = request.reader.number();
  const flags = request.reader.u32();
  request.reader.skip(4);
  renameTo(request, to, flags);
};

export const link: Operation = (request) => {
  const { session, folder, reader } = request;
  const node = session.node(reader.number());
  answerEntry(request, folder.link(node, request.node(), reader.name()));
};

export const create: Operation = (request) => {
  const { session, folder, reader } = request;
  const [flags, mode] = [reader.u32(), reader.u32()];
  const name = reader.skip(8).name();
  session.checkRoom();
  const how = { ...openMode(flags), exclusive: (flags & OPEN.EXCLUSIVE) !== 0 };
  const { file, ...found } = folder.create(request.node(), name, newFile(request, mode), how);
  const nodeId = session.enter(found);
  writeEntry(request.reply, nodeId, found.status);
  request.reply.number(session.addFile(nodeId, flags, file)).u32(0, 0);
};
