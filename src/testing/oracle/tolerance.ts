/**
 * How far results may be apart where the architecture leaves the last bits to the processor: x87's transcendental
 * functions (SDM vol. 1 §8.3.10: less than 1 ulp) and RCP, RSQRT (relative error at most 1.5 × 2^-12).
 */

/** An 80-bit number, little-endian at the beginning of `bytes`, as an integer whose neighbours are 1 ulp apart. */
function ordinal80(bytes: Buffer): bigint {
  const exponent = bytes.readUInt16LE(8);
  // Without the explicit integer bit, significands of neighbouring binades join.
  const magnitude = (BigInt(exponent & 0x7fff) << 63n) + (bytes.readBigUInt64LE(0) & 0x7fff_ffff_ffff_ffffn);
  return exponent & 0x8000 ? -magnitude : magnitude;
}

/** Whether two 80-bit results are at most `ulps` apart. Infinities and NaNs must be equal. */
export function close80(a: Buffer, b: Buffer, ulps: bigint): boolean {
  if (a.equals(b)) return true;
  if ((a.readUInt16LE(8) & 0x7fff) === 0x7fff || (b.readUInt16LE(8) & 0x7fff) === 0x7fff) return false;
  const distance = ordinal80(a) - ordinal80(b);
  return distance >= -ulps && distance <= ulps;
}

/** Both sides may be off by the documented error. */
const RCP_ERROR = 2 * 1.5 * 2 ** -12;

/** Whether all four lanes are equal or as near as RCPPS and RSQRTPS promise. */
export function closeReciprocals(a: Buffer, b: Buffer): boolean {
  for (let at = 0; at < 16; at += 4) {
    if (a.readUInt32LE(at) === b.readUInt32LE(at)) continue;
    const [x, y] = [a.readFloatLE(at), b.readFloatLE(at)];
    if (!Number.isFinite(x) || !Number.isFinite(y)) return false;
    if (Math.abs(x - y) > RCP_ERROR * Math.max(Math.abs(x), Math.abs(y))) return false;
  }
  return true;
}
