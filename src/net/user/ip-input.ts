import { addWords, foldSum } from '../../base/internet-checksum.js';
import { get16, get32, PROTOCOL, type IpPacket } from './packet.js';

/** Datagrams that are put together at a time, and milliseconds until one is given up. */
const MAX_DATAGRAMS = 32;
const TIMEOUT = 15_000;
const MAX_FRAGMENTS = 64;
const MAX_LENGTH = 65535;
/** Extension headers that are gone through, RFC 8200 §4. */
const MAX_EXTENSIONS = 8;

interface Datagram {
  readonly parts: { readonly offset: number; readonly bytes: Uint8Array }[];
  /** Of the first fragment, the only one that errors are about: RFC 1122 §3.2.2. */
  quote: Uint8Array;
  /** Bytes in all, once the last fragment has come. */
  length: number | undefined;
  readonly since: number;
}

interface Fragment {
  readonly key: string;
  readonly offset: number;
  readonly more: boolean;
  readonly packet: IpPacket;
}

/** Reads IP packets, RFC 791 and RFC 8200. What is malformed is undefined. */
export class IpInput {
  private readonly datagrams = new Map<string, Datagram>();

  constructor(private readonly now: () => number) {}

  /** `bytes` is what follows the Ethernet header. */
  readV4(bytes: Uint8Array, unfinished: boolean): IpPacket | undefined {
    if (bytes.length < 20 || bytes[0] >> 4 !== 4) return undefined;
    const header = (bytes[0] & 15) * 4;
    const total = get16(bytes, 2);
    if (header < 20 || total < header || total > bytes.length) return undefined;
    if (foldSum(addWords(bytes, 0, header)) !== 0xffff) return undefined;
    const packet: IpPacket = {
      source: bytes.subarray(12, 16),
      destination: bytes.subarray(16, 20),
      protocol: bytes[9],
      hopLimit: bytes[8],
      payload: bytes.subarray(header, total),
      quote: bytes.subarray(0, Math.min(total, header + 8)),
      unfinished,
    };
    const field = get16(bytes, 6);
    const [more, offset] = [(field & 0x2000) !== 0, (field & 0x1fff) * 8];
    if (!more && offset === 0) return packet;
    const key = `${bytes.subarray(12, 20).join('.')}/${packet.protocol}/${get16(bytes, 4)}`;
    return this.collect({ key, offset, more, packet });
  }

  readV6(bytes: Uint8Array, unfinished: boolean): IpPacket | undefined {
    if (bytes.length < 40 || bytes[0] >> 4 !== 6) return undefined;
    const end = 40 + get16(bytes, 4);
    if (end > bytes.length) return undefined;
    let protocol = bytes[6];
    let at = 40;
    for (let i = 0; i < MAX_EXTENSIONS; i++) {
      const packet: IpPacket = {
        source: bytes.subarray(8, 24),
        destination: bytes.subarray(24, 40),
        protocol,
        hopLimit: bytes[7],
        payload: bytes.subarray(at, end),
        quote: bytes.subarray(0, Math.min(end, 1200)),
        unfinished,
      };
      if (protocol !== PROTOCOL.HOP_BY_HOP && protocol !== PROTOCOL.DESTINATION && protocol !== PROTOCOL.FRAGMENT)
        return packet;
      if (at + 8 > end) return undefined;
      const next = bytes[at];
      if (protocol === PROTOCOL.FRAGMENT) {
        const field = get16(bytes, at + 2);
        const key = `${bytes.subarray(8, 40).join('.')}/${get32(bytes, at + 4)}`;
        const rest = { ...packet, protocol: next, payload: bytes.subarray(at + 8, end) };
        if ((field & 0xfff9) === 0) {
          protocol = next;
          at += 8;
          continue;
        }
        return this.collect({ key, offset: field & 0xfff8, more: (field & 1) !== 0, packet: rest });
      }
      protocol = next;
      at += 8 * (bytes[at + 1] + 1);
      if (at > end) return undefined;
    }
    return undefined;
  }

  /** Keeps a fragment; the datagram, once it is whole. Fragments that overlap make it be thrown away (RFC 5722). */
  private collect({ key, offset, more, packet }: Fragment): IpPacket | undefined {
    const { payload } = packet;
    if (payload.length === 0 || (more && payload.length % 8 !== 0) || offset + payload.length > MAX_LENGTH)
      return undefined;
    const now = this.now();
    for (const [other, { since }] of this.datagrams) if (now - since > TIMEOUT) this.datagrams.delete(other);
    let datagram = this.datagrams.get(key);
    if (!datagram) {
      if (this.datagrams.size >= MAX_DATAGRAMS) return undefined;
      datagram = { parts: [], quote: new Uint8Array(0), length: undefined, since: now };
      this.datagrams.set(key, datagram);
    }
    const { parts } = datagram;
    const end = offset + payload.length;
    const overlaps = parts.some((part) => offset < part.offset + part.bytes.length && part.offset < end);
    if (overlaps || parts.length >= MAX_FRAGMENTS) {
      this.datagrams.delete(key);
      return undefined;
    }
    parts.push({ offset, bytes: payload.slice() });
    if (!more) datagram.length = end;
    if (offset === 0) datagram.quote = packet.quote.slice();
    const have = parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (datagram.length !== have) return undefined;
    this.datagrams.delete(key);
    const whole = new Uint8Array(have);
    for (const part of parts) {
      if (part.offset + part.bytes.length > have) return undefined;
      whole.set(part.bytes, part.offset);
    }
    return { ...packet, payload: whole, quote: datagram.quote };
  }
}
