/** The few functions of the C library that KVM needs, by koffi. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { HostError } from '../../base/errors.js';

const OPEN = { RDWR: 2, CLOEXEC: 0o2000000 } as const;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
/** Private, of no file, and without room for it set apart. */
const MAP_MEMORY = 2 | 0x20 | 0x4000;
const SIG_BLOCK = 0;
const CLOCK_MONOTONIC = 1;
const MADV_HUGEPAGE = 14;
const SIGEV_THREAD_ID = 4;
const GETTID = 186;

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOSPC: 28,
} as const;

/** What the usual ones say; others by their numbers. */
const WORDS: Readonly<Record<number, string>> = {
  [ERRNO.EPERM]: 'it is not permitted',
  [ERRNO.EIO]: 'an input/output error',
  [ERRNO.ENXIO]: 'there is no such device any more',
  [ERRNO.ENOMEM]: 'not enough memory',
  [ERRNO.EACCES]: 'it is not permitted',
  [ERRNO.EBUSY]: 'it is in use',
  [ERRNO.EEXIST]: 'it is there already',
  [ERRNO.ENODEV]: 'there is no such device any more',
  [ERRNO.EINVAL]: "the host's KVM does not take it",
  [ERRNO.ENFILE]: 'too many files are open on the host',
  [ERRNO.EMFILE]: 'too many files are open in this process',
  [ERRNO.ENOSPC]: 'no room is left',
};

/** An error of the system in words. */
export const errorText = (errno: number): string => WORDS[errno] ?? `error ${errno} of the system`;

/** By which a timer, and another thread, take a thread out of KVM_RUN: real-time signals that neither Node nor the C library uses. */
export const TIMER_SIGNAL = 50;
export const KICK_SIGNAL = 51;
const SIG_IGN = 1n;

/** Not imported: what is, a bundle loads before it does anything, and where the package is missing all but KVM works. */
const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
const lib = koffi.load('libc.so.6');
/** Declared with the kinds of arguments that they are called with: an address, or a number. */
const functions = {
  open: lib.func('open', 'int', ['str', 'int']),
  close: lib.func('close', 'int', ['int']),
  ioctlBuffer: lib.func('ioctl', 'int', ['int', 'ulong', 'void *']),
  ioctlNumber: lib.func('ioctl', 'int', ['int', 'ulong', 'ulong']),
  mmap: lib.func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'long']),
  munmap: lib.func('munmap', 'int', ['void *', 'size_t']),
  signal: lib.func('signal', 'intptr_t', ['int', 'intptr_t']),
  tgkill: lib.func('tgkill', 'int', ['int', 'int', 'int']),
  sigmask: lib.func('pthread_sigmask', 'int', ['int', 'void *', 'void *']),
  sigtimedwait: lib.func('sigtimedwait', 'int', ['void *', 'void *', 'void *']),
  timerCreate: lib.func('timer_create', 'int', ['int', 'void *', 'void *']),
  timerSettime: lib.func('timer_settime', 'int', ['uintptr_t', 'int', 'void *', 'void *']),
  timerDelete: lib.func('timer_delete', 'int', ['uintptr_t']),
  syscall: lib.func('syscall', 'long', ['long']),
  madvise: lib.func('madvise', 'int', ['void *', 'size_t', 'int']),
  clockGettime: lib.func('clock_gettime', 'int', ['int', 'void *']),
};

/** A call of the system failed. */
export class SystemError extends HostError {
  constructor(
    readonly what: string,
    readonly errno: number,
  ) {
    super(`${what}: ${errorText(errno)}`);
  }
}

/** Opens a device for reading and writing. Throws a SystemError. */
export function open(path: string): number {
  const fd = functions.open(path, OPEN.RDWR | OPEN.CLOEXEC) as number;
  if (fd < 0) throw new SystemError(`open ${path}`, koffi.errno());
  return fd;
}

export function close(fd: number): void {
  functions.close(fd);
}

/** With the address of `bytes`. Returns a number from 0 on; throws a SystemError that says `what` was tried. */
export function ioctl(fd: number, request: number, argument: Uint8Array | number, what: string): number {
  const result = (
    typeof argument === 'number'
      ? functions.ioctlNumber(fd, request, argument)
      : functions.ioctlBuffer(fd, request, argument)
  ) as number;
  if (result < 0) throw new SystemError(what, koffi.errno());
  return result;
}

/** The same for what may be refused. Returns a number from 0 on, or the negative error. */
export function tryIoctl(fd: number, request: number, argument: Uint8Array): number {
  const result = functions.ioctlBuffer(fd, request, argument) as number;
  return result < 0 ? -koffi.errno() : result;
}

/** The same for the one request that is made all the time. Returns 0, or the negative error. */
export function ioctlRun(fd: number, request: number): number {
  return (functions.ioctlNumber(fd, request, 0) as number) < 0 ? -koffi.errno() : 0;
}

