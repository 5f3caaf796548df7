/** Pixels by lines, from the top down. */
export interface LineSource {
  readonly width: number;
  readonly height: number;
  /** Puts the next line's pixels, 0x00RRGGBB, into the first `width` elements. */
  next(into: Uint32Array): void;
  /** Whether the next line is known to be as it was drawn last; goes behind it if so. Absent: none is. */
  skip?(): boolean;
}
