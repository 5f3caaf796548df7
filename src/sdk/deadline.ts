/** Milliseconds that a timer takes at most, some 24 days: Node.js and browsers end longer ones at once. */
const LONGEST = 2 ** 31 - 1;

/** Does something after so many milliseconds; what is later than a timer can be, Infinity too, never comes. */
export const after = (milliseconds: number, work: () => void): ReturnType<typeof setTimeout> | undefined =>
  milliseconds > LONGEST ? undefined : setTimeout(work, milliseconds);
