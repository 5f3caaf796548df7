import type { Entropy } from '../../iface/clock.js';

/** Bytes that `getRandomValues` gives at a time (Web Cryptography API, W3C, §10.1.1). */
const MOST = 65_536;

/** The browser's entropy. */
export const browserEntropy: Entropy = {
  fill: (target) => {
    for (let at = 0; at < target.length; at += MOST) {
      // Never into shared memory, which it refuses.
      const part = new Uint8Array(Math.min(MOST, target.length - at));
      target.set(crypto.getRandomValues(part), at);
    }
  },
};
