/** Reads back what a VGA shows. */
import { fromCp437 } from './cp437.js';
import { CRTC, CRTC_BIT, GC, GC_MISC, GC_MODE } from './registers.js';
import { PLANE_SIZE } from './vga-memory.js';

/** The registers and the memory that make the picture. */
export interface Picture {
  readonly crtc: Uint8Array;
  readonly graphics: Uint8Array;
  readonly attribute: Uint8Array;
  /** Red, green, blue of 256 colours, 6 bits each. */
  readonly palette: Uint8Array;
  /** Byte `offset` of plane `p` at `offset * 4 + p`. */
  readonly memory: Uint8Array;
}

/** Where the text cursor stands, from 0; undefined when it is switched off or out of sight. */
export interface Cursor {
  readonly row: number;
  readonly column: number;
}

export interface PixelScreen {
  readonly width: number;
  readonly height: number;
  /** Red, green, blue, 8 bits each, by rows. */
  readonly rgb: Uint8Array;
}

/** Larger than any standard mode; a guest can program up to 2048 × 1024, which nobody needs to see. */
const MOST_PIXELS = 1024 * 1024;

export const isText = (picture: Picture): boolean => (picture.graphics[GC.MISC] & GC_MISC.GRAPHICS) === 0;

const start = ({ crtc }: Picture): number => (crtc[CRTC.START_HIGH] << 8) | crtc[CRTC.START_LOW];
/** By how much the address grows from one row to the next. */
const pitch = ({ crtc }: Picture): number => crtc[CRTC.OFFSET] * 2;
const columnsOf = ({ crtc }: Picture): number => crtc[CRTC.HORIZONTAL_END] + 1;

/** Scan lines that show something. */
function scanLines({ crtc }: Picture): number {
  const overflow = crtc[CRTC.OVERFLOW];
  return (crtc[CRTC.VERTICAL_END] | ((overflow << 7) & 0x100) | ((overflow << 3) & 0x200)) + 1;
}

/** Scan lines that show the same row. */
const linesPerRow = ({ crtc }: Picture): number =>
  ((crtc[CRTC.MAX_SCAN_LINE] & 0x1f) + 1) * (crtc[CRTC.MAX_SCAN_LINE] & CRTC_BIT.DOUBLE ? 2 : 1);

const rowsOf = (picture: Picture): number => Math.floor(scanLines(picture) / linesPerRow(picture));

/** The offset in the planes that the CRTC fetches for a display address. */
function planeOffset({ crtc }: Picture, address: number): number {
  const shift = crtc[CRTC.UNDERLINE] & CRTC_BIT.DWORD ? 2 : crtc[CRTC.MODE] & CRTC_BIT.BYTE ? 0 : 1;
  return (address << shift) & (PLANE_SIZE - 1);
}

/** The rows of a text mode, without the blanks at their ends; none in a graphics mode. */
export function readText(picture: Picture): string[] {
  if (!isText(picture)) return [];
  return Array.from({ length: rowsOf(picture) }, (_, row) => {
    const first = start(picture) + row * pitch(picture);
    let text = '';
    for (let column = 0; column < columnsOf(picture); column++)
      text += fromCp437(picture.memory[planeOffset(picture, first + column) * 4]);
    return text.trimEnd();
  });
}

export function readCursor(picture: Picture): Cursor | undefined {
  const { crtc } = picture;
  if (!isText(picture) || crtc[CRTC.CURSOR_START] & CRTC_BIT.CURSOR_OFF || pitch(picture) === 0) return undefined;
  const at = ((crtc[CRTC.CURSOR_HIGH] << 8) | crtc[CRTC.CURSOR_LOW]) - start(picture);
  const row = Math.floor(at / pitch(picture));
  const column = at - row * pitch(picture);
  return row >= 0 && row < rowsOf(picture) && column < columnsOf(picture) ? { row, column } : undefined;
}

/** The pixels of a graphics mode of 16 or 256 colours; undefined in a text mode. */
export function readPixels(picture: Picture): PixelScreen | undefined {
  if (isText(picture)) return undefined;
  const { graphics, attribute, palette, memory } = picture;
  const deep = (graphics[GC.MODE] & GC_MODE.SHIFT_256) !== 0;
  const perAddress = deep ? 4 : 8;
  const width = columnsOf(picture) * (deep ? 4 : 8);
  const height = rowsOf(picture);
  if (width * height > MOST_PIXELS) return { width: 0, height: 0, rgb: new Uint8Array(0) };
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = planeOffset(picture, start(picture) + y * pitch(picture) + Math.floor(x / perAddress)) * 4;
      let color = 0;
      if (deep) color = memory[at + (x & 3)];
      else {
        for (let p = 0; p < 4; p++) color |= ((memory[at + p] >> (7 - (x & 7))) & 1) << p;
        color = attribute[color] & 0x3f;
      }
      for (let i = 0; i < 3; i++) {
        const level = palette[color * 3 + i];
        rgb[(y * width + x) * 3 + i] = (level << 2) | (level >> 4);
      }
    }
  return { width, height, rgb };
}
