import type { Entropy } from '../iface/clock.js';

/** A random UUID, RFC 4122 version 4, 16 bytes. */
export function randomUuid(entropy: Entropy): Uint8Array {
  const uuid = new Uint8Array(16);
  entropy.fill(uuid);
  uuid[6] = (uuid[6] & 0x0f) | 0x40;
  uuid[8] = (uuid[8] & 0x3f) | 0x80;
  return uuid;
}
