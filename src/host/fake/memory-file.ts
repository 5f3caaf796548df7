import type { HostFile } from '../../iface/file.js';

/** Something that was done to a file. */
export type FileOperation =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly size: number }
  | { readonly kind: 'flush' };

/** Bytes in one piece of a sparse file. */
const PIECE = 4096;

/** A sparse file in memory, which remembers what was done to it. */
export class MemoryFile implements HostFile {
  readonly writable = true;
  readonly key: string;
  private readonly pieces = new Map<number, Uint8Array>();
  private length = 0;
  private generation = 0;
  closed = false;
  /** All that was done, in order; undefined: not remembered. */
  log: FileOperation[] | undefined;
  /** Called before each write: what it throws is what the host refuses. */
  beforeWrite: ((offset: number, length: number) => void) | undefined;

  constructor(
    readonly name = 'memory',
    contents?: Uint8Array,
  ) {
    this.key = name;
    if (contents) this.write(0, contents);
  }

  get size(): number {
    return this.length;
  }

  get identity(): string {
    return `${this.name}:${this.generation}`;
  }

  read(offset: number, into: Uint8Array): number {
    const count = Math.max(0, Math.min(into.length, this.length - offset));
    for (let at = 0; at < count;) {
      const within = (offset + at) % PIECE;
      const length = Math.min(PIECE - within, count - at);
      const piece = this.pieces.get(Math.floor((offset + at) / PIECE));
      if (piece) into.set(piece.subarray(within, within + length), at);
      else into.fill(0, at, at + length);
      at += length;
    }
    return count;
  }

  write(offset: number, from: Uint8Array): void {
    this.beforeWrite?.(offset, from.length);
    this.generation++;
    this.log?.push({ kind: 'write', offset, bytes: from.slice() });
    for (let at = 0; at < from.length;) {
      const index = Math.floor((offset + at) / PIECE);
      const within = (offset + at) % PIECE;
      const length = Math.min(PIECE - within, from.length - at);
      let piece = this.pieces.get(index);
      if (!piece) this.pieces.set(index, (piece = new Uint8Array(PIECE)));
      piece.set(from.subarray(at, at + length), within);
      at += length;
    }
    this.length = Math.max(this.length, offset + from.length);
  }

  flush(): void {
    this.log?.push({ kind: 'flush' });
  }

  truncate(size: number): void {
    this.generation++;
    this.log?.push({ kind: 'truncate', size });
    if (size < this.length)
      for (const [index, piece] of this.pieces) {
        if (index * PIECE >= size) this.pieces.delete(index);
        else if ((index + 1) * PIECE > size) piece.fill(0, size - index * PIECE);
      }
    this.length = size;
  }

  punch(): boolean {
    return false;
  }

  close(): void {
    this.closed = true;
  }

  /** All of it. */
  contents(): Uint8Array {
    const bytes = new Uint8Array(this.length);
    this.read(0, bytes);
    return bytes;
  }

  /** Another file with the same contents. */
  copy(): MemoryFile {
    const copy = new MemoryFile(this.name);
    for (const [index, piece] of this.pieces) copy.pieces.set(index, piece.slice());
    copy.length = this.length;
    return copy;
  }

  apply(operation: FileOperation): void {
    if (operation.kind === 'write') this.write(operation.offset, operation.bytes);
    else if (operation.kind === 'truncate') this.truncate(operation.size);
  }
}
