/** From a pixel's number to its colour, as a VGA's attribute controller and DAC do it. */
import type { VgaColors } from '../iface/display.js';

/** Registers of the attribute controller behind the 16 of the palette. */
const ATTRIBUTE = { MODE: 0x10, PLANES: 0x12, COLOR_SELECT: 0x14 } as const;
/** Mode control: bits 5:4 of a colour come from the colour select register. */
const P54_SELECT = 0x80;

/** The DAC's 256 colours as 0xRRGGBB, its pixel mask applied. */
export function dacColors({ palette, dacMask, wideDac }: VgaColors): Uint32Array {
  const colors = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i & dacMask) * 3;
    let color = 0;
    for (let part = 0; part < 3; part++) {
      const level = palette[at + part];
      color = (color << 8) | (wideDac ? level : ((level << 2) | (level >> 4)) & 0xff);
    }
    colors[i] = color;
  }
  return colors;
}

/** The colours of the 16 numbers that four planes make, as 0xRRGGBB. */
export function planeColors(source: VgaColors): Uint32Array {
  const { attribute } = source;
  const dac = dacColors(source);
  const select = attribute[ATTRIBUTE.COLOR_SELECT];
  const colors = new Uint32Array(16);
  for (let i = 0; i < 16; i++) {
    const entry = attribute[i & attribute[ATTRIBUTE.PLANES]] & 0x3f;
    const low = attribute[ATTRIBUTE.MODE] & P54_SELECT ? (entry & 0x0f) | ((select & 3) << 4) : entry;
    colors[i] = dac[low | ((select & 0x0c) << 4)];
  }
  return colors;
}
