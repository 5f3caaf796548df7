/** The other end of a WebSocket. */
import type { WebSocket } from 'ws';
import type { ApiError } from '../api/errors.js';
import { errorBody } from './answers.js';

/** Bytes that wait to be sent before whoever sends is asked to wait. */
const HIGH_WATER = 1 << 20;
/** Milliseconds between two questions whether it is still there. */
const PING = 30_000;
/** Of RFC 6455 §7.4.1. */
const CLOSE = { NORMAL: 1000, POLICY: 1008, ERROR: 1011 } as const;

export interface PeerListener {
  /** A promise: no more until it has resolved. */
  text?(message: string): void | Promise<void>;
  binary?(bytes: Uint8Array): void | Promise<void>;
  /** There is room again, after `write` said no. */
  drained?(): void;
  /** From whichever side. */
  closed?(): void;
}

export class Peer {
  private readonly gone = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private alive = true;
  private full = false;
  private listener: PeerListener = {};
  private taking: Promise<void> = Promise.resolve();

  constructor(private readonly socket: WebSocket) {
    this.timer = setInterval(() => this.ping(), PING);
    this.timer.unref();
    socket.on('pong', () => (this.alive = true));
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => this.take(data as Buffer, isBinary));
    socket.on('close', () => {
      clearInterval(this.timer);
      this.gone.abort();
      void this.taking.then(() => this.listener.closed?.());
    });
  }

  /** Aborted when the connection has ended. */
  get signal(): AbortSignal {
    return this.gone.signal;
  }

  listen(listener: PeerListener): void {
    this.listener = listener;
  }

  private ping(): void {
    if (!this.alive) {
      this.socket.terminate();
      return;
    }
    this.alive = false;
    this.socket.ping();
  }

  private take(data: Buffer, isBinary: boolean): void {
    this.alive = true;
    const { socket } = this;
    this.taking = this.taking.then(async () => {
      if (this.gone.signal.aborted && !isBinary) return;
      try {
        const taken = isBinary
          ? this.listener.binary?.(new Uint8Array(data.buffer, data.byteOffset, data.length))
          : this.listener.text?.(data.toString('utf8'));
        if (!taken) return;
        socket.pause();
        await taken;
        socket.resume();
      } catch {
        // Whoever listens answers for what it cannot do; the rest ends the connection.
        socket.close(CLOSE.ERROR);
      }
    });
  }

  /** Sends a message. False: no more until `drained`. */
  write(message: string | Uint8Array): boolean {
    const { socket } = this;
    if (socket.readyState !== socket.OPEN) return true;
    socket.send(message, () => {
      if (!this.full || socket.bufferedAmount >= HIGH_WATER / 2) return;
      this.full = false;
      this.listener.drained?.();
    });
    this.full ||= socket.bufferedAmount >= HIGH_WATER;
    return !this.full;
  }

  /** Sends a message; resolves when there is room for more. */
  async send(message: string | Uint8Array): Promise<void> {
    const { socket } = this;
    if (socket.readyState !== socket.OPEN) return;
    const sent = new Promise<void>((resolve) => socket.send(message, () => resolve()));
    if (socket.bufferedAmount >= HIGH_WATER) await sent;
  }

  /** Bytes that wait to be sent. */
  get waiting(): number {
    return this.socket.bufferedAmount;
  }

  close(): void {
    this.socket.close(CLOSE.NORMAL);
  }

  /** Says why, and ends. */
  fail(error: ApiError): void {
    this.write(`{"type":"error",${errorBody(error).slice(1)}`);
    this.socket.close(CLOSE.POLICY);
  }

  terminate(): void {
    this.socket.terminate();
  }
}
