import type { ScratchBuffers } from '../iface/block.js';

/**
 * Bytes that are moved between guest and back end at once, at most. The host's cache reads ahead while a piece is copied; past
 * it, nothing goes on meanwhile, and fewer pieces take less time.
 */
export const PIECE = { CACHED: 0x4_0000, PAST_CACHE: 0x10_0000 } as const;

/** Buffers that are kept, unless there are more in one memory: as many as a device may have under way at a time before it becomes slower. */
const KEPT = 17;

/** Scratch buffers of one size that are used again. */
export class BufferPool implements ScratchBuffers {
  /** The last is the next. */
  private readonly free: Uint8Array[] = [];
  private readonly own: ReadonlySet<Uint8Array>;

  /** `memory`: for the first ones, as many as have room in it. Then each has its own. */
  constructor(
    private readonly size: number = PIECE.CACHED,
    memory: Uint8Array = new Uint8Array(),
  ) {
    for (let end = Math.floor(memory.length / size) * size; end > 0; end -= size)
      this.free.push(memory.subarray(end - size, end));
    this.own = new Set(this.free);
  }

  take(): Uint8Array {
    return this.free.pop() ?? new Uint8Array(this.size);
  }

  give(buffer: Uint8Array): void {
    if (this.own.has(buffer) || this.free.length < KEPT) this.free.push(buffer);
  }
}
