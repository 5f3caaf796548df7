import { addWords, foldSum } from '../../base/internet-checksum.js';
import type { HostSockets, HostStream, StreamEvents } from '../../iface/host-sockets.js';
import type { Address } from '../addresses.js';
import { TcpConnection, type OutgoingSegment, type TcpOutput } from '../tcp/connection.js';
import { advance, TCP_FLAG, type Segment } from '../tcp/sequence.js';
import { pseudoSum, type IpOutput } from './ip-output.js';
import { get16, get32, PROTOCOL, put16, put32, type IpPacket } from './packet.js';
import type { Policy } from './policy.js';
import { StreamProxy } from './stream-proxy.js';

const { FIN, SYN, RST, ACK } = TCP_FLAG;

/** Connections at a time, and of these the ones that the host has not answered yet. */
export const MAX_CONNECTIONS = 8192;
export const MAX_CONNECTING = 1024;
/** Bytes that all connections together may hold for a slow reader on the host; each has its share, within limits. */
const BUFFERS = 64 * 2 ** 20;
const LARGEST_BUFFER = 512 * 1024;
const SMALLEST_BUFFER = 16 * 1024;
/** Ports that connections into the guest seem to come from. */
const FIRST_PORT = 49152;
const PORTS = 16384;

/** Who speaks with whom; `remote` is the host's side. */
export interface Endpoints {
  readonly guest: Address;
  readonly guestPort: number;
  readonly remote: Address;
  readonly remotePort: number;
}

/** Of a server on the host's network. */
export interface HostAddress {
  readonly address: string;
  readonly port: number;
}

interface Entry {
  readonly endpoints: Endpoints;
  readonly connection: TcpConnection;
  readonly proxy: StreamProxy;
}

/** What is to be told apart after a restore. */
export interface SavedConnection extends Endpoints {
  readonly next: number;
  readonly received: number;
}

const keyOf = ({ guest, guestPort, remote, remotePort }: Endpoints): string => {
  let key = String.fromCharCode(guestPort, remotePort);
  for (let i = 0; i < guest.length; i += 2) key += String.fromCharCode(get16(guest, i), get16(remote, i));
  return key;
};

/** TCP between the guest and the host's sockets. */
export class TcpService {
  private readonly entries = new Map<string, Entry>();
  /** SYNs that the host has not answered. */
  private readonly connecting = new Map<string, HostStream | undefined>();
  /** Connections with something to send once the batch is over. */
  private readonly dirty = new Set<TcpConnection>();
  private nextPort = 0;

  constructor(
    private readonly ip: IpOutput,
    private readonly sockets: HostSockets,
    private readonly policy: Policy,
    /** Where what is served here goes on the host: questions of names. */
    private readonly local: (destination: Address, port: number) => HostAddress | undefined,
  ) {}

  get count(): number {
    return this.entries.size + this.connecting.size;
  }

  private readonly bufferLimit = (): number =>
    Math.max(SMALLEST_BUFFER, Math.min(LARGEST_BUFFER, BUFFERS / Math.max(1, this.entries.size)));

  // ---- from the guest ----

  receive(packet: IpPacket): void {
    const { payload } = packet;
    const segment = parseSegment(packet);
    if (!segment) return;
    const endpoints = {
      guest: packet.source,
      guestPort: get16(payload, 0),
      remote: packet.destination,
      remotePort: get16(payload, 2),
    };
    const key = keyOf(endpoints);
    const entry = this.entries.get(key);
    if (entry) {
      const { connection } = entry;
      // A new connection may take the place of one that only waits for latecomers (RFC 9293 §3.10.7.4).
      if (!(connection.state === 'time-wait' && segment.flags & SYN)) {
        connection.receive(segment);
        this.after(key, entry);
        return;
      }
      this.remove(key);
    }
    if (this.connecting.has(key)) {
      if (segment.flags & RST) this.giveUp(key);
      return;
    }
    if (segment.flags & RST) return;
    if ((segment.flags & (SYN | ACK | FIN)) === SYN) this.open(key, copyOf(endpoints), segment);
    else this.refuse(endpoints, segment);
  }

  private giveUp(key: string): void {
    this.connecting.get(key)?.reset();
    this.connecting.delete(key);
  }

