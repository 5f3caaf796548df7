/**
 * Names of the VGA's registers, after "IBM PS/2 Hardware Interface Technical Reference: Video Subsystems" (May 1992), and
 * what firmware puts into them for mode 3 (80 × 25 text), as the IBM VGA BIOS does.
 */

/** Ports relative to 0x3b0. */
export const PORT = {
  CRTC_INDEX_MONO: 0x04,
  CRTC_DATA_MONO: 0x05,
  STATUS_1_MONO: 0x0a,
  ATTRIBUTE: 0x10,
  ATTRIBUTE_READ: 0x11,
  /** Written: miscellaneous output. Read: input status 0. */
  MISC: 0x12,
  ENABLE: 0x13,
  SEQUENCER_INDEX: 0x14,
  SEQUENCER_DATA: 0x15,
  DAC_MASK: 0x16,
  /** Written: read index. Read: state. */
  DAC_READ: 0x17,
  DAC_WRITE: 0x18,
  DAC_DATA: 0x19,
  FEATURE_READ: 0x1a,
  MISC_READ: 0x1c,
  GRAPHICS_INDEX: 0x1e,
  GRAPHICS_DATA: 0x1f,
  CRTC_INDEX: 0x24,
  CRTC_DATA: 0x25,
  STATUS_1: 0x2a,
} as const;

export const SEQ = { CLOCKING: 1, MAP_MASK: 2, CHARACTER_MAP: 3, MEMORY_MODE: 4 } as const;
/** Bits of the sequencer's registers that exist; those of the graphics and attribute controllers. */
export const SEQ_BITS = [0x03, 0x3d, 0x0f, 0x3f, 0x0e] as const;
export const GC_BITS = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff] as const;
export const ATTRIBUTE_BITS = [...Array.from({ length: 16 }, () => 0x3f), 0xef, 0xff, 0x3f, 0x0f, 0x0f] as const;
/** Sequencer memory mode; odd/even is on while its bit is 0. */
export const MEMORY_MODE = { SEQUENTIAL: 1 << 2, CHAIN_4: 1 << 3 } as const;

export const GC = {
  SET_RESET: 0,
  ENABLE_SET_RESET: 1,
  COLOR_COMPARE: 2,
  ROTATE: 3,
  READ_MAP: 4,
  MODE: 5,
  MISC: 6,
  DONT_CARE: 7,
  BIT_MASK: 8,
} as const;
export const GC_MODE = { WRITE: 3, READ_COMPARE: 1 << 3, ODD_EVEN: 1 << 4, SHIFT_256: 1 << 6 } as const;
export const GC_MISC = { GRAPHICS: 1 << 0, MAP: 3 << 2 } as const;

export const CRTC = {
  HORIZONTAL_END: 0x01,
  VERTICAL_TOTAL: 0x06,
  OVERFLOW: 0x07,
  MAX_SCAN_LINE: 0x09,
  CURSOR_START: 0x0a,
  CURSOR_END: 0x0b,
  START_HIGH: 0x0c,
  START_LOW: 0x0d,
  CURSOR_HIGH: 0x0e,
  CURSOR_LOW: 0x0f,
  RETRACE_START: 0x10,
  RETRACE_END: 0x11,
  VERTICAL_END: 0x12,
  OFFSET: 0x13,
  UNDERLINE: 0x14,
  MODE: 0x17,
} as const;
export const CRTC_BIT = {
  /** RETRACE_END: registers 0 … 7 cannot be written. */
  PROTECT: 1 << 7,
  /** MAX_SCAN_LINE: each line is shown twice. */
  DOUBLE: 1 << 7,
  /** CURSOR_START */
  CURSOR_OFF: 1 << 5,
  /** UNDERLINE: addresses count dwords. */
  DWORD: 1 << 6,
  /** MODE: addresses count bytes; else words. */
  BYTE: 1 << 6,
} as const;

export const MISC = { COLOR: 1 << 0 } as const;

/** Registers of mode 3 with 9 × 16 characters. */
export const MODE_3 = {
  misc: 0x67,
  sequencer: [0x03, 0x00, 0x03, 0x00, 0x02],
  graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff],
  crtc: [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f,
    0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
  ],
  attribute: [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f,
    0x08, 0x00,
  ],
} as const;

/** The first 64 colours of the DAC in mode 3: bits rgbRGB, as on an EGA; 6 bits for each of red, green, blue. */
export function egaPalette(): Uint8Array {
  const palette = new Uint8Array(256 * 3);
  for (let color = 0; color < 64; color++)
    for (const [i, bit] of [2, 1, 0].entries())
      palette[color * 3 + i] = 42 * ((color >> bit) & 1) + 21 * ((color >> (bit + 3)) & 1);
  return palette;
}
