/** Flows that are told apart; more of them share. */
export const FLOWS = 256;

/**
 * Which flow a frame belongs to, the same for both directions: addresses and ports of TCP and UDP over IPv4 or IPv6 are
 * folded together. 0 for everything else.
 */
export function flowOf(frame: Uint8Array): number {
  if (frame.length < 54) return 0;
  const six = frame[12] === 0x86 && frame[13] === 0xdd;
  if (!six && (frame[12] !== 0x08 || frame[13] !== 0x00)) return 0;
  const protocol = frame[six ? 20 : 23];
  if (protocol !== 6 && protocol !== 17) return 0;
  let hash = 0;
  for (let at = six ? 22 : 26, end = six ? 54 : 34; at < end; at++) hash ^= frame[at];
  const ports = six ? 54 : 14 + (frame[14] & 15) * 4;
  if (ports + 4 > frame.length) return hash;
  const [high, low] = [frame[ports] ^ frame[ports + 2], frame[ports + 1] ^ frame[ports + 3]];
  return (hash + 5 * low + 3 * high) % FLOWS;
}
