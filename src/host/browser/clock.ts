/** The browser's clock, as a machine's time source. */

/** Nanoseconds that a browser's clock may stand still: 5 µs where the page is isolated, 100 µs elsewhere (High Resolution Time, W3C, §4.1). */
const isolatedStep = 5000;
const commonStep = 100_000;
/** Nanoseconds by which time moves on at each look while the browser's stands still. */
const STEP = 10;

/**
 * Monotonic nanoseconds since `epoch`, a time in milliseconds since 1970: the same on all threads of a page that were told the same
 * one. The browser shows its clock in coarse steps; within one, time goes on a little with each look.
 */
export function browserTime(epoch: number): { now(): number; wallClock(): number } {
  const shift = performance.timeOrigin - epoch;
  const step = globalThis.crossOriginIsolated ? isolatedStep : commonStep;
  let seen = -Infinity;
  let last = -Infinity;
  return {
    now: () => {
      const shown = (shift + performance.now()) * 1e6;
      if (shown > seen) {
        seen = shown;
        if (shown > last) last = shown;
      } else last = Math.max(last, Math.min(last + STEP, seen + step - STEP));
      return last;
    },
    wallClock: () => Date.now(),
  };
}