  private open(key: string, endpoints: Endpoints, syn: Segment): void {
    const { remote, remotePort } = endpoints;
    const ours = this.local(remote, remotePort);
    const address = ours?.address ?? this.policy.route(remote, remotePort);
    if (address === undefined || this.connecting.size >= MAX_CONNECTING || this.count >= MAX_CONNECTIONS) {
      this.refuse(endpoints, syn);
      return;
    }
    const kept = { ...syn, payload: new Uint8Array(0) };
    this.connecting.set(key, undefined);
    const proxy = new StreamProxy();
    const stream = this.sockets.connect(address, ours?.port ?? remotePort, {
      ...proxy.events,
      connected: () => {
        if (!this.connecting.delete(key)) return;
        const connection = this.add(key, endpoints, proxy);
        connection.accept(kept);
      },
      failed: () => {
        // Also when nothing is reachable: a reset is what programs understand at once.
        if (this.connecting.delete(key)) this.refuse(endpoints, kept);
      },
    });
    proxy.attachStream(stream);
    if (this.connecting.has(key)) this.connecting.set(key, stream);
  }

  private add(key: string, endpoints: Endpoints, proxy: StreamProxy): TcpConnection {
    const connection = new TcpConnection(
      this.outputOf(endpoints),
      proxy.tcpEvents,
      get32(this.sockets.random(4), 0),
      this.bufferLimit,
    );
    const entry = { endpoints, connection, proxy };
    this.entries.set(key, entry);
    proxy.attachConnection(connection, () => this.after(key, entry));
    return connection;
  }

  private after(key: string, { connection }: Entry): void {
    if (connection.state === 'closed') this.remove(key);
    else this.dirty.add(connection);
  }

  private remove(key: string): void {
    const entry = this.entries.get(key);
    if (!entry) return;
    this.entries.delete(key);
    this.dirty.delete(entry.connection);
    entry.proxy.release();
  }

  // ---- into the guest ----

  /** A connection from the host, which seems to come from `source`. */
  forward(stream: HostStream, endpoints: Omit<Endpoints, 'remotePort'>): StreamEvents {
    const proxy = new StreamProxy();
    proxy.attachStream(stream);
    const found = this.freePort(endpoints);
    if (!found || this.count >= MAX_CONNECTIONS) stream.reset();
    else {
      const connection = this.add(keyOf(found), found, proxy);
      connection.connect();
    }
    return proxy.events;
  }

  private freePort(endpoints: Omit<Endpoints, 'remotePort'>): Endpoints | undefined {
    for (let i = 0; i < PORTS; i++) {
      const found = { ...endpoints, remotePort: FIRST_PORT + (this.nextPort++ % PORTS) };
      if (!this.entries.has(keyOf(found))) return found;
    }
    return undefined;
  }

  // ---- to the guest ----

  private outputOf({ guest, guestPort, remote, remotePort }: Endpoints): TcpOutput {
    const { ip, sockets } = this;
    const header = guest.length === 4 ? 40 : 60;
    const packet = { source: remote, destination: guest, protocol: PROTOCOL.TCP, checksumAt: 16, pseudoHeader: true };
    return {
      now: () => sockets.now(),
      largest: (maxSegment) => {
        const one = Math.min(maxSegment, ip.mtu - header);
        const { tcp4, tcp6 } = ip.sink.offloads;
        return (guest.length === 4 ? tcp4 : tcp6) ? Math.floor((65535 - header) / one) * one : one;
      },
      send: (segment) => {
        const options = segment.flags & SYN ? synOptions(segment, ip.mtu - header) : NO_OPTIONS;
        const start = 20 + options.length;
        return ip.send({
          ...packet,
          length: start + segment.length,
          segmentSize: Math.min(segment.maxSegment, ip.mtu - header),
          fill: (into) => {
            writeHeader(into, remotePort, guestPort, segment, options);
            if (segment.length > 0) segment.fill(into.subarray(start));
          },
        });
      },
    };
  }

