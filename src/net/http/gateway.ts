/**
 * A server of HTTP/1.1 at the end of a guest's connection, RFC 9112, that has somebody else ask: for a network that has nothing but that.
 */
import type { HostStream, StreamEvents } from '../../iface/host-sockets.js';
import { BadRequest, RequestParser, valueOf, type HttpRequest } from './request-parser.js';

export interface HttpResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: Iterable<readonly [string, string]>;
  /** Read to its end unless the connection ends before. */
  readonly body: AsyncIterable<Uint8Array> | undefined;
}

/** Asks for what the guest asks for. What it throws is what the guest is told of. */
export type Ask = (request: HttpRequest, signal: AbortSignal) => Promise<HttpResponse>;

/** Of one connection, or of what it is made of, which whoever asks has dealt with (RFC 9110 §7.6.1 and the like). */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'transfer-encoding',
  'content-encoding',
  'content-length',
  'trailer',
  'upgrade',
  'alt-svc',
  'strict-transport-security',
]);

const encode = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0) & 0xff);
const clean = (text: string): string => text.replace(/[^\x20-\x7e\t]/g, '?');

/** Header fields, the empty line included. */
function head(status: number, reason: string, fields: readonly (readonly [string, string])[]): Uint8Array {
  const lines = fields.map(([name, value]) => `${name}: ${clean(value)}\r\n`);
  return encode(`HTTP/1.1 ${status} ${clean(reason)}\r\n${lines.join('')}\r\n`);
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
};

/** What the guest is told in words. */
function plainAnswer(status: number, text: string): Uint8Array[] {
  const body = encode(`${clean(text)}\n`);
  const fields = [
    ['Content-Type', 'text/plain'],
    ['Content-Length', String(body.length)],
    ['Connection', 'close'],
  ] as const;
  return [head(status, REASONS[status] ?? 'Error', fields), body];
}

/** Whether the connection goes on behind a request (RFC 9112 §9.3). */
function persists({ minor, headers }: HttpRequest): boolean {
  const options = (valueOf(headers, 'connection') ?? '').toLowerCase().split(/[ \t]*,[ \t]*/);
  return minor === 1 ? !options.includes('close') : options.includes('keep-alive');
}

interface Input {
  readonly bytes: Uint8Array;
  readonly sent: () => void;
}

export class HttpGateway implements HostStream {
  private readonly parser = new RequestParser();
  private readonly input: Input[] = [];
  private readonly over = new AbortController();
  /** The guest sends nothing more; nothing more is sent to it. */
  private inputEnded = false;
  private done = false;
  private closed = false;
  /** Called when there is something new to look at. */
  private wake: () => void = () => {};
  private paused = false;

  constructor(
    private readonly events: StreamEvents,
    private readonly ask: Ask,
  ) {
    queueMicrotask(() => {
      if (this.closed) return;
      events.connected();
      void this.serve();
    });
  }

  // ---- what the guest does ----

  write(bytes: Uint8Array, sent: () => void): void {
    if (this.done) sent();
    else this.input.push({ bytes, sent });
    this.wake();
  }

  end(): void {
    this.inputEnded = true;
    this.wake();
    if (this.done) this.close();
  }

  reset(): void {
    this.closed = true;
    this.stop();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.wake();
  }

  // ---- what it gets ----

  private stop(): void {
    this.done = true;
    this.over.abort();
    for (const { sent } of this.input.splice(0)) sent();
    this.wake();
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.events.closed(false);
  }

  /** Until something happens: a thread of thought, not of the host. */
  private change(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private async serve(): Promise<void> {
    try {
      for (let goesOn = true; goesOn;) {
        const request = await this.nextRequest();
        if (!request) break;
        goesOn = await this.respond(request);
      }
    } catch (error) {
      // The guest has gone, or what it asked for broke off: a reset is how it can tell that something is missing.
      if (!(error instanceof BadRequest)) {
        if (!this.closed) {
          this.closed = true;
          this.events.closed(true);
        }
        this.stop();
        return;
      }
      await this.send(...plainAnswer(error.status, error.message)).catch(() => undefined);
    }
    if (this.closed) return;
    this.stop();
    this.events.ended();
    if (this.inputEnded) this.close();
  }

  private async nextRequest(): Promise<HttpRequest | undefined> {
    for (;;) {
      const request = this.parser.next();
      if (request) return request;
      if (this.parser.takeContinue()) await this.send(encode('HTTP/1.1 100 Continue\r\n\r\n'));
      const next = this.input.shift();
      if (next) {
        this.parser.feed(next.bytes);
        next.sent();
      } else if (this.inputEnded || this.done) return undefined;
      else await this.change();
    }
  }

  private async send(...parts: readonly Uint8Array[]): Promise<void> {
    for (const part of parts) {
      while (this.paused && !this.closed) await this.change();
      if (this.closed) throw new Error('the connection is gone');
      if (part.length > 0) this.events.data(part);
    }
  }

  /** Whether the connection goes on. */
  private async respond(request: HttpRequest): Promise<boolean> {
    const goesOn = persists(request);
    let response: HttpResponse;
    try {
      response = await this.ask(request, this.over.signal);
    } catch (error) {
      if (error instanceof BadRequest) throw error;
      throw new BadRequest(502, error instanceof Error ? error.message : String(error));
    }
    const { status, reason, headers } = response;
    // RFC 9112 §6.3: these have none, whatever their fields say.
    const bodiless = request.method === 'HEAD' || status === 204 || status === 304 || status < 200;
    const body = bodiless ? undefined : response.body;
    const chunked = body !== undefined && request.minor === 1;
    const fields = [...headers].filter(([name]) => !DROPPED.has(name.toLowerCase()));
    if (chunked) fields.push(['Transfer-Encoding', 'chunked']);
    else if (!bodiless && body === undefined) fields.push(['Content-Length', '0']);
    // Without a length the end of a body is the end of the connection.
    const keep = goesOn && (body === undefined || chunked);
    fields.push(['Connection', keep ? 'keep-alive' : 'close']);
    await this.send(head(status, reason, fields));
    for await (const part of body ?? [])
      if (part.length === 0) continue;
      else if (chunked) await this.send(encode(`${part.length.toString(16)}\r\n`), part, encode('\r\n'));
      else await this.send(part);
    if (chunked) await this.send(encode('0\r\n\r\n'));
    return keep;
  }
}
