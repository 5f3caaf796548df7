/** Finds lines of a picture that only moved up or down, as those of a text that is scrolled. */
import type { Rectangle } from '../rectangle.js';

export interface Scroll {
  /** Where they are now. */
  readonly area: Rectangle;
  /** The line that the first of them came from. */
  readonly from: number;
}

/** Lower areas than this, and shorter runs, are not worth it. */
const LEAST_HEIGHT = 32;
/** Lines that have to say the same of how far it went. */
const LEAST_VOTES = 8;
/** Of each line one pixel in so many is looked at for a start. */
const STRIDE = 3;

/** A number that equal lines have in common; undefined where a line has one colour, which says nothing. */
function signature(pixels: Uint32Array, at: number, width: number): number | undefined {
  const first = pixels[at];
  let hash = 0x811c_9dc5;
  let uniform = true;
  for (let i = at; i < at + width; i += STRIDE) {
    if (pixels[i] !== first) uniform = false;
    hash = Math.imul(hash ^ pixels[i], 0x0100_0193);
  }
  return uniform ? undefined : hash >>> 0;
}

function sameLine(one: Uint32Array, at: number, other: Uint32Array, otherAt: number, width: number): boolean {
  for (let i = 0; i < width; i++) if (one[at + i] !== other[otherAt + i]) return false;
  return true;
}

/** How far most lines came: lines downwards; 0 when they do not agree. */
function distance(before: Uint32Array, now: Uint32Array, pitch: number, { x, y, width, height }: Rectangle): number {
  // Lines that stand in several places say nothing either.
  const lines = new Map<number, number | undefined>();
  for (let line = y; line < y + height; line++) {
    const mark = signature(before, line * pitch + x, width);
    if (mark !== undefined) lines.set(mark, lines.has(mark) ? undefined : line);
  }
  const votes = new Map<number, number>();
  let [best, most] = [0, LEAST_VOTES - 1];
  for (let line = y; line < y + height; line++) {
    const mark = signature(now, line * pitch + x, width);
    const was = mark === undefined ? undefined : lines.get(mark);
    if (was === undefined || was === line) continue;
    const count = (votes.get(was - line) ?? 0) + 1;
    votes.set(was - line, count);
    if (count > most) [best, most] = [was - line, count];
  }
  return best;
}

/**
 * `before` and `now` are pictures with `pitch` pixels a line; `area` is where they differ. Every pixel of what is found is the same
 * as where it came from.
 */
export function findScroll(before: Uint32Array, now: Uint32Array, pitch: number, area: Rectangle): Scroll | undefined {
  const { x, y, width, height } = area;
  if (height < LEAST_HEIGHT) return undefined;
  const step = distance(before, now, pitch, area);
  if (step === 0) return undefined;
  let [start, length] = [y, 0];
  const end = Math.min(y + height, y + height - step);
  for (let line = Math.max(y, y - step); line < end; line++) {
    const first = line;
    while (line < end && sameLine(now, line * pitch + x, before, (line + step) * pitch + x, width)) line++;
    if (line - first > length) [start, length] = [first, line - first];
  }
  if (length < Math.max(LEAST_HEIGHT, height / 2)) return undefined;
  return { area: { x, y: start, width, height: length }, from: start + step };
}
