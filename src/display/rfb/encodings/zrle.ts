/** ZRLE before its compression, RFC 6143 §7.7.6. */
import type { PixelWriter } from '../pixel-format.js';
import { cut, Output, palette, type Pixels } from './pixels.js';
import { encodeRaw } from './raw.js';

const TILE = 64;
const SUBENCODING = { RAW: 0, SOLID: 1, PALETTE_RLE: 128 } as const;
/** Largest palettes: of packed numbers, and of runs. */
const MOST_PACKED = 16;
const MOST_RUNS = 127;

/** How many runs of one colour there are. */
function countRuns({ colors }: Pixels): number {
  let runs = 0;
  for (let i = 0; i < colors.length; i++) if (i === 0 || colors[i] !== colors[i - 1]) runs++;
  return runs;
}

const bitsFor = (colors: number): number => (colors <= 2 ? 1 : colors <= 4 ? 2 : 4);

function encodeTile(tile: Pixels, writer: PixelWriter, out: Output): void {
  const table = palette(tile, MOST_RUNS);
  const put = (color: number): void => {
    const { bytes, at } = out.reserve(writer.size);
    writer.put(bytes, at, color);
  };
  if (!table) {
    out.u8(SUBENCODING.RAW);
    out.raw(encodeRaw(tile, writer));
    return;
  }
  if (table.size === 1) {
    out.u8(SUBENCODING.SOLID);
    put(tile.colors[0]);
    return;
  }
  const packed = table.size <= MOST_PACKED ? Math.ceil((tile.width * bitsFor(table.size)) / 8) * tile.height : Infinity;
  const runs = countRuns(tile) * 2;
  if (Math.min(packed, runs) > tile.colors.length * writer.size) {
    out.u8(SUBENCODING.RAW);
    out.raw(encodeRaw(tile, writer));
    return;
  }
  const byRuns = runs < packed;
  out.u8(byRuns ? SUBENCODING.PALETTE_RLE + table.size : table.size);
  for (const color of table.keys()) put(color);
  if (byRuns) writeRuns(tile, table, out);
  else writePacked(tile, table, out);
}

function writeRuns({ colors }: Pixels, table: ReadonlyMap<number, number>, out: Output): void {
  for (let at = 0; at < colors.length;) {
    const color = colors[at];
    let end = at + 1;
    while (end < colors.length && colors[end] === color) end++;
    const index = table.get(color) ?? 0;
    if (end === at + 1) out.u8(index);
    else {
      out.u8(index | 128);
      let left = end - at - 1;
      for (; left >= 255; left -= 255) out.u8(255);
      out.u8(left);
    }
    at = end;
  }
}

function writePacked({ width, height, colors }: Pixels, table: ReadonlyMap<number, number>, out: Output): void {
  const bits = bitsFor(table.size);
  for (let y = 0; y < height; y++) {
    let byte = 0;
    let filled = 0;
    for (let x = 0; x < width; x++) {
      byte = (byte << bits) | (table.get(colors[y * width + x]) ?? 0);
      filled += bits;
      if (filled < 8) continue;
      out.u8(byte);
      byte = filled = 0;
    }
    if (filled > 0) out.u8(byte << (8 - filled));
  }
}

/** `writer` is of CPIXELs. */
export function encodeZrle(pixels: Pixels, writer: PixelWriter): Uint8Array {
  const out = new Output(pixels.colors.length);
  for (let y = 0; y < pixels.height; y += TILE)
    for (let x = 0; x < pixels.width; x += TILE)
      encodeTile(cut(pixels, x, y, Math.min(TILE, pixels.width - x), Math.min(TILE, pixels.height - y)), writer, out);
  return out.finish();
}
