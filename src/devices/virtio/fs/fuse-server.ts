/** A FUSE server over a shared folder: one request in, one answer out, at once. */
import { ERRNO, FileError } from '../../../iface/errno.js';
import type { SharedFolder } from '../../../iface/shared-folder.js';
import * as attributes from './fuse-attributes.js';
import * as files from './fuse-files.js';
import * as names from './fuse-names.js';
import { FUSE_VERSION, IN_HEADER, INIT, OPCODE, OUT_HEADER, Reply, RequestReader } from './fuse-protocol.js';
import { Request, type Operation } from './fuse-request.js';
import { FuseSession, type SessionState } from './fuse-session.js';

/** Most that a request can be: a write with its header and some room for what newer kernels append. */
export const MAX_REQUEST = files.MAX_TRANSFER + 0x2000;

const PAGE = 4096;

/** What of the guest's flags is used. */
const FLAGS =
  INIT.ASYNC_READ |
  INIT.ATOMIC_O_TRUNC |
  INIT.BIG_WRITES |
  INIT.AUTO_INVAL_DATA |
  INIT.DO_READDIRPLUS |
  INIT.READDIRPLUS_AUTO |
  INIT.ASYNC_DIO |
  INIT.PARALLEL_DIROPS |
  INIT.MAX_PAGES |
  INIT.HANDLE_KILLPRIV_V2;

/**
 * What is not here answers ENOSYS, which tells the kernel never to ask again: locks (the guest keeps its own), FLUSH
 * (nothing is held back that closing could lose), ACCESS (the kernel checks permissions itself).
 */
const OPERATIONS: Readonly<Partial<Record<number, Operation>>> = {
  [OPCODE.LOOKUP]: names.lookup,
  [OPCODE.FORGET]: names.forget,
  [OPCODE.GETATTR]: names.getAttributes,
  [OPCODE.SETATTR]: names.setAttributes,
  [OPCODE.READLINK]: names.readLink,
  [OPCODE.SYMLINK]: names.symlink,
  [OPCODE.MKNOD]: names.makeNode,
  [OPCODE.MKDIR]: names.makeFolder,
  [OPCODE.UNLINK]: names.unlink,
  [OPCODE.RMDIR]: names.removeFolder,
  [OPCODE.RENAME]: names.rename,
  [OPCODE.LINK]: names.link,
  [OPCODE.OPEN]: files.open,
  [OPCODE.READ]: files.read,
  [OPCODE.WRITE]: files.write,
  [OPCODE.STATFS]: files.statfs,
  [OPCODE.RELEASE]: files.release,
  [OPCODE.FSYNC]: files.sync,
  [OPCODE.SETXATTR]: attributes.set,
  [OPCODE.GETXATTR]: attributes.get,
  [OPCODE.LISTXATTR]: attributes.list,
  [OPCODE.REMOVEXATTR]: attributes.remove,
  [OPCODE.INIT]: init,
  [OPCODE.OPENDIR]: files.openFolder,
  [OPCODE.READDIR]: files.readFolder,
  [OPCODE.RELEASEDIR]: files.release,
  [OPCODE.FSYNCDIR]: files.syncFolder,
  [OPCODE.CREATE]: names.create,
  [OPCODE.DESTROY]: ({ session }) => session.clear(),
  [OPCODE.BATCH_FORGET]: names.batchForget,
  [OPCODE.FALLOCATE]: files.allocate,
  [OPCODE.READDIRPLUS]: files.readFolderPlus,
  [OPCODE.RENAME2]: names.rename2,
  [OPCODE.LSEEK]: files.seek,
};

/** Requests without an answer. INTERRUPT comes too late in any case: what it is about has been answered. */
const SILENT: ReadonlySet<number> = new Set([OPCODE.FORGET, OPCODE.BATCH_FORGET, OPCODE.INTERRUPT]);

function init({ session, reader, reply }: Request): void {
  const [major, minor, readAhead, flags] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()];
  // Kernels with virtio-fs speak 7.31 or later (Linux 5.4).
  if (major < FUSE_VERSION.MAJOR || (major === FUSE_VERSION.MAJOR && minor < FUSE_VERSION.MINOR))
    throw new FileError('EPROTO');
  reply.u32(FUSE_VERSION.MAJOR, FUSE_VERSION.MINOR);
  // A newer kernel asks again with the version that it was told.
  if (major > FUSE_VERSION.MAJOR) {
    reply.zeros(56);
    return;
  }
  session.clear();
  session.ready = true;
  reply.u32(readAhead, flags & FLAGS);
  // max_background, congestion_threshold: as many at once as the queue holds; times are exact to a nanosecond.
  reply.u16(0xffff).u16(0xffff).u32(files.MAX_TRANSFER, 1);
  reply.u16(files.MAX_TRANSFER / PAGE).u16(0);
  reply.zeros(32);
}

export class FuseServer {
  private readonly session: FuseSession;
  private readonly reply = new Reply();
  /** Requests that were no requests. */
  malformed = 0;

  /** What another guest, or this one before a reset, held of the folder is given up. */
  constructor(folder: SharedFolder) {
    folder.clear();
    this.session = new FuseSession(folder);
  }

  /**
   * Carries a request out. Returns the answer, valid until the next request, or undefined when there is none.
   * `room`: bytes that the guest has for it.
   */
  handle(message: Uint8Array, room: number): Uint8Array | undefined {
    if (message.length < IN_HEADER) {
      this.malformed++;
      return undefined;
    }
    const reader = new RequestReader(message);
    const { opcode, unique, length } = reader.header;
    const { reply, session } = this;
    const silent = SILENT.has(opcode);
    if (!silent && room < OUT_HEADER) {
      this.malformed++;
      return undefined;
    }
    reply.begin(room);
    let errno = 0;
    try {
      if (length !== message.length) throw new FileError('EINVAL');
      if (!session.ready && opcode !== OPCODE.INIT) throw new FileError('EIO');
      const operation = OPERATIONS[opcode];
      if (operation) operation(new Request(session, reader, reply));
      else if (!silent) throw new FileError('ENOSYS');
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      ({ errno } = error);
    }
    return silent ? undefined : reply.finish(unique, errno);
  }

  /** An answer to a request that was too long to look at. */
  refuse(header: Uint8Array): Uint8Array {
    this.malformed++;
    this.reply.begin(OUT_HEADER);
    return this.reply.finish(new RequestReader(header).header.unique, ERRNO.EINVAL);
  }

  clear(): void {
    this.session.clear();
  }

  save(): SessionState {
    return this.session.save();
  }

  restore(state: SessionState): void {
    this.session.restore(state);
  }
}
