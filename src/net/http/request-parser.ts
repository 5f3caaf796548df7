/** Requests of HTTP/1.1 and 1.0 out of a guest's bytes, RFC 9112. */

export interface HttpRequest {
  readonly method: string;
  /** As in the request line. */
  readonly target: string;
  /** 0 or 1. */
  readonly minor: number;
  /** Names in lower case. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
}

/** What a guest sent is no request, or one that is not served: the status to answer with, before the connection ends. */
export class BadRequest extends Error {
  override readonly name = 'BadRequest';
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Bytes of the request line and header fields, of a body, and of what a chunk says of itself. */
export const MAX_HEAD = 64 * 1024;
export const MAX_BODY = 64 * 2 ** 20;
const MAX_CHUNK_LINE = 4096;

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const CR = 13;
const LF = 10;

interface Head extends Omit<HttpRequest, 'body'> {
  /** Bytes of the body; undefined: it comes in chunks. */
  readonly length: number | undefined;
}

const latin1 = (bytes: Uint8Array): string => {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
};

export class RequestParser {
  private buffer = new Uint8Array(0);
  private head: Head | undefined;
  /** What there is of the body, and room for more. */
  private body = new Uint8Array(0);
  private bodyLength = 0;
  /** Bytes of the chunk that are still to come, before the end of its line; undefined: its size is. */
  private chunk: number | undefined;
  /** The last chunk was there: lines of trailers follow. */
  private trailers = false;
  private continues = false;

  /** More bytes, which the parser keeps. */
  feed(bytes: Uint8Array): void {
    const all = new Uint8Array(this.buffer.length + bytes.length);
    all.set(this.buffer);
    all.set(bytes, this.buffer.length);
    this.buffer = all;
  }

  /** Something has come that is not a whole request. */
  get isPartial(): boolean {
    return this.head !== undefined || this.buffer.length > 0;
  }

  /** Whether whoever sends the body waits to be told that it is wanted (RFC 9110 §10.1.1); once. */
  takeContinue(): boolean {
    const { continues } = this;
    this.continues = false;
    return continues && this.head !== undefined && this.bodyLength === 0;
  }

  /** The next request that is there as a whole. Throws a BadRequest, after which nothing more can be read. */
  next(): HttpRequest | undefined {
    this.head ??= this.readHead();
    const { head } = this;
    if (!head) return undefined;
    const whole = head.length === undefined ? this.readChunks() : this.readBody(head.length);
    if (!whole) return undefined;
    const { length: _, ...rest } = head;
    const body = this.body.slice(0, this.bodyLength);
    this.head = undefined;
    this.body = new Uint8Array(0);
    this.bodyLength = 0;
    this.continues = false;
    return { ...rest, body };
  }

  private take(count: number): Uint8Array {
    const taken = this.buffer.slice(0, count);
    this.buffer = this.buffer.slice(count);
    return taken;
  }

  /** A line without its end; undefined: it is not there yet. A lone LF ends one too (RFC 9112 §2.2). */
  private readLine(limit: number): string | undefined {
    const end = this.buffer.indexOf(LF);
    if (end < 0 || end > limit) {
      if (this.buffer.length > limit) throw new BadRequest(400, 'a line is too long');
      return undefined;
    }
    const line = this.take(end + 1);
    return latin1(line.subarray(0, line.at(-2) === CR ? -2 : -1));
  }

  private readHead(): Head | undefined {
    // Empty lines before a request are left over from the one before (RFC 9112 §2.2).
    let start = 0;
    while (this.buffer[start] === CR || this.buffer[start] === LF) start++;
    if (start > 0) this.take(start);
    const end = endOfHead(this.buffer);
    if (end === undefined || end > MAX_HEAD) {
      if (this.buffer.length > MAX_HEAD) throw new BadRequest(431, 'the header fields are too large');
      return undefined;
    }
    const [line, ...fields] = latin1(this.take(end))
      .split('\n')
      .map((one) => one.replace(/\r$/, ''));
    const match = /^(\S+) (\S+) HTTP\/1\.([01])$/.exec(line);
    if (!match || !TOKEN.test(match[1])) throw new BadRequest(400, 'the request line makes no sense');
    const headers = fields.filter((field) => field !== '').map(readField);
    const length = bodyLength(headers);
    if (length !== undefined && length > MAX_BODY) throw new BadRequest(413, 'the body is too large');
    this.continues = valueOf(headers, 'expect')?.toLowerCase() === '100-continue' && length !== 0;
    return { method: match[1], target: match[2], minor: Number(match[3]), headers, length };
  }

