import { UnevenDiskError, UsageError } from '../base/errors.js';
import type { HostFile } from '../iface/file.js';
import { isZero } from '../base/zeros.js';
import { SECTOR, type DiskImage, type FilePlace } from './image.js';
import { looksLikeQcow2 } from './probe.js';

/** Bytes that are looked at or zeroed at once. */
const PIECE = 0x2_0000;
const ZEROES = new Uint8Array(PIECE);

export interface RawOptions {
  readonly readOnly: boolean;
  /**
   * The format was guessed: the guest must not make it look like another format, whose header names files of the host, to
   * be read the next time.
   */
  readonly guessed: boolean;
}

/** A file that is the disk, byte by byte. */
export class RawImage implements DiskImage {
  readonly format = 'raw';
  readonly size: number;
  readonly readOnly: boolean;

  /** Throws a one-line error when the file cannot be a disk. */
  constructor(
    private readonly file: HostFile,
    private readonly options: RawOptions,
  ) {
    const { size, name } = file;
    if (size === 0) throw new UsageError(`the disk ${name} is empty`);
    if (size % SECTOR !== 0)
      throw new UnevenDiskError(`the disk ${name} is not a whole number of 512-byte sectors long`);
    this.size = size;
    this.readOnly = options.readOnly;
  }

  get identity(): string {
    return `raw:${this.file.identity}`;
  }

  get files(): readonly string[] {
    return [this.file.name];
  }

  locate(offset: number, _length: number, writing: boolean): FilePlace | undefined {
    // What is written at the beginning is looked at.
    return writing && offset === 0 && this.options.guessed ? undefined : { file: this.file, offset };
  }

  isZero(offset: number, length: number): boolean {
    return this.file.isHole?.(offset, length) ?? false;
  }

  read(offset: number, into: Uint8Array): void {
    if (this.file.read(offset, into) !== into.length) throw new Error('unexpected end of file');
  }

  write(offset: number, from: Uint8Array): void {
    if (offset === 0 && this.options.guessed && looksLikeQcow2(from))
      throw new UsageError(
        `the guest wants to make a qcow2 image of ${this.file.name}, which was taken for a raw one; format=raw lets it`,
      );
    this.file.write(offset, from);
  }

  flush(): void {
    this.file.flush();
  }

  discard(offset: number, length: number): void {
    this.file.punch(offset, length);
  }

  /** Without holes, only what is not zero already is written: a sparse file stays sparse. */
  writeZeroes(offset: number, length: number): void {
    if (this.file.punch(offset, length)) return;
    const old = new Uint8Array(Math.min(PIECE, length));
    for (let at = 0; at < length; at += PIECE) {
      const count = Math.min(PIECE, length - at);
      const piece = old.subarray(0, count);
      this.read(offset + at, piece);
      if (!isZero(piece)) this.file.write(offset + at, ZEROES.subarray(0, count));
    }
  }

  close(): void {
    this.file.close();
  }
}
