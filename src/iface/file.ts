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
  /**
   * Begins to read or write all of `bytes`, while the caller does something else. `done` is called later, by whoever looks after such transfers, and told whether all
   * was moved. Whatever else is done with the file waits for it, reads apart. False: nothing has begun, it is to be done at once. Absent: always so.
   */
  begin?(kind: 'read' | 'write', offset: number, bytes: Uint8Array, done: (ok: boolean) => void): boolean;
  /** All that was written is durable. */
  flush(): void;
  truncate(size: number): void;
  /** Whether the host is known to store nothing in a range, which reads as zeros. Only of files that are not written. Absent: it never is. */
  isHole?(offset: number, length: number): boolean;
  /** Gives back what the host stores there, which reads as zeros then. False: not possible here, nothing has changed. */
  punch(offset: number, length: number): boolean;
  close(): void;
}
