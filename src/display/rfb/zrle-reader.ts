/** Reads ZRLE after its decompression, RFC 6143 §7.7.6, with pixels of three bytes: blue, green, red. */

const TILE = 64;
const PIXEL = 3;
const SUBENCODING = { RAW: 0, SOLID: 1, MOST_PACKED: 16, PLAIN_RLE: 128, PALETTE_RLE: 130 } as const;
const OPAQUE = 0xff00_0000;

/** The most that a rectangle can be before its compression: runs of one pixel each, and a palette for each tile. */
export const mostZrle = (width: number, height: number): number =>
  width * height * (PIXEL + 1) + Math.ceil(width / TILE) * Math.ceil(height / TILE) * (1 + 127 * PIXEL);

class Reader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  u8(): number {
    if (this.at >= this.bytes.length) throw new RangeError('a picture ends too early');
    return this.bytes[this.at++];
  }

  /** As a number that, little-endian, is red, green, blue and opaque in this order. */
  pixel(): number {
    const [blue, green, red] = [this.u8(), this.u8(), this.u8()];
    return (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
  }

  /** A run's length: one more than the sum of bytes up to the first that is not 255. */
  runLength(): number {
    let length = 1;
    for (;;) {
      const more = this.u8();
      length += more;
      if (more !== 255) return length;
    }
  }
}

/** Pixels of a tile, by rows, given one after the other. */
type Put = (color: number, count: number) => void;

function readRuns(reader: Reader, count: number, put: Put, palette: readonly number[]): void {
  for (let done = 0; done < count;) {
    let color: number;
    let length = 1;
    if (palette.length === 0) {
      color = reader.pixel();
      length = reader.runLength();
    } else {
      const index = reader.u8();
      color = at(palette, index & 0x7f);
      if (index & 0x80) length = reader.runLength();
    }
    if (length > count - done) throw new RangeError('a run is longer than its tile');
    put(color, length);
    done += length;
  }
}

function at(palette: readonly number[], index: number): number {
  if (index >= palette.length) throw new RangeError('a palette has no such colour');
  return palette[index];
}

function readPacked(reader: Reader, width: number, height: number, put: Put, palette: readonly number[]): void {
  const bits = palette.length <= 2 ? 1 : palette.length <= 4 ? 2 : 4;
  for (let y = 0; y < height; y++) {
    let byte = 0;
    let left = 0;
    for (let x = 0; x < width; x++) {
      if (left === 0) {
        byte = reader.u8();
        left = 8;
      }
      left -= bits;
      put(at(palette, (byte >> left) & ((1 << bits) - 1)), 1);
    }
  }
}

function readTile(reader: Reader, width: number, height: number, put: Put): void {
  const kind = reader.u8();
  const colors = (count: number): number[] => Array.from({ length: count }, () => reader.pixel());
  if (kind === SUBENCODING.RAW) for (let i = width * height; i > 0; i--) put(reader.pixel(), 1);
  else if (kind === SUBENCODING.SOLID) put(reader.pixel(), width * height);
  else if (kind <= SUBENCODING.MOST_PACKED) readPacked(reader, width, height, put, colors(kind));
  else if (kind === SUBENCODING.PLAIN_RLE) readRuns(reader, width * height, put, []);
  else if (kind >= SUBENCODING.PALETTE_RLE) readRuns(reader, width * height, put, colors(kind - 128));
  else throw new RangeError('a tile is of a kind that there is not');
}

/** Pixels by rows, four bytes each: red, green, blue, 255. Throws a RangeError when they are not what the specification says. */
export function readZrle(bytes: Uint8Array, width: number, height: number): Uint8ClampedArray<ArrayBuffer> {
  const reader = new Reader(bytes);
  const pixels = new Uint32Array(width * height);
  for (let y = 0; y < height; y += TILE)
    for (let x = 0; x < width; x += TILE) {
      const across = Math.min(TILE, width - x);
      let done = 0;
      readTile(reader, across, Math.min(TILE, height - y), (color, count) => {
        for (const end = done + count; done < end; done++)
          pixels[(y + Math.floor(done / across)) * width + x + (done % across)] = color;
      });
    }
  return new Uint8ClampedArray(pixels.buffer);
}
