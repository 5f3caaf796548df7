/** The screen as its viewers share it: the last frame, and the pointer. */
import type { CursorPicture } from '../../iface/display.js';
import type { FrameNews } from '../frame-news.js';
import { drawPointer, pointerPlace } from '../pointer.js';
import { around, intersect, type Rectangle } from '../rectangle.js';
import type { Pixels } from './encodings/pixels.js';
import { findScroll, type Scroll } from './scroll.js';

export class Screen {
  width = 0;
  height = 0;
  pointer: CursorPicture | undefined;
  private pixels: Uint32Array = new Uint32Array(0);
  /** The frame before, while somebody wants to know what moved. */
  private before: Uint32Array | undefined;

  get bounds(): Rectangle {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }

  /** Whether there is anything to show yet. */
  get known(): boolean {
    return this.width > 0;
  }

  /** Takes over what is new. Returns where a drawn pointer was and is, if that is another place or another pointer. */
  take({ width, height, pixels, pointer }: FrameNews): Rectangle[] {
    [this.width, this.height] = [width, height];
    if (pixels) {
      this.pixels = new Uint32Array(pixels);
      this.before = undefined;
    }
    const before = this.pointer;
    const picture = pointer?.pixels ?? before?.pixels;
    this.pointer = pointer && picture && { ...pointer, pixels: picture };
    const { pointer: now } = this;
    if (before?.x === now?.x && before?.y === now?.y && before?.shape === now?.shape) return [];
    return [before, now].flatMap((one) => (one ? [pointerPlace(one)] : []));
  }

  /** What only moved between the last two frames, of what has changed in the last one. */
  scroll(changed: readonly Rectangle[]): Scroll | undefined {
    const { before, pixels, width } = this;
    const [first, ...others] = changed;
    if (before?.length !== pixels.length) {
      this.before = pixels.slice();
      return undefined;
    }
    if (changed.length === 0) return undefined;
    const found = findScroll(before, pixels, width, others.reduce(around, first));
    for (const area of changed)
      for (let y = area.y; y < area.y + area.height; y++) {
        const at = y * width + area.x;
        before.set(pixels.subarray(at, at + area.width), at);
      }
    return found;
  }

  /** Nobody asks for what moved any more. */
  forgetFrame(): void {
    this.before = undefined;
  }

  /** A copy of a part; black where there is no screen. `withPointer`: drawn over it. */
  read(area: Rectangle, withPointer: boolean): Pixels {
    const colors = new Uint32Array(area.width * area.height);
    const there = intersect(area, this.bounds);
    if (there)
      for (let row = 0; row < there.height; row++) {
        const from = (there.y + row) * this.width + there.x;
        const to = (there.y - area.y + row) * area.width + (there.x - area.x);
        colors.set(this.pixels.subarray(from, from + there.width), to);
      }
    if (withPointer && this.pointer) drawPointer(colors, area, this.pointer);
    return { width: area.width, height: area.height, colors };
  }
}
