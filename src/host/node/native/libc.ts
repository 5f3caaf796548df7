/**
 * Calls of the C library that Node does not have, on Linux: locks of open files, holes, and others. Where they cannot be had,
 * `libc` is undefined, and whoever wants them does without.
 */
import { onLinux } from './c-library.js';

/** fcntl(2) and fallocate(2), as asm-generic has them: all architectures that Node runs on. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
export const LOCK = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;
export type LockKind = (typeof LOCK)[keyof typeof LOCK];
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
/** lseek(2). */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** sync_file_range(2). */
const SYNC_FILE_RANGE_WRITE = 2;
/** madvise(2): memory of the process's own is zeros at the next access. */
const MADV_DONTNEED = 4;
/** Linux 5.14: pages are there as if they had been written to. */
const MADV_POPULATE_WRITE = 23;
/** mmap(2), asm-generic/mman-common.h: all but MIPS, PA-RISC and Alpha, on which Node 20 does not run here. */
const PROT_READ_WRITE = 1 | 2;
const MAP_PRIVATE_FIXED = 0x02 | 0x10;
/** struct flock of 64-bit Linux: type and whence (16 bits each), then start and length (64 bits each) from byte 8. */
const FLOCK = { TYPE: 0, START: 8, LENGTH: 16, SIZE: 32 } as const;

export interface Libc {
  /** Sets or removes a lock of the open file description on a range of bytes. 0, or an error number. */
  lock(fd: number, kind: LockKind, start: number, length: number): number;
  /** Whether somebody else's lock would be in the way. Negative: an error number. */
  isLocked(fd: number, kind: LockKind, start: number, length: number): boolean | number;
  /** Makes a hole. 0, or an error number. */
  punchHole(fd: number, offset: number, length: number): number;
  /** Where data or a hole is next, from an offset on; a file ends with a hole. Negative: an error number, ENXIO where there is none. */
  next(what: 'data' | 'hole', fd: number, offset: number): number;
  /** Has the system write what is changed of a range to its disk from now on, which is nothing to rely on. 0, or an error number. */
  beginStoring(fd: number, offset: number, length: number): number;
  /** Puts a file's pages in the place of memory, copied when they are written to. 0, or an error number. */
  mapPrivate(bytes: Uint8Array, fd: number, offset: number): number;
  /** Lets the system have whole pages of memory, which are zeros then. 0, or an error number. */
  discard(bytes: Uint8Array): number;
  /** Has whole pages of memory there before they are written to. 0, or an error number. */
  populate(bytes: Uint8Array): number;
}

const ARCHITECTURES = ['x64', 'arm64', 'riscv64', 'loong64', 'ppc64', 's390x'];

export const libc = onLinux<Libc>(({ koffi, library, func }) => {
  const fcntl = func('int fcntl(int fd, int command, ...)');
  const fallocate = func('int fallocate(int fd, int mode, int64 offset, int64 length)');
  const lseek = func('int64 lseek(int fd, int64 offset, int whence)');
  const syncFileRange = func('int sync_file_range(int fd, int64 offset, int64 length, unsigned int flags)');
  const madvise = func('int madvise(void *start, size_t length, int advice)');
  const mmap = library.func(
    'intptr_t mmap(void *address, size_t length, int protection, int flags, int fd, int64 offset)',
  ) as (...args: unknown[]) => number | bigint;
  const call = (fd: number, command: number, range: { kind: LockKind; start: number; length: number }) => {
    const flock = new Uint8Array(FLOCK.SIZE);
    const view = new DataView(flock.buffer);
    const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
    view.setInt16(FLOCK.TYPE, range.kind, little);
    view.setBigInt64(FLOCK.START, BigInt(range.start), little);
    view.setBigInt64(FLOCK.LENGTH, BigInt(range.length), little);
    const error = fcntl(fd, command, 'void *', flock) === 0 ? 0 : koffi.errno();
    return { error, kind: view.getInt16(FLOCK.TYPE, little) };
  };
  return {
    lock: (fd, kind, start, length) => call(fd, F_OFD_SETLK, { kind, start, length }).error,
    isLocked: (fd, kind, start, length) => {
      const { error, kind: found } = call(fd, F_OFD_GETLK, { kind, start, length });
      return error === 0 ? found !== LOCK.UNLOCK : -error;
    },
    next: (what, fd, offset) => {
      const found = lseek(fd, offset, what === 'data' ? SEEK_DATA : SEEK_HOLE);
      return found < 0 ? -koffi.errno() : found;
    },
    beginStoring: (fd, offset, length) =>
      syncFileRange(fd, offset, length, SYNC_FILE_RANGE_WRITE) === 0 ? 0 : koffi.errno(),
    mapPrivate: (bytes, fd, offset) => {
      const at = mmap(bytes, bytes.length, PROT_READ_WRITE, MAP_PRIVATE_FIXED, fd, offset);
      return Number(at) === -1 ? koffi.errno() : 0;
    },
    discard: (bytes) => (madvise(bytes, bytes.length, MADV_DONTNEED) === 0 ? 0 : koffi.errno()),
    populate: (bytes) => (madvise(bytes, bytes.length, MADV_POPULATE_WRITE) === 0 ? 0 : koffi.errno()),
    punchHole: (fd, offset, length) =>
      fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length) === 0 ? 0 : koffi.errno(),
  };
}, ARCHITECTURES);
