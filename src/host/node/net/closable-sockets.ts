import { HostError } from '../../../base/errors.js';
import type {
  DatagramReceiver,
  EchoEvents,
  HostDatagrams,
  HostEchoes,
  HostSockets,
  HostStream,
  StreamEvents,
} from '../../../iface/host-sockets.js';
import { NodeSockets } from './node-sockets.js';

export interface ClosableOptions {
  readonly most?: number;
  readonly whileLoading?: <T>(load: () => T) => T | undefined;
}

/** Sockets of this process that can all be let go of, for one of several networks on a thread. */
export class ClosableSockets implements HostSockets {
  private readonly sockets: NodeSockets;
  private readonly most: number;
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly streams = new Set<HostStream>();
  private readonly open = new Set<HostDatagrams>();
  private isClosed = false;

  /** `most`: connections, and UDP sockets, at a time. `whileLoading`: of NodeSockets. */
  constructor({ most = Infinity, whileLoading }: ClosableOptions = {}) {
    this.most = most;
    this.sockets = new NodeSockets(whileLoading);
  }

  now(): number {
    return this.sockets.now();
  }

  random(bytes: number): Uint8Array {
    return this.sockets.random(bytes);
  }

  connect(address: string, port: number, events: StreamEvents): HostStream {
    // Port 0 is refused, as is whatever goes beyond.
    const known: { stream?: HostStream } = {};
    const mayBe = !this.isClosed && this.streams.size < this.most;
    const stream = this.sockets.connect(address, mayBe ? port : 0, {
      connected: () => events.connected(),
      failed: (reason) => events.failed(reason),
      data: (bytes) => events.data(bytes),
      ended: () => events.ended(),
      closed: (broken) => {
        if (known.stream) this.streams.delete(known.stream);
        events.closed(broken);
      },
    });
    known.stream = stream;
    this.streams.add(stream);
    return stream;
  }

  datagrams(family: 4 | 6, receive: DatagramReceiver, broken: () => void): HostDatagrams {
    const socket = this.sockets.datagrams(family, receive, broken);
    const datagrams: HostDatagrams = {
      send: (bytes, address, port) => socket.send(bytes, address, port),
      close: () => {
        this.open.delete(datagrams);
        socket.close();
      },
    };
    this.open.add(datagrams);
    if (this.open.size > this.most) {
      const [oldest] = this.open;
      oldest.close();
    }
    return datagrams;
  }

  /** The stack bounds them, and closes them with itself. */
  echoes(family: 4 | 6, events: EchoEvents): HostEchoes | undefined {
    return this.sockets.echoes(family, events);
  }

  resolve(name: string): Promise<readonly string[]> {
    return this.sockets.resolve(name);
  }

  nameServers(): ReturnType<HostSockets['nameServers']> {
    return this.sockets.nameServers();
  }

  listen(): Promise<void> {
    return Promise.reject(new HostError('this network opens no ports'));
  }

  listenDatagrams(): Promise<HostDatagrams> {
    return Promise.reject(new HostError('this network opens no ports'));
  }

  every(milliseconds: number, work: () => void): () => void {
    if (this.isClosed) return () => {};
    const timer = setInterval(work, milliseconds);
    this.timers.add(timer);
    return () => {
      this.timers.delete(timer);
      clearInterval(timer);
    };
  }

  /** What is looked up comes to nothing. The stack that has these is done. */
  close(): void {
    this.isClosed = true;
    for (const timer of this.timers) clearInterval(timer);
    for (const stream of [...this.streams]) stream.reset();
    for (const datagrams of [...this.open]) datagrams.close();
  }
}
