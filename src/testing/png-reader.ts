import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

/** Red, green and blue by rows. */
export interface RgbPicture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** A PNG file of 8 bits a colour, not interlaced, with or without alpha; for tests. */
export function readPng(file: string): RgbPicture {
  const png = readFileSync(file);
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const size = png[25] === 6 ? 4 : 3;
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at))
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const data = inflateSync(Buffer.concat(parts));
  const stride = width * size;
  const rows = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x >= size ? rows[y * stride + x - size] : 0;
      const up = y > 0 ? rows[(y - 1) * stride + x] : 0;
      const corner = x >= size && y > 0 ? rows[(y - 1) * stride + x - size] : 0;
      const paeth = [left, up, corner].map((one) => Math.abs(left + up - corner - one));
      const nearest = paeth[0] <= paeth[1] && paeth[0] <= paeth[2] ? left : paeth[1] <= paeth[2] ? up : corner;
      const guess = [0, left, up, (left + up) >> 1, nearest][filter];
      rows[y * stride + x] = data[y * (stride + 1) + 1 + x] + guess;
    }
  }
  const rgb = rows.filter((_, i) => size === 3 || i % 4 !== 3);
  return { width, height, rgb };
}

/** Pixels whose red, green or blue differ by more than `tolerance`; all of them where the sizes differ. */
export function differingPixels(one: RgbPicture, other: RgbPicture, tolerance = 0): number {
  if (one.width !== other.width || one.height !== other.height) return one.width * one.height;
  let count = 0;
  for (let i = 0; i < one.rgb.length; i += 3)
    if ([0, 1, 2].some((color) => Math.abs(one.rgb[i + color] - other.rgb[i + color]) > tolerance)) count++;
  return count;
}
