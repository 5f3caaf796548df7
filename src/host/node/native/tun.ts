/** TAP interfaces of Linux (Documentation/networking/tuntap.rst, linux/if_tun.h): opened, and watched for frames. */
import * as fs from 'node:fs';
import { HostError } from '../../../base/errors.js';
import { reasonOf } from '../read-file.js';
import { cLibrary } from './c-library.js';
import { loading } from './loading.js';

const DEVICE = '/dev/net/tun';
/** Where numbers of ioctls are built as asm-generic has it, and words are little-endian. */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64'];
const IOCTL = { TUNSETIFF: 0x4004_54ca, TUNSETOFFLOAD: 0x4004_54d0, TUNSETVNETHDRSZ: 0x4004_54d8 } as const;
const IFF = { TAP: 2, MULTI_QUEUE: 0x100, NO_PI: 0x1000, VNET_HDR: 0x4000 } as const;
/** struct ifreq: the name, 16 bytes with a zero at the end, then flags. */
const IFREQ = { FLAGS: 16, SIZE: 40 } as const;
export const IFNAME_MAX = 15;
/** What the kernel may leave to whoever reads: TUNSETOFFLOAD. */
export const TUN_OFFLOAD = { CHECKSUM: 1, TCP4: 2, TCP6: 4 } as const;
/** struct virtio_net_hdr with the number of buffers: in front of each frame. */
export const VNET_HEADER = 12;

/** struct pollfd: descriptor (32 bits), events, what happened (16 bits each). */
const POLL = { SIZE: 8, EVENTS: 4, HAPPENED: 6, IN: 1 } as const;
/** Milliseconds: for so long a thread that is to end may be waited for. */
const PATIENCE = 200;

const EPERM = 1;
const EBUSY = 16;
const EINVAL = 22;

interface Calls {
  ioctl(fd: number, request: number, argument: Uint8Array | number): number;
  read(fd: number, into: Uint8Array): number;
  write(fd: number, bytes: Uint8Array, length: number): number;
  /** Waits on another thread. */
  poll(fds: Uint8Array, count: number, done: () => void): void;
}

let loaded: Calls | undefined;

function load(): Calls {
  const { koffi, func } = cLibrary();
  const ioctl = func('int ioctl(int fd, unsigned long request, ...)');
  const read = func('intptr_t read(int fd, void *into, size_t length)');
  const write = func('intptr_t write(int fd, void *bytes, size_t length)');
  const poll = func('int poll(void *fds, unsigned long count, int timeout)');
  const errorOf = (result: number): number => (result >= 0 ? result : -koffi.errno());
  return {
    ioctl: (fd, request, argument) =>
      errorOf(
        typeof argument === 'number'
          ? ioctl(fd, request, 'unsigned long', argument)
          : ioctl(fd, request, 'void *', argument),
      ),
    read: (fd, into) => errorOf(read(fd, into, into.length)),
    write: (fd, bytes, length) => errorOf(write(fd, bytes, length)),
    poll: (fds, count, done) => poll.async(fds, count, PATIENCE, done),
  };
}

function calls(): Calls {
  if (loaded) return loaded;
  if (process.platform !== 'linux' || !ARCHITECTURES.includes(process.arch))
    throw new HostError('there are tap interfaces on Linux only');
  try {
    loaded = loading(load);
    return loaded;
  } catch (cause) {
    throw new HostError('tap interfaces need the package koffi, which has no binary for this system', { cause });
  }
}

/** An open tap interface. Frames come and go with a VNET_HEADER in front. */
export class TapDevice {
  private offloads = -1;

  private constructor(
    private readonly calls: Calls,
    readonly fd: number,
    /** As the kernel calls it. */
    readonly name: string,
  ) {}

  /** Opens an interface, or makes it where that is allowed; an empty name: one is chosen. Throws a one-line error. */
  static open(name: string): TapDevice {
    const kernel = calls();
    const what = name === '' ? 'a tap interface' : `the tap interface ${name}`;
    let fd: number;
    try {
      fd = fs.openSync(DEVICE, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    } catch (cause) {
      throw new HostError(`cannot open ${what}: ${DEVICE}: ${reasonOf(cause)}`, { cause });
    }
    const attach = (flags: number): readonly [number, Uint8Array] => {
      const request = new Uint8Array(IFREQ.SIZE);
      request.set(new TextEncoder().encode(name));
      new DataView(request.buffer).setUint16(IFREQ.FLAGS, flags, true);
      return [kernel.ioctl(fd, IOCTL.TUNSETIFF, request), request];
    };
    const flags = IFF.TAP | IFF.NO_PI | IFF.VNET_HDR;
    let [result, request] = attach(flags);
    // An interface that was made for several queues wants to be told that this is one of them.
    if (result === -EINVAL) [result, request] = attach(flags | IFF.MULTI_QUEUE);
    if (result < 0) {
      fs.closeSync(fd);
      throw new HostError(`cannot open ${what}: ${refusal(-result)}`);
    }
    const size = new Uint8Array(Uint32Array.of(VNET_HEADER).buffer);
    const sized = kernel.ioctl(fd, IOCTL.TUNSETVNETHDRSZ, size);
    if (sized < 0) {
      fs.closeSync(fd);
      throw new HostError(`cannot set up ${what}: error ${-sized} of the system`);
    }
    return new TapDevice(kernel, fd, new TextDecoder().decode(request.subarray(0, request.indexOf(0))));
  }

  /** What the kernel may leave undone: TUN_OFFLOAD. */
  setOffloads(bits: number): void {
    if (bits === this.offloads) return;
    this.offloads = bits;
    // A kernel that knows less leaves less undone.
    if (this.calls.ioctl(this.fd, IOCTL.TUNSETOFFLOAD, bits) < 0) this.calls.ioctl(this.fd, IOCTL.TUNSETOFFLOAD, 0);
  }

  /** Bytes of a frame and its header; 0: there is none now. */
  read(into: Uint8Array): number {
    return Math.max(0, this.calls.read(this.fd, into));
  }

  /** False: it was lost, since the interface is down or its queue full. */
  write(bytes: Uint8Array, length: number): boolean {
    return this.calls.write(this.fd, bytes, length) === length;
  }
}

function refusal(error: number): string {
  if (error === EPERM)
    return 'permission denied (it is not there, and only root can make it, or it belongs to somebody else)';
  if (error === EBUSY) return 'it is in use';
  return error === EINVAL ? 'there is an interface of that name, which is no tap' : `error ${error} of the system`;
}

/** Interfaces that wait for frames: one thread of the pool for all of them. */
const watched = new Map<number, () => void>();
let polling = false;

/** Calls `readable` again and again while there is something to read. Returns what ends that. */
export function watchTap({ fd }: TapDevice, readable: () => void): { pause: () => void; resume: () => void } {
  const resume = (): void => {
    watched.set(fd, readable);
    if (!polling) poll();
  };
  resume();
  return { pause: () => void watched.delete(fd), resume };
}

function poll(): void {
  const fds = [...watched.keys()];
  polling = fds.length > 0;
  if (!polling) return;
  const memory = new Uint8Array(fds.length * POLL.SIZE);
  const view = new DataView(memory.buffer);
  fds.forEach((fd, i) => {
    view.setInt32(i * POLL.SIZE, fd, true);
    view.setInt16(i * POLL.SIZE + POLL.EVENTS, POLL.IN, true);
  });
  calls().poll(memory, fds.length, () => {
    fds.forEach((fd, i) => {
      if (view.getInt16(i * POLL.SIZE + POLL.HAPPENED, true) & POLL.IN) watched.get(fd)?.();
    });
    poll();
  });
}
