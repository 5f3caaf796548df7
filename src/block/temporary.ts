/** Disks whose writes are thrown away. */
import type { HostFile } from '../iface/file.js';
import type { DiskImage, Unpack } from './image.js';
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

/**
 * A disk that begins as `base` and takes writes, which go into `file`, an empty one. What was written is lost with it, so its
 * identity is that of the base until the first write, and then one that is never found again.
 */
export function temporaryDisk(base: DiskImage, file: HostFile, unpack: Unpack): DiskImage {
  const fleeting = new Fleeting(file);
  createQcow2(fleeting, { size: base.size });
  const image = openQcow2(fleeting, { header: readHeader(fleeting), readOnly: false, backing: base, unpack });
  return new TemporaryDisk(base, image, file.key);
}

class TemporaryDisk implements DiskImage {
  readonly format: string;
  readonly size: number;
  readonly readOnly = false;
  private written = false;

  constructor(
    private readonly base: DiskImage,
    private readonly overlay: DiskImage,
    private readonly key: string,
  ) {
    this.format = base.format;
    this.size = overlay.size;
  }

  get identity(): string {
    return this.written ? `temporary:${this.key}|${this.base.identity}` : this.base.identity;
  }

  /** Whether it holds what cannot be had again. */
  get isWritten(): boolean {
    return this.written;
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
    this.overlay.close();
  }
}
