/** Files of a page: in the origin private file system (OPFS; File System, WHATWG), and those that a user chose. */
import { HostError, UsageError } from '../../base/errors.js';

/** Of workers only, and so not in TypeScript's DOM. */
export interface SyncAccessHandle {
  read(into: Uint8Array, options: { readonly at: number }): number;
  write(from: Uint8Array, options: { readonly at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}
declare const FileReaderSync: new () => { readAsArrayBuffer(blob: Blob): ArrayBuffer };

export interface WorkerFileHandle extends FileSystemFileHandle {
  /** `read-only`: with others that only read; in browsers that do not know of it nobody else has the file. */
  createSyncAccessHandle(options?: { readonly mode: 'readwrite' | 'read-only' }): Promise<SyncAccessHandle>;
  /** Not in the standard yet, but in all browsers for files of OPFS. */
  move?(name: string): Promise<void>;
}

/** A folder whose entries can be walked through: TypeScript's DOM lacks it. */
type Walkable = FileSystemDirectoryHandle & {
  entries(): AsyncIterable<readonly [string, FileSystemFileHandle | FileSystemDirectoryHandle]>;
};

async function root(): Promise<FileSystemDirectoryHandle> {
  try {
    return await navigator.storage.getDirectory();
  } catch (cause) {
    throw new HostError('this page has no storage of its own: it needs https or localhost', { cause });
  }
}

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const isMissing = (error: unknown): boolean => error instanceof DOMException && error.name === 'NotFoundError';

/** A place in OPFS, `folder/name`, as its parts. Throws a UsageError for what can be none. */
function partsOf(name: string): { readonly folders: readonly string[]; readonly file: string } {
  const parts = name.split('/');
  const file = parts.pop() ?? '';
  if ([...parts, file].some((part) => part === '' || part === '.' || part === '..'))
    throw new UsageError(`"${name}" is no name of a file in this page's storage`);
  return { folders: parts, file };
}

async function folderOf(folders: readonly string[], create: boolean): Promise<FileSystemDirectoryHandle> {
  let at = await root();
  for (const name of folders) at = await at.getDirectoryHandle(name, { create });
  return at;
}

/** The handle of a file of OPFS; undefined: there is none. Rejected with a one-line error. */
export async function findFile(name: string, create = false): Promise<WorkerFileHandle | undefined> {
  const { folders, file } = partsOf(name);
  try {
    return (await (await folderOf(folders, create)).getFileHandle(file, { create })) as WorkerFileHandle;
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (error instanceof HostError) throw error;
    throw new HostError(`cannot open ${name}: ${reasonOf(error)}`, { cause: error });
  }
}

/** A file of OPFS that is there, with its size in bytes. */
export interface StoredFile {
  readonly name: string;
  readonly size: number;
}

/** The files in a folder of OPFS, by their names; none where there is no such folder. */
export async function listFiles(folder: string): Promise<readonly StoredFile[]> {
  const found: StoredFile[] = [];
  try {
    const at = (await folderOf(folder.split('/'), false)) as Walkable;
    for await (const [name, handle] of at.entries())
      if (handle.kind === 'file') found.push({ name, size: (await handle.getFile()).size });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Removes a file of OPFS. Rejected with a one-line error when it is in use. */
export async function removeFile(name: string): Promise<void> {
  const { folders, file } = partsOf(name);
  try {
    await (await folderOf(folders, false)).removeEntry(file);
  } catch (error) {
    if (isMissing(error)) return;
    throw new HostError(`cannot remove ${name}: ${isBusy(error) ? 'it is in use' : reasonOf(error)}`, { cause: error });
  }
}

/** Somebody else has the file open in a way that does not go together. */
export const isBusy = (error: unknown): boolean =>
  error instanceof DOMException && error.name === 'NoModificationAllowedError';

/** Writes a file whole or not at all. Only in a worker. Throws a one-line error. */
export async function writeFileSafely(
  name: string,
  write: (target: { write(offset: number, bytes: Uint8Array): void }) => void,
): Promise<void> {
  const part = `${name}.part`;
  try {
    const handle = await findFile(part, true);
    if (!handle?.move) throw new HostError('this browser cannot rename files');
    const access = await handle.createSyncAccessHandle();
    try {
      access.truncate(0);
      write({ write: (offset, bytes) => writeAll(access, name, offset, bytes) });
      access.flush();
    } finally {
      access.close();
    }
    await handle.move(partsOf(name).file);
  } catch (cause) {
    await removeFile(part).catch(() => undefined);
    if (cause instanceof HostError || !(cause instanceof DOMException)) throw cause;
    throw new HostError(`cannot write ${name}: ${reasonOf(cause)}`, { cause });
  }
}

/** Writes all of it. Throws a one-line error when the browser takes no more. */
export function writeAll(access: SyncAccessHandle, name: string, offset: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    const written = access.write(bytes.subarray(at), { at: offset + at });
    if (written === 0) throw new HostError(`cannot write ${name}: the browser takes no more`);
    at += written;
  }
}

/** A file as it is now; undefined: there is none. */
export async function openFile(name: string): Promise<File | undefined> {
  try {
    return await (await findFile(name))?.getFile();
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError(`cannot read ${name}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Copies something into a file of OPFS, in place of what is there once all of it has arrived. Rejected with a one-line error. */
export async function storeFile(name: string, contents: Blob | ReadableStream<Uint8Array>): Promise<void> {
  const stream = contents instanceof Blob ? contents.stream() : contents;
  try {
    const handle = await findFile(name, true);
    await stream.pipeTo((await handle?.createWritable()) as WritableStream<Uint8Array>);
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    throw new HostError(`cannot store ${name}: ${isBusy(cause) ? 'it is in use' : reasonOf(cause)}`, { cause });
  }
}

/** Bytes of a blob, at once; fewer at its end. Only in a worker. */
export const readBlob = (blob: Blob, offset: number, length: number): Uint8Array =>
  new Uint8Array(new FileReaderSync().readAsArrayBuffer(blob.slice(offset, offset + length)));

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
      const bytes = readBlob(this.blob, offset, length);
      if (bytes.length !== length) throw new Error('it has become shorter');
      return bytes;
    } catch (cause) {
      throw new HostError(`cannot read ${this.name}: ${reasonOf(cause)}`, { cause });
    }
  }
}
