/** The checksum of IP, ICMP, UDP and TCP, RFC 1071. */

/** Adds the big-endian 16-bit words of `bytes[start … end)` to a sum; an odd last byte counts as if a zero followed. */
export function addWords(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  let total = sum;
  let at = start;
  for (; at + 1 < end; at += 2) total += (bytes[at] << 8) | bytes[at + 1];
  if (at < end) total += bytes[at] << 8;
  return total;
}

/** Folds a sum of words into 16 bits, without the final complement. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x1_0000) + (folded & 0xffff);
  return folded;
}

/** The checksum field for a sum of words. */
export const checksumOf = (sum: number): number => ~foldSum(sum) & 0xffff;
