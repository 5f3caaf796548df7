import { addWords, foldSum } from '../../base/internet-checksum.js';
import { sameAddress, type Address } from '../addresses.js';
import { ICMP, ICMP6, sendIcmp } from './icmp-message.js';
import { pseudoSum, type IpOutput } from './ip-output.js';
import { ETHER, get16, put16, put32, type IpPacket } from './packet.js';
import { GATEWAY_MAC, isNeighbour, type Plan } from './plan.js';

/** Milliseconds between two unasked router advertisements, RFC 4861 §6.2.1. */
export const ADVERTISE = 200_000;
/** Seconds that a prefix is valid, and that we are the router. */
const PREFIX_LIFETIME = 86_400;
const ROUTER_LIFETIME = 1800;
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** What the network answers by itself, without a word to anybody: ARP, echoes to its own addresses, neighbour and router discovery. */
export class Gateway {
  constructor(
    private readonly ip: IpOutput,
    private readonly plan: Plan,
  ) {}

  /** Remembers which card has an address. True: that is news. */
  learn(address: Address, mac: Uint8Array): boolean {
    return isNeighbour(this.plan, address) && this.ip.learn(address, mac);
  }

  private isOurs(address: Address): boolean {
    const { gateway, dns, six } = this.plan;
    const own = [gateway, dns, ...(six ? [six.gateway, six.dns, six.linkLocal] : [])];
    return own.some((other) => sameAddress(other, address));
  }

  /** RFC 826: the network's own addresses are at the gateway. */
  receiveArp(arp: Uint8Array): void {
    if (arp.length < 28 || get16(arp, 0) !== 1 || get16(arp, 2) !== ETHER.IPV4 || arp[4] !== 6 || arp[5] !== 4) return;
    const target = arp.subarray(24, 28);
    this.learn(arp.subarray(14, 18), arp.subarray(8, 14));
    const ours = sameAddress(target, this.plan.gateway) || sameAddress(target, this.plan.dns);
    if (get16(arp, 6) !== 1 || !ours) return;
    const reply = arp.slice(0, 28);
    put16(reply, 6, 2);
    reply.set(GATEWAY_MAC, 8);
    reply.set(target, 14);
    reply.set(arp.subarray(8, 18), 18);
    this.ip.sendFrame(arp.slice(8, 14), ETHER.ARP, reply);
  }

  /** A packet of ICMP or ICMPv6. False: it is an echo request to somebody else. */
  receiveIcmp(packet: IpPacket): boolean {
    const { payload, source, destination } = packet;
    if (payload.length < 8) return true;
    const six = source.length === 16;
    const pseudo = six ? pseudoSum({ ...packet, length: payload.length }) : 0;
    if (foldSum(addWords(payload, 0, payload.length, pseudo)) !== 0xffff) return true;
    if (payload[0] === (six ? ICMP6.ECHO : ICMP.ECHO)) {
      if (!this.isOurs(destination)) return false;
      this.echo(packet);
    } else if (six && payload[0] === ICMP6.NEIGHBOUR_SOLICITATION) this.advertiseNeighbour(packet);
    else if (six && payload[0] === ICMP6.ROUTER_SOLICITATION) this.advertiseRouter();
    return true;
  }

  private echo({ source, destination, payload }: IpPacket): void {
    sendIcmp(this.ip, {
      source: destination,
      destination: source,
      length: payload.length,
      fill: (into) => {
        into.set(payload);
        into[0] = source.length === 16 ? ICMP6.ECHO_REPLY : ICMP.ECHO_REPLY;
      },
    });
  }

  /** RFC 4861 §7.2.4. */
  private advertiseNeighbour({ payload, source }: IpPacket): void {
    const target = payload.slice(8, 24);
    if (payload.length < 24 || !this.isOurs(target)) return;
    const asked = source.every((byte) => byte === 0) ? ALL_NODES : source;
    const solicited = asked === ALL_NODES ? 0 : 0x4000_0000;
    sendIcmp(this.ip, {
      source: target,
      destination: asked,
      length: 32,
      hopLimit: 255,
      fill: (into) => {
        into[0] = ICMP6.NEIGHBOUR_ADVERTISEMENT;
        put32(into, 4, (0xa000_0000 | solicited) >>> 0);
        into.set(target, 8);
        into.set([2, 1, ...GATEWAY_MAC], 24);
      },
    });
  }

  /** RFC 4861 §4.2, with the prefix for addresses that guests make themselves and the name server (RFC 8106). */
  advertiseRouter(): void {
    const { six } = this.plan;
    if (!six) return;
    sendIcmp(this.ip, {
      source: six.linkLocal,
      destination: ALL_NODES,
      length: 88,
      hopLimit: 255,
      fill: (into) => {
        into[0] = ICMP6.ROUTER_ADVERTISEMENT;
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
    });
  }
}
