/**
 * Lines of a VGA in its own modes: the CRTC counts through display memory, the sequencer and graphics controller make dots of it, the
 * attribute controller colours. After "IBM PS/2 Hardware Interface Technical Reference: Video Subsystems", May 1992. A dot
 * clock divided by two shows each dot twice; scan lines are those of the monitor, so 200-line modes have 400.
 */
import type { VgaPicture } from '../iface/display.js';
import { dacColors, planeColors } from './colors.js';
import type { LineSource } from './line-source.js';

const SEQ = { CLOCKING: 1, CHARACTER_MAP: 3 } as const;
const CLOCKING = { EIGHT_DOTS: 1 << 0, HALF_CLOCK: 1 << 3 } as const;
const GC = { MODE: 5, MISC: 6 } as const;
const GC_MODE = { INTERLEAVED: 1 << 5, SHIFT_256: 1 << 6 } as const;
const ATTRIBUTE = { MODE: 0x10, PANNING: 0x13 } as const;
const ATTRIBUTE_MODE = { LINE_GRAPHICS: 1 << 2, BLINK: 1 << 3, PANNING_ABOVE: 1 << 5 } as const;
const CRTC = {
  HORIZONTAL_END: 0x01,
  OVERFLOW: 0x07,
  PRESET_ROW: 0x08,
  MAX_SCAN_LINE: 0x09,
  CURSOR_START: 0x0a,
  CURSOR_END: 0x0b,
  START_HIGH: 0x0c,
  START_LOW: 0x0d,
  CURSOR_HIGH: 0x0e,
  CURSOR_LOW: 0x0f,
  VERTICAL_END: 0x12,
  OFFSET: 0x13,
  UNDERLINE: 0x14,
  MODE: 0x17,
  LINE_COMPARE: 0x18,
} as const;
const MODE = { ROW_BIT_13: 1 << 0, ROW_BIT_14: 1 << 1, HALF_LINES: 1 << 2, WRAP_15: 1 << 5, BYTES: 1 << 6 } as const;
const DWORDS = 1 << 6;
const DOUBLE = 1 << 7;
const CURSOR_OFF = 1 << 5;

const PLANE_MASK = 0xffff;
const MOST_WIDTH = 2048;
/** Nanoseconds of a frame, and the frames after which cursor and characters change their phase. */
const FRAME_NS = 14_268_000;
const CURSOR_FRAMES = 8;
const BLINK_FRAMES = 16;

class VgaLines implements LineSource {
  readonly width: number;
  readonly height: number;
  private readonly text: boolean;
  private readonly columns: number;
  private readonly dots: number;
  private readonly repeat: number;
  private readonly lineCompare: number;
  private readonly colors: Uint32Array;
  private readonly dac: Uint32Array;
  private readonly blinkOff: boolean;
  private readonly cursorAddress: number;
  private readonly draw: (into: Uint32Array, panning: number) => void;
  private readonly scratch: Uint32Array;
  // ---- counters of the CRTC ----
  private line = 0;
  private address: number;
  private row: number;
  private repeated = 0;
  private above = true;

