/** Ports of this host that lead into a guest, carried by its agent: they need no network card. */
import { createServer, isIPv4, type AddressInfo, type Server, type Socket } from 'node:net';
import { HostError, UsageError } from '../../base/errors.js';
import { resetSocket } from '../../host/node/net/reset-socket.js';
import { listenReason } from '../../runtime/node/listen-reason.js';
import type { AgentConnection } from '../agent/connection.js';
import { checkOptions } from '../kinds.js';

/** Where a port begins and where it leads. */
export interface ForwardOptions {
  /** The guest's port. */
  readonly guestPort: number;
  /** The guest's address; its loopback unless given. IPv4. */
  readonly guestAddress?: string;
  /** This host's port; any free one unless given. */
  readonly hostPort?: number;
  /** Where this host listens; its loopback unless given. */
  readonly hostAddress?: string;
}

/** A port that is open. */
export interface PortForward {
  readonly hostAddress: string;
  readonly hostPort: number;
  /** Closes it, and its connections. */
  close(): void;
  /** Like `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

const FORWARD_OPTIONS: readonly (keyof ForwardOptions)[] = ['guestPort', 'guestAddress', 'hostPort', 'hostAddress'];

/** Connections of a port at a time; those beyond are closed at once. */
const MOST_CONNECTIONS = 1024;

/** Ports of this host that lead to the guest's. */
export class PortForwards {
  private readonly open = new Set<PortForward>();

  /** @internal Made with the machine: `vm.ports`. */
  constructor(private readonly connection: AgentConnection) {}

  /** Opens a TCP port. Rejected with a one-line error when this host cannot listen there. */
  async forward(options: number | ForwardOptions): Promise<PortForward> {
    if (typeof options !== 'number') checkOptions(options, FORWARD_OPTIONS, 'a port is a number, or options: they');
    const {
      guestPort,
      guestAddress = '127.0.0.1',
      hostPort = 0,
      hostAddress = '127.0.0.1',
    } = typeof options === 'number' ? { guestPort: options } : options;
    for (const [port, low] of [
      [guestPort, 1],
      [hostPort, 0],
    ])
      if (!Number.isInteger(port) || port < low || port > 65535) throw new UsageError(`${port} is no port`);
    if (!isIPv4(guestAddress)) throw new UsageError(`${guestAddress} is no IPv4 address`);
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      this.carry(socket, guestAddress, guestPort);
    });
    // Whoever reaches the port can open some: the rest of the process needs descriptors, too.
    server.maxConnections = MOST_CONNECTIONS;
    await listen(server, hostAddress, hostPort);
    if (this.connection.failure) {
      server.close();
      throw this.connection.failure;
    }
    const forward: PortForward = {
      hostAddress,
      hostPort: (server.address() as AddressInfo).port,
      close: () => {
        this.open.delete(forward);
        server.close();
        for (const socket of sockets) socket.destroy();
      },
      [Symbol.asyncDispose]: () => {
        forward.close();
        return Promise.resolve();
      },
    };
    this.open.add(forward);
    return forward;
  }

  private carry(socket: Socket, address: string, port: number): void {
    const request = this.connection.request(
      { applet: true, argv: ['connect', address, String(port)], stdin: true },
      {
        data: (channel, bytes) => {
          if (channel === 1) socket.write(bytes, () => request.consume(1, bytes.length));
        },
        closed: (channel) => {
          if (channel === 1) socket.end();
        },
        // A connection that could not be had is one that is reset.
        ended: (ending) => {
          if (ending.kind === 'code' && ending.code === 0) socket.destroySoon();
          else resetSocket(socket);
        },
        failed: () => socket.destroy(),
      },
    );
    // What goes wrong with a connection ends it.
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      socket.pause();
      void request.write(new Uint8Array(bytes)).then(() => socket.resume());
    });
    socket.on('end', () => request.end());
    socket.on('close', () => request.close(true));
  }

  /** Closes all of them. */
  close(): void {
    for (const forward of this.open) forward.close();
  }
}

function listen(server: Server, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    // Also what comes later, as when no more connections can be taken: the port stays open for those that follow.
    server.on('error', (cause) => {
      reject(new HostError(`cannot listen on ${address}:${port}: ${listenReason(cause)}`, { cause }));
    });
    server.listen(port, address, () => resolve());
  });
}
