import type { HostStream, StreamEvents } from '../../iface/host-sockets.js';
import type { TcpConnection, TcpEvents } from '../tcp/connection.js';

/** Bytes on their way to the guest at which the host's stream is paused, and goes on. */
const HIGH = 1024 * 1024;
const LOW = 512 * 1024;

/** Joins a guest's connection with a stream of the host: what one gives the other gets, at the pace of the slower. */
export class StreamProxy {
  private stream: HostStream | undefined;
  private connection: TcpConnection | undefined;
  private changed: () => void = () => {};
  private paused = false;
  /** The stream has ended by itself, or was ended. */
  private streamGone = false;
  private early: Uint8Array[] = [];
  private endedEarly = false;

  attachStream(stream: HostStream): void {
    this.stream = stream;
  }

  /** `changed` is called when the connection has something to send, or has ended. */
  attachConnection(connection: TcpConnection, changed: () => void): void {
    this.connection = connection;
    this.changed = changed;
    for (const bytes of this.early) connection.write(bytes);
    this.early = [];
    if (this.endedEarly) connection.end();
  }

  /** What the host's stream tells. */
  readonly events: StreamEvents = {
    connected: () => {},
    failed: () => {},
    data: (bytes) => {
      const { connection } = this;
      if (!connection) {
        this.early.push(bytes);
        return;
      }
      connection.write(bytes);
      if (connection.waiting >= HIGH && !this.paused) {
        this.paused = true;
        this.stream?.pause();
      }
    },
    ended: () => {
      if (this.connection) this.connection.end();
      else this.endedEarly = true;
    },
    closed: (broken) => {
      this.streamGone = true;
      if (!broken) return;
      this.connection?.abort();
      this.changed();
    },
  };

  /** What the guest's connection tells. */
  readonly tcpEvents: TcpEvents = {
    opened: () => {},
    data: (bytes) => {
      const { stream, connection } = this;
      const count = bytes.length;
      if (!stream || this.streamGone) {
        connection?.consumed(count);
        return;
      }
      stream.write(bytes.slice(), () => {
        connection?.consumed(count);
        this.changed();
        connection?.flushAcknowledgement();
      });
    },
    ended: () => this.stream?.end(),
    room: () => {
      if (!this.paused || (this.connection?.waiting ?? 0) > LOW) return;
      this.paused = false;
      this.stream?.resume();
    },
    closed: (broken) => {
      if (broken) this.release();
      // The stream goes on by itself until all that was written has been sent.
      else this.streamGone = true;
    },
  };

  /** The connection is over: so is the stream. */
  release(): void {
    if (this.streamGone) return;
    this.streamGone = true;
    this.stream?.reset();
  }
}
