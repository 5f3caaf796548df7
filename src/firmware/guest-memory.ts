import { GIB, gpa, MIB, type Gpa } from '../base/units.js';
import { UsageError } from '../base/errors.js';
import { lowRamEnd, type MemoryMap } from './memory-map.js';

/** Guest memory as firmware fills it before the first instruction. A `Dma` port is one. */
export interface GuestMemoryWriter {
  /** False when some of the range is not RAM. */
  write(to: Gpa, bytes: Uint8Array): boolean;
}

/** A size for a message: whole MiB where it is one. */
export function formatSize(bytes: number): string {
  if (bytes >= GIB && bytes % GIB === 0) return `${bytes / GIB} GiB`;
  return `${Math.ceil(bytes / MIB)} MiB`;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * Finds places in RAM for what a loader puts there, so that nothing overlaps, and writes them. What does not fit is one
 * clear line about memory.
 */
export class Placer {
  private free: Range[];
  /** End of RAM below 4 GiB, bytes. */
  readonly lowRamEnd: number;
  private readonly total: number;

  constructor(
    private readonly memory: GuestMemoryWriter,
    map: MemoryMap,
  ) {
    this.free = map.filter((r) => r.kind === 'ram').map((r) => ({ start: r.start, end: r.start + r.size }));
    this.lowRamEnd = lowRamEnd(map);
    this.total = this.free.reduce((sum, r) => sum + (r.end - r.start), 0);
    // The real-mode interrupt table and BIOS data area stay free, and no structure stands at address 0.
    this.take({ start: 0, end: 0x1000 });
  }

  private take(taken: Range): void {
    this.free = this.free.flatMap(({ start, end }) =>
      [
        { start, end: Math.min(end, taken.start) },
        { start: Math.max(start, taken.end), end },
      ].filter((part) => part.start < part.end),
    );
  }

  private tooSmall(what: string, need: number): UsageError {
    return new UsageError(
      `the machine's memory is too small: ${what} (${formatSize(need)}) does not fit into ${formatSize(this.total)}`,
    );
  }

  /** Claims a fixed range. `what` is for the message when it is not free RAM. */
  claim(start: number, size: number, what: string): void {
    const end = start + size;
    if (!this.free.some((range) => range.start <= start && end <= range.end)) {
      if (this.lowRamEnd < end) throw this.tooSmall(what, end);
      throw new UsageError(`${what} wants memory at 0x${start.toString(16)} that is not free RAM`);
    }
    this.take({ start, end });
  }

  /** Whether a range is free RAM. */
  isFree(start: number, size: number): boolean {
    return this.free.some((range) => range.start <= start && start + size <= range.end);
  }

  /** Claims the lowest place (the highest with `fromTop`) of `size` bytes within `from` … `below`. */
  find(what: string, size: number, options: { align?: number; from?: number; below?: number; fromTop?: boolean }): Gpa {
    const align = options.align ?? 16;
    const below = Math.min(options.below ?? 4 * GIB, 4 * GIB);
    const places = this.free
      .map((range) => ({ low: Math.max(range.start, options.from ?? 0), high: Math.min(range.end, below) }))
      .map(({ low, high }) => {
        const at =
          options.fromTop === true ? Math.floor((high - size) / align) * align : Math.ceil(low / align) * align;
        return { at, fits: at >= low && at + size <= high };
      })
      .filter((place) => place.fits)
      .map((place) => place.at);
    if (places.length === 0) throw this.tooSmall(what, size);
    const at = options.fromTop === true ? Math.max(...places) : Math.min(...places);
    this.take({ start: at, end: at + size });
    return gpa(at);
  }

  /** Finds a place and writes there. */
  place(what: string, bytes: Uint8Array, options: Parameters<Placer['find']>[2]): Gpa {
    const at = this.find(what, Math.max(bytes.length, 1), options);
    this.write(at, bytes);
    return at;
  }

  /** Writes into a range that has been claimed or found. */
  write(at: number, bytes: Uint8Array): void {
    this.memory.write(gpa(at), bytes);
  }

  /** Fills with zeros: memory is not empty when a machine has been reset. */
  zero(at: number, size: number): void {
    const chunk = new Uint8Array(Math.min(size, MIB));
    for (let done = 0; done < size; done += chunk.length)
      this.memory.write(gpa(at + done), chunk.subarray(0, Math.min(chunk.length, size - done)));
  }
}
