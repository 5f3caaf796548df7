import { addWords, foldSum } from '../../base/internet-checksum.js';
import { get16, get32, PROTOCOL, type IpPacket } from './packet.js';

/** Extension headers that are gone through, RFC 8200 §4. */
const MAX_EXTENSIONS = 8;

export interface Fragment {
  /** Of the datagram. */
  readonly key: string;
  readonly offset: number;
  readonly more: boolean;
  readonly packet: IpPacket;
}

/** Reads an IPv4 packet, RFC 791. `bytes` is what follows the Ethernet header. Undefined: it is malformed. */
export function readV4(bytes: Uint8Array, unfinished: boolean): IpPacket | Fragment | undefined {
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
  return { key, offset, more, packet };
}

/** Reads an IPv6 packet, RFC 8200. Undefined: it is malformed. */
export function readV6(bytes: Uint8Array, unfinished: boolean): IpPacket | Fragment | undefined {
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
      return { key, offset: field & 0xfff8, more: (field & 1) !== 0, packet: rest };
    }
    protocol = next;
    at += 8 * (bytes[at + 1] + 1);
    if (at > end) return undefined;
  }
  return undefined;
}
