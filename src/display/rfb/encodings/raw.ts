/** Raw, RFC 6143 §7.7.1, and RRE, §7.7.3. */
import type { PixelWriter } from '../pixel-format.js';
import { Output, type Pixels } from './pixels.js';

export function encodeRaw({ colors }: Pixels, writer: PixelWriter): Uint8Array {
  const { size } = writer;
  const bytes = new Uint8Array(colors.length * size);
  for (let i = 0, at = 0; i < colors.length; i++, at += size) writer.put(bytes, at, colors[i]);
  return bytes;
}

/** The colour that most pixels have, of the first few that come. */
export function background({ colors }: Pixels): number {
  const counts = new Map<number, number>();
  // eslint-disable-next-line @typescript-eslint/prefer-for-of -- an iterator takes ten times as long
  for (let i = 0; i < colors.length; i++) {
    const color = colors[i];
    const count = counts.get(color);
    if (count !== undefined) counts.set(color, count + 1);
    else if (counts.size < 16) counts.set(color, 1);
  }
  let best = colors[0] ?? 0;
  for (const [color, count] of counts) if (count > (counts.get(best) ?? 0)) best = color;
  return best;
}

/** A rectangle of one colour. */
export interface Patch {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly color: number;
}

/** Rectangles of one colour that cover all that is not `back`; undefined when there are more than `most`. */
export function patches({ width, height, colors }: Pixels, back: number, most: number): Patch[] | undefined {
  const done = new Uint8Array(colors.length);
  const found: Patch[] = [];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const color = colors[at];
      if (done[at] || color === back) continue;
      if (found.length === most) return undefined;
      let right = x + 1;
      while (right < width && colors[y * width + right] === color && !done[y * width + right]) right++;
      let bottom = y + 1;
      const same = (row: number): boolean => {
        for (let i = x; i < right; i++) if (colors[row * width + i] !== color || done[row * width + i]) return false;
        return true;
      };
      while (bottom < height && same(bottom)) bottom++;
      for (let row = y; row < bottom; row++) done.fill(1, row * width + x, row * width + right);
      found.push({ x, y, width: right - x, height: bottom - y, color });
    }
  return found;
}

/** Undefined: Raw is shorter. */
export function encodeRre(pixels: Pixels, writer: PixelWriter): Uint8Array | undefined {
  const rawSize = pixels.colors.length * writer.size;
  const back = background(pixels);
  const found = patches(pixels, back, Math.floor((rawSize - 4 - writer.size) / (writer.size + 8)));
  if (!found) return undefined;
  const out = new Output();
  out.u32(found.length);
  const put = (color: number): void => {
    const { bytes, at } = out.reserve(writer.size);
    writer.put(bytes, at, color);
  };
  put(back);
  for (const { x, y, width, height, color } of found) {
    put(color);
    for (const value of [x, y, width, height]) out.u16(value);
  }
  return out.finish();
}
