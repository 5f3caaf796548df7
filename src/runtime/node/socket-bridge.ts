/** Sockets of the host that lead into a machine: on the thread of its owner, which has an event loop. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { HostError } from '../../base/errors.js';
import type { StreamEnd, StreamListener } from '../../iface/streams.js';
import type { SharingConfig } from '../../vmm/sharing-config.js';
import { StreamMux, type StreamMessage } from '../../vmm/stream-mux.js';
import { listenReason } from './listen-reason.js';
import { listenUnix } from './listen-unix.js';

/** Bytes of the line by which a client says which port it wants: `CONNECT 4294967295`. */
const MAX_LINE = 32;

const PORT_LIMIT = 2 ** 32 - 1;

/** How often a client that sends nothing more is asked whether it is still there, ms. */
const ASK_AGAIN = 500;

/** How long a client waits for those before it at the same port to go, before it is turned away, ms. */
const PATIENCE = 1000;

export class SocketBridge {
  private readonly mux: StreamMux;
  private readonly servers: Server[] = [];
  private readonly sockets = new Set<Socket>();
  /** By port of the console: all clients that have come so far have gone. */
  private readonly portsFree = new Map<number, Promise<unknown>>();
  private closed = false;

  constructor(
    private readonly config: SharingConfig,
    post: (message: StreamMessage) => void,
  ) {
    this.mux = new StreamMux(post, 1);
    // The guest's connections to the host go to a socket that is named by the port.
    this.mux.serve('vsock', { persistent: false, accept: (port, end) => this.reachOut(port, end) });
  }

  /** Listens. Rejected with a one-line error when that is not possible. */
  async open(): Promise<void> {
    const { vsock, ports = [] } = this.config;
    if (vsock) await this.listen(vsock.path, (socket) => this.acceptVsock(socket));
    for (const [i, { path }] of ports.entries())
      if (path !== null) await this.listen(path, (socket) => this.acceptPort(socket, i + 1));
  }

  private async listen(path: string, accept: (socket: Socket) => void): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.keep(socket);
      accept(socket);
    });
    try {
      await listenUnix(server, path);
    } catch (cause) {
      const reason = cause instanceof HostError ? cause.message : listenReason(cause);
      throw new HostError(`cannot listen on the socket ${path}: ${reason}`, { cause });
    }
    this.servers.push(server);
    if (this.closed) server.close();
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    // What goes wrong with a connection ends it.
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
  }

  /** `CONNECT port` and a newline, which is answered by `OK port` when the guest has accepted. */
  private acceptVsock(socket: Socket): void {
    let line = Buffer.alloc(0);
    const read = (bytes: Buffer): void => {
      line = Buffer.concat([line, bytes]);
      const end = line.indexOf(0x0a);
      if (end < 0 && line.length <= MAX_LINE) return;
      socket.off('data', read);
      socket.pause();
      const match = /^CONNECT (\d{1,10})\r?$/i.exec(line.toString('latin1', 0, Math.max(0, end)));
      const port = Number(match?.[1]);
      if (!match || port > PORT_LIMIT) {
        socket.destroy();
        return;
      }
      const rest = line.subarray(end + 1);
      const pipe = new SocketPipe(socket, (hostPort) => {
        socket.write(`OK ${hostPort}\n`);
        pipe.start(rest);
      });
      pipe.end = this.mux.connect('vsock', port, pipe);
    };
    socket.on('data', read);
    socket.on('end', () => {
      if (socket.listeners('data').includes(read)) socket.destroy();
    });
  }

  private reachOut(port: number, end: StreamEnd): StreamListener | undefined {
    const { vsock } = this.config;
    if (!vsock || this.closed) return undefined;
    const socket = connect({ path: `${vsock.path}_${port}`, allowHalfOpen: true });
    this.keep(socket);
    socket.pause();
    const pipe = new SocketPipe(socket, () => {});
    pipe.end = end;
    socket.on('connect', () => {
      end.accept(port);
      pipe.start(Buffer.alloc(0));
    });
    return pipe;
  }

  /** One client at a time: others are turned away by the device. */
  private acceptPort(socket: Socket, index: number): void {
    socket.pause();
    const pipe = new SocketPipe(socket, () => pipe.start(Buffer.alloc(0)));
    const begin = (): void => {
      if (!socket.destroyed) pipe.end = this.mux.connect('port', index, pipe);
    };
    const gone = new Promise((resolve) => void socket.once('close', resolve));
    const free = this.portsFree.get(index);
    this.portsFree.set(
      index,
      Promise.all([free, gone]).then(() => {}),
    );
    // Whoever is before it may be gone already, and that not yet heard.
    if (free) void Promise.race([free, after(PATIENCE)]).then(begin);
    else begin();
    socket.on('end', () => closeWhenGone(socket, pipe));
  }

  /** A stream to a port of the console, without a socket. Undefined: there is none of that name. */
  connectPort(name: string, listener: StreamListener): StreamEnd | undefined {
    const index = (this.config.ports ?? []).findIndex((port) => port.name === name);
    return index < 0 ? undefined : this.mux.connect('port', index + 1, listener);
  }

  /** From the machine. */
  handle(message: StreamMessage): void {
    this.mux.handle(message);
  }

  close(): void {
    this.closed = true;
    for (const server of this.servers) server.close();
    for (const socket of this.sockets) socket.destroy();
    this.mux.closeAll();
  }
}

