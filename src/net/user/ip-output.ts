import { addWords, checksumOf, foldSum } from '../../base/internet-checksum.js';
import { FINISHED, GSO, type FrameInfo, type NicOffloads } from '../../iface/net.js';
import { ETHER, ETHERNET_HEADER, PROTOCOL, put16, put32 } from './packet.js';
import { GATEWAY_MAC } from './plan.js';

/** Where frames for the guest go. */
export interface FrameSink {
  readonly offloads: NicOffloads;
  /** Undefined: there is no room. */
  reserve(length: number): Uint8Array | undefined;
  commit(info: FrameInfo): void;
}

/** Neighbours that are remembered. */
const MAX_NEIGHBOURS = 512;
const BROADCAST = new Uint8Array(6).fill(0xff);

export interface OutgoingPacket {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  /** Bytes behind the IP header. */
  readonly length: number;
  /** Where in these the checksum is that covers them; undefined: there is none. */
  readonly checksumAt: number | undefined;
  /** The checksum covers addresses and lengths, too. */
  readonly pseudoHeader: boolean;
  /** Of a TCP segment that may have to be cut: payload of each packet. */
  readonly segmentSize?: number;
  /** 255 for neighbour discovery. */
  readonly hopLimit?: number;
  fill(into: Uint8Array): void;
}

/** Sends IP packets to the guest, and knows where its addresses live. */
export class IpOutput {
  private readonly neighbours = new Map<string, Uint8Array>();
  private identification = 0;

  /** `mac` is the guest's card: what is not known is there. `mtu`: bytes of an IP packet. */
  constructor(
    readonly sink: FrameSink,
    private readonly mac: Uint8Array,
    readonly mtu: number,
  ) {}

  /** Remembers who uses an address. True: that was not known. */
  learn(address: Uint8Array, mac: Uint8Array): boolean {
    const key = address.join('.');
    const known = this.neighbours.get(key);
    if ((known ?? this.mac).every((byte, i) => byte === mac[i])) return false;
    if (!known && this.neighbours.size >= MAX_NEIGHBOURS) this.neighbours.clear();
    this.neighbours.set(key, mac.slice());
    return true;
  }

  private macOf(address: Uint8Array): Uint8Array {
    const multicast = address.length === 4 ? address[0] >= 224 : address[0] === 0xff;
    if (!multicast) return this.neighbours.get(address.join('.')) ?? this.mac;
    if (address.length === 4) return BROADCAST;
    return Uint8Array.of(0x33, 0x33, ...address.subarray(12));
  }

  /** Sends a frame that is no IP packet. */
  sendFrame(destination: Uint8Array, type: number, payload: Uint8Array): boolean {
    const room = this.sink.reserve(ETHERNET_HEADER + payload.length);
    if (!room) return false;
    this.ethernet(room, destination, type);
    room.set(payload, ETHERNET_HEADER);
    this.sink.commit(FINISHED);
    return true;
  }

  private ethernet(frame: Uint8Array, destination: Uint8Array, type: number): void {
    frame.set(destination, 0);
    frame.set(GATEWAY_MAC, 6);
    put16(frame, 12, type);
  }

  /** False: there is no room; it was not sent. */
  send(packet: OutgoingPacket): boolean {
    const header = packet.source.length === 4 ? 20 : 40;
    if (packet.segmentSize === undefined && header + packet.length > this.mtu)
      return this.sendFragments(packet, header);
    const frame = this.sink.reserve(ETHERNET_HEADER + header + packet.length);
    if (!frame) return false;
    const start = ETHERNET_HEADER + header;
    this.ethernet(frame, this.macOf(packet.destination), header === 20 ? ETHER.IPV4 : ETHER.IPV6);
    if (header === 20) this.headerV4(frame.subarray(ETHERNET_HEADER, start), packet, packet.length, 0x4000);
    else headerV6(frame.subarray(ETHERNET_HEADER, start), packet, packet.length, packet.protocol);
    const payload = frame.subarray(start);
    packet.fill(payload);
    this.sink.commit(this.finish(packet, payload, start));
    return true;
  }

