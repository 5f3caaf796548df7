/**
 * Files in memory without names, whose descriptors threads of a process pass to each other, on Linux. Node's workers close the descriptors
 * that they have opened when they end: these are the process's, until somebody closes them.
 */
import { onLinux } from './c-library.js';

/** memfd_create(2), fcntl(2): asm-generic, all architectures that Node runs on. */
const MFD_CLOEXEC = 1;
const F_DUPFD_CLOEXEC = 1030;

export interface MemoryFiles {
  /** A new file, empty. Negative: an error number. */
  create(): number;
  /** Another descriptor of the same open file. Negative: an error number. */
  duplicate(fd: number): number;
  close(fd: number): void;
  /** Where memory lies in this process. */
  address(bytes: Uint8Array): number;
  /** Bytes of a page of the system's. */
  readonly pageSize: number;
}

/** Undefined where they cannot be had. */
export const memoryFiles = onLinux<MemoryFiles>(({ koffi, func }) => {
  const memfd = func('int memfd_create(const char *name, unsigned int flags)');
  const fcntl = func('int fcntl(int fd, int command, ...)');
  const close = func('int close(int fd)');
  const pageSize = func('int getpagesize()')();
  const orError = (result: number): number => (result >= 0 ? result : -koffi.errno());
  return {
    create: () => orError(memfd('vitrine', MFD_CLOEXEC)),
    duplicate: (fd) => orError(fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0)),
    close: (fd) => void close(fd),
    address: (bytes) => Number(koffi.address(bytes)),
    pageSize,
  };
});
