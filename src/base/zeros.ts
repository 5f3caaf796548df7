/** Whether there is nothing but zeros. */
export function isZero(bytes: Uint8Array): boolean {
  // By index: an iterator takes ten times as long.
  let i = 0;
  if (bytes.byteOffset % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    while (i < words.length) if (words[i++] !== 0) return false;
    i *= 4;
  }
  while (i < bytes.length) if (bytes[i++] !== 0) return false;
  return true;
}
