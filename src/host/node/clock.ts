/** The host's clock, as a machine's time source. */
export const hostTime = {
  /** Monotonic nanoseconds since some time, the same on all threads of the process. */
  now: (): number => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1e9 + nanoseconds;
  },
  wallClock: (): number => Date.now(),
};
