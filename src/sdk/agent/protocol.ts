/** What passes between the guest's agent and its host, as docs/agent.md describes it; guest/agent/protocol.h is the other side. */
import { VitrineError } from '../../base/errors.js';

/** The port of the virtio console that the agent looks for. */
export const AGENT_PORT = 'vitrine.agent';

export const PROTOCOL_VERSION = 1;

/** Begins the payload of HELLO and READY. */
export const MAGIC: Uint8Array = new TextEncoder().encode('vitrine-agent\r\n\0');

/** Bytes ahead of a payload: its length (16 bits), type, aux (8 bits each), stream (32 bits); little-endian. */
export const HEADER = 8;
/** Bytes of a frame with its header, at most. */
export const MAX_FRAME = 32_768;
/** Bytes of a frame to the guest: what Linux's driver has one buffer for. */
export const HOST_FRAME = 4096;
/** Bytes of a request in all its frames. */
export const MAX_REQUEST = 256 * 1024;
/** Texts of a request, about. */
export const MAX_TEXTS = 8000;
/** Bytes of standard input that may be under way. */
export const IN_WINDOW = 64 * 1024;
/** Bytes of each output that may be under way. */
export const OUT_WINDOW = 256 * 1024;

/** Frames to the guest. */
export const HOST = { HELLO: 1, OPEN: 2, DATA: 3, EOF: 4, CREDIT: 5, SIGNAL: 6, RESIZE: 7, CLOSE: 8 } as const;

/** Frames from the guest. */
export const GUEST = {
  READY: 0x81,
  HELLO: 0x82,
  DATA: 0x83,
  EOF: 0x84,
  CREDIT: 0x85,
  STARTED: 0x86,
  EXIT: 0x87,
  FAILED: 0x88,
} as const;

const HELLO_FLAG = { CLOCK: 1, ENTROPY: 2, IDENTITY: 4 } as const;
const REQUEST_FLAG = { APPLET: 1, TTY: 2, STDIN: 4, MERGE: 8 } as const;
const OPEN_MORE = 1;

/** The guest's agent says what no agent says: nothing more is believed. */
export class ProtocolError extends VitrineError {
  override readonly name = 'ProtocolError';
  constructor(what: string) {
    super(`the guest's agent does not keep to its protocol: ${what}`);
  }
}

export interface Frame {
  readonly type: number;
  readonly aux: number;
  readonly stream: number;
  /** Valid until the next call of the reader. */
  readonly payload: Uint8Array;
}

/** Cuts what comes from the guest into frames. Whatever the guest sends, it holds at most one frame. */
export class FrameReader {
  private readonly partial = new Uint8Array(MAX_FRAME);
  private filled = 0;

  /** Forgets what is unfinished. */
  reset(): void {
    this.filled = 0;
  }

