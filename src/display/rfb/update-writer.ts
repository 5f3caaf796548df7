/** Rectangles of an update as one client gets them: in the encoding that it likes best of those we have. */
import type { CursorPicture } from '../../iface/display.js';
import type { Rectangle } from '../rectangle.js';
import { encodeHextile } from './encodings/hextile.js';
import { cut, type Pixels } from './encodings/pixels.js';
import { encodeRaw, encodeRre } from './encodings/raw.js';
import { compactLength, encodeTight, TIGHT_MOST, TIGHT_STREAMS } from './encodings/tight.js';
import { encodeZrle } from './encodings/zrle.js';
import { compactWriter, pixelWriter, tightWriter, type PixelFormat } from './pixel-format.js';
import { ENCODING, FROM_SERVER } from './protocol.js';

/** A zlib stream (RFC 1950) that goes on from one piece to the next. */
export interface Deflater {
  /** The compressed piece, complete: what it says can be unpacked without what follows. One piece at a time. */
  deflate(data: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

/** Bytes that are sent as they are, or compressed in a stream with their compressed length before them. */
type Part = Uint8Array | { readonly data: Uint8Array; readonly stream: number; readonly length: 'u32' | 'compact' };

/** Streams by number: Tight's, then ZRLE's. */
const ZRLE_STREAM = TIGHT_STREAMS;

const PIXEL_ENCODINGS: readonly number[] = [
  ENCODING.TIGHT,
  ENCODING.ZRLE,
  ENCODING.HEXTILE,
  ENCODING.RRE,
  ENCODING.RAW,
];

export function rectangleHeader({ x, y, width, height }: Rectangle, encoding: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  [x, y, width, height].forEach((value, i) => view.setUint16(2 * i, value));
  view.setInt32(8, encoding);
  return bytes;
}

const u32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

export class UpdateWriter {
  private readonly streams = new Map<number, Deflater>();
  private encoding: number = ENCODING.RAW;
  private parts: Part[] = [];
  private count = 0;

  constructor(private readonly createDeflater: () => Deflater) {}

  /** What the client knows, what it likes best first. */
  choose(encodings: readonly number[]): void {
    this.encoding = encodings.find((one) => PIXEL_ENCODINGS.includes(one)) ?? ENCODING.RAW;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }

  private rectangle(area: Rectangle, encoding: number, ...content: readonly Part[]): void {
    this.count++;
    this.parts.push(rectangleHeader(area, encoding), ...content);
  }

  /** What is no picture. */
  pseudo(encoding: number, area: Rectangle, content = new Uint8Array(0)): void {
    this.rectangle(area, encoding, content);
  }

  /** RFC 6143 §7.8.1; nothing at all hides it. */
  pointer(format: PixelFormat, pointer: CursorPicture | undefined): void {
    if (!pointer) {
      this.pseudo(ENCODING.CURSOR, { x: 0, y: 0, width: 0, height: 0 });
      return;
    }
    const { width, height, hotX, hotY, pixels } = pointer;
    const writer = pixelWriter(format);
    const pitch = Math.ceil(width / 8);
    const bytes = new Uint8Array(width * height * writer.size + pitch * height);
    const mask = width * height * writer.size;
    for (let i = 0; i < width * height; i++) {
      const [blue, green, red, alpha] = pixels.subarray(i * 4, i * 4 + 4);
      writer.put(bytes, i * writer.size, (red << 16) | (green << 8) | blue);
      if (alpha >= 128) bytes[mask + Math.floor(i / width) * pitch + ((i % width) >> 3)] |= 0x80 >> ((i % width) & 7);
    }
    this.pseudo(ENCODING.CURSOR, { x: hotX, y: hotY, width, height }, bytes);
  }

  /** RFC 6143 §7.7.2: what the client shows from that place on is to be shown here too. */
  copy(area: Rectangle, fromX: number, fromY: number): void {
    this.rectangle(area, ENCODING.COPY_RECT, Uint8Array.of(fromX >> 8, fromX, fromY >> 8, fromY));
  }

  /** A part of the picture. */
  picture(area: Rectangle, pixels: Pixels, format: PixelFormat): void {
    switch (this.encoding) {
      case ENCODING.TIGHT:
        this.tight(area, pixels, format);
        return;
      case ENCODING.ZRLE:
        this.rectangle(area, ENCODING.ZRLE, {
          data: encodeZrle(pixels, compactWriter(format)),
          stream: ZRLE_STREAM,
          length: 'u32',
        });
        return;
      case ENCODING.HEXTILE:
        this.rectangle(area, ENCODING.HEXTILE, encodeHextile(pixels, pixelWriter(format)));
        return;
      case ENCODING.RRE: {
        const rre = encodeRre(pixels, pixelWriter(format));
        if (!rre) break;
        this.rectangle(area, ENCODING.RRE, rre);
        return;
      }
    }
    this.rectangle(area, ENCODING.RAW, encodeRaw(pixels, pixelWriter(format)));
  }

  private tight(area: Rectangle, pixels: Pixels, format: PixelFormat): void {
    const writer = tightWriter(format);
    for (let x = 0; x < area.width; x += TIGHT_MOST.width) {
      const width = Math.min(TIGHT_MOST.width, area.width - x);
      const rows = Math.floor(TIGHT_MOST.area / width);
      for (let y = 0; y < area.height; y += rows) {
        const height = Math.min(rows, area.height - y);
        const { head, data, stream } = encodeTight(cut(pixels, x, y, width, height), writer);
        const content: Part = stream === undefined ? data : { data, stream, length: 'compact' };
        this.rectangle({ x: area.x + x, y: area.y + y, width, height }, ENCODING.TIGHT, head, content);
      }
    }
  }

  private async compress({ data, stream, length }: Exclude<Part, Uint8Array>): Promise<readonly Uint8Array[]> {
    let deflater = this.streams.get(stream);
    if (!deflater) {
      deflater = this.createDeflater();
      this.streams.set(stream, deflater);
    }
    const packed = await deflater.deflate(data);
    return [length === 'u32' ? u32(packed.length) : compactLength(packed.length), packed];
  }

  /** The message with all that was put in since the last one. */
  async finish(): Promise<readonly Uint8Array[]> {
    const { parts, count } = this;
    this.parts = [];
    this.count = 0;
    const message: Uint8Array[] = [Uint8Array.of(FROM_SERVER.UPDATE, 0, count >> 8, count)];
    for (const part of parts) {
      if (part instanceof Uint8Array) message.push(part);
      else message.push(...(await this.compress(part)));
    }
    return message;
  }

  close(): void {
    for (const stream of this.streams.values()) stream.close();
    this.streams.clear();
  }
}
