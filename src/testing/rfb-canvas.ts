import { constants, inflateSync } from 'node:zlib';
import { expect } from 'vitest';
import type { Rectangle } from '../display/rectangle.js';
import { noise } from './noise.js';
import { HEIGHT, WIDTH, type Peer } from './rfb-host.js';

/** What a client has on its screen: written after RFC 6143, not after the encoders. */
export class Canvas {
  readonly pixels = new Uint32Array(WIDTH * HEIGHT);
  private readonly zrle: Buffer[] = [];
  private readonly tight = [0, 1, 2, 3].map((): Buffer[] => []);
  private zrleLength = 0;
  private readonly tightLength = [0, 0, 0, 0];

  constructor(private readonly peer: Peer) {}

  private u8(): number {
    return this.peer.take(1)[0];
  }
  /** Little-endian 32 bits. */
  private pixel(): number {
    return this.peer.take(4).readUInt32LE(0);
  }

  private fill(r: Rectangle, color: number): void {
    for (let y = r.y; y < r.y + r.height; y++) this.pixels.fill(color, y * WIDTH + r.x, y * WIDTH + r.x + r.width);
  }

  /** Reads one update; returns the encodings in it. */
  update(): number[] {
    const { peer } = this;
    expect(this.u8()).toBe(0);
    this.u8();
    const count = peer.take(2).readUInt16BE(0);
    return Array.from({ length: count }, () => {
      const head = peer.take(12);
      const [x, y, width, height] = [0, 2, 4, 6].map((at) => head.readUInt16BE(at));
      const encoding = head.readInt32BE(8);
      this.rectangle({ x, y, width, height }, encoding);
      return encoding;
    });
  }

  private rectangle(r: Rectangle, encoding: number): void {
    const { peer } = this;
    switch (encoding) {
      case 0: {
        const bytes = peer.take(4 * r.width * r.height);
        let at = 0;
        this.put(r, () => bytes.readUInt32LE((at += 4) - 4));
        break;
      }
      case 1: {
        const from = peer.take(4);
        const [x, y, shown] = [from.readUInt16BE(0), from.readUInt16BE(2), this.pixels.slice()];
        for (let row = 0; row < r.height; row++)
          this.pixels.set(
            shown.subarray((y + row) * WIDTH + x, (y + row) * WIDTH + x + r.width),
            (r.y + row) * WIDTH + r.x,
          );
        break;
      }
      case 2: {
        const patches = peer.take(4).readUInt32BE(0);
        this.fill(r, this.pixel());
        for (let i = 0; i < patches; i++) {
          const color = this.pixel();
          const p = peer.take(8);
          this.fill(
            {
              x: r.x + p.readUInt16BE(0),
              y: r.y + p.readUInt16BE(2),
              width: p.readUInt16BE(4),
              height: p.readUInt16BE(6),
            },
            color,
          );
        }
        break;
      }
      case 5:
        this.hextile(r);
        break;
      case 7:
        this.tightRectangle(r);
        break;
      case 16:
        this.zrleRectangle(r);
        break;
      default:
        break;
    }
  }

  private put(r: Rectangle, pixel: () => number): void {
    for (let y = r.y; y < r.y + r.height; y++)
      for (let x = r.x; x < r.x + r.width; x++) this.pixels[y * WIDTH + x] = pixel();
  }

  private tiles(r: Rectangle, size: number, each: (tile: Rectangle) => void): void {
    for (let y = 0; y < r.height; y += size)
      for (let x = 0; x < r.width; x += size)
        each({ x: r.x + x, y: r.y + y, width: Math.min(size, r.width - x), height: Math.min(size, r.height - y) });
  }

  private hextile(r: Rectangle): void {
    let [back, front] = [0, 0];
    this.tiles(r, 16, (tile) => {
      const mask = this.u8();
      if (mask & 1) {
        this.put(tile, () => this.pixel());
        return;
      }
      if (mask & 2) back = this.pixel();
      if (mask & 4) front = this.pixel();
      this.fill(tile, back);
      const patches = mask & 8 ? this.u8() : 0;
      for (let i = 0; i < patches; i++) {
        const color = mask & 16 ? this.pixel() : front;
        const [at, size] = [this.u8(), this.u8()];
        this.fill(
          { x: tile.x + (at >> 4), y: tile.y + (at & 15), width: (size >> 4) + 1, height: (size & 15) + 1 },
          color,
        );
      }
    });
  }