  private readBody(length: number): boolean {
    this.keep(length - this.bodyLength);
    return this.bodyLength === length;
  }

  /** Moves so many bytes into the body, or as many as there are; returns how many. */
  private keep(wanted: number): number {
    const part = this.take(Math.min(wanted, this.buffer.length));
    const length = this.bodyLength + part.length;
    if (length > MAX_BODY) throw new BadRequest(413, 'the body is too large');
    if (length > this.body.length) {
      const more = new Uint8Array(Math.max(length, 2 * this.body.length));
      more.set(this.body);
      this.body = more;
    }
    this.body.set(part, this.bodyLength);
    this.bodyLength = length;
    return part.length;
  }

  /** RFC 9112 §7.1. */
  private readChunks(): boolean {
    for (;;) {
      if (this.trailers) {
        const line = this.readLine(MAX_HEAD);
        if (line === undefined) return false;
        if (line !== '') continue;
        this.trailers = false;
        return true;
      }
      if (this.chunk === undefined) {
        const line = this.readLine(MAX_CHUNK_LINE);
        if (line === undefined) return false;
        const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
        if (size === undefined) throw new BadRequest(400, 'a chunk has no size');
        this.chunk = parseInt(size, 16);
        if (this.chunk > MAX_BODY) throw new BadRequest(413, 'the body is too large');
        if (this.chunk === 0) {
          this.chunk = undefined;
          this.trailers = true;
        }
        continue;
      }
      this.chunk -= this.keep(this.chunk);
      // With the end of its line.
      if (this.chunk > 0 || this.buffer.length < 2) return false;
      const [first, second] = this.take(2);
      if (first !== CR || second !== LF) throw new BadRequest(400, 'a chunk does not end where it says');
      this.chunk = undefined;
    }
  }
}

/** Where the header fields end, the empty line included. */
function endOfHead(bytes: Uint8Array): number | undefined {
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return undefined;
}

function readField(line: string): readonly [string, string] {
  const colon = line.indexOf(':');
  const name = line.slice(0, Math.max(0, colon));
  // Names that end with a space, and lines that go on with the one before, are how requests are smuggled (RFC 9112 §5.1, §5.2).
  if (!TOKEN.test(name)) throw new BadRequest(400, 'a header field makes no sense');
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
  // eslint-disable-next-line no-control-regex -- what a field must not hold is just these (RFC 9110 §5.5)
  if (/[\0-\x08\x0a-\x1f\x7f]/.test(value)) throw new BadRequest(400, 'a header field makes no sense');
  return [name.toLowerCase(), value];
}

export const valueOf = (headers: HttpRequest['headers'], name: string): string | undefined =>
  headers.find(([key]) => key === name)?.[1];

/** RFC 9112 §6.3; undefined: it comes in chunks. */
function bodyLength(headers: HttpRequest['headers']): number | undefined {
  const of = (name: string): string[] => headers.filter(([key]) => key === name).map(([, value]) => value);
  const [encodings, lengths] = [of('transfer-encoding'), of('content-length')];
  if (encodings.length > 0) {
    if (lengths.length > 0) throw new BadRequest(400, 'the body has two lengths');
    if (encodings.join(',').trim().toLowerCase() !== 'chunked') throw new BadRequest(501, 'only chunks are understood');
    return undefined;
  }
  if (lengths.length === 0) return 0;
  if (lengths.length > 1 || !/^\d{1,15}$/.test(lengths[0])) throw new BadRequest(400, 'the body has no certain length');
  return Number(lengths[0]);
}
