import { constants, inflateRawSync } from 'node:zlib';
import { unzstd } from './zstd.js';

/** What unpacks compressed clusters. */
export const unpack = {
  inflate(data: Uint8Array, length: number): Uint8Array {
    const result = inflateRawSync(data, { maxOutputLength: length, finishFlush: constants.Z_SYNC_FLUSH });
    if (result.length !== length) throw new Error('the data is truncated');
    return result;
  },
  unzstd,
};