  /** Throws a ProtocolError at a frame that is too long. */
  read(bytes: Uint8Array, take: (frame: Frame) => void): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.filled === 0 && bytes.length - at >= HEADER) {
        // The usual case: a whole frame, which needs no copy.
        const end = at + this.lengthAt(bytes, at);
        if (end <= bytes.length) {
          take(frameOf(bytes.subarray(at, end)));
          at = end;
          continue;
        }
      }
      const wanted = this.filled < HEADER ? HEADER : this.lengthAt(this.partial, 0);
      const part = Math.min(wanted - this.filled, bytes.length - at);
      this.partial.set(bytes.subarray(at, at + part), this.filled);
      this.filled += part;
      at += part;
      if (this.filled >= HEADER && this.filled === this.lengthAt(this.partial, 0)) {
        this.filled = 0;
        take(frameOf(this.partial.subarray(0, this.lengthAt(this.partial, 0))));
      }
    }
  }

  private lengthAt(bytes: Uint8Array, at: number): number {
    const length = HEADER + (bytes[at] | (bytes[at + 1] << 8));
    if (length > MAX_FRAME) throw new ProtocolError(`a frame of ${length} bytes`);
    return length;
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

function frameOf(bytes: Uint8Array): Frame {
  return { type: bytes[2], aux: bytes[3], stream: viewOf(bytes).getUint32(4, true), payload: bytes.subarray(HEADER) };
}

/** Writes a header. */
export function putHeader(to: Uint8Array, at: number, type: number, aux: number, stream: number, length: number): void {
  const view = viewOf(to);
  view.setUint16(at, length, true);
  to[at + 2] = type;
  to[at + 3] = aux;
  view.setUint32(at + 4, stream, true);
}

export function frame(type: number, stream: number, payload: Uint8Array = new Uint8Array(0), aux = 0): Uint8Array {
  const bytes = new Uint8Array(HEADER + payload.length);
  putHeader(bytes, 0, type, aux, stream, payload.length);
  bytes.set(payload, HEADER);
  return bytes;
}

/** A frame whose payload is one number of 32 bits. */
export function numberFrame(type: number, stream: number, value: number, aux = 0): Uint8Array {
  const payload = new Uint8Array(4);
  viewOf(payload).setUint32(0, value, true);
  return frame(type, stream, payload, aux);
}

export function sizeFrame(stream: number, { columns, rows }: TerminalSize): Uint8Array {
  const payload = new Uint8Array(4);
  viewOf(payload).setUint16(0, rows, true);
  viewOf(payload).setUint16(2, columns, true);
  return frame(HOST.RESIZE, stream, payload);
}

/** By what a host tells who it is; `nonce` tells its connections apart. */
export interface Hello {
  readonly nonce: bigint;
  /** Milliseconds since 1970 that the guest's clock is set to; undefined: it is left alone. */
  readonly time: number | undefined;
  /** Random bytes for the guest's pool, at most 64. */
  readonly entropy: Uint8Array;
  /** What the guest is to be known by: the words of the applet `identity`, without zeros. */
  readonly identity?: readonly string[];
}

export function helloFrame({ nonce, time, entropy, identity }: Hello): Uint8Array {
  const texts = new TextEncoder().encode((identity ?? []).map((text) => `${text}\0`).join(''));
  const payload = new Uint8Array(48 + entropy.length + texts.length);
  const view = viewOf(payload);
  payload.set(MAGIC);
  view.setUint32(16, PROTOCOL_VERSION, true);
  const flags =
    (time === undefined ? 0 : HELLO_FLAG.CLOCK) |
    (entropy.length > 0 ? HELLO_FLAG.ENTROPY : 0) |
    (identity ? HELLO_FLAG.IDENTITY : 0);
  view.setUint32(20, flags, true);
  view.setBigUint64(24, nonce, true);
  if (time !== undefined) {
    view.setBigUint64(32, BigInt(Math.floor(time / 1000)), true);
    view.setUint32(40, Math.floor((time % 1000) * 1e6), true);
  }
  view.setUint32(44, entropy.length, true);
  payload.set(entropy, 48);
  payload.set(texts, 48 + entropy.length);
  return frame(HOST.HELLO, 0, payload);
}

/** What the agent says of itself, in READY and HELLO. */
export interface Introduction {
  readonly version: number;
  /** 1, where the agent is the guest's first process. */
  readonly pid: number;
  /** Of the host that it answers. */
  readonly nonce: bigint;
  /** What came of the identity, as Linux numbers errors; 0: nothing is wrong. */
  readonly identityErrno: number;
}

export function readIntroduction(payload: Uint8Array): Introduction {
  if (payload.length < 32 || MAGIC.some((byte, i) => payload[i] !== byte)) throw new ProtocolError('no introduction');
  const view = viewOf(payload);
  return {
    version: view.getUint32(16, true),
    pid: view.getUint32(20, true),
    nonce: view.getBigUint64(24, true),
    identityErrno: payload.length < 36 ? 0 : view.getUint32(32, true),
  };
}

/** The size of a terminal. */
export interface TerminalSize {
  /** Characters, 1 … 65535. */
  readonly columns: number;
  readonly rows: number;
}

/** What the agent is asked to run. */
export interface Request {
  /** The agent does it itself. */
  readonly applet?: boolean;
  /** With a terminal of its own. */
  readonly tty?: TerminalSize | undefined;
  /** Input follows. */
  readonly stdin?: boolean;
  /** Standard error goes where standard output does. */
  readonly merge?: boolean;
  /** `name` or `number`, each with `:group`; empty: root. */
  readonly user?: string | undefined;
  /** Empty: `/`. */
  readonly cwd?: string | undefined;
  readonly argv: readonly string[];
  /** `NAME=value` */
  readonly env?: readonly string[];
}

/** Why a request cannot be sent; undefined: it can. */
export function requestProblem(request: Request): string | undefined {
  const texts = [request.user ?? '', request.cwd ?? '', ...request.argv, ...(request.env ?? [])];
  if (request.argv.length === 0) return 'there is no program to run';
  if (texts.length > MAX_TEXTS) return `more than ${MAX_TEXTS} arguments and variables`;
  if (texts.some((text) => text.includes('\0'))) return 'an argument or variable has a NUL in it';
  return undefined;
}

/** The frames of a request. `problem` must have been asked before. */
export function openFrames(stream: number, request: Request): Uint8Array[] | undefined {
  const { argv, env = [], tty, user = '', cwd = '' } = request;
  const texts = new TextEncoder().encode([user, cwd, ...argv, ...env].map((text) => `${text}\0`).join(''));
  const bytes = new Uint8Array(12 + texts.length);
  const view = viewOf(bytes);
  bytes[0] =
    (request.applet ? REQUEST_FLAG.APPLET : 0) |
    (tty ? REQUEST_FLAG.TTY : 0) |
    (request.stdin ? REQUEST_FLAG.STDIN : 0) |
    (request.merge ? REQUEST_FLAG.MERGE : 0);
  view.setUint16(2, tty?.rows ?? 0, true);
  view.setUint16(4, tty?.columns ?? 0, true);
  view.setUint16(6, argv.length, true);
  view.setUint16(8, env.length, true);
  bytes.set(texts, 12);
  if (bytes.length > MAX_REQUEST) return undefined;
  const frames: Uint8Array[] = [];
  const most = HOST_FRAME - HEADER;
  for (let at = 0; at < bytes.length; at += most) {
    const part = bytes.subarray(at, at + most);
    frames.push(frame(HOST.OPEN, stream, part, at + most < bytes.length ? OPEN_MORE : 0));
  }
  return frames;
}

/** At what a request failed. */
export const STAGES = ['', 'request', 'resources', 'user', 'folder', 'program'] as const;
export type Stage = (typeof STAGES)[number];

/** How a request ended. */
export type Ending =
  | { readonly kind: 'code'; readonly code: number }
  | { readonly kind: 'signal'; readonly signal: number }
  /** It did not begin; `errno` as Linux has it. */
  | { readonly kind: 'failed'; readonly stage: Stage; readonly errno: number };

export function readEnding(payload: Uint8Array): Ending {
  if (payload.length < 8) throw new ProtocolError('an end without a reason');
  const value = viewOf(payload).getUint32(4, true);
  if (payload[0] === 0) return { kind: 'code', code: value & 0xff };
  if (payload[0] === 1) return { kind: 'signal', signal: value & 0x7f };
  return { kind: 'failed', stage: STAGES.at(payload[1]) ?? '', errno: value };
}

export function readNumber(payload: Uint8Array): number {
  if (payload.length < 4) throw new ProtocolError('a number is missing');
  return viewOf(payload).getUint32(0, true);
}
