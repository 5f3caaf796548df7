import { ScanOut } from '../../display/scan-out.js';
import type { DisplayAdapter } from '../../iface/display.js';
import type { Frame, FramePart } from './protocol.js';

/** What is shown without an adapter. */
const NOTHING = { kind: 'blank', width: 640, height: 400 } as const;

/** The screen of a machine, drawn when somebody asks for it. */
export class Screen {
  private readonly out = new ScanOut();

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
    return { width, height, parts };
  }
}
