/** Disks whose writes are thrown away. */
import { PAGE_SIZE } from '../base/units.js';
import type { DiskWrites } from '../iface/block.js';
import type { HostFile } from '../iface/file.js';
import { ImageError, type DiskImage, type Unpack } from './image.js';
import { createQcow2 } from './qcow2/create.js';
import { readHeader } from './qcow2/header.js';
import { openQcow2 } from './qcow2/open.js';

/** A file that nobody needs to find again: nothing of it is made durable. */
class Fleeting implements HostFile {
  readonly writable = true;

  constructor(private readonly file: HostFile) {}

  get name(): string {
    return this.file.name;
  }
  get size(): number {
    return this.file.size;
  }
  get key(): string {
    return this.file.key;
  }
  get identity(): string {
    return this.file.identity;
  }
  read(offset: number, into: Uint8Array): number {
    return this.file.read(offset, into);
  }
  write(offset: number, from: Uint8Array): void {
    this.file.write(offset, from);
  }
  flush(): void {}
  truncate(size: number): void {
    this.file.truncate(size);
  }
  punch(offset: number, length: number): boolean {
    return this.file.punch(offset, length);
  }
  close(): void {
    this.file.close();
  }
}

/** Bytes of writes that are saved with a machine: they are held in memory meanwhile. */
const MAX_SAVED = 2 ** 31;

/**
 * A disk that begins as `base` and takes writes, which go into `file`, an empty one, and are lost with it. Its identity is that of
 * the base: the writes are another matter.
 */
export class TemporaryDisk implements DiskImage, DiskWrites {
  readonly format: string;
  readonly size: number;
  readonly readOnly = false;
  private readonly file: Fleeting;
  private overlay: DiskImage;
  private written = false;

  constructor(
    private readonly base: DiskImage,
    file: HostFile,
    private readonly unpack: Unpack,
  ) {
    this.format = base.format;
    this.size = base.size;
    this.file = new Fleeting(file);
    createQcow2(this.file, { size: base.size });
    this.overlay = this.openOverlay();
  }

  private openOverlay(): DiskImage {
    const { file, base, unpack } = this;
    const header = readHeader(file);
    if (header.size !== this.size) throw new ImageError(`${file.name} are those to another disk`);
    return openQcow2(file, { header, readOnly: false, backing: base, unpack });
  }

  get identity(): string {
    return this.base.identity;
  }

  get files(): readonly string[] {
    return this.base.files;
  }

  read(offset: number, into: Uint8Array): void {
    this.overlay.read(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.written = true;
    this.overlay.write(offset, from);
  }

  /** What is thrown away needs not be durable. */
  flush(): void {}

  discard(offset: number, length: number): void {
    this.written = true;
    this.overlay.discard(offset, length);
  }

  writeZeroes(offset: number, length: number): void {
    this.written = true;
    this.overlay.writeZeroes(offset, length);
  }

  close(): void {
    // Not by way of the overlay, which would first write down what is where: nobody is going to look, and the host's disk may be full.
    this.file.close();
    this.base.close();
  }

  save(): Uint8Array | undefined {
    if (!this.written) return undefined;
    this.overlay.flush();
    const { size, name } = this.file;
    if (size > MAX_SAVED) throw new ImageError(`${name} are too many to be saved with the machine: ${size} bytes`);
    const bytes = new Uint8Array(Math.ceil(size / PAGE_SIZE) * PAGE_SIZE);
    this.file.read(0, bytes);
    return bytes;
  }

  restore(saved: Uint8Array): void {
    this.file.truncate(0);
    this.file.write(0, saved);
    this.written = true;
    this.overlay = this.openOverlay();
  }
}
