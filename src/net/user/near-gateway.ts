import type { NetConfig } from '../../iface/net-config.js';
import { parseMac } from '../addresses.js';
import { ADVERTISE, Gateway } from './gateway.js';
import { readV4, readV6 } from './ip-input.js';
import { IpOutput, type FrameSink } from './ip-output.js';
import { ETHER, ETHERNET_HEADER, get16, PROTOCOL, type IpPacket } from './packet.js';
import { planNetwork } from './plan.js';

/** Where in a frame IPv4's protocol is, IPv6's next header, and addresses of who sends ARP. */
const AT = {
  PROTOCOL: ETHERNET_HEADER + 9,
  NEXT: ETHERNET_HEADER + 6,
  ARP_MAC: ETHERNET_HEADER + 8,
  ARP_ADDRESS: ETHERNET_HEADER + 14,
} as const;
const ARP_LENGTH = ETHERNET_HEADER + 28;

/**
 * The gateway once more, on the machine's thread: what the network answers by itself comes back at once, while its own thread sleeps on. A
 * frame by which that learns where an address is goes to it all the same, and so does what it alone can tell, such as fragments.
 */
export class NearGateway {
  private readonly gateway: Gateway;
  private readonly hasSix: boolean;
  /** When the guest is to be told of its router unasked; it was told by this one. */
  private advertiseAt = Infinity;

  private constructor(
    { mac, mtu }: NetConfig,
    plan: ReturnType<typeof planNetwork>,
    sink: FrameSink,
    /** Milliseconds. */
    private readonly now: () => number,
  ) {
    this.gateway = new Gateway(new IpOutput(sink, parseMac(mac) ?? new Uint8Array(6), mtu), plan);
    this.hasSix = plan.six !== undefined;
  }

  /**
   * Undefined: of this network every frame is to be seen by its thread. `now` in milliseconds. Throws a one-line error when the addresses do not
   * go together.
   */
  static of(config: NetConfig, sink: FrameSink, now: () => number): NearGateway | undefined {
    const { network, pcap } = config;
    if (network.kind !== 'user' || pcap !== '') return undefined;
    return new NearGateway(config, planNetwork(network), sink, now);
  }

  /** A frame of the guest, valid during the call. True: it is answered, or nobody would, and goes no further. */
  receive(frame: Uint8Array): boolean {
    if (frame.length < ARP_LENGTH || frame[6] & 1) return false;
    switch (get16(frame, 12)) {
      case ETHER.ARP:
        return this.receiveArp(frame);
      case ETHER.IPV4:
        return (
          frame[AT.PROTOCOL] === PROTOCOL.ICMP &&
          this.receiveIcmp(readV4(frame.subarray(ETHERNET_HEADER), false), frame)
        );
      case ETHER.IPV6:
        if (!this.hasSix) return true;
        // Reports of multicast listeners have an option before them.
        return (
          (frame[AT.NEXT] === PROTOCOL.ICMP6 || frame[AT.NEXT] === PROTOCOL.HOP_BY_HOP) &&
          this.receiveIcmp(readV6(frame.subarray(ETHERNET_HEADER), false), frame)
        );
      default:
        return false;
    }
  }

  private receiveArp(frame: Uint8Array): boolean {
    if (
      this.gateway.learn(frame.subarray(AT.ARP_ADDRESS, AT.ARP_ADDRESS + 4), frame.subarray(AT.ARP_MAC, AT.ARP_ADDRESS))
    )
      return false;
    this.gateway.receiveArp(frame.subarray(ETHERNET_HEADER));
    return true;
  }

  private receiveIcmp(read: ReturnType<typeof readV6>, frame: Uint8Array): boolean {
    if (!read || 'packet' in read || !isIcmp(read)) return false;
    if (this.gateway.learn(read.source, frame.subarray(6, 12))) return false;
    if (!this.gateway.receiveIcmp(read)) return false;
    if (this.hasSix && this.advertiseAt === Infinity) this.advertiseAt = this.now() + ADVERTISE;
    return true;
  }

  /** Called often: tells the guest of its router while the network's thread may not. */
  poll(): void {
    if (this.advertiseAt === Infinity || this.now() < this.advertiseAt) return;
    this.advertiseAt = this.now() + ADVERTISE;
    this.gateway.advertiseRouter();
  }
}

const isIcmp = ({ source, protocol }: IpPacket): boolean =>
  protocol === (source.length === 16 ? PROTOCOL.ICMP6 : PROTOCOL.ICMP);