export interface Mapping {
  readonly address: bigint;
  readonly view: DataView;
  unmap(): void;
}

/** Memory of this process that is not JavaScript's. It must stay. */
export const viewAt = (address: bigint, length: number): DataView => new DataView(koffi.view(address, length));

/** Maps `length` bytes of a descriptor, shared, for reading and writing. */
export function map(fd: number, length: number): Mapping {
  const at: unknown = functions.mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0);
  const address = addressOf(at);
  if (address === 0xffff_ffff_ffff_ffffn) throw new SystemError('mmap', koffi.errno());
  return {
    address,
    view: new DataView(koffi.view(at, length)),
    unmap: () => {
      functions.munmap(at, length);
    },
  };
}

/** Memory that begins at a page, as zeros. Throws a SystemError. */
export function mapMemory(length: number): Pick<Mapping, 'address' | 'unmap'> {
  const at: unknown = functions.mmap(null, length, PROT_READ_WRITE, MAP_MEMORY, -1, 0);
  const address = addressOf(at);
  if (address === 0xffff_ffff_ffff_ffffn) throw new SystemError('mmap', koffi.errno());
  return {
    address,
    unmap: () => {
      functions.munmap(at, length);
    },
  };
}

/** Asks for huge pages below some memory. A host that has none to give goes on with small ones. */
export function preferHugePages(bytes: Uint8Array): void {
  functions.madvise(bytes, bytes.length, MADV_HUGEPAGE);
}

const timespec = new Uint8Array(16);
const timespecView = new DataView(timespec.buffer);

/** Nanoseconds of the host's clock that never stops. */
export function monotonic(): number {
  functions.clockGettime(CLOCK_MONOTONIC, timespec);
  return Number(timespecView.getBigInt64(0, true)) * 1e9 + Number(timespecView.getBigInt64(8, true));
}

/** The address of a buffer or of a pointer. */
export const addressOf = (value: unknown): bigint => BigInt.asUintN(64, koffi.address(value));

/** A C library's set of signals. */
function setOf(...signals: number[]): Uint8Array {
  const set = new Uint8Array(128);
  for (const signal of signals) set[(signal - 1) >> 3] |= 1 << ((signal - 1) & 7);
  return set;
}

const ourSignals = setOf(TIMER_SIGNAL, KICK_SIGNAL);
const NO_TIME = new Uint8Array(16);

/** Sends a signal to a thread of this process. False: that has gone. */
export function signalThread(thread: number, signal: number): boolean {
  return functions.tgkill(process.pid, thread, signal) === 0;
}

export function deleteTimer(id: bigint): void {
  functions.timerDelete(id);
}

/** A timer that sends the calling thread its signal, which is blocked but where KVM lets it through, as the other one is. */
export class ThreadTimer {
  readonly id: bigint;
  /** The thread, as the system calls it. */
  readonly thread = Number(functions.syscall(GETTID));
  private readonly setting = new Uint8Array(32);
  private readonly settingView = new DataView(this.setting.buffer);

  constructor() {
    functions.sigmask(SIG_BLOCK, ourSignals, null);
    // One that is sent to a thread that has just ended may reach another one of its number. Those that are blocked are kept all the same (Linux).
    for (const signal of [TIMER_SIGNAL, KICK_SIGNAL]) functions.signal(signal, SIG_IGN);
    // struct sigevent: value, signo, notify, thread id.
    const event = new Uint8Array(64);
    const view = new DataView(event.buffer);
    view.setInt32(8, TIMER_SIGNAL, true);
    view.setInt32(12, SIGEV_THREAD_ID, true);
    view.setInt32(16, this.thread, true);
    const id = new Uint8Array(8);
    if ((functions.timerCreate(CLOCK_MONOTONIC, event, id) as number) < 0)
      throw new SystemError('timer_create', koffi.errno());
    this.id = new DataView(id.buffer).getBigUint64(0, true);
  }

  /** Sends the signal after so many nanoseconds, from 1 on, instead of when it was set to before. */
  set(nanoseconds: number): void {
    const seconds = Math.floor(nanoseconds / 1e9);
    this.settingView.setBigInt64(16, BigInt(seconds), true);
    this.settingView.setBigInt64(24, BigInt(Math.max(1, Math.floor(nanoseconds - seconds * 1e9))), true);
    functions.timerSettime(this.id, 0, this.setting, null);
  }

  /** Takes back one of the signals that were sent, the timer's first. Which that was; -1: there is none. */
  drain(): number {
    return functions.sigtimedwait(ourSignals, null, NO_TIME) as number;
  }

  close(): void {
    deleteTimer(this.id);
  }
}

/** The kernel's set of the signals that are blocked in KVM_RUN: struct kvm_signal_mask. */
export function runSignalMask(): Uint8Array {
  const mask = new Uint8Array(12);
  new DataView(mask.buffer).setUint32(0, 8, true);
  return mask;
}
