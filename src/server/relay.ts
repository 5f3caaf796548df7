/**
 * A network for a machine that runs in a page: Ethernet frames come and go as messages of a WebSocket, and what they carry goes through
 * sockets of this host, as for a machine that runs here (src/net/user), within what the tenant may reach.
 */
import { ApiError } from '../api/errors.js';
import { NodeSockets } from '../host/node/net/node-sockets.js';
import type {
  DatagramReceiver,
  EchoEvents,
  HostDatagrams,
  HostEchoes,
  HostSockets,
  HostStream,
  StreamEvents,
} from '../iface/host-sockets.js';
import { FINISHED, MIN_FRAME } from '../iface/net.js';
import { parseMac } from '../net/addresses.js';
import type { FrameSink } from '../net/user/ip-output.js';
import { UserStack } from '../net/user/user-stack.js';
import { DEFAULT_USER_NETWORK } from '../vmm/net-config.js';
import type { Call } from './call.js';
import type { Peer } from './peer.js';
import { networkOf } from './plan-machine.js';
import type { Tenant } from './tenant.js';

const MTU = 1500;
const LONGEST = 14 + MTU;
const MAC = '52:54:00:12:34:56';
/** Networks of a tenant at a time. */
const MOST_RELAYS = 64;
/** Connections and UDP sockets of one network at a time. */
const MOST_SOCKETS = 512;
/** Bytes that wait for a slow page; beyond it frames have no room, as in a card. */
const MOST_WAITING = 1 << 20;

/** Sockets that can all be let go of. */
class RelaySockets implements HostSockets {
  private readonly sockets = new NodeSockets();
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly streams = new Set<HostStream>();
  private readonly open = new Set<HostDatagrams>();

  now(): number {
    return this.sockets.now();
  }

  random(bytes: number): Uint8Array {
    return this.sockets.random(bytes);
  }

  connect(address: string, port: number, events: StreamEvents): HostStream {
    // Port 0 is refused, as is whatever goes beyond.
    const known: { stream?: HostStream } = {};
    const stream = this.sockets.connect(address, this.streams.size < MOST_SOCKETS ? port : 0, {
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
    if (this.open.size > MOST_SOCKETS) {
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
    return Promise.reject(new ApiError('forbidden', 'a relay opens no ports'));
  }

  listenDatagrams(): Promise<HostDatagrams> {
    return Promise.reject(new ApiError('forbidden', 'a relay opens no ports'));
  }

  every(milliseconds: number, work: () => void): void {
    this.timers.push(setInterval(work, milliseconds));
  }

  close(): void {
    for (const timer of this.timers) clearInterval(timer);
    for (const stream of [...this.streams]) stream.reset();
    for (const datagrams of [...this.open]) datagrams.close();
  }
}

class PeerSink implements FrameSink {
  readonly offloads = { checksum: false, tcp4: false, tcp6: false };
  private frame: Uint8Array | undefined;

  constructor(private readonly peer: Peer) {}

  reserve(length: number): Uint8Array | undefined {
    if (this.peer.waiting > MOST_WAITING || length > LONGEST) return undefined;
    this.frame = new Uint8Array(length);
    return this.frame;
  }

  commit(): void {
    if (this.frame) this.peer.write(this.frame);
    this.frame = undefined;
  }
}

const relays = new WeakMap<Tenant, number>();

/** Looks whether the tenant may; gives what to do with the connection. */
export function openRelay({ tenant, query }: Call): (peer: Peer) => void {
  const network = networkOf(undefined, tenant.policy, tenant.local);
  if (network === false) throw new ApiError('forbidden', 'there is no network for you here');
  if ((relays.get(tenant) ?? 0) >= MOST_RELAYS)
    throw new ApiError('limit', `there are ${MOST_RELAYS} networks of yours already`);
  const { restrict = false, allow = [] } = network === true ? {} : network;
  const mac = parseMac(query['mac'] ?? MAC) ?? new Uint8Array(6);
  return (peer) => {
    relays.set(tenant, (relays.get(tenant) ?? 0) + 1);
    const sockets = new RelaySockets();
    const stack = new UserStack({
      config: { ...DEFAULT_USER_NETWORK, restrict, allow: allow.map(({ host, port = 0 }) => ({ host, port })) },
      mac,
      mtu: MTU,
      sink: new PeerSink(peer),
      sockets,
    });
    peer.listen({
      binary: (frame) => {
        if (frame.length < MIN_FRAME || frame.length > LONGEST) return;
        stack.receive(frame, FINISHED);
        stack.endBatch();
      },
      drained: () => stack.room(),
      closed: () => {
        relays.set(tenant, (relays.get(tenant) ?? 1) - 1);
        stack.reset();
        sockets.close();
      },
    });
  };
}
