/** Listens for gdb and passes bytes between it and a machine. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { HostError } from '../../base/errors.js';
import { listenReason } from './listen-reason.js';
import type { MachineHandle } from './machine-handle.js';

export interface GdbAddress {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
}

const show = ({ host, port }: GdbAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

export class GdbServer {
  private socket: Socket | undefined;
  private handle: MachineHandle | undefined;

  private constructor(
    private readonly server: Server,
    /** Where it listens, as gdb's `target remote` takes it. */
    readonly address: string,
  ) {
    server.on('connection', (socket) => this.accept(socket));
  }

  /** Throws a one-line error when it cannot listen there. */
  static listen(address: GdbAddress): Promise<GdbServer> {
    const server = createServer({ noDelay: true });
    return new Promise((resolve, reject) => {
      server.once('error', (cause: Error) =>
        reject(new HostError(`cannot listen for gdb on ${show(address)}: ${listenReason(cause)}`, { cause })),
      );
      server.listen(address.port, address.host, () => {
        const { port } = server.address() as AddressInfo;
        resolve(new GdbServer(server, show({ host: address.host, port })));
      });
    });
  }

  /** Connections go to this machine. */
  attach(handle: MachineHandle): void {
    this.handle = handle;
  }

  private accept(socket: Socket): void {
    // One debugger at a time.
    if (this.socket !== undefined || this.handle === undefined) {
      socket.destroy();
      return;
    }
    const { handle } = this;
    this.socket = socket;
    handle.debug({ kind: 'gdb-open' });
    socket.on('data', (bytes) => handle.debug({ kind: 'gdb-data', bytes: new Uint8Array(bytes) }));
    // What goes wrong with a connection ends it.
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      handle.debug({ kind: 'gdb-close' });
    });
  }

  send(bytes: Uint8Array): void {
    this.socket?.write(bytes);
  }

  /** Ends the connection, when everything is sent. */
  hangUp(): void {
    this.socket?.end();
  }

  close(): void {
    this.server.close();
    this.hangUp();
    // A debugger that does not hang up does not keep this process.
    this.socket?.unref();
  }
}
