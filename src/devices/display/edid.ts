/**
 * Extended display identification data of a monitor that shows any size: VESA Enhanced EDID Standard, release A, revision 2
 * (EDID 1.4), one block of 128 bytes.
 */

export const EDID_SIZE = 128;

/** EISA id of the manufacturer: three letters of five bits each, §3.4.1. */
const manufacturer = (name: string): number => [0, 1, 2].reduce((id, i) => (id << 5) | (name.charCodeAt(i) - 64), 0);

/** Standard timings, §3.9: width, and height by the ratio 16:10 (0), 4:3 (1), 5:4 (2) or 16:9 (3); 60 Hz. */
const STANDARD_TIMINGS = [
  [1920, 3],
  [1680, 0],
  [1440, 0],
  [1600, 1],
  [1280, 2],
  [1280, 0],
  [1152, 1],
  [1024, 1],
] as const;
/** Established timings I and II, §3.8: 640 × 480, 800 × 600 and 1024 × 768 at 60 Hz. */
const ESTABLISHED = [0x21, 0x08, 0x00] as const;
/** sRGB's primaries and white point as §3.7 packs them. */
const CHROMATICITY = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54] as const;
const DOTS_PER_INCH = 96;
const REFRESH_HZ = 60;

/** A detailed timing, §3.10.2: the size with blanking as CVT's reduced blanking has it, roughly. */
function detailedTiming(width: number, height: number): Uint8Array {
  const block = new Uint8Array(18);
  const [hBlank, hFront, hSync] = [160, 48, 32];
  const [vBlank, vFront, vSync] = [Math.max(23, Math.ceil(height * 0.03)), 3, 6];
  const clock = Math.min(0xffff, Math.round(((width + hBlank) * (height + vBlank) * REFRESH_HZ) / 10_000));
  const [widthMm, heightMm] = millimetres(width, height);
  block.set([clock & 0xff, clock >> 8]);
  block.set([width & 0xff, hBlank & 0xff, ((width >> 8) << 4) | (hBlank >> 8)], 2);
  block.set([height & 0xff, vBlank & 0xff, ((height >> 8) << 4) | (vBlank >> 8)], 5);
  block.set([hFront, hSync, (vFront << 4) | vSync, 0], 8);
  block.set([widthMm & 0xff, heightMm & 0xff, ((widthMm >> 8) << 4) | (heightMm >> 8)], 12);
  // Digital separate synchronisation, both positive.
  block[17] = 0x1e;
  return block;
}

const millimetres = (width: number, height: number): [number, number] => [
  Math.min(4095, Math.round((width * 25.4) / DOTS_PER_INCH)),
  Math.min(4095, Math.round((height * 25.4) / DOTS_PER_INCH)),
];

/** A display descriptor with text, §3.10.3. */
function textDescriptor(tag: number, text: string): Uint8Array {
  const block = new Uint8Array(18).fill(0x20);
  block.set([0, 0, 0, tag, 0]);
  for (let i = 0; i < text.length; i++) block[5 + i] = text.charCodeAt(i);
  block[5 + text.length] = 0x0a;
  return block;
}

/** The block of a monitor that prefers `width` × `height` pixels, each below 4096. */
export function edid(width: number, height: number): Uint8Array {
  const block = new Uint8Array(EDID_SIZE);
  const [widthMm, heightMm] = millimetres(width, height);
  const maker = manufacturer('VTR');
  block.set([0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, maker >> 8, maker & 0xff, 0x01, 0x00]);
  // No serial number; model of week 0, 2024; EDID 1.4.
  block.set([0, 34, 1, 4], 16);
  // Digital, 8 bits a colour, DisplayPort; size in cm; gamma 2.2; sRGB, preferred timing first, any timing.
  block.set([0xa5, Math.round(widthMm / 10), Math.round(heightMm / 10), 120, 0x07], 20);
  block.set(CHROMATICITY, 25);
  block.set(ESTABLISHED, 35);
  STANDARD_TIMINGS.forEach(([pixels, ratio], i) => block.set([pixels / 8 - 31, ratio << 6], 38 + 2 * i));
  block.set(detailedTiming(width, height), 54);
  // Range limits: 50 … 125 Hz, 30 … 160 kHz, up to 650 MHz.
  block.set([0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 65, 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20], 72);
  block.set(textDescriptor(0xfc, 'Vitrine'), 90);
  block.set(textDescriptor(0xfe, 'any size'), 108);
  block[127] = -block.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return block;
}
