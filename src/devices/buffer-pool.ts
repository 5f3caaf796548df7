/**
 * Bytes that are moved between guest and back end at once, at most: a multiple of any medium's blocks. The host's cache
 * reads ahead while a piece is copied; past it, nothing goes on meanwhile, and fewer pieces take less time.
 */
const PIECE = { CACHED: 0x4_0000, PAST_CACHE: 0x10_0000 } as const;

/** Buffers that are kept: as many as a device may have under way at a time before it becomes slower. */
const KEPT = 17;

/** Scratch buffers of one size that are used again. */
export class BufferPool {
  private readonly free: Uint8Array[] = [];

  /** `allocate`: as in BlockBackend. */
  constructor(private readonly allocate?: (size: number) => Uint8Array) {}

  take(): Uint8Array {
    return this.free.pop() ?? this.allocate?.(PIECE.PAST_CACHE) ?? new Uint8Array(PIECE.CACHED);
  }

  give(buffer: Uint8Array): void {
    if (this.free.length < KEPT) this.free.push(buffer);
  }
}
