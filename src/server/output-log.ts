/** The last of what a machine has written, and whoever wants to go on reading. */

/** Pieces are joined until they are that long, so that a guest that writes letter by letter takes no more room than another. */
const PIECE = 16_384;

export class OutputLog {
  private pieces: Uint8Array[] = [];
  private kept = 0;
  private readonly followers = new Set<() => void>();
  private over = false;
  /** Bytes that have been written in all. */
  total = 0;

  /** `limit`: bytes that are kept, about. */
  constructor(private readonly limit: number) {}

  add(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.over) return;
    const last = this.pieces.at(-1);
    if (last && last.length + bytes.length <= PIECE) {
      const joined = new Uint8Array(last.length + bytes.length);
      joined.set(last);
      joined.set(bytes, last.length);
      this.pieces[this.pieces.length - 1] = joined;
    } else this.pieces.push(bytes.slice());
    this.kept += bytes.length;
    this.total += bytes.length;
    while (this.pieces.length > 1 && this.kept - this.pieces[0].length >= this.limit)
      this.kept -= this.pieces.shift()?.length ?? 0;
    this.wake();
  }

  /** Nothing more is written. */
  end(): void {
    this.over = true;
    this.wake();
  }

  get ended(): boolean {
    return this.over;
  }

  private wake(): void {
    for (const wake of this.followers) wake();
  }

  /** What is kept of the bytes from a place on, counted from the first that was written; at most `limit` of them. */
  from(place: number, limit = Infinity): Uint8Array {
    const parts: Uint8Array[] = [];
    let at = this.total - this.kept;
    let length = 0;
    for (const piece of this.pieces) {
      const rest = piece.subarray(Math.max(0, place - at));
      at += piece.length;
      if (rest.length === 0) continue;
      parts.push(rest.subarray(0, limit - length));
      length += parts.at(-1)?.length ?? 0;
      if (length >= limit) break;
    }
    return Buffer.concat(parts);
  }

  /** Where what is kept begins. */
  get start(): number {
    return this.total - this.kept;
  }

  /**
   * What was written, the last `tail` bytes of it at most; `follow`: and what will be, until it ends or the signal is aborted. A reader that
   * is too slow misses what is not kept any more.
   */
  async *read({
    tail = Infinity,
    follow = false,
    signal,
  }: {
    readonly tail?: number;
    readonly follow?: boolean;
    readonly signal?: AbortSignal;
  }): AsyncGenerator<Uint8Array, void, undefined> {
    let place = Math.max(this.start, this.total - tail);
    for (;;) {
      if (signal?.aborted) return;
      place = Math.max(place, this.start);
      const bytes = this.from(place, 4 * PIECE);
      if (bytes.length > 0) {
        place += bytes.length;
        yield bytes;
        continue;
      }
      if (!follow || this.over) return;
      await this.news(signal);
    }
  }

  private news(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.followers.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      this.followers.add(done);
      signal?.addEventListener('abort', done);
    });
  }
}
