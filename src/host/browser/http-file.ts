/**
 * A file on a server, read in parts while the machine's thread waits: workers may ask servers synchronously (XMLHttpRequest, WHATWG, §3.5).
 * What was read last is kept in memory, and in the browser's own cache if the server says how long it may.
 */
import { HostError, UsageError } from '../../base/errors.js';
import type { HostFile } from '../../iface/file.js';

/** Bytes of a block: what is fetched at least. */
const BLOCK = 256 * 1024;
/** Blocks that are fetched in one request at most, for a reader that goes straight on; and that are kept. */
const MOST = 16;
const KEPT = 256;
/** Milliseconds for an answer, and between attempts. */
const LIMIT = 30_000;
const PAUSES = [300, 1500, 4000];

interface Reply {
  readonly status: number;
  readonly range: string;
  readonly version: string;
  readonly body: Uint8Array;
}

/** What this thread sleeps on. */
const moment = new Int32Array(new SharedArrayBuffer(4));

/** Asks a server, and waits for its answer. Throws a one-line error when there is none. */
function ask(url: string, first: number, last: number): Reply {
  for (let attempt = 0; ; attempt++) {
    const request = new XMLHttpRequest();
    let failed = false;
    try {
      request.open('GET', url, false);
      request.responseType = 'arraybuffer';
      request.timeout = LIMIT;
      request.setRequestHeader('Range', `bytes=${first}-${last}`);
      request.send();
    } catch {
      failed = true;
    }
    const { status } = request;
    if (!failed && status < 500 && status !== 429) {
      const body = request.response instanceof ArrayBuffer ? request.response : new ArrayBuffer(0);
      const told = (name: string): string => request.getResponseHeader(name) ?? '';
      return {
        status,
        range: told('Content-Range'),
        version: told('Last-Modified') || told('ETag'),
        body: new Uint8Array(body),
      };
    }
    if (attempt >= PAUSES.length)
      throw new HostError(
        failed
          ? `cannot read ${url}: no answer, or its server does not let this page read it (CORS)`
          : `cannot read ${url}: the server answers ${status}`,
      );
    Atomics.wait(moment, 0, 0, PAUSES[attempt]);
  }
}

const problem = (url: string, status: number): HostError =>
  new HostError(
    status >= 400
      ? `cannot read ${url}: the server answers ${status}`
      : `cannot read ${url} in parts: its server gives whole files only`,
  );

/** Whether a name is an address of something on a server. */
export const isAddress = (name: string): boolean => /^https?:\/\//i.test(name);

export class HttpFile implements HostFile {
  readonly writable = false;
  readonly key: string;
  readonly size: number;
  private readonly version: string;
  /** The one that was used last comes last. */
  private readonly blocks = new Map<number, Uint8Array>();
  /** Where the last fetch ended, and how many blocks it had: a reader that goes on there gets more at once. */
  private lastEnd = -1;
  private lastCount = 0;

  /** Throws a one-line error when the file cannot be read, or not by this page. */
  constructor(readonly name: string) {
    if (!URL.canParse(name)) throw new UsageError(`${name} is not an address`);
    const { username, password, origin } = new URL(name);
    if (username !== '' || password !== '')
      throw new UsageError(`${origin}: names and passwords in addresses are not supported`);
    this.key = name;
    const { status, range, version } = ask(name, 0, 0);
    if (status !== 206) throw problem(name, status);
    if (range === '')
      throw new HostError(
        `cannot read ${name}: its server hides its size from this page (Access-Control-Expose-Headers: Content-Range)`,
      );
    const size = /^bytes 0-0\/(\d+)$/.exec(range)?.[1];
    if (size === undefined) throw problem(name, 200);
    this.size = Number(size);
    this.version = version;
  }

  get identity(): string {
    return `${this.name}:${this.version}:${this.size}`;
  }

  read(offset: number, into: Uint8Array): number {
    const count = Math.max(0, Math.min(into.length, this.size - offset));
    for (let at = 0; at < count;) {
      const block = Math.floor((offset + at) / BLOCK);
      const bytes = this.block(block, offset + count);
      const part = bytes.subarray(offset + at - block * BLOCK).subarray(0, count - at);
      into.set(part, at);
      at += part.length;
    }
    return count;
  }

  private block(number: number, wantedEnd: number): Uint8Array {
    const found = this.blocks.get(number);
    if (!found) return this.fetch(number, wantedEnd);
    this.blocks.delete(number);
    this.blocks.set(number, found);
    return found;
  }

  /** Fetches missing blocks from one on: as many as are wanted, or more for a reader that goes straight on. */
  private fetch(first: number, wantedEnd: number): Uint8Array {
    const ahead = first === this.lastEnd ? 2 * this.lastCount : 1;
    const wanted = Math.max(ahead, Math.ceil(wantedEnd / BLOCK) - first);
    const most = Math.min(MOST, wanted, Math.ceil(this.size / BLOCK) - first);
    let count = 1;
    while (count < most && !this.blocks.has(first + count)) count++;
    const offset = first * BLOCK;
    const last = Math.min(offset + count * BLOCK, this.size) - 1;
    const { status, range, version, body } = ask(this.name, offset, last);
    if (status >= 400) throw problem(this.name, status);
    if (status !== 206 || range !== `bytes ${offset}-${last}/${this.size}` || version !== this.version)
      throw new HostError(`${this.name} has changed on its server while it was in use`);
    if (body.length !== last - offset + 1)
      throw new HostError(`cannot read ${this.name}: the server sent ${body.length} bytes for ${last - offset + 1}`);
    for (let i = 0; i < count; i++) this.blocks.set(first + i, body.slice(i * BLOCK, (i + 1) * BLOCK));
    for (const number of this.blocks.keys()) {
      if (this.blocks.size <= KEPT) break;
      this.blocks.delete(number);
    }
    this.lastEnd = first + count;
    this.lastCount = count;
    return body.subarray(0, BLOCK);
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
    this.blocks.clear();
  }
}