  constructor(
    private readonly picture: VgaPicture,
    now: number,
  ) {
    const { crtc, sequencer, graphics, colors } = picture;
    const overflow = crtc[CRTC.OVERFLOW];
    const clocking = sequencer[SEQ.CLOCKING];
    this.text = (graphics[GC.MISC] & 1) === 0;
    this.columns = crtc[CRTC.HORIZONTAL_END] + 1;
    this.dots = this.text && !(clocking & CLOCKING.EIGHT_DOTS) ? 9 : 8;
    this.draw = this.drawer(graphics[GC.MODE]);
    const single = this.columns * this.dots;
    this.repeat = clocking & CLOCKING.HALF_CLOCK && single * 2 <= MOST_WIDTH ? 2 : 1;
    this.width = single * this.repeat;
    const lines = (crtc[CRTC.VERTICAL_END] | ((overflow << 7) & 0x100) | ((overflow << 3) & 0x200)) + 1;
    this.height = crtc[CRTC.MODE] & MODE.HALF_LINES && lines <= 1024 ? lines * 2 : lines;
    this.lineCompare = crtc[CRTC.LINE_COMPARE] | ((overflow << 4) & 0x100) | ((crtc[CRTC.MAX_SCAN_LINE] << 3) & 0x200);
    this.colors = planeColors(colors);
    this.dac = dacColors(colors);
    const frame = Math.floor(now / FRAME_NS);
    this.blinkOff = Math.floor(frame / BLINK_FRAMES) % 2 === 1;
    const showCursor = !(crtc[CRTC.CURSOR_START] & CURSOR_OFF) && Math.floor(frame / CURSOR_FRAMES) % 2 === 0;
    this.cursorAddress = showCursor ? (crtc[CRTC.CURSOR_HIGH] << 8) | crtc[CRTC.CURSOR_LOW] : -1;
    this.address = ((crtc[CRTC.START_HIGH] << 8) | crtc[CRTC.START_LOW]) + ((crtc[CRTC.PRESET_ROW] >> 5) & 3);
    this.row = crtc[CRTC.PRESET_ROW] & 0x1f;
    this.scratch = new Uint32Array(single + 16);
  }

  private drawer(mode: number): (into: Uint32Array, panning: number) => void {
    if (this.text) return (into, panning) => this.drawText(into, panning);
    if (mode & GC_MODE.SHIFT_256) return (into, panning) => this.draw256(into, panning);
    if (mode & GC_MODE.INTERLEAVED) return (into, panning) => this.drawInterleaved(into, panning);
    return (into, panning) => this.drawPlanes(into, panning);
  }

  next(into: Uint32Array): void {
    const { crtc, colors } = this.picture;
    const { scratch, repeat, width } = this;
    // Below the split, panning can stand still.
    const panned = this.above || !(colors.attribute[ATTRIBUTE.MODE] & ATTRIBUTE_MODE.PANNING_ABOVE);
    this.draw(scratch, panned ? colors.attribute[ATTRIBUTE.PANNING] & 15 : 0);
    if (repeat === 1) into.set(scratch.subarray(0, width));
    else for (let x = 0; x < width; x++) into[x] = scratch[x >> 1];
    if (this.line++ === this.lineCompare) {
      this.address = 0;
      this.row = 0;
      this.repeated = 0;
      this.above = false;
      return;
    }
    // Each scan line is shown twice in 200-line modes, and once more where the CRTC counts every second one.
    const times = (crtc[CRTC.MAX_SCAN_LINE] & DOUBLE ? 2 : 1) * (crtc[CRTC.MODE] & MODE.HALF_LINES ? 2 : 1);
    if (++this.repeated < times) return;
    this.repeated = 0;
    if (this.row === (crtc[CRTC.MAX_SCAN_LINE] & 0x1f)) {
      this.row = 0;
      this.address += crtc[CRTC.OFFSET] * 2;
    } else this.row = (this.row + 1) & 0x1f;
  }

  /** Where in `memory` the four bytes lie that the CRTC fetches for a display address. */
  private fetch(address: number): number {
    const { crtc } = this.picture;
    const mode = crtc[CRTC.MODE];
    let at = address & PLANE_MASK;
    if (crtc[CRTC.UNDERLINE] & DWORDS) at = at << 2;
    else if (!(mode & MODE.BYTES)) at = (at << 1) | ((at >> (mode & MODE.WRAP_15 ? 15 : 13)) & 1);
    // As the 6845 of a CGA and of a Hercules: lines in banks.
    if (!(mode & MODE.ROW_BIT_13)) at = (at & ~0x2000) | ((this.row & 1) << 13);
    if (!(mode & MODE.ROW_BIT_14)) at = (at & ~0x4000) | ((this.row & 2) << 13);
    return (at & PLANE_MASK) * 4;
  }

