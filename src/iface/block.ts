/** How a request ended. */
export type BlockStatus = 'ok' | 'io-error' | 'unsupported';

/** What was written to a disk since it was opened. */
export interface DiskWrites {
  /** All of it, whole pages of 4 KiB; undefined when there is nothing. Throws a one-line error when it is too much. */
  save(): Uint8Array | undefined;
  /** Puts the disk into the state that was saved. Throws a one-line error when that cannot be. */
  restore(saved: Uint8Array): void;
}

/** Scratch memory in buffers of one size, a multiple of any medium's blocks: as much as is best moved at once. */
export interface ScratchBuffers {
  take(): Uint8Array;
  /** What was taken, and nobody uses any more. */
  give(buffer: Uint8Array): void;
}

/**
 * A disk as a device sees it, in bytes. Offsets and lengths are multiples of 512 within `size`. `done` may be called
 * before the method returns. Flush means flushed: when it reports `ok`, every write reported before is durable.
 */
export interface BlockBackend {
  /** Of the image behind it: `raw`, `qcow2`. */
  readonly format: string;
  /** Of a disk whose writes are thrown away: these writes, to be saved with a machine. */
  readonly writes?: DiskWrites;
  /** Bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Up to 20 ASCII characters, for VIRTIO_BLK_T_GET_ID and friends. */
  readonly serial: string;
  /** Identity and generation, recorded in snapshots: a resume refuses a disk that changed meanwhile. */
  readonly identity: string;
  /** Names of the host's files that the contents come from: the image's own, then those that it stands on, the next one first. */
  readonly files: readonly string[];
  /** For data on their way: memory that the host and the guest's memory move them to and from best. Absent: any is as good. */
  readonly buffers?: ScratchBuffers | undefined;
  /** Whether a range is known to hold nothing but zeros, without a look at data. Absent: it never is. */
  isZero?(offset: number, length: number): boolean;
  read(offset: number, into: Uint8Array, done: (status: BlockStatus) => void): void;
  write(offset: number, from: Uint8Array, done: (status: BlockStatus) => void): void;
  flush(done: (status: BlockStatus) => void): void;
  discard(offset: number, length: number, done: (status: BlockStatus) => void): void;
  writeZeroes(offset: number, length: number, done: (status: BlockStatus) => void): void;
  /** Waits until all requests have been answered. Absent: they are when a call returns. */
  settle?(): void;
  /** Makes durable what was written, and lets go of the host's files. Throws what the host refuses. */
  close(): void;
}
