import { inflateSync } from 'fflate';
import { ZSTDDecoder } from 'zstddec';

const decoder = new ZSTDDecoder();

/** To be awaited once in a worker before `unpack.unzstd` is called. */
export const zstdReady = (): Promise<void> => decoder.init();

function whole(result: Uint8Array, length: number): Uint8Array {
  if (result.length !== length) throw new Error('it is damaged, or holds something else');
  return result;
}

/** What unpacks compressed clusters. */
export const unpack = {
  // One byte more than there may be shows what is too long; beyond, nothing is written.
  inflate: (data: Uint8Array, length: number): Uint8Array =>
    whole(inflateSync(data as Uint8Array<ArrayBuffer>, { out: new Uint8Array(length + 1) }), length),
  unzstd: (frame: Uint8Array, length: number): Uint8Array => whole(decoder.decode(frame, length), length),
};