  /** RFC 9293 §3.10.7.1: a reset that the sender of a segment believes. */
  private refuse(endpoints: Endpoints, { flags, sequence, acknowledgement, payload }: Segment): void {
    const length = payload.length + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    const answer = flags & ACK ? { sequence: acknowledgement, flags: RST } : { sequence: 0, flags: RST | ACK };
    this.outputOf(endpoints).send({
      ...answer,
      acknowledgement: flags & ACK ? 0 : advance(sequence, length),
      window: 0,
      scale: undefined,
      length: 0,
      maxSegment: 536,
      fill: () => {},
    });
  }

  /** The frames that came together have all been seen: acknowledgements go out. */
  endBatch(): void {
    for (const connection of this.dirty) connection.flushAcknowledgement();
    this.dirty.clear();
  }

  /** There is room for frames to the guest again. */
  room(): void {
    for (const { connection } of this.entries.values()) connection.pump();
  }

  /** Nothing of it will ever be due. */
  get isIdle(): boolean {
    return this.entries.size === 0 && this.connecting.size === 0;
  }

  tick(): void {
    const now = this.sockets.now();
    for (const [key, entry] of this.entries) {
      entry.connection.tick(now);
      if (entry.connection.state === 'closed') this.remove(key);
    }
  }

  // ---- the machine's life ----

  /** The guest was reset: what it had is gone. */
  dropAll(): void {
    for (const stream of this.connecting.values()) stream?.reset();
    this.connecting.clear();
    for (const key of [...this.entries.keys()]) this.remove(key);
  }

  save(): SavedConnection[] {
    return [...this.entries.values()].map(({ endpoints, connection }) => ({ ...endpoints, ...connection.sequences }));
  }

  /** The host's side of these is gone: the guest is told so. */
  reset(saved: readonly SavedConnection[]): void {
    for (const { next, received, ...endpoints } of saved)
      this.outputOf(endpoints).send({
        sequence: next,
        acknowledgement: received,
        flags: RST | ACK,
        window: 0,
        scale: undefined,
        length: 0,
        maxSegment: 536,
        fill: () => {},
      });
  }
}

const copyOf = (endpoints: Endpoints): Endpoints => ({
  ...endpoints,
  guest: endpoints.guest.slice(),
  remote: endpoints.remote.slice(),
});

const NO_OPTIONS = new Uint8Array(0);

/** Maximum segment size (RFC 9293 §3.2) and window scale (RFC 7323 §2.2). */
function synOptions({ scale }: OutgoingSegment, maxSegment: number): Uint8Array {
  const size = [2, 4, maxSegment >> 8, maxSegment & 0xff];
  return Uint8Array.from(scale === undefined ? size : [...size, 1, 3, 3, scale]);
}

function writeHeader(into: Uint8Array, from: number, to: number, segment: OutgoingSegment, options: Uint8Array): void {
  put16(into, 0, from);
  put16(into, 2, to);
  put32(into, 4, segment.sequence);
  put32(into, 8, segment.acknowledgement);
  into[12] = (5 + options.length / 4) << 4;
  into[13] = segment.flags;
  put16(into, 14, segment.window);
  put32(into, 16, 0);
  into.set(options, 20);
}

/** Undefined: it is damaged. */
function parseSegment(packet: IpPacket): Segment | undefined {
  const { payload } = packet;
  if (payload.length < 20) return undefined;
  const header = (payload[12] >> 4) * 4;
  if (header < 20 || header > payload.length) return undefined;
  if (!packet.unfinished) {
    const sum = pseudoSum({ ...packet, length: payload.length });
    if (foldSum(addWords(payload, 0, payload.length, sum)) !== 0xffff) return undefined;
  }
  let maxSegment: number | undefined;
  let scale: number | undefined;
  if (payload[13] & SYN)
    for (let at = 20; at < header;) {
      const kind = payload[at];
      if (kind === 0) break;
      if (kind === 1) {
        at++;
        continue;
      }
      const length = at + 1 < header ? payload[at + 1] : 0;
      if (length < 2 || at + length > header) break;
      if (kind === 2 && length === 4) maxSegment = get16(payload, at + 2);
      if (kind === 3 && length === 3) scale = payload[at + 2];
      at += length;
    }
  return {
    sequence: get32(payload, 4),
    acknowledgement: get32(payload, 8),
    flags: payload[13],
    window: get16(payload, 14),
    payload: payload.subarray(header),
    maxSegment,
    scale,
  };
}
