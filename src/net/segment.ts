/** Does what the sender of a frame left to do, for who cannot take it so: checksums, and segments cut to packets. */
import { addWords, checksumOf } from '../base/internet-checksum.js';
import { GSO, type FrameInfo } from '../iface/net.js';

/** Puts the checksum into a frame. False: the frame is too short for where it should be. */
export function completeChecksum(frame: Uint8Array, info: FrameInfo): boolean {
  const { checksumStart: start, checksumOffset: offset } = info;
  if (start === 0) return true;
  const at = start + offset;
  if (at + 2 > frame.length) return false;
  const sum = checksumOf(addWords(frame, start, frame.length));
  frame[at] = sum >> 8;
  frame[at + 1] = sum & 0xff;
  return true;
}

const put16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = (value >> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
};
const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

/** Where the headers of a TCP segment are; undefined: it is none. */
function tcpHeaders(frame: Uint8Array): { ip: number; tcp: number; end: number; v6: boolean } | undefined {
  let ip = 14;
  let type = get16(frame, 12);
  if (type === 0x8100) {
    type = get16(frame, 16);
    ip = 18;
  }
  const v6 = type === 0x86dd;
  if (!v6 && type !== 0x0800) return undefined;
  const tcp = v6 ? ip + 40 : ip + (frame[ip] & 15) * 4;
  const protocol = v6 ? frame[ip + 6] : frame[ip + 9];
  if (protocol !== 6 || tcp < ip + 20 || tcp + 20 > frame.length) return undefined;
  const end = tcp + (frame[tcp + 12] >> 4) * 4;
  return end < tcp + 20 || end > frame.length ? undefined : { ip, tcp, end, v6 };
}

/**
 * Cuts a frame into packets, each finished, and hands them on one after the other. The array is the same each time.
 * Stops and returns false when `take` does.
 */
export function cutSegments(frame: Uint8Array, info: FrameInfo, take: (packet: Uint8Array) => boolean): boolean {
  const headers = info.gso === GSO.NONE ? undefined : tcpHeaders(frame);
  if (!headers || info.segmentSize === 0) {
    const copy = frame.slice();
    return !completeChecksum(copy, info) || take(copy);
  }
  const { ip, tcp, end, v6 } = headers;
  const packet = new Uint8Array(end + info.segmentSize);
  const first = new DataView(frame.buffer, frame.byteOffset).getUint32(tcp + 4);
  const flags = frame[tcp + 13];
  for (let at = end, index = 0; at < frame.length || index === 0; at += info.segmentSize, index++) {
    const length = Math.min(info.segmentSize, frame.length - at);
    const last = at + length >= frame.length;
    const part = packet.subarray(0, end + length);
    part.set(frame.subarray(0, end));
    part.set(frame.subarray(at, at + length), end);
    new DataView(part.buffer).setUint32(tcp + 4, (first + at - end) >>> 0);
    // FIN and PSH belong to the last packet, CWR to the first (RFC 3168 §6.1.2).
    part[tcp + 13] = flags & (last ? 0xff : ~0x09) & (index === 0 ? 0xff : ~0x80);
    finishPacket(part, { ip, tcp, v6, index });
    if (!take(part)) return false;
  }
  return true;
}

function finishPacket(
  part: Uint8Array,
  { ip, tcp, v6, index }: { ip: number; tcp: number; v6: boolean; index: number },
): void {
  const tcpLength = part.length - tcp;
  if (v6) put16(part, ip + 4, part.length - ip - 40);
  else {
    put16(part, ip + 2, part.length - ip);
    put16(part, ip + 4, get16(part, ip + 4) + index);
    put16(part, ip + 10, 0);
    put16(part, ip + 10, checksumOf(addWords(part, ip, tcp)));
  }
  put16(part, tcp + 16, 0);
  const pseudo = addWords(part, v6 ? ip + 8 : ip + 12, v6 ? ip + 40 : ip + 20, 6 + tcpLength);
  put16(part, tcp + 16, checksumOf(addWords(part, tcp, part.length, pseudo)));
}
