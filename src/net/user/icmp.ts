import { addWords, foldSum } from '../../base/internet-checksum.js';
import { sameAddress, type Address } from '../addresses.js';
import { pseudoSum, type IpOutput } from './ip-output.js';
import { PROTOCOL, put16, put32, type IpPacket } from './packet.js';
import { GATEWAY_MAC, type Plan } from './plan.js';

/** RFC 792. */
const V4 = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 } as const;
/** RFC 4443 and RFC 4861. */
const V6 = {
  UNREACHABLE: 1,
  ECHO: 128,
  ECHO_REPLY: 129,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOUR_SOLICITATION: 135,
  NEIGHBOUR_ADVERTISEMENT: 136,
} as const;
/** Codes of "unreachable". */
const PORT = { four: 3, six: 4 } as const;
const PROHIBITED = { four: 13, six: 1 } as const;

/** Seconds that a prefix is valid, and that we are the router. */
const PREFIX_LIFETIME = 86_400;
const ROUTER_LIFETIME = 1800;

/** What the gateway itself answers: echoes, and IPv6's neighbour and router discovery. */
export class Icmp {
  constructor(
    private readonly ip: IpOutput,
    private readonly plan: Plan,
  ) {}

  private isOurs(address: Address): boolean {
    const { gateway, dns, six } = this.plan;
    const own = [gateway, dns, ...(six ? [six.gateway, six.dns, six.linkLocal] : [])];
    return own.some((other) => sameAddress(other, address));
  }

  receive(packet: IpPacket): void {
    const { payload, source } = packet;
    if (payload.length < 8) return;
    const six = source.length === 16;
    const pseudo = six ? pseudoSum({ ...packet, length: payload.length }) : 0;
    if (foldSum(addWords(payload, 0, payload.length, pseudo)) !== 0xffff) return;
    if (payload[0] === (six ? V6.ECHO : V4.ECHO)) this.echo(packet, six);
    else if (six && payload[0] === V6.NEIGHBOUR_SOLICITATION) this.advertiseNeighbour(packet);
    else if (six && payload[0] === V6.ROUTER_SOLICITATION) this.advertiseRouter();
  }

  private echo(packet: IpPacket, six: boolean): void {
    if (!this.isOurs(packet.destination)) {
      this.unreachable(packet, 'prohibited');
      return;
    }
    this.send(packet.destination, packet.source, packet.payload.length, (into) => {
      into.set(packet.payload);
      into[0] = six ? V6.ECHO_REPLY : V4.ECHO_REPLY;
    });
  }

  private send(
    source: Address,
    destination: Address,
    length: number,
    fill: (into: Uint8Array) => void,
    hopLimit?: number,
  ): void {
    const six = source.length === 16;
    this.ip.send({
      source,
      destination,
      protocol: six ? PROTOCOL.ICMP6 : PROTOCOL.ICMP,
      length,
      checksumAt: 2,
      pseudoHeader: six,
      ...(hopLimit !== undefined && { hopLimit }),
      fill: (into) => {
        into.fill(0);
        fill(into);
        put16(into, 2, 0);
      },
    });
  }

  /** Tells the guest that a packet does not arrive. */
  unreachable(packet: IpPacket, why: 'port' | 'prohibited'): void {
    const { source, destination, quote } = packet;
    const multicast = destination.length === 4 ? destination[0] >= 224 : destination[0] === 0xff;
    if (multicast || source.every((byte) => byte === 0)) return;
    const six = source.length === 16;
    const codes = why === 'port' ? PORT : PROHIBITED;
    // From the gateway, in whose view it is.
    const from = six ? this.plan.six?.gateway : this.plan.gateway;
    if (!from) return;
    this.send(why === 'port' ? destination : from, source, 8 + quote.length, (into) => {
      into[0] = six ? V6.UNREACHABLE : V4.UNREACHABLE;
      into[1] = six ? codes.six : codes.four;
      into.set(quote, 8);
    });
  }

  /** RFC 4861 §7.2.4. */
  private advertiseNeighbour({ payload, source }: IpPacket): void {
    const target = payload.slice(8, 24);
    if (payload.length < 24 || !this.isOurs(target)) return;
    const asked = source.every((byte) => byte === 0) ? ALL_NODES : source;
    const solicited = asked === ALL_NODES ? 0 : 0x4000_0000;
    this.send(
      target,
      asked,
      32,
      (into) => {
        into[0] = V6.NEIGHBOUR_ADVERTISEMENT;
        put32(into, 4, (0xa000_0000 | solicited) >>> 0);
        into.set(target, 8);
        into.set([2, 1, ...GATEWAY_MAC], 24);
      },
      255,
    );
  }

  /** RFC 4861 §4.2, with the prefix for addresses that guests make themselves and the name server (RFC 8106). */
  advertiseRouter(): void {
    const { six } = this.plan;
    if (!six) return;
    this.send(
      six.linkLocal,
      ALL_NODES,
      88,
      (into) => {
        into[0] = V6.ROUTER_ADVERTISEMENT;
        into[4] = 64;
        put16(into, 6, ROUTER_LIFETIME);
        into.set([1, 1, ...GATEWAY_MAC], 16);
        into.set([5, 1], 24);
        put32(into, 28, this.ip.mtu);
        into.set([3, 4, 64, 0xc0], 32);
        put32(into, 36, PREFIX_LIFETIME);
        put32(into, 40, PREFIX_LIFETIME / 6);
        into.set(six.net.address, 48);
        into.set([25, 3], 64);
        put32(into, 68, ROUTER_LIFETIME);
        into.set(six.dns, 72);
      },
      255,
    );
  }
}

const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
