import * as crypto from 'node:crypto';
import * as dgram from 'node:dgram';
import * as dns from 'node:dns';
import * as net from 'node:net';
import { HostError } from '../../../base/errors.js';
import type {
  ConnectFailure,
  DatagramReceiver,
  EchoEvents,
  HostDatagrams,
  HostEchoes,
  HostSockets,
  HostStream,
  StreamEvents,
} from '../../../iface/host-sockets.js';
import { EchoSocket } from './echo-socket.js';
import { resetSocket } from './reset-socket.js';

const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message;

const REFUSED = ['ECONNREFUSED', 'ECONNRESET'];
const UNREACHABLE = ['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'ETIMEDOUT'];

const failureOf = (code: string): ConnectFailure =>
  REFUSED.includes(code) ? 'refused' : UNREACHABLE.includes(code) ? 'unreachable' : 'other';

/** Why a port could not be had, in one line. */
function listenError(what: string, error: Error): HostError {
  const code = codeOf(error);
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: 'it is in use',
    EACCES: 'permission denied',
    EADDRNOTAVAIL: 'this host has no such address',
    ENOTFOUND: 'this host has no such address',
  };
  return new HostError(`cannot listen on ${what}: ${reasons[code] ?? code}`, { cause: error });
}

class NodeStream implements HostStream {
  constructor(private readonly socket: net.Socket) {
    socket.setNoDelay(true);
  }

  /** Wires the events of a socket that is connected, or will be. */
  tell(events: StreamEvents, isConnected: boolean): void {
    const { socket } = this;
    let connected = isConnected;
    let broken = false;
    socket.on('connect', () => {
      connected = true;
      events.connected();
    });
    socket.on('data', (bytes: Buffer) => events.data(bytes));
    socket.on('end', () => events.ended());
    socket.on('error', (error) => {
      broken = true;
      if (!connected) events.failed(failureOf(codeOf(error)));
    });
    socket.on('close', () => events.closed(broken));
  }

  write(bytes: Uint8Array, sent: () => void): void {
    this.socket.write(bytes, () => sent());
  }

  end(): void {
    this.socket.end();
  }

  reset(): void {
    resetSocket(this.socket);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }
}

class NodeDatagrams implements HostDatagrams {
  private open = true;
  /** Before the socket is bound, sending twice would bind it twice. */
  constructor(private readonly socket: dgram.Socket) {}

  send(bytes: Uint8Array, address: string, port: number): void {
    // Like the network itself: what cannot be sent is lost.
    if (this.open && port > 0) this.socket.send(bytes, port, address, () => {});
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.socket.close();
  }
}

function receiveInto(socket: dgram.Socket, receive: DatagramReceiver): void {
  socket.on('message', (bytes, { address, port }) => receive(bytes, address, port));
}

/** The sockets of this process. */
export class NodeSockets implements HostSockets {
  /** `whileLoading` is given what loads native code, and does it, or gives undefined where that must not be. */
  constructor(private readonly whileLoading: <T>(load: () => T) => T | undefined = (load) => load()) {}

  now(): number {
    return performance.now();
  }

  random(bytes: number): Uint8Array {
    return crypto.randomBytes(bytes);
  }

  connect(address: string, port: number, events: StreamEvents): HostStream {
    const socket = new net.Socket({ allowHalfOpen: true });
    const stream = new NodeStream(socket);
    stream.tell(events, false);
    // 0 is no port that anything listens on.
    if (port === 0) socket.destroy(Object.assign(new Error('port 0'), { code: 'ECONNREFUSED' }));
    else socket.connect({ host: address, port });
    return stream;
  }

  datagrams(family: 4 | 6, receive: DatagramReceiver, broken: () => void): HostDatagrams {
    const socket = dgram.createSocket(family === 4 ? 'udp4' : 'udp6');
    const datagrams = new NodeDatagrams(socket);
    receiveInto(socket, receive);
    socket.on('error', () => {
      datagrams.close();
      broken();
    });
    return datagrams;
  }

  echoes(family: 4 | 6, events: EchoEvents): HostEchoes | undefined {
    return EchoSocket.open(family, events, this.whileLoading);
  }

  async resolve(name: string): Promise<readonly string[]> {
    const found = await dns.promises.lookup(name, { all: true, verbatim: true });
    return found.map(({ address }) => address);
  }

  nameServers(): readonly { readonly address: string; readonly port: number }[] {
    return dns.getServers().map((server) => {
      const match = /^\[(?<six>.*)\]:(?<port6>\d+)$|^(?<four>[\d.]+):(?<port4>\d+)$/.exec(server)?.groups;
      return {
        address: match?.['six'] ?? match?.['four'] ?? server,
        port: Number(match?.['port6'] ?? match?.['port4'] ?? 53),
      };
    });
  }

  listen(address: string, port: number, accept: (stream: HostStream) => StreamEvents): Promise<void> {
    return new Promise((resolve, reject) => {
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        const stream = new NodeStream(socket);
        stream.tell(accept(stream), true);
      });
      server.once('error', (error) => reject(listenError(`${address}:${port}`, error)));
      server.listen({ host: address, port }, () => {
        server.removeAllListeners('error');
        // Such as too many open files: the one connection is lost.
        server.on('error', () => {});
        resolve();
      });
    });
  }

  listenDatagrams(address: string, port: number, receive: DatagramReceiver): Promise<HostDatagrams> {
    return new Promise((resolve, reject) => {
      const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
      socket.once('error', (error) => reject(listenError(`UDP ${address}:${port}`, error)));
      receiveInto(socket, receive);
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeAllListeners('error');
        socket.on('error', () => {});
        resolve(new NodeDatagrams(socket));
      });
    });
  }

  every(milliseconds: number, work: () => void): () => void {
    const timer = setInterval(work, milliseconds);
    return () => clearInterval(timer);
  }
}
