import * as fs from 'node:fs';
import * as net from 'node:net';
import { HostError } from '../../../base/errors.js';
import { reasonOf } from '../read-file.js';
import { checkSocketPath } from '../socket-path.js';

/** Before each frame: its length in bytes, 4 bytes, big-endian. */
const PREFIX = 4;
const MAX_FRAME = 65_553;
/** Bytes that wait for a slow peer; frames beyond are lost, as on a wire. */
const MAX_WAITING = 4 * 2 ** 20;
/** Milliseconds until a connection that was lost is tried again. */
const RETRY = 200;

export interface LinkEvents {
  frame(frame: Uint8Array): void;
  /** Whether there is anybody at the other end. */
  link(up: boolean): void;
}

/**
 * A Unix socket that machines meet at. The first that comes listens and passes frames on between the others; when it goes,
 * the next that notices listens in its place.
 */
export class LinkSocket {
  private readonly peers = new Set<net.Socket>();

  private constructor(
    private readonly path: string,
    private readonly events: LinkEvents,
  ) {}

  /** Rejected with a one-line error when the path cannot be used. */
  static async open(path: string, events: LinkEvents): Promise<LinkSocket> {
    const link = new LinkSocket(path, events);
    try {
      checkSocketPath(path);
    } catch (cause) {
      // What the system says of a path names its own functions.
      const reason = cause instanceof HostError ? cause.message : reasonOf(cause);
      throw new HostError(`cannot use the socket ${path}: ${reason}`, { cause });
    }
    events.link(false);
    await link.join();
    return link;
  }

  /** Connects to whoever listens, or listens. */
  private async join(): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt++) {
      const why = await this.connect();
      if (why === undefined) return;
      if (why !== 'ENOENT' && why !== 'ECONNREFUSED')
        throw new HostError(
          `cannot use the socket ${this.path}: ${reasonOf(Object.assign(new Error(why), { code: why }))}`,
        );
      // Nobody listens at a socket that was left behind; what else may have come there meanwhile is not ours.
      if (why === 'ECONNREFUSED') {
        checkSocketPath(this.path);
        fs.rmSync(this.path, { force: true });
      }
      if (await this.listen()) return;
    }
    throw new HostError(`cannot use the socket ${this.path}: others come and go there`);
  }

  /** Undefined: connected. */
  private connect(): Promise<string | undefined> {
    return new Promise((resolve) => {
      const socket = net.connect({ path: this.path });
      const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.removeListener('error', failed);
        this.add(socket, false);
        resolve(undefined);
      });
    });
  }

  /** False: somebody else was quicker. */
  private listen(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const server = net.createServer((socket) => this.add(socket, true));
      server.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') resolve(false);
        else reject(new HostError(`cannot use the socket ${this.path}: ${reasonOf(error)}`, { cause: error }));
      });
      server.listen(this.path, () => {
        server.removeAllListeners('error');
        server.on('error', () => {});
        resolve(true);
      });
    });
  }

  private add(socket: net.Socket, listening: boolean): void {
    this.peers.add(socket);
    this.events.link(true);
    let rest: Uint8Array = new Uint8Array(0);
    socket.on('data', (data: Buffer) => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data]);
      for (; rest.length >= PREFIX;) {
        const length = new DataView(rest.buffer, rest.byteOffset).getUint32(0);
        if (length > MAX_FRAME) {
          socket.destroy();
          return;
        }
        if (rest.length < PREFIX + length) break;
        const frame = rest.subarray(PREFIX, PREFIX + length);
        this.events.frame(frame);
        if (listening) for (const other of this.peers) if (other !== socket) sendTo(other, frame);
        rest = rest.subarray(PREFIX + length);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.peers.delete(socket);
      if (this.peers.size === 0) this.events.link(false);
      if (!listening) this.rejoin();
    });
  }

  private rejoin(): void {
    setTimeout(() => void this.join().catch(() => this.rejoin()), RETRY);
  }

  send(frame: Uint8Array): void {
    for (const peer of this.peers) sendTo(peer, frame);
  }
}

function sendTo(socket: net.Socket, frame: Uint8Array): void {
  if (socket.writableLength > MAX_WAITING) return;
  const message = Buffer.allocUnsafe(PREFIX + frame.length);
  message.writeUInt32BE(frame.length);
  message.set(frame, PREFIX);
  socket.write(message);
}
