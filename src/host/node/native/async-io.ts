/**
 * Linux's asynchronous transfers between memory and files that are opened past the host's cache: io_setup(2), io_submit(2), io_getevents(2). The C library has
 * no functions for them.
 */
import { onLinux } from './c-library.js';

/** Numbers of the calls: of x86-64, and of asm-generic. */
const CALLS = {
  x64: { SETUP: 206, DESTROY: 207, GET_EVENTS: 208, SUBMIT: 209 },
  generic: { SETUP: 0, DESTROY: 1, SUBMIT: 2, GET_EVENTS: 4 },
} as const;
/** linux/aio_abi.h: struct iocb and struct io_event of little-endian hosts. */
const IOCB = { DATA: 0, OPCODE: 16, FD: 20, BUFFER: 24, LENGTH: 32, OFFSET: 40, SIZE: 64 } as const;
const EVENT = { DATA: 0, RESULT: 16, SIZE: 32 } as const;
const OPCODE = { read: 0, write: 1 } as const;

export interface AsyncTransfer {
  readonly fd: number;
  readonly kind: 'read' | 'write';
  readonly offset: number;
  /** Stays where it is, and is not let go of, until the transfer is done. */
  readonly bytes: Uint8Array;
}

/** Transfers of one thread, by numbers from 0 on that are free. */
export interface AsyncQueue {
  /** 0, or an error number. */
  submit(number: number, transfer: AsyncTransfer): number;
  /** Waits for one that is done, `nanoseconds` at most, and tells of all that are: their numbers, and what they have moved, or a negative error number. */
  take(nanoseconds: number, told: (number: number, result: number) => void): void;
  /** Waits for what is under way. */
  close(): void;
}

/** Makes a queue for at most so many transfers at a time; undefined where the system does not let it. The whole is undefined where there can be none. */
export const openAsyncQueue = onLinux<(most: number) => AsyncQueue | undefined>(
  ({ koffi, library }) => {
    const call = CALLS[process.arch === 'x64' ? 'x64' : 'generic'];
    const declare = (types: string): ((...args: unknown[]) => number) =>
      library.func(`long syscall(long number, ${types})`) as (...args: unknown[]) => number;
    const setup = declare('unsigned int most, void *context');
    const destroy = declare('uint64 context');
    const submit = declare('uint64 context, long count, void *list');
    const getEvents = declare('uint64 context, long least, long most, void *events, void *timeout');
    return (most) => {
      const context = new BigUint64Array(1);
      if (setup(call.SETUP, most, context) !== 0) return undefined;
      const requests = new DataView(new ArrayBuffer(IOCB.SIZE * most));
      const start = koffi.address(new Uint8Array(requests.buffer));
      const list = new BigUint64Array(1);
      const events = new DataView(new ArrayBuffer(EVENT.SIZE * most));
      const eventBytes = new Uint8Array(events.buffer);
      const timeout = new BigInt64Array(2);
      return {
        submit: (number, { fd, kind, offset, bytes }) => {
          const at = number * IOCB.SIZE;
          requests.setBigUint64(at + IOCB.DATA, BigInt(number), true);
          requests.setUint16(at + IOCB.OPCODE, OPCODE[kind], true);
          requests.setUint32(at + IOCB.FD, fd, true);
          requests.setBigUint64(at + IOCB.BUFFER, koffi.address(bytes), true);
          requests.setBigUint64(at + IOCB.LENGTH, BigInt(bytes.length), true);
          requests.setBigInt64(at + IOCB.OFFSET, BigInt(offset), true);
          list[0] = start + BigInt(at);
          return submit(call.SUBMIT, context[0], 1, list) === 1 ? 0 : koffi.errno();
        },
        take: (nanoseconds, told) => {
          timeout[0] = BigInt(Math.floor(nanoseconds / 1e9));
          timeout[1] = BigInt(Math.floor(nanoseconds % 1e9));
          const least = nanoseconds > 0 ? 1 : 0;
          const count = getEvents(call.GET_EVENTS, context[0], least, most, eventBytes, timeout);
          for (let i = 0; i < count; i++) {
            const at = i * EVENT.SIZE;
            told(
              Number(events.getBigUint64(at + EVENT.DATA, true)),
              Number(events.getBigInt64(at + EVENT.RESULT, true)),
            );
          }
        },
        close: () => {
          destroy(call.DESTROY, context[0]);
        },
      };
    };
  },
  ['x64', 'arm64', 'riscv64', 'loong64'],
);
