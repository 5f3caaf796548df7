import { UsageError } from '../../base/errors.js';
import type { HostDatagrams, HostSockets } from '../../iface/host-sockets.js';
import type { ForwardConfig, UserNetConfig } from '../../iface/net-config.js';
import type { FrameInfo } from '../../iface/net.js';
import { parseAddress, sameAddress, type Address } from '../addresses.js';
import { DHCP_PORTS, DhcpServer } from './dhcp.js';
import { DnsProxy } from './dns.js';
import { Fragments } from './fragments.js';
import { ADVERTISE, Gateway } from './gateway.js';
import { Icmp } from './icmp.js';
import { readV4, readV6 } from './ip-input.js';
import { IpOutput, type FrameSink } from './ip-output.js';
import { ETHER, ETHERNET_HEADER, get16, PROTOCOL, type IpPacket } from './packet.js';
import { DNS_PORT, isInside, parseResolver, planNetwork, type Plan } from './plan.js';
import { Policy } from './policy.js';
import { TcpService, type SavedConnection } from './tcp-service.js';
import { parseDatagram, UdpService, type Datagram } from './udp-service.js';

/** Milliseconds between two looks at what is due. */
const TICK = 50;

export interface UserStackParts {
  readonly config: UserNetConfig;
  /** The guest's card, 6 bytes. */
  readonly mac: Uint8Array;
  /** Largest IP packet, bytes. */
  readonly mtu: number;
  readonly sink: FrameSink;
  readonly sockets: HostSockets;
}

/**
 * A network with one guest on it, a gateway, a name server and a DHCP server, all of them here; what the guest sends
 * beyond goes through sockets of the host, as if the host's user had sent it.
 */
export class UserStack {
  private readonly plan: Plan;
  private readonly ip: IpOutput;
  private readonly fragments: Fragments;
  private readonly gateway: Gateway;
  private readonly icmp: Icmp;
  private readonly policy: Policy;
  private readonly dns: DnsProxy;
  private readonly dhcp: DhcpServer;
  private readonly tcp: TcpService;
  private readonly udp: UdpService;
  /** Ends the looks at what is due; undefined: nothing can be. */
  private stopTicking: (() => void) | undefined;
  /** Frames that were malformed or of a kind that this network does not carry. */
  dropped = 0;

  /** Throws a one-line error when the addresses do not go together. */
  constructor(private readonly parts: UserStackParts) {
    const { config, sockets, sink, mac, mtu } = parts;
    this.plan = planNetwork(config);
    this.ip = new IpOutput(sink, mac, mtu);
    this.fragments = new Fragments(() => sockets.now());
    this.gateway = new Gateway(this.ip, this.plan);
    this.policy = new Policy(this.plan, config.restrict, config.allow, sockets);
    this.icmp = new Icmp(this.ip, this.plan, sockets, this.policy);
    this.dns = new DnsProxy(sockets, this.policy, () => this.nameServers());
    this.dhcp = new DhcpServer(this.plan, config, mtu);
    this.tcp = new TcpService(this.ip, sockets, this.policy, (destination, port) =>
      port === DNS_PORT && this.isNameServer(destination) ? this.dns.tcpServer : undefined,
    );
    this.udp = new UdpService(this.ip, sockets, this.policy, {
      four: this.plan.gateway,
      six: this.plan.six?.gateway,
    });
    sockets.every(ADVERTISE, () => this.gateway.advertiseRouter());
  }

  private get isIdle(): boolean {
    return this.services.every(({ isIdle }) => isIdle);
  }

  private get services(): readonly { readonly isIdle: boolean; tick(): void }[] {
    return [this.tcp, this.udp, this.dns, this.icmp];
  }

  /** Looks at what is due from now on, for as long as something may be: a thread with nothing to do is not to be woken. */
  private keepTicking(): void {
    if (this.stopTicking || this.isIdle) return;
    this.stopTicking = this.parts.sockets.every(TICK, () => {
      for (const service of this.services) service.tick();
      if (!this.isIdle) return;
      this.stopTicking?.();
      this.stopTicking = undefined;
    });
  }

  private nameServers(): readonly { readonly address: string; readonly port: number }[] {
    const { resolver } = this.parts.config;
    if (resolver === '') return this.parts.sockets.nameServers();
    const server = parseResolver(resolver);
    return server ? [server] : [];
  }

  private isNameServer(address: Address): boolean {
    const { dns, six } = this.plan;
    return sameAddress(address, dns) || (six !== undefined && sameAddress(address, six.dns));
  }

  // ---- frames from the guest ----

  /** A frame, valid during the call. */
  receive(frame: Uint8Array, info: FrameInfo): void {
    if (frame.length < ETHERNET_HEADER || frame[6] & 1) {
      this.dropped++;
      return;
    }
    const payload = frame.subarray(ETHERNET_HEADER);
    switch (get16(frame, 12)) {
      case ETHER.ARP:
        this.gateway.receiveArp(payload);
        break;
      case ETHER.IPV4:
        this.receiveIp(this.fragments.whole(readV4(payload, info.checksumStart > 0)), frame);
        break;
      case ETHER.IPV6:
        if (this.plan.six) this.receiveIp(this.fragments.whole(readV6(payload, info.checksumStart > 0)), frame);
        break;
      default:
        this.dropped++;
    }
  }