/**
 * Node tells that a client sends nothing more, and not whether it has gone: to write nothing fails in the latter case alone. Otherwise
 * the port would be taken until the guest writes to it.
 */
function closeWhenGone(socket: Socket, pipe: SocketPipe): void {
  if (socket.destroyed) return;
  if (!pipe.behind) socket.write(new Uint8Array(0));
  const timer = setTimeout(() => closeWhenGone(socket, pipe), ASK_AGAIN);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

const after = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms).unref());

/** Carries bytes between a socket and a stream, as fast as the slower takes them. */
class SocketPipe implements StreamListener {
  end: StreamEnd | undefined;
  /** Read from the socket, and more than the stream had room for. */
  private backlog: Buffer = Buffer.alloc(0);
  private started = false;
  private socketEnded = false;

  constructor(
    private readonly socket: Socket,
    private readonly whenAccepted: (port: number) => void,
  ) {
    socket.on('data', (bytes: Buffer) => {
      if (this.started) this.forward(bytes);
    });
    socket.on('end', () => {
      this.socketEnded = true;
      this.forwardEnd();
    });
    socket.on('close', (failed) => {
      const { end } = this;
      this.end = undefined;
      if (failed || this.backlog.length > 0) end?.close();
      else end?.finish();
    });
  }

  /** There is something of the socket's that the stream had no room for. */
  get behind(): boolean {
    return this.backlog.length > 0;
  }

  /** From now on the socket's bytes are the stream's; `first` were read before. */
  start(first: Buffer): void {
    this.started = true;
    if (first.length > 0) this.forward(first);
    if (this.backlog.length === 0) this.socket.resume();
  }

  private forward(bytes: Buffer): void {
    this.backlog = this.backlog.length > 0 ? Buffer.concat([this.backlog, bytes]) : bytes;
    const count = Math.min(this.end?.room ?? 0, this.backlog.length);
    // A copy of its own: the socket's buffer is part of a larger one.
    if (count > 0) this.end?.send(new Uint8Array(this.backlog.subarray(0, count)));
    this.backlog = this.backlog.subarray(count);
    if (this.backlog.length > 0) this.socket.pause();
    else this.forwardEnd();
  }

  private forwardEnd(): void {
    if (this.socketEnded && this.backlog.length === 0) this.end?.end();
  }

  accepted(port: number): void {
    this.whenAccepted(port);
  }

  data(bytes: Uint8Array): void {
    this.socket.write(bytes, () => this.end?.taken(bytes.length));
  }

  drained(): void {
    if (!this.started) return;
    if (this.backlog.length > 0) this.forward(Buffer.alloc(0));
    if (this.backlog.length === 0) this.socket.resume();
  }

  ended(): void {
    this.socket.end();
  }

  closed(finished: boolean): void {
    this.end = undefined;
    if (finished) this.socket.destroySoon();
    else this.socket.destroy();
  }
}
