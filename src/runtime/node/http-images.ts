/** Images on servers: fetched in parts as they are read, by another thread, while this one waits. */
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import { HostError, UsageError } from '../../base/errors.js';
import { cacheRoot } from '../../host/node/cache.js';
import { MAX_FETCH, RangeCache, type RemoteFile } from '../../host/node/range-cache.js';
import { THREAD_OPTIONS } from '../../host/node/thread-options.js';
import type { HostFile } from '../../iface/file.js';
import { BODY_AT, TEXT_AT, WORD, type HttpAnswer, type HttpRequest } from './http-protocol.js';

/** Milliseconds without a beat of the other thread, after which it must have died. */
const LIMIT = 60_000;

/** Bytes of a file on a server at most: more than any image has, and what is noted of its parts takes 128 MiB then. */
const MAX_SIZE = 2 ** 48;

/** Of this thread, once it is needed. */
let worker: Worker | undefined;

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Asks a server, and waits for its answer. Throws a one-line error when there is none. */
function ask(url: string, range: string, retries: number): Reply {
  if (!worker) {
    worker = new Worker(new URL('./http-worker.js', import.meta.url), THREAD_OPTIONS);
    worker.unref();
    // Whoever waits for it gives up; others go on, with another.
    const gone = (): void => {
      worker = undefined;
    };
    worker.on('error', gone);
    worker.on('exit', gone);
  }
  const shared = new SharedArrayBuffer(BODY_AT + MAX_FETCH);
  const words = new Int32Array(shared, 0, TEXT_AT / 4);
  const request: HttpRequest = { url, headers: { 'accept-encoding': 'identity', range }, retries, shared };
  worker.postMessage(request);
  for (let beat = -1; Atomics.wait(words, WORD.DONE, 0, LIMIT) === 'timed-out';) {
    const now = Atomics.load(words, WORD.BEAT);
    if (now === beat) throw new HostError(`cannot read ${url}: no answer`);
    beat = now;
  }
  // Shared memory does not decode.
  const text = new Uint8Array(shared, TEXT_AT, words[WORD.TEXT_LENGTH]).slice();
  const answer = JSON.parse(new TextDecoder().decode(text)) as HttpAnswer;
  if ('error' in answer) throw new HostError(`cannot read ${url}: ${answer.error}`);
  return { ...answer, body: new Uint8Array(shared, BODY_AT, words[WORD.BODY_LENGTH]) };
}

function refuseStatus(url: string, status: number): void {
  if (status >= 400) throw new HostError(`cannot read ${url}: the server answers ${status}`);
}

/** What tells a version of a file from another. */
const versionOf = (headers: Reply['headers']): string => headers['etag'] ?? headers['last-modified'] ?? '';

/** Finds out about a file by asking for its first byte: not every server answers HEAD as it answers GET. */
function lookUp(url: string): RemoteFile {
  const { status, headers } = ask(url, 'bytes=0-0', 1);
  refuseStatus(url, status);
  const [, total] = /^bytes 0-0\/(\d+)$/.exec(headers['content-range'] ?? '') ?? [];
  if (status !== 206 || total === undefined)
    throw new HostError(`cannot read ${url} in parts: its server gives whole files only`);
  const size = Number(total);
  if (size > MAX_SIZE) throw new HostError(`cannot read ${url}: the server says that it has ${total} bytes`);
  return { url, size, version: versionOf(headers) };
}

function fetchRange({ url, size, version }: RemoteFile, offset: number, length: number): Uint8Array {
  const last = offset + length - 1;
  const { status, headers, body } = ask(url, `bytes=${offset}-${last}`, 3);
  refuseStatus(url, status);
  if (
    status !== 206 ||
    headers['content-range'] !== `bytes ${offset}-${last}/${size}` ||
    versionOf(headers) !== version
  )
    throw new HostError(`${url} has changed on its server while it was in use`);
  if (body.length !== length)
    throw new HostError(`cannot read ${url}: the server sent ${body.length} bytes for ${length}`);
  return body;
}

/** Whether a name is an address of something on a server. */
export const isAddress = (name: string): boolean => /^https?:\/\//i.test(name);

/** An image on a server, to be read. Throws a one-line error when it cannot be. */
export function openAddress(url: string): HostFile {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed) throw new UsageError(`${url} is not an address`);
  if (parsed.username !== '' || parsed.password !== '')
    throw new UsageError(`${parsed.origin}: names and passwords in addresses are not supported`);
  return new RangeCache(lookUp(url), fetchRange, path.join(cacheRoot(), 'http'));
}
