/** What the card does to packets before they leave: checksums and segmentation, SDM §3.5 and §3.6. */
import { addWords, checksumOf, foldSum } from '../../base/internet-checksum.js';
import { FINISHED, GSO, MAX_FRAME, MIN_FRAME, type FrameInfo } from '../../iface/net.js';
import { range, struct, u16, u8, u32, type Infer } from '../../snapshot/schema.js';

/** A context descriptor, SDM §3.3.6: offsets in the packet; ends are inclusive, 0 is the packet's end. */
export const contextSchema = struct({
  ipStart: u8,
  ipOffset: u8,
  ipEnd: u16,
  start: u8,
  offset: u8,
  end: u16,
  headerLength: u8,
  segmentSize: u16,
  /** TUCMD. */
  command: u8,
});
export type Context = Infer<typeof contextSchema>;

export const EMPTY_CONTEXT: Context = {
  ...{ ipStart: 0, ipOffset: 0, ipEnd: 0, start: 0, offset: 0, end: 0 },
  ...{ headerLength: 0, segmentSize: 0, command: 0 },
};
/** Bits of TUCMD. */
export const TUCMD = { TCP: 1, IPV4: 2, TSE: 4 } as const;
/** Bits of POPTS: insert the checksum of the IP header, that of TCP or UDP. */
export const POPTS = { IXSM: 1, TXSM: 2 } as const;

/** A packet that leaves, and how far it has. */
export const outgoingSchema = struct({
  options: u8,
  tag: range(-1, 0xffff),
  at: u32,
  index: u32,
  context: contextSchema,
});

const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

/** Hostile offsets may lie anywhere: what is not in the packet is left alone. */
function put16(bytes: Uint8Array, at: number, value: number): void {
  if (at + 2 > bytes.length) return;
  bytes[at] = (value >> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
}

/** Puts the checksum of a part of a packet into it; `end` is inclusive, 0 stands for the packet's. */
export function insertChecksum(packet: Uint8Array, start: number, end: number, offset: number): void {
  const stop = end === 0 ? packet.length : Math.min(end + 1, packet.length);
  if (start >= stop || offset + 2 > packet.length) return;
  // 0 would be no checksum for UDP; for the others 0 and FFFFh are the same.
  put16(packet, offset, checksumOf(addWords(packet, start, stop)) || 0xffff);
}

/** Offloads of a packet that is not cut. Checksums that go to the end of the packet may be left to the network. */
export function finishPacket(packet: Uint8Array, options: number, context: Context): FrameInfo {
  const { ipStart, ipEnd, ipOffset, start, end, offset } = context;
  if (options & POPTS.IXSM) insertChecksum(packet, ipStart, ipEnd, ipOffset);
  if (!(options & POPTS.TXSM)) return FINISHED;
  const isTcp = start >= MIN_FRAME + 20 && offset === start + 16 && offset + 2 <= packet.length;
  if (end === 0 && isTcp)
    return { checksumStart: start, checksumOffset: offset - start, gso: GSO.NONE, segmentSize: 0 };
  insertChecksum(packet, start, end, offset);
  return FINISHED;
}

/**
 * A packet to be cut that is what drivers make, TCP over IP over Ethernet, becomes one that the network cuts: its headers are
 * completed for that. Undefined: it is something else.
 */
export function leaveSegmentation(packet: Uint8Array, options: number, context: Context): FrameInfo | undefined {
  const { command, ipStart, ipOffset, ipEnd, start, offset, end, headerLength, segmentSize } = context;
  const v4 = (command & TUCMD.IPV4) !== 0;
  const usual =
    (command & TUCMD.TCP) !== 0 &&
    (options & POPTS.TXSM) !== 0 &&
    (!v4 || (options & POPTS.IXSM) !== 0) &&
    ipStart === MIN_FRAME &&
    end === 0 &&
    offset === start + 16 &&
    headerLength >= start + 20 &&
    packet.length > headerLength + segmentSize &&
    packet.length <= MAX_FRAME - 4;
  if (!usual || headerLength !== start + (packet[start + 12] >> 4) * 4) return undefined;
  if (v4) {
    const header = (packet[ipStart] & 15) * 4;
    const fits = header >= 20 && ipStart + header === start && ipOffset === ipStart + 10 && ipEnd === start - 1;
    if (get16(packet, 12) !== 0x0800 || !fits || packet[ipStart + 9] !== 6) return undefined;
    put16(packet, ipStart + 2, packet.length - ipStart);
    put16(packet, ipOffset, 0);
    insertChecksum(packet, ipStart, ipEnd, ipOffset);
  } else {
    if (get16(packet, 12) !== 0x86dd || start !== ipStart + 40 || packet[ipStart + 6] !== 6) return undefined;
    put16(packet, ipStart + 4, packet.length - start);
  }
  put16(packet, offset, foldSum(get16(packet, offset) + packet.length - start));
  return { checksumStart: start, checksumOffset: 16, gso: v4 ? GSO.TCP4 : GSO.TCP6, segmentSize };
}

/** §3.5.9: makes packet `index` out of a header and a part of the data, which begins at `at` and ends the packet if `last`. */
export function cutPacket(
  whole: Uint8Array,
  { at, index, options, context }: { at: number; index: number; options: number; context: Context },
): Uint8Array {
  const { command, ipStart, start, offset, headerLength, segmentSize } = context;
  const data = whole.subarray(at, at + segmentSize);
  const packet = new Uint8Array(headerLength + data.length);
  packet.set(whole.subarray(0, headerLength));
  packet.set(data, headerLength);
  if (command & TUCMD.IPV4) {
    put16(packet, ipStart + 2, packet.length - ipStart);
    put16(packet, ipStart + 4, get16(packet, ipStart + 4) + index);
  }
  // DEVIATION: §3.5.9 counts the header of IPv6 among its payload, which no receiver takes.
  else put16(packet, ipStart + 4, packet.length - ipStart - 40);
  if (command & TUCMD.TCP) {
    const sequence = (get16(packet, start + 4) * 2 ** 16 + get16(packet, start + 6) + at - headerLength) % 2 ** 32;
    put16(packet, start + 4, Math.floor(sequence / 2 ** 16));
    put16(packet, start + 6, sequence % 2 ** 16);
    // FIN and PSH belong to the last.
    if (at + segmentSize < whole.length && start + 13 < packet.length) packet[start + 13] &= ~0x09;
  } else put16(packet, start + 4, packet.length - start);
  if (options & POPTS.TXSM) {
    // The sum of the pseudo-header stands there but for the length.
    put16(packet, offset, foldSum(get16(packet, offset) + packet.length - start));
    insertChecksum(packet, start, context.end, offset);
  }
  if (options & POPTS.IXSM) insertChecksum(packet, ipStart, context.ipEnd, context.ipOffset);
  return packet;
}

/** With a VLAN tag behind the addresses, SDM §9.2. */
export function insertTag(packet: Uint8Array, type: number, tag: number): Uint8Array {
  const tagged = new Uint8Array(packet.length + 4);
  tagged.set(packet.subarray(0, 12));
  put16(tagged, 12, type);
  put16(tagged, 14, tag);
  tagged.set(packet.subarray(12), 16);
  return tagged;
}
