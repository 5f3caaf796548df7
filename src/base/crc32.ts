/** CRC-32 as in gzip, PNG and Ethernet (ISO 3309): reflected polynomial EDB88320h. */
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb8_8320 : c >>> 1;
  return c;
});

/** Checksum of bytes, unsigned 32 bits. */
export function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  // eslint-disable-next-line @typescript-eslint/prefer-for-of -- an iterator over bytes takes ten times as long
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]) & 0xff];
  return ~crc >>> 0;
}
