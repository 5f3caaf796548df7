/** Pixels of a rectangle on their way to a client. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** 0x00RRGGBB, by rows. */
  readonly colors: Uint32Array;
}

/** A part of them. */
export function cut(from: Pixels, x: number, y: number, width: number, height: number): Pixels {
  if (x === 0 && width === from.width)
    return { width, height, colors: from.colors.subarray(y * width, (y + height) * width) };
  const colors = new Uint32Array(width * height);
  for (let row = 0; row < height; row++) {
    const at = (y + row) * from.width + x;
    colors.set(from.colors.subarray(at, at + width), row * width);
  }
  return { width, height, colors };
}

/** Its colours in the order in which they come; undefined when there are more than `most`. */
export function palette({ colors }: Pixels, most: number): Map<number, number> | undefined {
  const found = new Map<number, number>();
  let last = -1;
  // eslint-disable-next-line @typescript-eslint/prefer-for-of -- an iterator takes ten times as long
  for (let i = 0; i < colors.length; i++) {
    const color = colors[i];
    if (color === last) continue;
    last = color;
    if (found.has(color)) continue;
    if (found.size === most) return undefined;
    found.set(color, found.size);
  }
  return found;
}

/** Bytes that grow. */
export class Output {
  private bytes: Uint8Array;
  length = 0;

  constructor(room = 1024) {
    this.bytes = new Uint8Array(room);
  }

  /** Where `count` further bytes go: write them there at once. */
  reserve(count: number): { readonly bytes: Uint8Array; readonly at: number } {
    if (this.length + count > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    const at = this.length;
    this.length += count;
    return { bytes: this.bytes, at };
  }

  u8(value: number): void {
    const { bytes, at } = this.reserve(1);
    bytes[at] = value;
  }

  u16(value: number): void {
    this.u8(value >> 8);
    this.u8(value);
  }

  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  raw(from: Uint8Array): void {
    const { bytes, at } = this.reserve(from.length);
    bytes.set(from, at);
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}
