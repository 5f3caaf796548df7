/** What a display adapter shows, as whoever draws it reads it: references to registers and memory, valid during the call. */

/** The part of a VGA that turns a pixel into a colour. */
export interface VgaColors {
  /** Attribute controller: 16 palette registers, then mode control and its neighbours. */
  readonly attribute: Uint8Array;
  /** Red, green, blue of 256 colours, 6 or 8 bits each. */
  readonly palette: Uint8Array;
  readonly dacMask: number;
  /** The palette has 8 bits a colour, not 6. */
  readonly wideDac: boolean;
}

/** A VGA in one of its own modes. */
export interface VgaPicture {
  readonly kind: 'vga';
  readonly sequencer: Uint8Array;
  readonly crtc: Uint8Array;
  readonly graphics: Uint8Array;
  readonly colors: VgaColors;
  /** Byte `offset` of plane `p` at `offset * 4 + p`; 64 KiB a plane at least. */
  readonly memory: Uint8Array;
}

/**
 * How pixels lie in memory, the lowest byte first. `planar4`: four bytes, one of each plane, hold eight pixels. Those of 15 and 16
 * bits are little-endian words.
 */
export type PixelFormat = 'planar4' | 'indexed8' | 'rgb555' | 'rgb565' | 'bgr24' | 'bgrx' | 'rgbx' | 'xrgb' | 'xbgr';

/** When the pages of a memory were last written to, for whom has drawn what was there. */
export interface WriteTimes {
  /** Counts pictures; 1 for the first one. */
  readonly now: number;
  /** For each page of 4 KiB from the beginning of the memory on: the first picture that shows what was written there last. */
  readonly pages: Uint32Array;
}

/** Pixels in rows. */
export interface LinearPicture {
  readonly kind: 'linear';
  readonly format: PixelFormat;
  /** Pixels; `width` × `height` rows of `pitch` bytes from `start` on lie within `memory`. */
  readonly width: number;
  readonly height: number;
  readonly pitch: number;
  readonly start: number;
  readonly memory: Uint8Array;
  /** For `planar4` and `indexed8`. */
  readonly colors?: VgaColors;
  /** Absent: not known. */
  readonly writes?: WriteTimes | undefined;
}

/** Nothing is shown: switched off, or not set up. */
export interface BlankPicture {
  readonly kind: 'blank';
  readonly width: number;
  readonly height: number;
}

export type Picture = VgaPicture | LinearPicture | BlankPicture;

/** A pointer that the adapter lays over the picture. */
export interface CursorPicture {
  /** Where the hot spot is, in pixels of the picture. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly hotX: number;
  readonly hotY: number;
  /** Blue, green, red, alpha for each pixel, by rows; the colours are multiplied by alpha already. */
  readonly pixels: Uint8Array;
  /** Changes when anything but the place does. */
  readonly shape: number;
}

/** A display adapter as seen from its socket. */
export interface DisplayAdapter {
  picture(): Picture;
  /** Undefined: it has none, or it is hidden. */
  pointer?(): CursorPicture | undefined;
  /** The size, in pixels, that the guest shall show: a hint. Absent: the adapter cannot tell the guest. */
  prefer?(width: number, height: number): void;
}
