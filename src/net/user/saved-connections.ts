import type { SavedConnection } from './tcp-service.js';
import { get16, get32, put16, put32 } from './packet.js';

/** Bytes for each: family, two ports, two sequence numbers, two addresses of up to 16 bytes. */
const SIZE = 1 + 4 + 8 + 32;

/** Connections as bytes, for a snapshot. */
export function encodeConnections(connections: readonly SavedConnection[]): Uint8Array {
  const bytes = new Uint8Array(connections.length * SIZE);
  connections.forEach(({ guest, remote, guestPort, remotePort, next, received }, i) => {
    const part = bytes.subarray(i * SIZE, (i + 1) * SIZE);
    part[0] = guest.length;
    put16(part, 1, guestPort);
    put16(part, 3, remotePort);
    put32(part, 5, next);
    put32(part, 9, received);
    part.set(guest, 13);
    part.set(remote, 29);
  });
  return bytes;
}

/** What is malformed is left out. */
export function decodeConnections(bytes: Uint8Array): SavedConnection[] {
  const found: SavedConnection[] = [];
  for (let at = 0; at + SIZE <= bytes.length; at += SIZE) {
    const part = bytes.slice(at, at + SIZE);
    const length = part[0];
    if (length !== 4 && length !== 16) continue;
    found.push({
      guest: part.subarray(13, 13 + length),
      remote: part.subarray(29, 29 + length),
      guestPort: get16(part, 1),
      remotePort: get16(part, 3),
      next: get32(part, 5),
      received: get32(part, 9),
    });
  }
  return found;
}
