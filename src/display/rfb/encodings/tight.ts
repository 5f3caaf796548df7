/** Tight without JPEG: the RFB protocol as the community keeps it, "Tight Encoding". */
import type { PixelWriter } from '../pixel-format.js';
import { Output, palette, type Pixels } from './pixels.js';
import { encodeRaw } from './raw.js';

/** Largest rectangle: pixels across, and pixels in all. */
export const TIGHT_MOST = { width: 2048, area: 0x1_0000 } as const;
const CONTROL = { FILL: 0x80, FILTER: 0x40, STREAM_SHIFT: 4 } as const;
const FILTER_PALETTE = 1;
/** Shorter data is not compressed. */
const LEAST = 12;

/** Each has a history of its own. */
export const TIGHT_STREAM = { COLORS: 0, TWO: 1, PALETTE: 2 } as const;
export const TIGHT_STREAMS = 3;

/** What goes before the data, and the data, which is compressed in a stream (undefined: it is not). */
export interface TightPart {
  readonly head: Uint8Array;
  readonly data: Uint8Array;
  readonly stream: number | undefined;
}

/** A length as Tight has it: seven bits a byte, the lowest first, eight in the third. */
export function compactLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  if (length < 0x4000) return Uint8Array.of((length & 0x7f) | 0x80, length >> 7);
  return Uint8Array.of((length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14);
}

function part(head: Output, stream: number, data: Uint8Array): TightPart {
  return { head: head.finish(), data, stream: data.length < LEAST ? undefined : stream };
}

/** `writer` is of TPIXELs. */
export function encodeTight(pixels: Pixels, writer: PixelWriter): TightPart {
  const head = new Output(64);
  const put = (color: number): void => {
    const { bytes, at } = head.reserve(writer.size);
    writer.put(bytes, at, color);
  };
  const table = palette(pixels, writer.size === 1 ? 2 : 256);
  if (!table) {
    head.u8(TIGHT_STREAM.COLORS << CONTROL.STREAM_SHIFT);
    return part(head, TIGHT_STREAM.COLORS, encodeRaw(pixels, writer));
  }
  if (table.size === 1) {
    head.u8(CONTROL.FILL);
    put(pixels.colors[0]);
    return { head: head.finish(), data: new Uint8Array(0), stream: undefined };
  }
  const stream = table.size === 2 ? TIGHT_STREAM.TWO : TIGHT_STREAM.PALETTE;
  head.u8((stream << CONTROL.STREAM_SHIFT) | CONTROL.FILTER);
  head.u8(FILTER_PALETTE);
  head.u8(table.size - 1);
  for (const color of table.keys()) put(color);
  return part(head, stream, table.size === 2 ? bitmap(pixels, table) : numbers(pixels, table));
}

function numbers({ colors }: Pixels, table: ReadonlyMap<number, number>): Uint8Array {
  const bytes = new Uint8Array(colors.length);
  for (let i = 0; i < colors.length; i++) bytes[i] = table.get(colors[i]) ?? 0;
  return bytes;
}

/** A bit for each pixel, rows in whole bytes. */
function bitmap({ width, height, colors }: Pixels, table: ReadonlyMap<number, number>): Uint8Array {
  const pitch = Math.ceil(width / 8);
  const bytes = new Uint8Array(pitch * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (table.get(colors[y * width + x]) === 1) bytes[y * pitch + (x >> 3)] |= 0x80 >> (x & 7);
  return bytes;
}