  /** The frames that came together have all been received. */
  endBatch(): void {
    this.tcp.endBatch();
    this.keepTicking();
  }

  /** There is room for frames to the guest again. */
  room(): void {
    this.tcp.room();
  }

  private receiveIp(packet: IpPacket | undefined, frame: Uint8Array): void {
    if (!packet) {
      this.dropped++;
      return;
    }
    const { source, protocol } = packet;
    this.gateway.learn(source, frame.subarray(6, 12));
    if (protocol === PROTOCOL.UDP) {
      const datagram = parseDatagram(packet);
      if (datagram) this.receiveDatagram(datagram, frame);
      return;
    }
    const six = source.length === 16;
    if (protocol === (six ? PROTOCOL.ICMP6 : PROTOCOL.ICMP)) {
      if (!this.gateway.receiveIcmp(packet)) this.icmp.echo(packet);
    }
    // Only the guests of this network are served: an answer to another address would go astray.
    else if (protocol === PROTOCOL.TCP && isInside(this.plan, source)) this.tcp.receive(packet);
    else this.dropped++;
  }

  private receiveDatagram(datagram: Datagram, frame: Uint8Array): void {
    const { packet, sourcePort, destinationPort, data } = datagram;
    if (packet.source.length === 4 && destinationPort === DHCP_PORTS.SERVER && sourcePort === DHCP_PORTS.CLIENT) {
      this.answerDhcp(data, frame);
      return;
    }
    if (!isInside(this.plan, packet.source)) return;
    if (destinationPort === DNS_PORT && this.isNameServer(packet.destination)) {
      const [source, destination] = [packet.destination.slice(), packet.source.slice()];
      this.dns.ask(data, (answer) =>
        this.udp.send(answer, { source, sourcePort: DNS_PORT, destination, destinationPort: sourcePort }),
      );
      return;
    }
    if (!this.udp.receive(datagram)) this.icmp.unreachable(packet, 'prohibited');
  }

  /** RFC 2131 §4.1: to everybody, since the client has no address yet. */
  private answerDhcp(message: Uint8Array, frame: Uint8Array): void {
    const answer = this.dhcp.answer(message);
    if (!answer) return;
    const client = frame.slice(6, 12);
    const given = answer.slice(16, 20);
    const destination = Uint8Array.of(255, 255, 255, 255);
    const known = given.some((byte) => byte !== 0);
    // A card that was told its address by unicast may not take it yet; one that asks for broadcast says so.
    if (known) this.ip.learn(given, client);
    this.udp.send(answer, {
      source: this.plan.gateway,
      sourcePort: DHCP_PORTS.SERVER,
      destination,
      destinationPort: DHCP_PORTS.CLIENT,
    });
  }

  // ---- into the guest ----

  /** Opens a port of the host. Rejected with a one-line error when it cannot be had. */
  async forward(forward: ForwardConfig): Promise<void> {
    const { protocol, hostAddress, hostPort, guestAddress, guestPort } = forward;
    const guest = guestAddress === '' ? this.plan.firstGuest : parseAddress(guestAddress);
    if (!guest || !isInside(this.plan, guest))
      throw new UsageError(`hostfwd: ${guestAddress} is not an address of the guest`);
    const remote = guest.length === 4 ? this.plan.gateway : this.plan.six?.gateway;
    if (!remote) throw new UsageError('hostfwd: the network has no IPv6');
    const { sockets } = this.parts;
    if (protocol === 'tcp') {
      await sockets.listen(hostAddress, hostPort, (stream) => {
        const events = this.tcp.forward(stream, { guest, guestPort, remote });
        this.keepTicking();
        return events;
      });
      return;
    }
    await this.forwardDatagrams(forward, guest, remote);
  }

  private async forwardDatagrams(
    { hostAddress, hostPort, guestPort }: ForwardConfig,
    guest: Address,
    remote: Address,
  ): Promise<void> {
    const { sockets } = this.parts;
    const socket: HostDatagrams = await sockets.listenDatagrams(hostAddress, hostPort, (bytes, address, port) => {
      const sourcePort = this.udp.visit(socket, { address, port }, { guest, guestPort });
      this.keepTicking();
      this.udp.send(bytes, { source: remote, sourcePort, destination: guest, destinationPort: guestPort });
    });
  }

  // ---- the machine's life ----

  /** The guest was reset: what it had is gone. */
  reset(): void {
    this.tcp.dropAll();
    this.udp.dropAll();
    this.icmp.dropAll();
  }

  connections(): SavedConnection[] {
    return this.tcp.save();
  }

  /** The guest has connections whose other side is gone. */
  resetConnections(saved: readonly SavedConnection[]): void {
    this.tcp.reset(saved);
  }
}
