import { zstdReady } from '../../../host/node/zstd.js';
import { fuzzQcow2 } from '../qcow2.js';
import type { FuzzTarget } from '../target.js';

const LENGTH = 100;

/** Damaged images: each input is one, opened, used and closed. */
export const qcow2Target: FuzzTarget = {
  name: 'qcow2',
  share: 6,
  length: LENGTH,
  prepare: zstdReady,
  start(_, seed) {
    let next = seed * LENGTH;
    return { step: () => fuzzQcow2(next++) };
  },
};
