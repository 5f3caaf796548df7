/** Lays an adapter's pointer over a picture. */
import type { CursorPicture } from '../iface/display.js';
import type { Rectangle } from './rectangle.js';

/** Where a pointer is drawn: its picture's upper left corner is by the hot spot away from where it points. */
export const pointerPlace = ({ x, y, hotX, hotY, width, height }: CursorPicture): Rectangle => ({
  x: x - hotX,
  y: y - hotY,
  width,
  height,
});

/** Blends a pointer into pixels of 0x00RRGGBB that are the part `place` of a screen. */
export function drawPointer(pixels: Uint32Array, place: Rectangle, pointer: CursorPicture): void {
  const at = pointerPlace(pointer);
  for (let y = Math.max(place.y, at.y); y < Math.min(place.y + place.height, at.y + at.height); y++)
    for (let x = Math.max(place.x, at.x); x < Math.min(place.x + place.width, at.x + at.width); x++) {
      const from = ((y - at.y) * at.width + (x - at.x)) * 4;
      const to = (y - place.y) * place.width + (x - place.x);
      pixels[to] = blend(pixels[to], pointer.pixels, from);
    }
}

function blend(below: number, pixels: Uint8Array, from: number): number {
  const alpha = pixels[from + 3];
  let color = 0;
  for (let part = 2; part >= 0; part--) {
    const level = (below >> (8 * part)) & 0xff;
    color = (color << 8) | Math.min(255, pixels[from + part] + Math.round((level * (255 - alpha)) / 255));
  }
  return color;
}
