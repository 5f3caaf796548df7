/** When the pages of display memory were written to, counted in pictures. */
import { PAGE_SIZE } from '../../../base/units.js';
import type { WriteTimes } from '../../../iface/display.js';

export class WriteTracker {
  private now = 0;
  private readonly pages: Uint32Array;
  private readonly written: Uint8Array;

  /** `size` in bytes, whole pages; `take`: see `VideoRam.takeWritten`. */
  constructor(
    size: number,
    private readonly take: (into: Uint8Array) => void,
  ) {
    this.pages = new Uint32Array(size / PAGE_SIZE);
    this.written = new Uint8Array(size / PAGE_SIZE);
  }

  /** Somebody is going to draw what is there now. */
  look(): WriteTimes {
    this.now++;
    this.take(this.written);
    for (let page = this.written.indexOf(1); page >= 0; page = this.written.indexOf(1, page + 1))
      this.pages[page] = this.now;
    return { now: this.now, pages: this.pages };
  }
}
