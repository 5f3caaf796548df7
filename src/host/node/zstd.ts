import { ZSTDDecoder } from 'zstddec';

const decoder = new ZSTDDecoder();

/** To be awaited once in a thread before `unzstd` is called. */
export const zstdReady = (): Promise<void> => decoder.init();

/** Unpacks one whole Zstandard frame to exactly `length` bytes. */
export function unzstd(frame: Uint8Array, length: number): Uint8Array {
  const result = decoder.decode(frame, length);
  if (result.length !== length) throw new Error('the frame is damaged, or holds something else');
  return result;
}
