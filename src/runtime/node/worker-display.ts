/** The screen of a machine, drawn on the machine's thread when somebody asks for it; costs nothing while nobody does. */
import type { FrameNews } from '../../display/frame-news.js';
import { pointerPlace, drawPointer } from '../../display/pointer.js';
import { encodePpm } from '../../display/ppm.js';
import type { PictureFormat } from './protocol.js';
import { encodePng } from '../../display/png.js';
import { ScanOut, type Frame } from '../../display/scan-out.js';
import { zlib } from '../../host/node/deflate.js';
import { UsageError } from '../../base/errors.js';
import type { DisplayAdapter } from '../../iface/display.js';

/** What is shown without an adapter. */
const NOTHING = { kind: 'blank', width: 640, height: 400 } as const;

export class WorkerDisplay {
  private shared = new SharedArrayBuffer(0);
  private readonly out = new ScanOut((count) => {
    this.shared = new SharedArrayBuffer(count * 4);
    return new Uint32Array(this.shared);
  });
  private told: SharedArrayBuffer | undefined;
  private shape: number | undefined;

  /** Brings the shared frame up to date. `now` in nanoseconds of the machine's clock. */
  frame(adapter: DisplayAdapter | undefined, now: number): FrameNews {
    const changed = this.out.update(adapter?.picture() ?? NOTHING, now);
    const { width, height } = this.out.frame;
    const { shared } = this;
    const news = shared === this.told ? { width, height, changed } : { width, height, changed, pixels: shared };
    this.told = shared;
    const pointer = adapter?.pointer?.();
    if (!pointer) {
      this.shape = undefined;
      return news;
    }
    const { pixels, ...place } = pointer;
    // The picture of the pointer is told when it changes.
    const known = pointer.shape === this.shape;
    this.shape = pointer.shape;
    return { ...news, pointer: known ? place : { ...place, pixels: pixels.slice() } };
  }

  /** The screen as a file, pointer included. Throws a one-line error when there is none. */
  screenshot(format: PictureFormat, adapter: DisplayAdapter | undefined, now: number): Uint8Array {
    if (!adapter) throw new UsageError('the machine has no screen');
    const out = new ScanOut();
    out.update(adapter.picture(), now);
    const frame: Frame = out.frame;
    const pointer = adapter.pointer?.();
    if (pointer && pointerPlace(pointer).width > 0)
      drawPointer(frame.pixels, { x: 0, y: 0, width: frame.width, height: frame.height }, pointer);
    return format === 'ppm' ? encodePpm(frame) : encodePng(frame, zlib);
  }
}
