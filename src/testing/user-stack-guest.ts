/** A guest's side of the user-mode network stack, for tests: packets, and a host that remembers what it was asked for. */
import type {
  EchoEvents,
  EchoSent,
  HostDatagrams,
  HostEchoes,
  HostSockets,
  HostStream,
  StreamEvents,
} from '../iface/host-sockets.js';
import type { NetConfig, UserNetConfig } from '../iface/net-config.js';
import { parseAddress } from '../net/addresses.js';
import { IpOutput, type FrameSink } from '../net/user/ip-output.js';
import { NearGateway } from '../net/user/near-gateway.js';
import { put16, put32 } from '../net/user/packet.js';
import { UserStack } from '../net/user/user-stack.js';
import { noise } from './noise.js';

export const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

export const CONFIG: UserNetConfig = {
  kind: 'user',
  net: '10.0.2.0/24',
  host: '',
  dns: '',
  dhcpStart: '',
  hostname: 'vm',
  domain: '',
  net6: 'fec0::/64',
  resolver: '192.0.2.53',
  bootFile: '',
  forwards: [],
  restrict: false,
  allow: [],
};

/** A host that remembers what it was asked for. */
export class FakeSockets implements HostSockets {
  time = 0;
  readonly connects: { address: string; port: number; events: StreamEvents; told: string[] }[] = [];
  readonly datagramsSent: string[] = [];
  /** Sockets for echoes that are open, and what they sent. */
  readonly echoSockets: { family: 4 | 6; events: EchoEvents; sent: Parameters<HostEchoes['send']>[0][] }[] = [];
  /** What becomes of echo requests; undefined: there are no sockets for them. */
  echoSent: EchoSent | undefined = 'sent';
  private readonly next = noise(99);
  readonly timers = new Set<() => void>();

  now(): number {
    return this.time;
  }
  random(bytes: number): Uint8Array {
    return Uint8Array.from({ length: bytes }, () => this.next() & 0xff);
  }
  connect(address: string, port: number, events: StreamEvents): HostStream {
    const told: string[] = [];
    this.connects.push({ address, port, events, told });
    return {
      write: (bytes: Uint8Array, sent: () => void) => {
        told.push(Buffer.from(bytes).toString('latin1'));
        sent();
      },
      end: () => void told.push('end'),
      reset: () => void told.push('reset'),
      pause: () => {},
      resume: () => {},
    };
  }
  datagrams(): HostDatagrams {
    return {
      send: (_: Uint8Array, address: string, port: number) => void this.datagramsSent.push(`${address}:${port}`),
      close: () => {},
    };
  }
  echoes(family: 4 | 6, events: EchoEvents): HostEchoes | undefined {
    if (this.echoSent === undefined) return undefined;
    const socket = { family, events, sent: [] as Parameters<HostEchoes['send']>[0][] };
    this.echoSockets.push(socket);
    return {
      send: (request) => {
        socket.sent.push({ ...request, data: request.data.slice() });
        return this.echoSent ?? 'lost';
      },
      close: () => void this.echoSockets.splice(this.echoSockets.indexOf(socket), 1),
    };
  }
  resolve(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
  nameServers(): ReturnType<HostSockets['nameServers']> {
    return [];
  }
  listen(): Promise<void> {
    return Promise.resolve();
  }
  listenDatagrams(): Promise<HostDatagrams> {
    return Promise.resolve(this.datagrams());
  }
  every(_: number, work: () => void): () => void {
    this.timers.add(work);
    return () => this.timers.delete(work);
  }
}

/** What a guest has of a stack: frames that it was sent, and the host behind it. */
export interface StackParts {
  readonly stack: UserStack;
  readonly frames: Uint8Array[];
  readonly sockets: FakeSockets;
}

function listSink(): { readonly frames: Uint8Array[]; readonly sink: FrameSink } {
  const frames: Uint8Array[] = [];
  let room = new Uint8Array(0);
  const sink = {
    offloads: { checksum: false, tcp4: false, tcp6: false },
    reserve: (length: number) => (room = new Uint8Array(length)),
    commit: () => void frames.push(room),
  };
  return { frames, sink };
}

export function userStack(config: Partial<UserNetConfig> = {}): StackParts {
  const { frames, sink } = listSink();
  const sockets = new FakeSockets();
  const stack = new UserStack({ config: { ...CONFIG, ...config }, mac: MAC, mtu: 1500, sink, sockets });
  return { stack, frames, sockets };
}

/** A card on a user network. */
export const CARD: NetConfig = {
  network: CONFIG,
  model: 'virtio-net',
  mac: '52:54:00:12:34:56',
  queues: 1,
  mtu: 1500,
  pcap: '',
};

/** The gateway on the machine's thread, and what it answers. */
export function nearGateway(
  config: Partial<UserNetConfig> = {},
  now = (): number => 0,
): { readonly near: NearGateway; readonly frames: Uint8Array[] } {
  const { frames, sink } = listSink();
  const near = NearGateway.of({ ...CARD, network: { ...CONFIG, ...config } }, sink, now);
  if (!near) throw new Error('a user network has no near gateway');
  return { near, frames };
}

/** A frame with an IP packet of the guest, checksums and all. */
export function packet(
  protocol: number,
  source: string,
  destination: string,
  payload: Uint8Array,
  checksumAt?: number,
  hopLimit = 64,
): Uint8Array {
  let frame = new Uint8Array(0);
  const output = new IpOutput(
    {
      offloads: { checksum: false, tcp4: false, tcp6: false },
      reserve: (length) => (frame = new Uint8Array(length)),
      commit: () => {},
    },
    MAC,
    65_535,
  );
  output.send({
    source: parseAddress(source) ?? new Uint8Array(4),
    destination: parseAddress(destination) ?? new Uint8Array(4),
    protocol,
    length: payload.length,
    checksumAt,
    pseudoHeader: protocol !== 1,
    hopLimit,
    fill: (into) => into.set(payload),
  });
  frame.set(MAC, 6);
  return frame;
}

export function segment(flags: number, sequence: number, acknowledgement: number, port = 80, data = ''): Uint8Array {
  const bytes = new Uint8Array(20 + data.length);
  put16(bytes, 0, 40_000);
  put16(bytes, 2, port);
  put32(bytes, 4, sequence);
  put32(bytes, 8, acknowledgement);
  bytes[12] = 0x50;
  bytes[13] = flags;
  put16(bytes, 14, 0xffff);
  bytes.set(Buffer.from(data, 'latin1'), 20);
  return bytes;
}
