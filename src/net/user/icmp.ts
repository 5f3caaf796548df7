import { addWords, foldSum } from '../../base/internet-checksum.js';
import type { EchoError, HostSockets } from '../../iface/host-sockets.js';
import { isLocalOnly, parseAddress, sameAddress, type Address } from '../addresses.js';
import { EchoService, type EchoRequest } from './echo-service.js';
import { pseudoSum, type IpOutput } from './ip-output.js';
import { PROTOCOL, put16, put32, type IpPacket } from './packet.js';
import { GATEWAY_MAC, isInside, type Plan } from './plan.js';
import type { Policy } from './policy.js';

/** RFC 792. */
const V4 = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8, TIME_EXCEEDED: 11 } as const;
/** RFC 4443 and RFC 4861. */
const V6 = {
  UNREACHABLE: 1,
  TIME_EXCEEDED: 3,
  ECHO: 128,
  ECHO_REPLY: 129,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOUR_SOLICITATION: 135,
  NEIGHBOUR_ADVERTISEMENT: 136,
} as const;
/** Codes of "unreachable". */
const CODES = {
  /** There is no route. */
  network: { four: 0, six: 0 },
  prohibited: { four: 13, six: 1 },
} as const;
/** "Fragmentation needed": the host has seen it, and cuts what follows. */
const TOO_BIG = 4;

/** Seconds that a prefix is valid, and that we are the router. */
const PREFIX_LIFETIME = 86_400;
const ROUTER_LIFETIME = 1800;

/** What errors are about. */
type Refused = Pick<IpPacket, 'source' | 'destination' | 'quote'>;

/** What the gateway itself answers: echoes, and IPv6's neighbour and router discovery. Echoes to other hosts go through the host's sockets. */
export class Icmp {
  private readonly echoes: EchoService;

  constructor(
    private readonly ip: IpOutput,
    private readonly plan: Plan,
    sockets: HostSockets,
    policy: Policy,
  ) {
    this.echoes = new EchoService(sockets, policy, {
      reply: ({ guest, destination, identifier, sequence }, data) => {
        this.send(destination, guest, 8 + data.length, (into) => {
          into[0] = guest.length === 16 ? V6.ECHO_REPLY : V4.ECHO_REPLY;
          put16(into, 4, identifier);
          put16(into, 6, sequence);
          into.set(data, 8);
        });
      },
      error: (request, error) => this.passOn(request, error),
    });
  }

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
      this.echoElsewhere(packet, six);
      return;
    }
    this.send(packet.destination, packet.source, packet.payload.length, (into) => {
      into.set(packet.payload);
      into[0] = six ? V6.ECHO_REPLY : V4.ECHO_REPLY;
    });
  }

  private echoElsewhere(packet: IpPacket, six: boolean): void {
    if (!isInside(this.plan, packet.source)) {
      this.unreachable(packet, 'prohibited');
      return;
    }
    // The gateway is a router: RFC 1812 §5.3.1, RFC 8200 §3.
    if (packet.hopLimit <= 1) {
      this.error(this.gateway(six), packet, six ? V6.TIME_EXCEEDED : V4.TIME_EXCEEDED, 0);
      return;
    }
    const sent = this.echoes.ask(packet);
    if (sent === 'prohibited') this.unreachable(packet, 'prohibited');
    else if (sent === 'unreachable') this.unreachable(packet, 'network');
  }

  /** An error that the host was told of. */
  private passOn({ guest, destination, quote }: EchoRequest, { from, type, code }: EchoError): void {
    const six = guest.length === 16;
    const { UNREACHABLE, TIME_EXCEEDED } = six ? V6 : V4;
    if (type !== UNREACHABLE && type !== TIME_EXCEEDED) return;
    if (!six && type === UNREACHABLE && code === TOO_BIG) return;
    const router = parseAddress(from);
    // What only this host can reach, or has another meaning here, is the gateway to the guest.
    const known = router?.length === guest.length && !isLocalOnly(router) && !isInside(this.plan, router);
    this.error(known ? router : this.gateway(six), { source: guest, destination, quote }, type, code);
  }

  private gateway(six: boolean): Address | undefined {
    return six ? this.plan.six?.gateway : this.plan.gateway;
  }

  tick(): void {
    this.echoes.tick();
  }

  dropAll(): void {
    this.echoes.dropAll();
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
  unreachable(packet: Refused, why: keyof typeof CODES): void {
    const six = packet.source.length === 16;
    this.error(
      this.gateway(six),
      packet,
      six ? V6.UNREACHABLE : V4.UNREACHABLE,
      six ? CODES[why].six : CODES[why].four,
    );
  }

  /** RFC 1122 §3.2.2, RFC 4443 §2.4: not for what went to many, or came from nobody. */
  private error(from: Address | undefined, { source, destination, quote }: Refused, type: number, code: number): void {
    const multicast = destination.length === 4 ? destination[0] >= 224 : destination[0] === 0xff;
    if (!from || multicast || source.every((byte) => byte === 0)) return;
    this.send(from, source, 8 + quote.length, (into) => {
      into[0] = type;
      into[1] = code;
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
