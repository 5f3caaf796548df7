/** Bytes in pieces: put in at the end, taken off at the front, copied out anywhere. */
export class ChunkQueue {
  private chunks: Uint8Array[] = [];
  /** Bytes at the front of the first piece that are gone. */
  private skipped = 0;
  /** Pieces at the front that are gone. */
  private first = 0;
  length = 0;

  /** The bytes must not change any more. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.chunks.push(bytes);
    this.length += bytes.length;
  }

  drop(count: number): void {
    this.length -= count;
    let left = count;
    while (left > 0) {
      const room = this.chunks[this.first].length - this.skipped;
      if (left < room) {
        this.skipped += left;
        return;
      }
      left -= room;
      this.first++;
      this.skipped = 0;
    }
    if (this.first > 64 || this.first === this.chunks.length) {
      this.chunks = this.chunks.slice(this.first);
      this.first = 0;
    }
  }

  /** Copies `into.length` bytes that begin at `offset`. */
  copy(offset: number, into: Uint8Array): void {
    let skip = offset + this.skipped;
    let done = 0;
    for (let i = this.first; done < into.length; i++) {
      const chunk = this.chunks[i];
      if (skip >= chunk.length) {
        skip -= chunk.length;
        continue;
      }
      const part = chunk.subarray(skip, skip + into.length - done);
      into.set(part, done);
      done += part.length;
      skip = 0;
    }
  }

  clear(): void {
    this.chunks = [];
    this.first = 0;
    this.skipped = 0;
    this.length = 0;
  }
}
