/** What the formats have in common. */
import { UsageError } from '../base/errors.js';
import type { HostFile } from '../iface/file.js';

export const SECTOR = 512;

export interface FilePlace {
  readonly file: HostFile;
  readonly offset: number;
}

/**
 * The contents of a disk in some format. Offsets and lengths are bytes, multiples of 512 within `size`. Everything is done
 * when a call returns; what goes wrong is thrown.
 */
export interface DiskImage {
  /** `raw`, `qcow2`. */
  readonly format: string;
  /** Bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Identity and generation of all files that the contents depend on. */
  readonly identity: string;
  /** Names of the host's files that the contents come from: the image's own, then those that it stands on, the next one first. */
  readonly files: readonly string[];
  /** As in BlockBackend; may throw what `read` would. */
  isZero?(offset: number, length: number): boolean;
  /**
   * Where a range lies in a file, in one piece, that can be read there or, `writing`, written there and nothing else be done. Undefined: nowhere. Absent: never. May throw
   * what `read` or `write` would.
   */
  locate?(offset: number, length: number, writing: boolean): FilePlace | undefined;
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  /** What was written is durable. */
  flush(): void;
  /** A hint that the contents are not needed any more. */
  discard(offset: number, length: number): void;
  writeZeroes(offset: number, length: number): void;
  /** Writes what is still to be written, and lets go of the files. */
  close(): void;
}

/** What unpacks compressed clusters; given by the host. Throws what is wrong with the data. */
export interface Unpack {
  /** Unpacks a raw deflate stream (RFC 1951) to exactly `length` bytes; what follows it in `data` is none of its business. */
  inflate(data: Uint8Array, length: number): Uint8Array;
  /** Unpacks one whole Zstandard frame (RFC 8878) to exactly `length` bytes. */
  unzstd(frame: Uint8Array, length: number): Uint8Array;
}

/** An image is not as its format demands. The message is one line. */
export class ImageError extends UsageError {}
