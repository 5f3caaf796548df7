import type { BlockBackend, BlockStatus, DiskWrites } from '../iface/block.js';
import type { DiskImage } from './image.js';

type Done = (status: BlockStatus) => void;

export interface ImageDiskOptions {
  readonly serial: string;
  /** Of a disk whose writes are thrown away. */
  readonly writes?: DiskWrites | undefined;
  /** As in BlockBackend. */
  readonly allocate?: BlockBackend['allocate'];
  /** Something failed, for the first time; the guest has been told of an I/O error. */
  readonly failed?: (error: unknown) => void;
}

/** An image as a device sees it. Requests complete before the call returns. */
export class ImageDisk implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  readonly serial: string;
  readonly writes?: DiskWrites;
  readonly allocate: BlockBackend['allocate'];
  private told = false;

  constructor(
    private readonly image: DiskImage,
    private readonly options: ImageDiskOptions,
  ) {
    this.size = image.size;
    this.readOnly = image.readOnly;
    this.serial = options.serial;
    this.allocate = options.allocate;
    if (options.writes) this.writes = options.writes;
  }

  get format(): string {
    return this.image.format;
  }

  get identity(): string {
    return this.image.identity;
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
    this.attempt(done, () => this.image.read(offset, into));
  }

  write(offset: number, from: Uint8Array, done: Done): void {
    this.attempt(done, () => this.image.write(offset, from));
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
