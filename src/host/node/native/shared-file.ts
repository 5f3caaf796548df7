/** Memory that processes share by a file, on Linux. */
import * as fs from 'node:fs';
import { HostError } from '../../../base/errors.js';
import { reasonOf } from '../read-file.js';
import { onLinux } from './c-library.js';

const WASM_PAGE = 65_536;
/** mmap(2), as asm-generic has it: all architectures that Node runs on. */
const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 1;
const MAP_FIXED = 0x10;

type Mmap = (at: object, length: number, access: number, flags: number, fd: number, offset: number) => number | bigint;

const loadMmap = (): Mmap | undefined =>
  onLinux(
    ({ library }) =>
      library.func('intptr_t mmap(void *at, size_t length, int access, int flags, int fd, int64 offset)') as Mmap,
  );

/**
 * The contents of a file as memory of `size` bytes, at least; what is written there, all processes see that do the same. Made of zeros if it is not
 * there. Waiting and waking work within a process only. Throws a one-line error when it cannot be had.
 */
export function mapSharedFile(file: string, size: number): SharedArrayBuffer {
  const mmap = loadMmap();
  if (!mmap) throw new HostError('processes cannot share memory here: that takes Linux, and the npm package koffi');
  // A WebAssembly memory lies on pages of its own, which a file can take the place of.
  const pages = Math.ceil(size / WASM_PAGE);
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  if (!(buffer instanceof SharedArrayBuffer)) throw new HostError('this Node.js has no shared memory');
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = fs.constants;
  try {
    const fd = fs.openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      const bytes = new Uint8Array(buffer);
      // Nobody makes it shorter: the pages behind its end would be fatal to touch.
      if (fs.fstatSync(fd).size < bytes.length) fs.ftruncateSync(fd, bytes.length);
      const at = mmap(bytes, bytes.length, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
      if (Number(at) === -1) throw new HostError(`cannot map ${file}`);
    } finally {
      fs.closeSync(fd);
    }
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    throw new HostError(`cannot open ${file}: ${reasonOf(cause)}`, { cause });
  }
  return buffer;
}
