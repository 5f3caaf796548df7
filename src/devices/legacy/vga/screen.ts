/** Reads back the text that a VGA shows. */
import { fromCp437 } from './cp437.js';
import { CRTC, CRTC_BIT, GC, GC_MISC } from './registers.js';
import { PLANE_SIZE } from './vga-memory.js';

/** The registers and the memory that make the text. */
export interface TextPicture {
  readonly crtc: Uint8Array;
  readonly graphics: Uint8Array;
  /** Byte `offset` of plane `p` at `offset * 4 + p`. */
  readonly memory: Uint8Array;
}

/** Where the text cursor stands, from 0; undefined when it is switched off or out of sight. */
export interface Cursor {
  readonly row: number;
  readonly column: number;
}

export const isText = (picture: TextPicture): boolean => (picture.graphics[GC.MISC] & GC_MISC.GRAPHICS) === 0;

const start = ({ crtc }: TextPicture): number => (crtc[CRTC.START_HIGH] << 8) | crtc[CRTC.START_LOW];
/** By how much the address grows from one row to the next. */
const pitch = ({ crtc }: TextPicture): number => crtc[CRTC.OFFSET] * 2;
const columnsOf = ({ crtc }: TextPicture): number => crtc[CRTC.HORIZONTAL_END] + 1;

/** Scan lines that show something. */
function scanLines({ crtc }: TextPicture): number {
  const overflow = crtc[CRTC.OVERFLOW];
  return (crtc[CRTC.VERTICAL_END] | ((overflow << 7) & 0x100) | ((overflow << 3) & 0x200)) + 1;
}

/** Scan lines that show the same row. */
const linesPerRow = ({ crtc }: TextPicture): number =>
  ((crtc[CRTC.MAX_SCAN_LINE] & 0x1f) + 1) * (crtc[CRTC.MAX_SCAN_LINE] & CRTC_BIT.DOUBLE ? 2 : 1);

const rowsOf = (picture: TextPicture): number => Math.floor(scanLines(picture) / linesPerRow(picture));

/** The offset in the planes that the CRTC fetches for a display address. */
function planeOffset({ crtc }: TextPicture, address: number): number {
  const shift = crtc[CRTC.UNDERLINE] & CRTC_BIT.DWORD ? 2 : crtc[CRTC.MODE] & CRTC_BIT.BYTE ? 0 : 1;
  return (address << shift) & (PLANE_SIZE - 1);
}

/** The rows of a text mode, without the blanks at their ends; none in a graphics mode. */
export function readText(picture: TextPicture): string[] {
  if (!isText(picture)) return [];
  return Array.from({ length: rowsOf(picture) }, (_, row) => {
    const first = start(picture) + row * pitch(picture);
    let text = '';
    for (let column = 0; column < columnsOf(picture); column++)
      text += fromCp437(picture.memory[planeOffset(picture, first + column) * 4]);
    return text.trimEnd();
  });
}

export function readCursor(picture: TextPicture): Cursor | undefined {
  const { crtc } = picture;
  if (!isText(picture) || crtc[CRTC.CURSOR_START] & CRTC_BIT.CURSOR_OFF || pitch(picture) === 0) return undefined;
  const at = ((crtc[CRTC.CURSOR_HIGH] << 8) | crtc[CRTC.CURSOR_LOW]) - start(picture);
  const row = Math.floor(at / pitch(picture));
  const column = at - row * pitch(picture);
  return row >= 0 && row < rowsOf(picture) && column < columnsOf(picture) ? { row, column } : undefined;
}
