import { ScanOut } from '../../display/scan-out.js';
import type { CursorPicture, DisplayAdapter } from '../../iface/display.js';
import type { Frame, FramePart } from './protocol.js';

/** What is shown without an adapter. */
const NOTHING = { kind: 'blank', width: 640, height: 400 } as const;

/** The screen of a machine, drawn when somebody asks for it. */
export class Screen {
  private readonly out = new ScanOut();
  /** Of the pointer that was told of last. */
  private shape: number | undefined;

  /** What has changed since the last time. `now` in nanoseconds of the machine's clock. */
  frame(adapter: DisplayAdapter | undefined, now: number): Frame {
    const changed = this.out.update(adapter?.picture() ?? NOTHING, now);
    const { pixels, width, height } = this.out.frame;
    const parts = changed.map((part): FramePart => {
      const bytes = new Uint8ClampedArray(part.width * part.height * 4);
      const words = new Uint32Array(bytes.buffer);
      let to = 0;
      for (let y = part.y; y < part.y + part.height; y++)
        for (let from = y * width + part.x; from < y * width + part.x + part.width; from++) {
          const color = pixels[from];
          // From 0x00RRGGBB to red, green, blue, opaque, in this order in memory: all hosts of browsers are little-endian.
          words[to++] = (0xff00_0000 | ((color & 0xff) << 16) | (color & 0xff00) | ((color >> 16) & 0xff)) >>> 0;
        }
      return { ...part, pixels: bytes };
    });
    return { width, height, parts, pointer: this.pointer(adapter) };
  }

  private pointer(adapter: DisplayAdapter | undefined): Frame['pointer'] {
    const own = adapter?.pointer !== undefined;
    const shown = adapter?.pointer?.();
    if (!shown) {
      this.shape = undefined;
      return own ? 'hidden' : 'none';
    }
    const { pixels, shape, width, height, hotX, hotY } = shown;
    if (shape === this.shape) return 'same';
    this.shape = shape;
    return { width, height, hotX, hotY, pixels: straight(pixels) };
  }
}

/** From blue, green, red and alpha, multiplied by alpha, to what a canvas takes: red, green, blue and alpha, each by itself. */
function straight(pixels: CursorPicture['pixels']): Uint8ClampedArray<ArrayBuffer> {
  const result = new Uint8ClampedArray(pixels.length);
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3];
    for (let part = 0; part < 3; part++)
      result[at + part] = alpha === 0 ? 0 : Math.round((pixels[at + 2 - part] * 255) / alpha);
    result[at + 3] = alpha;
  }
  return result;
}
