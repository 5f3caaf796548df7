/** What `vitrine cp` copies: files, folders and links, as they are found on this host, in a guest, or in an archive. */
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink, stat } from 'node:fs/promises';
import path from 'node:path';
import type { ApiClient } from '../api/client.js';
import type { FileEntry, FileStatus } from '../api/schemas.js';
import { HostError, VitrineError } from '../base/errors.js';
import { orFileError } from '../host/node/read-file.js';
import { OciError } from '../oci/errors.js';
import { TarReader, type TarEntry } from '../oci/tar-reader.js';

export interface Item {
  /** Below the place that is copied to, divided by `/`; empty: that place itself. */
  readonly path: string;
  readonly type: 'file' | 'folder' | 'link' | 'hard-link';
  /** Permissions. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly modified: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of a file. */
  readonly size: number;
  /** Where a link leads; of a hard link, the path of another item. */
  readonly target: string;
  /** Of a file; to be read before the next item is asked for. */
  readonly contents: () => AsyncIterable<Uint8Array>;
}

// eslint-disable-next-line @typescript-eslint/require-await -- as one of those that wait
async function* nothing(): AsyncGenerator<Uint8Array> {
  yield* [];
}

export const join = (folder: string, name: string): string =>
  folder === '' ? name : `${folder.replace(/\/+$/, '')}/${name}`;

// ---- this host ----

async function* hostContents(file: string): AsyncGenerator<Uint8Array> {
  const stream = createReadStream(file, { highWaterMark: 256 * 1024 });
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) yield chunk;
  } catch (error) {
    await orFileError('read', file, Promise.reject(error as Error));
  }
}

/** A file or a folder with all that is in it. `follow`: where it is a link itself, what that leads to. Throws a one-line error. */
export async function* hostItems(file: string, at: string, follow: boolean): AsyncGenerator<Item> {
  const status = await orFileError('read', file, follow ? stat(file) : lstat(file));
  const base = {
    path: at,
    mode: status.mode & 0o7777,
    modified: Math.floor(status.mtimeMs / 1000),
    uid: status.uid,
    gid: status.gid,
    size: 0,
    target: '',
    contents: nothing,
  };
  if (status.isFile()) yield { ...base, type: 'file', size: status.size, contents: () => hostContents(file) };
  else if (status.isSymbolicLink())
    yield { ...base, type: 'link', target: await orFileError('read', file, readlink(file)) };
  else if (status.isDirectory()) {
    yield { ...base, type: 'folder' };
    for (const name of (await orFileError('read', file, readdir(file))).sort())
      yield* hostItems(path.join(file, name), join(at, name), false);
  } else if (at === '') throw new HostError(`cannot copy ${file}: it is neither a file nor a folder`);
}

// ---- a guest ----

/** A machine, and whose rights count in it. */
export interface Guest {
  readonly client: ApiClient;
  readonly name: string;
}

/** What a guest calls a file within a folder; one that lies about it is believed nothing. */
function checkName(name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name))
    throw new VitrineError('the machine tells of a file whose name is none');
  return name;
}

/** A file or a folder with all that is in it; what is neither, nor a link, is left out. Throws a one-line error. */
export async function* guestItems(guest: Guest, file: string, at: string, follow: boolean): AsyncGenerator<Item> {
  const status = await guest.client.fileStatus(guest.name, file, { follow });
  yield* guestItem(guest, file, at, status);
}

async function* guestItem(guest: Guest, file: string, at: string, status: FileStatus): AsyncGenerator<Item> {
  const { client, name } = guest;
  const base = {
    path: at,
    mode: status.mode,
    modified: Math.floor(Date.parse(status.modified) / 1000) || 0,
    uid: status.uid,
    gid: status.gid,
    size: 0,
    target: '',
    contents: nothing,
  };
  if (status.type === 'file') {
    const contents = async function* (): AsyncGenerator<Uint8Array> {
      yield* await client.readFile(name, file);
    };
    yield { ...base, type: 'file', size: status.size, contents };
  } else if (status.type === 'link') yield { ...base, type: 'link', target: await client.readLink(name, file) };
  else if (status.type === 'folder') {
    yield { ...base, type: 'folder' };
    const entries = await client.listFolder(name, file);
    for (const entry of entries.sort((a: FileEntry, b: FileEntry) => (a.name < b.name ? -1 : 1)))
      yield* guestItem(guest, join(file, checkName(entry.name)), join(at, entry.name), entry);
  } else if (at === '') throw new VitrineError(`cannot copy ${file}: it is neither a file nor a folder`);
}

// ---- an archive ----

const PIECE = 256 * 1024;

/** Bytes of names in archives are UTF-8 as a rule. */
const decodeName = (text: string): string => Buffer.from(text, 'latin1').toString('utf8');

/** A path of an archive, within the place that is copied to. Throws a one-line error for one that leads out. */
function within(text: string): string {
  const parts = decodeName(text)
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || parts.some((part) => part.includes('\0')))
    throw new OciError('damaged', `the archive has a file whose path leads out of it: ${text}`);
  return parts.join('/');
}

function itemOf(entry: TarEntry, contents: () => AsyncIterable<Uint8Array>): Item | undefined {
  const { kind, mode, mtime, uid, gid, size, target } = entry;
  if (kind !== 'file' && kind !== 'folder' && kind !== 'link' && kind !== 'hard-link') return undefined;
  return {
    path: within(entry.path),
    type: kind,
    mode: mode & 0o7777,
    modified: mtime.seconds,
    uid,
    gid,
    size: kind === 'file' ? size : 0,
    target: kind === 'hard-link' ? within(target) : decodeName(target),
    contents,
  };
}

type ArchiveEvent = { readonly entry: TarEntry } | { readonly bytes: Uint8Array; readonly offset: number };

function* zeros(count: number): Generator<Uint8Array> {
  for (let left = count; left > 0; left -= PIECE) yield new Uint8Array(Math.min(left, PIECE));
}

/** What is in a tar archive; devices and pipes are left out. Throws a one-line error (OciError). */
export async function* archiveItems(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Item> {
  const events: ArchiveEvent[] = [];
  const reader = new TarReader({
    entry: (entry) => events.push({ entry }),
    content: (bytes, offset) => events.push({ bytes: bytes.slice(), offset }),
  });
  const chunks = archive[Symbol.asyncIterator]();
  let ended = false;
  const next = async (): Promise<ArchiveEvent | undefined> => {
    while (events.length === 0 && !ended) {
      const one = await chunks.next();
      if (one.done !== true) reader.push(one.value);
      else {
        ended = true;
        reader.end();
      }
    }
    return events.at(0);
  };
  async function* contents(size: number): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (let event = await next(); event && 'bytes' in event; event = await next()) {
      events.shift();
      yield* zeros(event.offset - at);
      yield event.bytes;
      at = event.offset + event.bytes.length;
    }
    yield* zeros(size - at);
  }
  for (let event = await next(); event; event = await next()) {
    events.shift();
    if (!('entry' in event)) continue;
    const { size } = event.entry;
    const item = itemOf(event.entry, () => contents(size));
    if (item) yield item;
  }
}
