/** How a client wants its pixels: RFC 6143 §7.4. */

export interface PixelFormat {
  readonly bitsPerPixel: 8 | 16 | 32;
  readonly depth: number;
  readonly bigEndian: boolean;
  /** False: the client wants numbers of a table of colours. */
  readonly trueColor: boolean;
  readonly redMax: number;
  readonly greenMax: number;
  readonly blueMax: number;
  readonly redShift: number;
  readonly greenShift: number;
  readonly blueShift: number;
}

export const PIXEL_FORMAT_SIZE = 16;

/** 0x00RRGGBB, little-endian: ours. */
export const NATIVE: PixelFormat = {
  bitsPerPixel: 32,
  depth: 24,
  bigEndian: false,
  trueColor: true,
  redMax: 255,
  greenMax: 255,
  blueMax: 255,
  redShift: 16,
  greenShift: 8,
  blueShift: 0,
};

/** What numbers of a table mean: two or three bits a colour. */
export const TABLE: PixelFormat = {
  bitsPerPixel: 8,
  depth: 8,
  bigEndian: false,
  trueColor: true,
  redMax: 7,
  greenMax: 7,
  blueMax: 3,
  redShift: 0,
  greenShift: 3,
  blueShift: 6,
};

export function writePixelFormat(format: PixelFormat): Uint8Array {
  const bytes = new Uint8Array(PIXEL_FORMAT_SIZE);
  const view = new DataView(bytes.buffer);
  bytes.set([format.bitsPerPixel, format.depth, format.bigEndian ? 1 : 0, format.trueColor ? 1 : 0]);
  view.setUint16(4, format.redMax);
  view.setUint16(6, format.greenMax);
  view.setUint16(8, format.blueMax);
  bytes.set([format.redShift, format.greenShift, format.blueShift], 10);
  return bytes;
}

/** Undefined: there is no such format. */
export function readPixelFormat(bytes: Uint8Array): PixelFormat | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const bits = bytes[0];
  if (bits !== 8 && bits !== 16 && bits !== 32) return undefined;
  const format: PixelFormat = {
    bitsPerPixel: bits,
    depth: bytes[1],
    bigEndian: bytes[2] !== 0,
    trueColor: bytes[3] !== 0,
    redMax: view.getUint16(4),
    greenMax: view.getUint16(6),
    blueMax: view.getUint16(8),
    redShift: bytes[10],
    greenShift: bytes[11],
    blueShift: bytes[12],
  };
  if (!format.trueColor) return bits === 8 ? format : undefined;
  const fits = (max: number, shift: number): boolean => shift < bits && max * 2 ** shift < 2 ** bits;
  const { redMax, greenMax, blueMax, redShift, greenShift, blueShift } = format;
  return fits(redMax, redShift) && fits(greenMax, greenShift) && fits(blueMax, blueShift) ? format : undefined;
}

/** Writes colours, 0x00RRGGBB, as a client wants them. */
export interface PixelWriter {
  /** Bytes of a pixel. */
  readonly size: number;
  put(into: Uint8Array, at: number, color: number): void;
}

const level = (value: number, max: number): number => (max === 255 ? value : Math.round((value * max) / 255));

function toNumber(format: PixelFormat): (color: number) => number {
  const { redMax, greenMax, blueMax, redShift, greenShift, blueShift } = format;
  const native = redMax === 255 && greenMax === 255 && blueMax === 255;
  if (native && redShift === 16 && greenShift === 8 && blueShift === 0) return (color) => color;
  // A table for each colour: the number's parts.
  const part = (max: number, shift: number): Uint32Array =>
    Uint32Array.from({ length: 256 }, (_, value) => level(value, max) * 2 ** shift);
  const [red, green, blue] = [part(redMax, redShift), part(greenMax, greenShift), part(blueMax, blueShift)];
  return (color) => red[(color >> 16) & 0xff] | green[(color >> 8) & 0xff] | blue[color & 0xff];
}

/** `size` bytes of a number from its `skip`-th lowest on, in the client's order. */
function writer(format: PixelFormat, size: number, skip: number): PixelWriter {
  const convert = toNumber(format);
  if (!format.bigEndian)
    return {
      size,
      put(into, at, color) {
        let value = convert(color) >>> (8 * skip);
        for (let i = 0; i < size; i++, value >>>= 8) into[at + i] = value;
      },
    };
  return {
    size,
    put(into, at, color) {
      let value = convert(color) >>> (8 * skip);
      for (let i = size - 1; i >= 0; i--, value >>>= 8) into[at + i] = value;
    },
  };
}

export const pixelWriter = (format: PixelFormat): PixelWriter => writer(format, format.bitsPerPixel / 8, 0);

/** ZRLE's CPIXEL, §7.7.5: three bytes where all colours lie in the lower or the upper three of four. */
export function compactWriter(format: PixelFormat): PixelWriter {
  const { redMax, greenMax, blueMax, redShift, greenShift, blueShift } = format;
  const used = redMax * 2 ** redShift + greenMax * 2 ** greenShift + blueMax * 2 ** blueShift;
  if (format.bitsPerPixel !== 32 || format.depth > 24) return pixelWriter(format);
  if (used < 2 ** 24) return writer(format, 3, 0);
  return Math.min(redShift, greenShift, blueShift) >= 8 ? writer(format, 3, 1) : pixelWriter(format);
}

/** Tight's TPIXEL: red, green and blue in this order where each has eight bits. */
export function tightWriter(format: PixelFormat): PixelWriter {
  const { redMax, greenMax, blueMax } = format;
  if (format.bitsPerPixel !== 32 || format.depth !== 24 || redMax !== 255 || greenMax !== 255 || blueMax !== 255)
    return pixelWriter(format);
  return {
    size: 3,
    put(into, at, color) {
      into[at] = color >> 16;
      into[at + 1] = color >> 8;
      into[at + 2] = color;
    },
  };
}
