import { libc } from './native/libc.js';

/** Lets the system have whole pages of memory that nothing is mapped over, which are zeros then. False: it cannot. */
export const giveBack = (bytes: Uint8Array): boolean => libc?.discard(bytes) === 0;
