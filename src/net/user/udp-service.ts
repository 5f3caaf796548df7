import { addWords, foldSum } from '../../base/internet-checksum.js';
import type { HostDatagrams, HostSockets } from '../../iface/host-sockets.js';
import { addressText, parseAddress, sameAddress, type Address } from '../addresses.js';
import { pseudoSum, type IpOutput } from './ip-output.js';
import { get16, PROTOCOL, put16, type IpPacket } from './packet.js';
import type { Policy } from './policy.js';

/** Sockets of the host at a time; the one that was silent longest makes room. */
export const MAX_FLOWS = 1024;
/** Milliseconds of silence after which one is closed: RFC 4787 REQ-5 asks for two minutes. */
const IDLE = 120_000;

interface Flow {
  readonly socket: HostDatagrams;
  used: number;
}

/** Somebody outside who speaks with a port of the guest that is open on the host. */
interface Visitor {
  readonly socket: HostDatagrams;
  readonly address: string;
  readonly port: number;
  readonly guest: Address;
  readonly guestPort: number;
  used: number;
}

/** Ports that visitors seem to come from. */
const FIRST_PORT = 49152;

/** A datagram of the guest. */
export interface Datagram {
  readonly packet: IpPacket;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

/** Undefined: it is damaged. */
export function parseDatagram(packet: IpPacket): Datagram | undefined {
  const { payload } = packet;
  if (payload.length < 8) return undefined;
  const length = get16(payload, 4);
  if (length < 8 || length > payload.length) return undefined;
  const sum = get16(payload, 6);
  if (sum === 0 && packet.source.length === 16) return undefined;
  if (sum !== 0 && !packet.unfinished) {
    const pseudo = pseudoSum({ ...packet, length });
    if (foldSum(addWords(payload, 0, length, pseudo)) !== 0xffff) return undefined;
  }
  return {
    packet,
    sourcePort: get16(payload, 0),
    destinationPort: get16(payload, 2),
    data: payload.subarray(8, length),
  };
}

/** UDP between the guest and the host's sockets: each port of the guest has a socket, whoever it speaks with. */
export class UdpService {
  private readonly flows = new Map<string, Flow>();
  /** By the port that they seem to come from. */
  private readonly visitors = new Map<number, Visitor>();
  private nextPort = 0;

  constructor(
    private readonly ip: IpOutput,
    private readonly sockets: HostSockets,
    private readonly policy: Policy,
    /** What the guest calls the host. */
    private readonly hostAddresses: { readonly four: Address; readonly six: Address | undefined },
  ) {}

  /** False: it may not go there. */
  receive({ packet, sourcePort, destinationPort, data }: Datagram): boolean {
    const { four, six } = this.hostAddresses;
    const visitor = this.visitors.get(destinationPort);
    const host = packet.destination.length === 4 ? four : six;
    if (visitor?.guestPort === sourcePort && host && sameAddress(packet.destination, host)) {
      visitor.used = this.sockets.now();
      visitor.socket.send(data.slice(), visitor.address, visitor.port);
      return true;
    }
    const address = this.policy.route(packet.destination, destinationPort);
    if (address === undefined) return false;
    // A flow belongs to a kind of destination: the host itself answers from an address that is not the guest's name for it.
    const key = `${addressText(packet.source)}/${sourcePort}/${packet.source.length}`;
    let flow = this.flows.get(key);
    if (!flow) {
      if (this.flows.size >= MAX_FLOWS) this.closeOldest();
      flow = this.open(key, packet.source.slice(), sourcePort);
    }
    flow.used = this.sockets.now();
    flow.socket.send(data.slice(), address, destinationPort);
    return true;
  }

  /** The port that somebody outside, who sent a datagram to a port of the host, seems to the guest to come from. */
  visit(
    socket: HostDatagrams,
    from: { address: string; port: number },
    to: { guest: Address; guestPort: number },
  ): number {
    const used = this.sockets.now();
    for (const [number, visitor] of this.visitors)
      if (
        visitor.socket === socket &&
        visitor.address === from.address &&
        visitor.port === from.port &&
        visitor.guestPort === to.guestPort
      ) {
        visitor.used = used;
        return number;
      }
    if (this.visitors.size >= MAX_FLOWS) {
      const oldest = [...this.visitors].reduce((a, b) => (b[1].used < a[1].used ? b : a));
      this.visitors.delete(oldest[0]);
    }
    let number: number;
    do number = FIRST_PORT + (this.nextPort++ % (65536 - FIRST_PORT));
    while (this.visitors.has(number));
    this.visitors.set(number, { socket, ...from, ...to, used });
    return number;
  }

  private open(key: string, guest: Address, port: number): Flow {
    const flow: Flow = {
      used: 0,
      socket: this.sockets.datagrams(
        guest.length === 4 ? 4 : 6,
        (bytes, from, fromPort) => {
          flow.used = this.sockets.now();
          const source = this.asGuestSees(from);
          if (source) this.send(bytes, { source, sourcePort: fromPort, destination: guest, destinationPort: port });
        },
        () => this.close(key),
      ),
    };
    this.flows.set(key, flow);
    return flow;
  }

  /** The host's address as the guest knows it. */
  asGuestSees(address: string): Address | undefined {
    const parsed = parseAddress(address.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, ''));
    if (parsed?.length === 4) return parsed[0] === 127 ? this.hostAddresses.four : parsed;
    return parsed && addressText(parsed) === '::1' ? this.hostAddresses.six : parsed;
  }

  send(
    data: Uint8Array,
    to: { source: Address; sourcePort: number; destination: Address; destinationPort: number },
  ): void {
    const { source, destination } = to;
    if (source.length !== destination.length || data.length > 65507) return;
    this.ip.send({
      source,
      destination,
      protocol: PROTOCOL.UDP,
      length: 8 + data.length,
      checksumAt: 6,
      pseudoHeader: true,
      fill: (into) => {
        put16(into, 0, to.sourcePort);
        put16(into, 2, to.destinationPort);
        put16(into, 4, 8 + data.length);
        put16(into, 6, 0);
        into.set(data, 8);
      },
    });
  }

  private close(key: string): void {
    this.flows.get(key)?.socket.close();
    this.flows.delete(key);
  }

  private closeOldest(): void {
    const oldest = [...this.flows].reduce((a, b) => (b[1].used < a[1].used ? b : a));
    this.close(oldest[0]);
  }

  /** Nothing of it will ever be due. */
  get isIdle(): boolean {
    return this.flows.size === 0 && this.visitors.size === 0;
  }

  tick(): void {
    const now = this.sockets.now();
    for (const [key, flow] of this.flows) if (now - flow.used > IDLE) this.close(key);
    for (const [number, visitor] of this.visitors) if (now - visitor.used > IDLE) this.visitors.delete(number);
  }

  dropAll(): void {
    for (const key of [...this.flows.keys()]) this.close(key);
  }
}
