/**
 * Sockets for ICMP echoes of Linux, which need no rights but a group within /proc/sys/net/ipv4/ping_group_range (icmp(7)). The kernel
 * chooses the identifier and does the checksum.
 */
import { onLinux, type NativeCall as Call } from './c-library.js';

/** Where numbers are as asm-generic has them, words little-endian and pointers 64 bits long. */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64'];
const SOCK = { DGRAM: 2, NONBLOCK: 0x800, CLOEXEC: 0x8_0000 } as const;
const MSG = { DONTWAIT: 0x40, ERRQUEUE: 0x2000 } as const;
/** By family: numbers of the family, the protocol and options (ip(7), ipv6(7)); bytes of a socket's address, and where in it the host's is. */
const FAMILIES = {
  4: { FAMILY: 2, PROTOCOL: 1, LEVEL: 0, TTL: 2, RECVERR: 11, ADDRESS: 16, HOST: 4, LENGTH: 4 },
  6: { FAMILY: 10, PROTOCOL: 58, LEVEL: 41, TTL: 16, RECVERR: 25, ADDRESS: 28, HOST: 8, LENGTH: 16 },
} as const;
/** struct cmsghdr: its length (64 bits), level and type (32 bits each); behind it struct sock_extended_err, and whose error it is. */
const CONTROL = { LEVEL: 8, TYPE: 12, ORIGIN: 20, ICMP_TYPE: 21, ICMP_CODE: 22, OFFENDER: 32, SIZE: 256 } as const;
/** SO_EE_ORIGIN_ICMP and _ICMP6. */
const ORIGINS: readonly number[] = [2, 3];
/** Of the request that an error is about: more than its header is of no use. */
const QUOTED = 8;

const EPERM = 1;
const EACCES = 13;
const UNREACHABLE: readonly number[] = [/* ENETUNREACH */ 101, /* EHOSTUNREACH */ 113];

interface Calls {
  socket: Call;
  setsockopt: Call;
  sendto: Call;
  recvmsg: Call;
  inet_pton: Call;
  errno(): number;
}

const load = (): Calls | undefined =>
  onLinux(({ koffi, library, func }) => {
    const iovec = koffi.struct({ base: 'void *', length: 'size_t' });
    const msghdr = koffi.struct({
      name: 'void *',
      nameLength: 'uint32_t',
      vectors: koffi.pointer(iovec),
      count: 'size_t',
      control: 'void *',
      controlLength: 'size_t',
      flags: 'int',
    });
    return {
      socket: func('int socket(int family, int type, int protocol)'),
      setsockopt: func('int setsockopt(int fd, int level, int option, void *value, uint32_t length)'),
      sendto: func('intptr_t sendto(int fd, void *bytes, size_t length, int flags, void *address, uint32_t size)'),
      recvmsg: library.func('recvmsg', 'intptr_t', ['int', koffi.inout(koffi.pointer(msghdr)), 'int']) as Call,
      inet_pton: func('int inet_pton(int family, const char *text, void *into)'),
      errno: () => koffi.errno(),
    };
  }, ARCHITECTURES);

let loaded: { readonly calls: Calls | undefined } | undefined;

/** An error out of a socket's queue. */
export interface QueuedError {
  /** Where the request was to go. */
  readonly address: string;
  readonly sequence: number;
  readonly from: string;
  readonly type: number;
  readonly code: number;
}

export class PingSocket {
  private readonly of: (typeof FAMILIES)[4 | 6];

  private constructor(
    private readonly calls: Calls,
    /** Its owner closes it. */
    readonly fd: number,
    family: 4 | 6,
  ) {
    this.of = FAMILIES[family];
    this.setOption(this.of.RECVERR, 1);
  }

  /**
   * Undefined: this host, or this user, has none. `whileLoading` is given what loads native code, and does it, or gives undefined where
   * that must not be.
   */
  static open(family: 4 | 6, whileLoading: <T>(load: () => T) => T | undefined): PingSocket | undefined {
    loaded ??= whileLoading(() => ({ calls: load() }));
    const calls = loaded?.calls;
    if (!calls) return undefined;
    const { FAMILY, PROTOCOL } = FAMILIES[family];
    const fd = calls.socket(FAMILY, SOCK.DGRAM | SOCK.NONBLOCK | SOCK.CLOEXEC, PROTOCOL);
    return fd < 0 ? undefined : new PingSocket(calls, fd, family);
  }

  private setOption(option: number, value: number): void {
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    this.calls.setsockopt(this.fd, this.of.LEVEL, option, bytes, bytes.length);
  }

  /** 1 … 255, for what is sent from now on. */
  setHopLimit(limit: number): void {
    this.setOption(this.of.TTL, limit);
  }

  /** Sends a message, whose checksum and identifier do not matter. An error that came for an earlier one may be told instead. */
  send(message: Uint8Array, address: string): 'sent' | 'unreachable' | 'prohibited' | 'lost' {
    const { calls, of } = this;
    const to = new Uint8Array(of.ADDRESS);
    new DataView(to.buffer).setUint16(0, of.FAMILY, true);
    const host = new Uint8Array(of.LENGTH);
    if (calls.inet_pton(of.FAMILY, address, host) !== 1) return 'lost';
    to.set(host, of.HOST);
    if (calls.sendto(this.fd, message, message.length, MSG.DONTWAIT, to, to.length) >= 0) return 'sent';
    const error = calls.errno();
    if (UNREACHABLE.includes(error)) return 'unreachable';
    // EACCES is for addresses of everybody, EPERM a firewall's.
    return error === EACCES || error === EPERM ? 'prohibited' : 'lost';
  }

  /** What is next in the queue of errors (IP_RECVERR); undefined: nothing. `other`: it is about no message of ours. */
  takeError(): QueuedError | 'other' | undefined {
    const { calls, of } = this;
    const [name, data, control] = [of.ADDRESS, QUOTED, CONTROL.SIZE].map((length) => new Uint8Array(length));
    const header = {
      ...{ name, nameLength: name.length },
      ...{ vectors: [{ base: data, length: data.length }], count: 1 },
      ...{ control, controlLength: control.length, flags: 0 },
    };
    const length = calls.recvmsg(this.fd, header, MSG.ERRQUEUE | MSG.DONTWAIT);
    if (length < 0) return undefined;
    const view = new DataView(control.buffer);
    const isError = view.getInt32(CONTROL.LEVEL, true) === of.LEVEL && view.getInt32(CONTROL.TYPE, true) === of.RECVERR;
    const offender = control.subarray(CONTROL.OFFENDER);
    if (!isError || !ORIGINS.includes(control[CONTROL.ORIGIN]) || length < QUOTED || offender[0] !== of.FAMILY)
      return 'other';
    return {
      address: this.hostOf(name),
      sequence: (data[6] << 8) | data[7],
      from: this.hostOf(offender),
      type: control[CONTROL.ICMP_TYPE],
      code: control[CONTROL.ICMP_CODE],
    };
  }

  private hostOf(address: Uint8Array): string {
    const { HOST, LENGTH } = this.of;
    const host = [...address.subarray(HOST, HOST + LENGTH)];
    if (LENGTH === 4) return host.join('.');
    return host.map((byte, i) => byte.toString(16).padStart(2, '0') + (i % 2 === 1 && i < 15 ? ':' : '')).join('');
  }
}
