/** Where a Zstandard frame ends: what follows it in a sector is not part of it. RFC 8878 §3.1.1. */

const MAGIC = 0xfd2f_b528;

/** Bits of Frame_Header_Descriptor, §3.1.1.1.1. */
const DESCRIPTOR = { SINGLE_SEGMENT: 1 << 5, CHECKSUM: 1 << 2, DICTIONARY: 3 } as const;
/** Bytes of Dictionary_ID by its flag, and of Frame_Content_Size by its. */
const DICTIONARY_SIZES = [0, 1, 2, 4] as const;
const CONTENT_SIZES = [0, 2, 4, 8] as const;

/** Block_Type, §3.1.1.2.2. */
const BLOCK = { RAW: 0, RLE: 1, COMPRESSED: 2 } as const;

/** Bytes of the frame that `data` begins with. Throws when there is none, or not all of it. */
export function zstdFrameLength(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  // Reading behind the end throws: the frame is not whole.
  if (view.getUint32(0, true) !== MAGIC) throw new Error('no Zstandard frame');
  const descriptor = view.getUint8(4);
  const single = (descriptor & DESCRIPTOR.SINGLE_SEGMENT) !== 0;
  const contentFlag = descriptor >>> 6;
  let at = 5 + (single ? 0 : 1) + DICTIONARY_SIZES[(descriptor & DESCRIPTOR.DICTIONARY) as 0 | 1 | 2 | 3];
  at += contentFlag === 0 && single ? 1 : CONTENT_SIZES[contentFlag as 0 | 1 | 2 | 3];
  for (let last = false; !last;) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >>> 1) & 3;
    if (type > BLOCK.COMPRESSED) throw new Error('a reserved block type');
    at += 3 + (type === BLOCK.RLE ? 1 : header >>> 3);
    last = (header & 1) !== 0;
  }
  if (descriptor & DESCRIPTOR.CHECKSUM) at += 4;
  if (at > data.length) throw new Error('the frame is truncated');
  return at;
}
