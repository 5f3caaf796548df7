/** Hextile, RFC 6143 §7.7.4. */
import type { PixelWriter } from '../pixel-format.js';
import { cut, Output, type Pixels } from './pixels.js';
import { background, encodeRaw, patches } from './raw.js';

const TILE = 16;
const MASK = { RAW: 1, BACKGROUND: 2, FOREGROUND: 4, SUBRECTANGLES: 8, COLORED: 16 } as const;

export function encodeHextile(pixels: Pixels, writer: PixelWriter): Uint8Array {
  const out = new Output(pixels.colors.length);
  let known: number | undefined;
  const put = (color: number): void => {
    const { bytes, at } = out.reserve(writer.size);
    writer.put(bytes, at, color);
  };
  for (let y = 0; y < pixels.height; y += TILE)
    for (let x = 0; x < pixels.width; x += TILE) {
      const tile = cut(pixels, x, y, Math.min(TILE, pixels.width - x), Math.min(TILE, pixels.height - y));
      const back = background(tile);
      const most = Math.min(255, Math.floor((tile.colors.length * writer.size) / (writer.size + 2)));
      const found = patches(tile, back, most);
      if (!found) {
        out.u8(MASK.RAW);
        out.raw(encodeRaw(tile, writer));
        // Colours do not carry over a raw tile.
        known = undefined;
        continue;
      }
      const single = found.every(({ color }) => color === found[0].color);
      let mask = back === known ? 0 : MASK.BACKGROUND;
      if (found.length > 0) mask |= MASK.SUBRECTANGLES | (single ? MASK.FOREGROUND : MASK.COLORED);
      out.u8(mask);
      if (mask & MASK.BACKGROUND) put(back);
      known = back;
      if (found.length === 0) continue;
      if (single) put(found[0].color);
      out.u8(found.length);
      for (const { x: left, y: top, width, height, color } of found) {
        if (!single) put(color);
        out.u8((left << 4) | top);
        out.u8(((width - 1) << 4) | (height - 1));
      }
    }
  return out.finish();
}
