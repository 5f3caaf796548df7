/** Bytes that are moved between guest and back end at once, at most: a multiple of any medium's blocks. */
export const PIECE = 0x10_0000;

/** Scratch buffers of PIECE bytes that are used again. */
export class BufferPool {
  private readonly free: Uint8Array[] = [];

  constructor(private readonly allocate: (size: number) => Uint8Array = (size) => new Uint8Array(size)) {}

  take(): Uint8Array {
    return this.free.pop() ?? this.allocate(PIECE);
  }

  give(buffer: Uint8Array): void {
    if (this.free.length < 4) this.free.push(buffer);
  }
}
