import type { BlockBackend, BlockStatus, DiskWrites } from '../iface/block.js';
import type { DiskImage, FilePlace } from './image.js';

type Done = (status: BlockStatus) => void;

export interface ImageDiskOptions {
  readonly serial: string;
  /** Of a disk whose writes are thrown away. */
  readonly writes?: DiskWrites | undefined;
  /** As in BlockBackend. */
  readonly buffers?: () => BlockBackend['buffers'];
  /** Waits for transfers that are under way, and tells of them; absent: there never are any. */
  readonly settle?: () => void;
  /** Something failed, for the first time; the guest has been told of an I/O error. */
  readonly failed?: (error: unknown) => void;
}

/** An image as a device sees it. Requests complete before the call returns, but for long ones to files that do them meanwhile. */
export class ImageDisk implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  readonly serial: string;
  readonly writes?: DiskWrites;
  private told = false;

  constructor(
    private readonly image: DiskImage,
    private readonly options: ImageDiskOptions,
  ) {
    this.size = image.size;
    this.readOnly = image.readOnly;
    this.serial = options.serial;
    if (options.writes) this.writes = options.writes;
  }

  get buffers(): BlockBackend['buffers'] {
    return this.options.buffers?.();
  }

  get format(): string {
    return this.image.format;
  }

  get identity(): string {
    return this.image.identity;
  }

  get files(): readonly string[] {
    return this.image.files;
  }

  isZero(offset: number, length: number): boolean {
    try {
      return this.image.isZero?.(offset, length) ?? false;
    } catch {
      // A read is going to tell.
      return false;
    }
  }

  read(offset: number, into: Uint8Array, done: Done): void {
    const atOnce = (): void => this.attempt(done, () => this.image.read(offset, into));
    if (!this.begin('read', offset, into, done, atOnce)) atOnce();
  }

  write(offset: number, from: Uint8Array, done: Done): void {
    const atOnce = (): void => this.attempt(done, () => this.image.write(offset, from));
    if (!this.begin('write', offset, from, done, atOnce)) atOnce();
  }

  /** Has a file do it meanwhile, if it can. What fails there is done again, `atOnce`, which tells why. */
  private begin(kind: 'read' | 'write', offset: number, bytes: Uint8Array, done: Done, atOnce: () => void): boolean {
    if (!this.options.settle) return false;
    let place: FilePlace | undefined;
    try {
      place = this.image.locate?.(offset, bytes.length, kind === 'write');
    } catch {
      return false;
    }
    const tell = (ok: boolean): void => {
      if (ok) done('ok');
      else atOnce();
    };
    return place?.file.begin?.(kind, place.offset, bytes, tell) ?? false;
  }

  settle(): void {
    this.options.settle?.();
  }

  flush(done: Done): void {
    this.attempt(done, () => this.image.flush());
  }

  discard(offset: number, length: number, done: Done): void {
    this.attempt(done, () => this.image.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, done: Done): void {
    this.attempt(done, () => this.image.writeZeroes(offset, length));
  }

  close(): void {
    this.image.close();
  }

  /** A host error becomes the guest's I/O error: the guest decides what it means. */
  private attempt(done: Done, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!this.told) this.options.failed?.(error);
      this.told = true;
      done('io-error');
      return;
    }
    done('ok');
  }
}
