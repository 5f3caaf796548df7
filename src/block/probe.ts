/** "QFI" and 0xfb, the first bytes of qcow and qcow2 images. */
export const QCOW_MAGIC = 0x5146_49fb;

/** Whether the first bytes of a file are those of a qcow2 image (or of its predecessor). */
export function looksLikeQcow2(start: Uint8Array): boolean {
  return start.length >= 8 && new DataView(start.buffer, start.byteOffset).getUint32(0) === QCOW_MAGIC;
}
