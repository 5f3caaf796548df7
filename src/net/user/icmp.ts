import type { EchoError, HostSockets } from '../../iface/host-sockets.js';
import { isLocalOnly, parseAddress, type Address } from '../addresses.js';
import { EchoService, type EchoRequest } from './echo-service.js';
import { ICMP, ICMP6, sendIcmp } from './icmp-message.js';
import type { IpOutput } from './ip-output.js';
import { put16, type IpPacket } from './packet.js';
import { isInside, type Plan } from './plan.js';
import type { Policy } from './policy.js';

/** Codes of "unreachable". */
const CODES = {
  /** There is no route. */
  network: { four: 0, six: 0 },
  prohibited: { four: 13, six: 1 },
} as const;
/** "Fragmentation needed": the host has seen it, and cuts what follows. */
const TOO_BIG = 4;

/** What errors are about. */
type Refused = Pick<IpPacket, 'source' | 'destination' | 'quote'>;

/** Echo requests to other hosts, which go through the host's sockets, and errors that the gateway tells as a router. */
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
        sendIcmp(ip, {
          source: destination,
          destination: guest,
          length: 8 + data.length,
          fill: (into) => {
            into[0] = guest.length === 16 ? ICMP6.ECHO_REPLY : ICMP.ECHO_REPLY;
            put16(into, 4, identifier);
            put16(into, 6, sequence);
            into.set(data, 8);
          },
        });
      },
      error: (request, error) => this.passOn(request, error),
    });
  }

  /** An echo request to somebody who is not of this network. */
  echo(packet: IpPacket): void {
    const six = packet.source.length === 16;
    if (!isInside(this.plan, packet.source)) {
      this.unreachable(packet, 'prohibited');
      return;
    }
    // The gateway is a router: RFC 1812 §5.3.1, RFC 8200 §3.
    if (packet.hopLimit <= 1) {
      this.error(this.gateway(six), packet, six ? ICMP6.TIME_EXCEEDED : ICMP.TIME_EXCEEDED, 0);
      return;
    }
    const sent = this.echoes.ask(packet);
    if (sent === 'prohibited') this.unreachable(packet, 'prohibited');
    else if (sent === 'unreachable') this.unreachable(packet, 'network');
  }

  /** An error that the host was told of. */
  private passOn({ guest, destination, quote }: EchoRequest, { from, type, code }: EchoError): void {
    const six = guest.length === 16;
    const { UNREACHABLE, TIME_EXCEEDED } = six ? ICMP6 : ICMP;
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

  /** Nothing of it will ever be due. */
  get isIdle(): boolean {
    return this.echoes.isIdle;
  }

  tick(): void {
    this.echoes.tick();
  }

  dropAll(): void {
    this.echoes.dropAll();
  }

  /** Tells the guest that a packet does not arrive. */
  unreachable(packet: Refused, why: keyof typeof CODES): void {
    const six = packet.source.length === 16;
    this.error(
      this.gateway(six),
      packet,
      six ? ICMP6.UNREACHABLE : ICMP.UNREACHABLE,
      six ? CODES[why].six : CODES[why].four,
    );
  }

  /** RFC 1122 §3.2.2, RFC 4443 §2.4: not for what went to many, or came from nobody. */
  private error(from: Address | undefined, { source, destination, quote }: Refused, type: number, code: number): void {
    const multicast = destination.length === 4 ? destination[0] >= 224 : destination[0] === 0xff;
    if (!from || multicast || source.every((byte) => byte === 0)) return;
    sendIcmp(this.ip, {
      source: from,
      destination: source,
      length: 8 + quote.length,
      fill: (into) => {
        into[0] = type;
        into[1] = code;
        into.set(quote, 8);
      },
    });
  }
}
