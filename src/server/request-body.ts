/** What comes with a request, within limits. */
import type { IncomingMessage } from 'node:http';
import { ApiError } from '../api/errors.js';
import type { HeldPart } from './held-bytes.js';

/** Bytes of JSON. */
export const MOST_JSON = 4 * 2 ** 20;
/** Milliseconds without a byte until a client is given up. */
const IDLE = 120_000;

/** The bytes of a request as they come. Throws an ApiError when nothing comes for too long. */
export async function* bytesOf(request: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
  const timer = setTimeout(() => request.destroy(new ApiError('timeout', 'the request does not come to an end')), IDLE);
  try {
    // Who leaves the rest unread wants to answer yet: the connection is to stay.
    for await (const part of request.iterator({ destroyOnReturn: false })) {
      yield part as Uint8Array;
      timer.refresh();
    }
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new ApiError('invalid', 'the request was broken off');
  } finally {
    clearTimeout(timer);
  }
}

/** The JSON of a request, of at most so many bytes; undefined: there is none. Throws an ApiError. */
export async function jsonOf(request: IncomingMessage, most: number, held: HeldPart): Promise<unknown> {
  const tooLarge = (): ApiError => new ApiError('too-large', `such a request has at most ${most} bytes`);
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > most) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bytesOf(request)) {
    parts.push(part);
    size += part.length;
    if (size > most) throw tooLarge();
    held.add(part.length);
  }
  if (size === 0) return undefined;
  // A page of another site can send what is called text without being asked, but nothing that is called JSON.
  if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? ''))
    throw new ApiError('invalid', 'the content-type of a request is application/json');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))) as unknown;
  } catch (cause) {
    throw new ApiError('invalid', `the request is no JSON: ${cause instanceof Error ? cause.message : ''}`);
  }
}

/** What stands behind the question mark. Throws an ApiError where a name is given twice, or it is badly written. */
export function queryOf(text: string): Record<string, string> {
  const query: Record<string, string> = Object.create(null) as Record<string, string>;
  if (text === '') return query;
  for (const part of text.split('&')) {
    const at = part.indexOf('=');
    const [key, value] = (at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]).map(decode);
    if (key in query) throw new ApiError('invalid', `${key} is given twice`);
    query[key] = value;
  }
  return query;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new ApiError('invalid', 'what stands behind the question mark is badly written');
  }
}
