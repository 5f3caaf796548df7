import type { Fragment } from './ip-input.js';
import type { IpPacket } from './packet.js';

/** Datagrams that are put together at a time, and milliseconds until one is given up. */
const MAX_DATAGRAMS = 32;
const TIMEOUT = 15_000;
const MAX_FRAGMENTS = 64;
const MAX_LENGTH = 65535;
interface Datagram {
  readonly parts: { readonly offset: number; readonly bytes: Uint8Array }[];
  /** Of the first fragment, the only one that errors are about: RFC 1122 §3.2.2. */
  quote: Uint8Array;
  /** Bytes in all, once the last fragment has come. */
  length: number | undefined;
  readonly since: number;
}

/** Puts datagrams together that come in fragments. */
export class Fragments {
  private readonly datagrams = new Map<string, Datagram>();

  constructor(private readonly now: () => number) {}

  /** What was read; of a fragment the datagram, once it is whole. */
  whole(read: IpPacket | Fragment | undefined): IpPacket | undefined {
    return read && 'packet' in read ? this.collect(read) : read;
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
