/**
 * A file on a server, read in parts that are kept on disk: `FOLDER/ADDRESS/VERSION/{data,map}`, ADDRESS and VERSION being hashes of
 * the address and of what the server says the file's version is. `data` has holes where nothing was fetched yet; `map` has a bit
 * for each block that is there, and is written when these are durable.
 */
import { createHash, randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { HostError } from '../../base/errors.js';
import type { HostFile } from '../../iface/file.js';
import { reasonOf } from './read-file.js';

/** What a server says of a file. */
export interface RemoteFile {
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  /** Its entity tag or the time of its last change: another text once it has changed. Empty: the server tells neither. */
  readonly version: string;
}

/** Fetches bytes of a file, all of them, at once. Throws a one-line error. */
export type FetchRange = (file: RemoteFile, offset: number, length: number) => Uint8Array;

/** Bytes of a block: what is fetched at least. */
const BLOCK = 256 * 1024;
/** Bytes that are fetched in one request at most: what a reader that goes straight on needs next. */
export const MAX_FETCH = 16 * BLOCK;
/** Blocks that may be there without the map saying so. */
const UNMAPPED = 64;

const hash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);

export class RangeCache implements HostFile {
  readonly writable = false;
  readonly key: string;
  readonly size: number;
  readonly name: string;
  private readonly data: number;
  private readonly mapFile: number;
  private readonly map: Uint8Array;
  /** Blocks that were fetched since the map was written. */
  private fresh: number[] = [];
  /** Where the last fetch ended, and how long it was: a reader that goes on there gets more at once. */
  private lastEnd = -1;
  private lastLength = 0;
  private closed = false;

  /** Throws a one-line error when the folder cannot be used. */
  constructor(
    private readonly remote: RemoteFile,
    private readonly fetchRange: FetchRange,
    folder: string,
  ) {
    const { url, size, version } = remote;
    this.name = url;
    this.size = size;
    this.key = url;
    const ofAddress = path.join(folder, hash(url));
    // Of what cannot be told from its next version nothing is kept for later.
    const place = path.join(ofAddress, version === '' ? randomUUID() : hash(`${version} ${size}`));
    this.map = new Uint8Array(Math.ceil(size / BLOCK / 8));
    try {
      fs.mkdirSync(place, { recursive: true });
      removeOthers(ofAddress, path.basename(place));
      this.data = fs.openSync(path.join(place, 'data'), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
      this.mapFile = fs.openSync(path.join(place, 'map'), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
      this.readMap(this.map);
    } catch (cause) {
      throw new HostError(`cannot keep parts of ${url} in ${place}: ${reasonOf(cause)}`, { cause });
    }
  }

  private readMap(into: Uint8Array): void {
    fs.readSync(this.mapFile, into, 0, into.length, 0);
  }

  get identity(): string {
    return `${this.name}:${this.remote.version}:${this.size}`;
  }

  private has(block: number): boolean {
    return ((this.map[block >>> 3] >>> (block & 7)) & 1) !== 0;
  }

  read(offset: number, into: Uint8Array): number {
    const count = Math.max(0, Math.min(into.length, this.size - offset));
    const end = offset + count;
    for (let block = Math.floor(offset / BLOCK); block * BLOCK < end; block++)
      if (!this.has(block)) this.fetch(block, end);
    let at = 0;
    while (at < count) {
      const got = fs.readSync(this.data, into, at, count - at, offset + at);
      // Somebody has cut the file short: zeros are not what the server has.
      if (got === 0) throw new HostError(`what was kept of ${this.name} is gone`);
      at += got;
    }
    return count;
  }

  /** Fetches missing blocks from one on: as many as are wanted, or more for a reader that goes straight on. */
  private fetch(first: number, wantedEnd: number): void {
    const offset = first * BLOCK;
    const ahead = offset === this.lastEnd ? 2 * this.lastLength : 0;
    const limit = Math.min(this.size, offset + Math.min(MAX_FETCH, Math.max(wantedEnd - offset, ahead, BLOCK)));
    let end = first + 1;
    while (end * BLOCK < limit && !this.has(end)) end++;
    const length = Math.min(end * BLOCK, this.size) - offset;
    const bytes = this.fetchRange(this.remote, offset, length);
    for (let at = 0; at < length;) at += fs.writeSync(this.data, bytes, at, length - at, offset + at);
    for (let block = first; block < end; block++) {
      this.map[block >>> 3] |= 1 << (block & 7);
      this.fresh.push(block);
    }
    this.lastEnd = offset + length;
    this.lastLength = length;
    if (this.fresh.length >= UNMAPPED) this.writeMap();
  }

  /** Says what is there, once it is sure to be. Others may have fetched other blocks meanwhile. */
  private writeMap(): void {
    if (this.fresh.length === 0) return;
    fs.fdatasyncSync(this.data);
    const now = new Uint8Array(this.map.length);
    this.readMap(now);
    for (const block of this.fresh) now[block >>> 3] |= 1 << (block & 7);
    fs.writeSync(this.mapFile, now, 0, now.length, 0);
    this.fresh = [];
  }

  write(): void {
    throw new HostError(`${this.name} cannot be written: it is on a server`);
  }

  flush(): void {}

  truncate(): void {
    this.write();
  }

  punch(): boolean {
    return false;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    try {
      this.writeMap();
    } finally {
      fs.closeSync(this.data);
      fs.closeSync(this.mapFile);
    }
  }
}

/** What was kept of other versions is of no use any more; a machine that still reads it has it open. */
function removeOthers(folder: string, kept: string): void {
  for (const name of fs.readdirSync(folder))
    if (name !== kept) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
}
