import { randomFillSync } from 'node:crypto';
import type { Entropy } from '../../iface/clock.js';

/** The host's entropy. */
export const hostEntropy: Entropy = {
  fill: (target) => {
    randomFillSync(target);
  },
};