  /** Puts the checksum in, or leaves it to the card. */
  private finish(packet: OutgoingPacket, payload: Uint8Array, start: number): FrameInfo {
    const { checksumAt: at, protocol, segmentSize = 0, length, source } = packet;
    if (at === undefined) return FINISHED;
    const pseudo = packet.pseudoHeader ? pseudoSum(packet) : 0;
    if (protocol !== PROTOCOL.TCP || !this.sink.offloads.checksum) {
      putChecksum(payload, at, pseudo, protocol);
      return FINISHED;
    }
    put16(payload, at, foldSum(pseudo));
    const dataLength = length - (payload[12] >> 4) * 4;
    const cut = segmentSize > 0 && dataLength > segmentSize;
    const gso = cut ? (source.length === 4 ? GSO.TCP4 : GSO.TCP6) : GSO.NONE;
    return { checksumStart: start, checksumOffset: at, gso, segmentSize: cut ? segmentSize : 0 };
  }

  private headerV4(header: Uint8Array, packet: OutgoingPacket, length: number, fragment: number): void {
    header[0] = 0x45;
    header[1] = 0;
    put16(header, 2, 20 + length);
    put16(header, 4, this.identification++ & 0xffff);
    put16(header, 6, fragment);
    header[8] = packet.hopLimit ?? 64;
    header[9] = packet.protocol;
    put16(header, 10, 0);
    header.set(packet.source, 12);
    header.set(packet.destination, 16);
    put16(header, 10, checksumOf(addWords(header, 0, 20)));
  }

  /** RFC 791 §2.3, RFC 8200 §4.5. */
  private sendFragments(packet: OutgoingPacket, header: number): boolean {
    const whole = new Uint8Array(packet.length);
    packet.fill(whole);
    if (packet.checksumAt !== undefined)
      putChecksum(whole, packet.checksumAt, packet.pseudoHeader ? pseudoSum(packet) : 0, packet.protocol);
    const v4 = header === 20;
    const extra = v4 ? 0 : 8;
    const step = (this.mtu - header - extra) & ~7;
    const id = this.identification++;
    for (let at = 0; at < whole.length; at += step) {
      const part = whole.subarray(at, at + step);
      const more = at + part.length < whole.length;
      const frame = this.sink.reserve(ETHERNET_HEADER + header + extra + part.length);
      if (!frame) return false;
      this.ethernet(frame, this.macOf(packet.destination), v4 ? ETHER.IPV4 : ETHER.IPV6);
      const ip = frame.subarray(ETHERNET_HEADER);
      if (v4) {
        this.identification = id;
        this.headerV4(ip.subarray(0, 20), packet, part.length, (more ? 0x2000 : 0) | (at >> 3));
      } else {
        headerV6(ip.subarray(0, 40), packet, part.length + 8, PROTOCOL.FRAGMENT);
        ip[40] = packet.protocol;
        ip[41] = 0;
        put16(ip, 42, at | (more ? 1 : 0));
        put32(ip, 44, id);
      }
      ip.set(part, header + extra);
      this.sink.commit(FINISHED);
    }
    return true;
  }
}

function headerV6(header: Uint8Array, packet: OutgoingPacket, length: number, next: number): void {
  put32(header, 0, 0x6000_0000);
  put16(header, 4, length);
  header[6] = next;
  header[7] = packet.hopLimit ?? 64;
  header.set(packet.source, 8);
  header.set(packet.destination, 24);
}

/** Of the pseudo-header: RFC 9293 §3.1, RFC 8200 §8.1. */
export function pseudoSum(packet: {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  readonly length: number;
}): number {
  const { source, destination, protocol, length } = packet;
  const addresses = addWords(source, 0, source.length, addWords(destination, 0, destination.length));
  return addresses + protocol + (length >>> 16) + (length & 0xffff);
}

function putChecksum(payload: Uint8Array, at: number, pseudo: number, protocol: number): void {
  put16(payload, at, 0);
  const sum = checksumOf(addWords(payload, 0, payload.length, pseudo));
  // 0 would say that there is none, RFC 768.
  put16(payload, at, sum === 0 && protocol === PROTOCOL.UDP ? 0xffff : sum);
}
