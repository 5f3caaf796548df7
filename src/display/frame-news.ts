import type { CursorPicture } from '../iface/display.js';
import type { Rectangle } from './rectangle.js';

/** What has changed on a screen since the last time that somebody asked. */
export interface FrameNews {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly changed: readonly Rectangle[];
  /** Pixels by rows, 0x00RRGGBB each; told when it is another one. Written to only between a request and its answer. */
  readonly pixels?: SharedArrayBuffer;
  /** Absent: there is none, or it is hidden. Without pixels: they are as they were. */
  readonly pointer?: Omit<CursorPicture, 'pixels'> & { readonly pixels?: Uint8Array };
}
