/** A frame as a PNG file: W3C Portable Network Graphics, third edition; 8 bits for each of red, green and blue. */
import { crc32 } from '../base/crc32.js';
import type { Frame } from './scan-out.js';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;
/** Filter types, §9.2: each byte less the one above it, or as it is. */
const FILTER = { NONE: 0, UP: 2 } as const;

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** `deflate` gives a zlib stream (RFC 1950). */
export function encodePng({ width, height, pixels }: Frame, deflate: (data: Uint8Array) => Uint8Array): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  // 8 bits, red, green and blue, not interlaced.
  header.set([8, 2, 0, 0, 0], 8);
  const stride = 1 + 3 * width;
  const rows = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    let at = y * stride;
    rows[at++] = y === 0 ? FILTER.NONE : FILTER.UP;
    for (let x = 0; x < width; x++) {
      const color = pixels[y * width + x];
      const above = y === 0 ? 0 : pixels[(y - 1) * width + x];
      rows[at++] = (color >> 16) - (above >> 16);
      rows[at++] = (color >> 8) - (above >> 8);
      rows[at++] = color - above;
    }
  }
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk('IHDR', header),
    chunk('IDAT', deflate(rows)),
    chunk('IEND', new Uint8Array(0)),
  ];
  const file = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
