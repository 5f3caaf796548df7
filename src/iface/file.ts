/**
 * A file of the host that is read and written at offsets, at once. Offsets and lengths are bytes. What the host refuses is
 * thrown as it comes.
 */
export interface HostFile {
  /** How messages call it. */
  readonly name: string;
  readonly writable: boolean;
  /** Bytes, as it is now. */
  readonly size: number;
  /** The same for the same file, however it was named. */
  readonly key: string;
  /** Identity and generation: another text once the file was replaced or written. */
  readonly identity: string;
  /** Reads as much as there is; returns the bytes read, which are fewer at the end of the file only. */
  read(offset: number, into: Uint8Array): number;
  /** Writes all of it; the file grows as needed, with zeros before. */
  write(offset: number, from: Uint8Array): void;
  /** All that was written is durable. */
  flush(): void;
  truncate(size: number): void;
  /** Gives back what the host stores there, which reads as zeros then. False: not possible here, nothing has changed. */
  punch(offset: number, length: number): boolean;
  close(): void;
}
