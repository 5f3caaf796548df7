/** Files of a page: in the origin private file system (OPFS; File System, WHATWG), and those that a user chose. */
import { HostError } from '../../base/errors.js';

/** Of workers only, and so not in TypeScript's DOM. */
interface SyncAccessHandle {
  read(into: Uint8Array, options: { readonly at: number }): number;
  write(from: Uint8Array, options: { readonly at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}
declare const FileReaderSync: new () => { readAsArrayBuffer(blob: Blob): ArrayBuffer };

interface WorkerFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<SyncAccessHandle>;
  /** Not in the standard yet, but in all browsers for files of OPFS. */
  move?(name: string): Promise<void>;
}

async function folder(): Promise<FileSystemDirectoryHandle> {
  try {
    return await navigator.storage.getDirectory();
  } catch (cause) {
    throw new HostError('this page has no storage of its own: it needs https or localhost', { cause });
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Writes a file whole or not at all. Only in a worker. Throws a one-line error. */
export async function writeFileSafely(
  name: string,
  write: (target: { write(offset: number, bytes: Uint8Array): void }) => void,
): Promise<void> {
  const root = await folder();
  const part = `${name}.part`;
  try {
    const handle = (await root.getFileHandle(part, { create: true })) as WorkerFileHandle;
    const access = await handle.createSyncAccessHandle();
    try {
      access.truncate(0);
      write({
        write: (offset, bytes) => {
          for (let at = 0; at < bytes.length;) {
            const written = access.write(bytes.subarray(at), { at: offset + at });
            if (written === 0) throw new HostError(`cannot write ${name}: the browser takes no more`);
            at += written;
          }
        },
      });
      access.flush();
    } finally {
      access.close();
    }
    if (!handle.move) throw new HostError('this browser cannot rename files');
    await handle.move(name);
  } catch (cause) {
    await root.removeEntry(part).catch(() => undefined);
    if (cause instanceof HostError || !(cause instanceof DOMException)) throw cause;
    throw new HostError(`cannot write ${name}: ${reasonOf(cause)}`, { cause });
  }
}

/** A file as it is now; undefined: there is none. */
export async function openFile(name: string): Promise<File | undefined> {
  const root = await folder();
  try {
    return await (await root.getFileHandle(name)).getFile();
  } catch (error) {
    if (error instanceof DOMException && error.name === 'NotFoundError') return undefined;
    throw new HostError(`cannot read ${name}: ${reasonOf(error)}`, { cause: error });
  }
}

/** What a user chose, read in pieces. Only in a worker. */
export class BlobSource {
  readonly size: number;

  constructor(
    private readonly blob: Blob,
    readonly name: string,
  ) {
    this.size = blob.size;
  }

  /** Exactly that many bytes. */
  read(offset: number, length: number): Uint8Array {
    try {
      const bytes = new FileReaderSync().readAsArrayBuffer(this.blob.slice(offset, offset + length));
      if (bytes.byteLength !== length) throw new Error('it has become shorter');
      return new Uint8Array(bytes);
    } catch (cause) {
      throw new HostError(`cannot read ${this.name}: ${reasonOf(cause)}`, { cause });
    }
  }
}
