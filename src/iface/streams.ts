/** Byte streams between devices of the machine and whoever is outside: a socket on another thread. */

/** Bytes that may be under way in one direction of a stream, not yet taken by its receiver. */
export const STREAM_WINDOW = 0x4_0000;

/** What can be reached from outside, or reaches out: sockets of the guest (vsock), ports of its console. */
export type StreamService = 'vsock' | 'port';

/** This side's end of a stream. */
export interface StreamEnd {
  /** Bytes that may be sent now, at most STREAM_WINDOW. */
  readonly room: number;
  /** Sends bytes, which must not change afterwards; no more than there is room for. */
  send(bytes: Uint8Array): void;
  /** So many received bytes have been dealt with: the other side may send as many more. */
  taken(count: number): void;
  /** Whoever asked for the stream learns that it is there. `port`: what it is known by on this side. */
  accept(port: number): void;
  /** Nothing more is sent from here. */
  end(): void;
  /** Nothing more is wanted: what was sent arrives still, then the stream is gone. */
  finish(): void;
  /** The stream is gone at once. */
  close(): void;
}

/** What the user of an end is told. Nothing after `closed`, and nothing after its own `close`. */
export interface StreamListener {
  /** The other side has accepted the stream. */
  accepted(port: number): void;
  /** Bytes of the other side. */
  data(bytes: Uint8Array): void;
  /** There is more room to send. */
  drained(): void;
  /** The other side sends nothing more. */
  ended(): void;
  /** The stream is gone; `finished`: the other side had nothing more to send, and wants nothing more. */
  closed(finished: boolean): void;
}

/** What takes the streams that others open. */
export interface StreamAcceptor {
  /** Whether streams outlive the acceptor: its successor, after a reset of the machine, is offered them anew. */
  readonly persistent: boolean;
  /** Undefined: refused. */
  accept(port: number, end: StreamEnd): StreamListener | undefined;
}

export interface Streams {
  /** Opens a stream to a port of the other side. */
  connect(service: StreamService, port: number, listener: StreamListener): StreamEnd;
  /** Takes a service over. Streams of the one before are closed, or offered again. */
  serve(service: StreamService, acceptor: StreamAcceptor): void;
}
