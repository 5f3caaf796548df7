import { performance } from 'node:perf_hooks';

/** The host's clock, as a machine's time source. */
export const hostTime = {
  /** Monotonic nanoseconds since the process started. */
  now: (): number => Math.floor(performance.now() * 1e6),
  wallClock: (): number => Date.now(),
};
