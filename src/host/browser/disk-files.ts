/** Files that disks of a page's machine are in. Opened with the help of an event loop; then all is done at once. Only in workers. */
import { HostError, UsageError } from '../../base/errors.js';
import type { HostFile } from '../../iface/file.js';
import {
  findFile,
  isBusy,
  readBlob,
  reasonOf,
  writeAll,
  type SyncAccessHandle,
  type WorkerFileHandle,
} from './files.js';

/** Milliseconds that the browser may take to give a file back whose last user has just ended, and between two attempts. */
const PATIENCE = 2000;
const PAUSE = 50;

/** A file in the page's own storage. Nobody else writes to it while it is open, in this page or another. */
export class StoredDisk implements HostFile {
  readonly key: string;
  /** When it was changed last, as far as is known, in milliseconds since 1970. */
  private changed = 0;

  private constructor(
    readonly name: string,
    private readonly handle: WorkerFileHandle,
    private readonly access: SyncAccessHandle,
    readonly writable: boolean,
  ) {
    this.key = name;
  }

  /** Rejected with a one-line error when there is no such file, unless it is to be made, or another page uses it. */
  static async open(name: string, { writable, create = false }: OpenOptions): Promise<StoredDisk> {
    const handle = await findFile(name, create);
    if (!handle) throw new HostError(`cannot open the disk ${name}: this page's storage has no such file`);
    const mode = writable ? 'readwrite' : 'read-only';
    for (const end = performance.now() + PATIENCE; ;)
      try {
        const disk = new StoredDisk(name, handle, await handle.createSyncAccessHandle({ mode }), writable);
        await disk.settle();
        return disk;
      } catch (cause) {
        if (!isBusy(cause)) throw new HostError(`cannot open the disk ${name}: ${reasonOf(cause)}`, { cause });
        if (performance.now() > end)
          throw new HostError(`cannot open the disk ${name}: another machine uses it, in this page or another`, {
            cause,
          });
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
  }

  get size(): number {
    return this.access.getSize();
  }

  /** As it was when it was opened, or settled last. */
  get identity(): string {
    return `${this.name}:${this.size}:${this.changed}`;
  }

  /** Finds out when it was changed last. */
  async settle(): Promise<void> {
    this.changed = (await this.handle.getFile()).lastModified;
  }

  read(offset: number, into: Uint8Array): number {
    let at = 0;
    while (at < into.length) {
      const count = this.access.read(into.subarray(at), { at: offset + at });
      if (count === 0) break;
      at += count;
    }
    return at;
  }

  write(offset: number, from: Uint8Array): void {
    writeAll(this.access, this.name, offset, from);
  }

  flush(): void {
    this.access.flush();
  }

  truncate(size: number): void {
    this.access.truncate(size);
  }

  punch(): boolean {
    return false;
  }

  close(): void {
    this.access.close();
  }
}

export interface OpenOptions {
  readonly writable: boolean;
  /** It is made when there is none. */
  readonly create?: boolean;
}

/** Bytes that are read of a chosen file at once: guests read in smaller pieces, each of which would take the browser some time. */
const PIECE = 256 * 1024;

/** A file that the user chose, to be read. */
export class ChosenDisk implements HostFile {
  readonly writable = false;
  readonly key: string;
  readonly size: number;
  private piece = new Uint8Array(0);
  private pieceAt = 0;

  constructor(
    readonly name: string,
    private readonly blob: Blob,
  ) {
    this.key = `chosen:${name}`;
    this.size = blob.size;
  }

  get identity(): string {
    return `${this.name}:${this.size}:${this.blob instanceof File ? this.blob.lastModified : 0}`;
  }

  read(offset: number, into: Uint8Array): number {
    const count = Math.max(0, Math.min(into.length, this.size - offset));
    for (let at = 0; at < count;) {
      const from = offset + at - this.pieceAt;
      if (from < 0 || from >= this.piece.length) {
        this.load(offset + at);
        continue;
      }
      const part = this.piece.subarray(from, from + count - at);
      into.set(part, at);
      at += part.length;
    }
    return count;
  }

  private load(offset: number): void {
    const start = Math.floor(offset / PIECE) * PIECE;
    try {
      this.piece = readBlob(this.blob, start, PIECE) as Uint8Array<ArrayBuffer>;
      this.pieceAt = start;
      if (start + this.piece.length <= offset) throw new Error('it has become shorter');
    } catch (cause) {
      throw new HostError(`cannot read ${this.name}: ${reasonOf(cause)}`, { cause });
    }
  }

  write(): void {
    throw new UsageError(`${this.name} cannot be written: it is a file that was chosen`);
  }

  flush(): void {}

  truncate(): void {
    this.write();
  }

  punch(): boolean {
    return false;
  }

  close(): void {
    this.piece = new Uint8Array(0);
  }
}