  private drawText(into: Uint32Array, panning: number): void {
    const { columns, dots, colors, cursorAddress, row } = this;
    const { memory, crtc, sequencer, colors: source } = this.picture;
    const mode = source.attribute[ATTRIBUTE.MODE];
    const maps = sequencer[SEQ.CHARACTER_MAP];
    // Attribute bit 3 chooses between two character sets of 8 KiB in plane 2.
    const fonts = [fontAddress((maps & 3) | ((maps >> 2) & 4)), fontAddress(((maps >> 2) & 3) | ((maps >> 3) & 4))];
    const [first, last] = [crtc[CRTC.CURSOR_START] & 0x1f, crtc[CRTC.CURSOR_END] & 0x1f];
    const underlined = row === (crtc[CRTC.UNDERLINE] & 0x1f);
    // 9 dots: 8 means none; else 0 … 7 as they are.
    const shift = dots === 9 ? (panning >= 8 ? 0 : panning + 1) : panning & 7;
    let x = -shift;
    for (let column = 0; column < columns + (shift > 0 ? 1 : 0); column++) {
      const address = this.address + column;
      const at = this.fetch(address);
      const code = memory[at];
      const attribute = memory[at + 1];
      let bits = memory[(fonts[(attribute >> 3) & 1] + code * 32 + row) * 4 + 2] << 1;
      if (mode & ATTRIBUTE_MODE.LINE_GRAPHICS && code >= 0xc0 && code <= 0xdf) bits |= (bits >> 1) & 1;
      if (underlined && (attribute & 0x77) === 0x01) bits = 0x1ff;
      const blinking = (mode & ATTRIBUTE_MODE.BLINK) !== 0;
      if (blinking && attribute & 0x80 && this.blinkOff) bits = 0;
      if ((address & PLANE_MASK) === cursorAddress && row >= first && row <= last) bits = 0x1ff;
      const front = colors[attribute & 15];
      const back = colors[(attribute >> 4) & (blinking ? 7 : 15)];
      for (let dot = 0; dot < dots; dot++, x++) if (x >= 0) into[x] = (bits >> (8 - dot)) & 1 ? front : back;
    }
  }

  private drawPlanes(into: Uint32Array, panning: number): void {
    const { columns, colors } = this;
    const { memory } = this.picture;
    let x = -(panning & 7);
    for (let column = 0; column <= columns; column++) {
      const at = this.fetch(this.address + column);
      const [a, b, c, d] = [memory[at], memory[at + 1], memory[at + 2], memory[at + 3]];
      for (let bit = 7; bit >= 0; bit--, x++)
        if (x >= 0)
          into[x] =
            colors[((a >> bit) & 1) | (((b >> bit) & 1) << 1) | (((c >> bit) & 1) << 2) | (((d >> bit) & 1) << 3)];
    }
  }

  /** CGA's four colours: pairs of bits from planes 0 and 2, then from 1 and 3. */
  private drawInterleaved(into: Uint32Array, panning: number): void {
    const { columns, colors } = this;
    const { memory } = this.picture;
    let x = -(panning & 7);
    for (let column = 0; column <= columns; column++) {
      const at = this.fetch(this.address + column);
      for (let half = 0; half < 2; half++)
        for (let shift = 6; shift >= 0; shift -= 2, x++)
          if (x >= 0)
            into[x] = colors[((memory[at + half] >> shift) & 3) | (((memory[at + 2 + half] >> shift) & 3) << 2)];
    }
  }

  /** 256 colours: a byte of each plane in turn, two dots wide. */
  private draw256(into: Uint32Array, panning: number): void {
    const { columns, dac } = this;
    const { memory } = this.picture;
    let x = -(panning & 6);
    for (let column = 0; column <= columns; column++) {
      const at = this.fetch(this.address + column);
      for (let plane = 0; plane < 4; plane++, x += 2) {
        const color = dac[memory[at + plane]];
        if (x >= 0) into[x] = color;
        if (x >= -1) into[x + 1] = color;
      }
    }
  }
}

/** The character sets 0 … 7 begin at 0, 16, 32, 48, 8, 24, 40 and 56 KiB of plane 2. */
const fontAddress = (map: number): number => ((map & 3) * 0x4000 + (map & 4 ? 0x2000 : 0)) & PLANE_MASK;

/** `now` in nanoseconds, for what blinks. */
export const vgaLines = (picture: VgaPicture, now: number): LineSource => new VgaLines(picture, now);
