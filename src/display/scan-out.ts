/** Draws what a display adapter shows into a frame, and finds what has changed since the last time. */
import type { LinearPicture, Picture } from '../iface/display.js';
import { linearLines } from './linear-lines.js';
import type { LineSource } from './line-source.js';
import type { Rectangle } from './rectangle.js';
import { vgaLines } from './vga-lines.js';

/** A screen's pixels by rows, 0x00RRGGBB each. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

/** Room for so many pixels. */
export type CreatePixels = (count: number) => Uint32Array;

/** Lines without a change that divide two rectangles. */
const GAP = 8;

function linesOf(picture: Picture, now: number, drawn: LinearPicture | undefined): LineSource {
  switch (picture.kind) {
    case 'vga':
      return vgaLines(picture, now);
    case 'linear':
      return linearLines(picture, drawn);
    case 'blank': {
      const { width, height } = picture;
      return { width, height, next: (into) => into.fill(0, 0, width) };
    }
  }
}

export class ScanOut {
  private current: Frame = { width: 0, height: 0, pixels: new Uint32Array(0) };
  private line = new Uint32Array(0);
  /** What the frame shows, if that can be told of one that is like it. */
  private drawn: LinearPicture | undefined;

  /** `create` gives memory for pixels, filled with 0; the default is memory of this thread. */
  constructor(private readonly create: CreatePixels = (count) => new Uint32Array(count)) {}

  get frame(): Frame {
    return this.current;
  }

  /**
   * Draws a picture as it is at a time in nanoseconds. Returns what has changed; after a change of size, everything, in a frame
   * of its own.
   */
  update(picture: Picture, now: number): Rectangle[] {
    const source = linesOf(picture, now, this.drawn);
    this.drawn = picture.kind === 'linear' ? picture : undefined;
    const { width, height } = source;
    const resized = width !== this.current.width || height !== this.current.height;
    if (resized) {
      this.current = { width, height, pixels: this.create(width * height) };
      // A line may be drawn a character or two too far.
      this.line = new Uint32Array(width + 32);
    }
    const changed = this.draw(source);
    return resized ? [{ x: 0, y: 0, width, height }] : changed;
  }

  private draw(source: LineSource): Rectangle[] {
    const { current, line } = this;
    const { width, height, pixels } = current;
    const changed: Rectangle[] = [];
    let [top, bottom, left, right] = [0, -1, width, -1];
    const finish = (): void => {
      if (bottom >= 0) changed.push({ x: left, y: top, width: right - left + 1, height: bottom - top + 1 });
      [bottom, left, right] = [-1, width, -1];
    };
    for (let y = 0; y < height; y++) {
      if (source.skip?.()) continue;
      source.next(line);
      const at = y * width;
      let first = 0;
      while (first < width && pixels[at + first] === line[first]) first++;
      if (first === width) continue;
      let last = width - 1;
      while (pixels[at + last] === line[last]) last--;
      pixels.set(line.subarray(first, last + 1), at + first);
      if (bottom >= 0 && y - bottom > GAP) finish();
      if (bottom < 0) top = y;
      bottom = y;
      if (first < left) left = first;
      if (last > right) right = last;
    }
    finish();
    return changed;
  }
}
