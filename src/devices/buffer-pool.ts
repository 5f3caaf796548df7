/** Scratch buffers that are used again. */
export class BufferPool {
  private readonly free: Uint8Array[] = [];

  take(size: number): Uint8Array {
    const index = this.free.findIndex((buffer) => buffer.length === size);
    return index < 0 ? new Uint8Array(size) : this.free.splice(index, 1)[0];
  }

  give(buffer: Uint8Array): void {
    if (this.free.length < 4) this.free.push(buffer);
  }
}
