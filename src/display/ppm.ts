import type { Frame } from './scan-out.js';

/** A frame as a binary portable pixmap (P6). */
export function encodePpm({ width, height, pixels }: Frame): Uint8Array {
  const header = new TextEncoder().encode(`P6\n${width} ${height}\n255\n`);
  const bytes = new Uint8Array(header.length + 3 * width * height);
  bytes.set(header);
  let at = header.length;
  for (let i = 0; i < width * height; i++) {
    const color = pixels[i];
    bytes[at++] = color >> 16;
    bytes[at++] = color >> 8;
    bytes[at++] = color;
  }
  return bytes;
}
