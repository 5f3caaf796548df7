import { ZSTDDecoder } from 'zstddec/stream';

const decoder = new ZSTDDecoder();

/**
 * Unpacks Zstandard frames piece by piece; windows of up to 128 MiB, as the reference implementation has it. What is damaged throws
 * (and keeps its buffers, for as long as the thread lives).
 */
export async function* unzstdStream(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  await decoder.init();
  let idle = 0;
  function* counted(): Generator<Uint8Array> {
    for (const piece of pieces) {
      idle = 0;
      yield piece;
    }
  }
  for (const bytes of decoder.decodeStreaming(counted())) {
    // The decoder does not look at errors: it would offer the same input for ever.
    if (bytes.length === 0 && ++idle > 2) throw new Error('the data is damaged');
    if (bytes.length > 0) {
      idle = 0;
      yield bytes;
    }
  }
}