  /** What a stream says in its newest piece. */
  private static newest(pieces: Buffer[], before: number): Buffer {
    const all = inflateSync(Buffer.concat(pieces), { finishFlush: constants.Z_SYNC_FLUSH });
    return all.subarray(before);
  }

  private zrleRectangle(r: Rectangle): void {
    this.zrle.push(this.peer.take(this.peer.take(4).readUInt32BE(0)));
    const data = Canvas.newest(this.zrle, this.zrleLength);
    this.zrleLength += data.length;
    let at = 0;
    const pixel = (): number => data.readUIntLE((at += 3) - 3, 3);
    this.tiles(r, 64, (tile) => {
      const kind = data[at++];
      if (kind === 0) this.put(tile, pixel);
      else if (kind === 1) this.fill(tile, pixel());
      else if (kind <= 16) {
        const table = Array.from({ length: kind }, pixel);
        const bits = kind === 2 ? 1 : kind <= 4 ? 2 : 4;
        for (let y = 0; y < tile.height; y++) {
          for (let x = 0; x < tile.width; x++) {
            const byte = data[at + Math.floor((x * bits) / 8)];
            const index = (byte >> (8 - bits - ((x * bits) % 8))) & ((1 << bits) - 1);
            this.pixels[(tile.y + y) * WIDTH + tile.x + x] = table[index];
          }
          at += Math.ceil((tile.width * bits) / 8);
        }
      } else {
        const table = Array.from({ length: kind - 128 }, pixel);
        let [left, color] = [0, 0];
        this.put(tile, () => {
          if (left === 0) {
            const index = data[at++];
            color = table[index & 127];
            left = 1;
            if (index & 128) {
              while (data[at] === 255) {
                left += 255;
                at++;
              }
              left += data[at++];
            }
          }
          left--;
          return color;
        });
      }
    });
    expect(at).toBe(data.length);
  }

  private tightData(stream: number, length: number): Buffer {
    if (length < 12) return this.peer.take(length);
    let compact = 0;
    for (let i = 0; i < 3; i++) {
      const byte = this.u8();
      compact |= (i === 2 ? byte : byte & 127) << (7 * i);
      if (!(byte & 128)) break;
    }
    this.tight[stream].push(this.peer.take(compact));
    const data = Canvas.newest(this.tight[stream], this.tightLength[stream]);
    this.tightLength[stream] += data.length;
    expect(data.length).toBe(length);
    return data;
  }

  private tightRectangle(r: Rectangle): void {
    const control = this.u8();
    const color = (from: Buffer, at: number): number => from.readUIntBE(at, 3);
    if (control >> 4 === 8) {
      this.fill(r, color(this.peer.take(3), 0));
      return;
    }
    const stream = (control >> 4) & 3;
    if (!(control & 0x40)) {
      const data = this.tightData(stream, r.width * r.height * 3);
      let at = 0;
      this.put(r, () => color(data, (at += 3) - 3));
      return;
    }
    expect(this.u8()).toBe(1);
    const table = Array.from({ length: this.u8() + 1 }, () => color(this.peer.take(3), 0));
    if (table.length === 2) {
      const pitch = Math.ceil(r.width / 8);
      const data = this.tightData(stream, pitch * r.height);
      let i = 0;
      this.put(r, () => {
        const [x, y] = [i % r.width, Math.floor(i / r.width)];
        i++;
        return table[(data[y * pitch + (x >> 3)] >> (7 - (x & 7))) & 1];
      });
      return;
    }
    const data = this.tightData(stream, r.width * r.height);
    let at = 0;
    this.put(r, () => table[data[at++]]);
  }
}

/** Pictures that take different ways through the encoders. */
export function paint(pixels: Uint32Array, kind: number): void {
  const random = noise(kind + 1);
  pixels.fill(0x204060);
  if (kind === 0) return;
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
    if (kind === 1 && (x * y) % 7 === 0) pixels[i] = 0xffffff;
    if (kind === 2) pixels[i] = random() & 0xffffff;
    if (kind === 3 && (random() & 3) === 0) pixels[i] = [1, 2, 0xff00, 0xff0000, 0x123456][random() % 5];
    if (kind === 4) pixels[i] = ((x >> 3) * 0x010203 + (y >> 4) * 0x30) & 0xffffff;
    if (kind === 5 && x > 20 && x < 60) pixels[i] = (y * 5) & 0xff;
  }
}
