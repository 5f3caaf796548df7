/** A page's way to its server: fetch with the token in a header, WebSockets with a ticket (they have no headers of a page's). */
import { ApiError } from '../../api/errors.js';
import type { Ticket } from '../../api/schemas.js';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
  SocketListener,
  ClientSocket,
} from '../../api/transport.js';

/** Bytes that wait to be sent before whoever sends is asked to wait, and how often (milliseconds) that is looked at. */
const HIGH_WATER = 1 << 20;
const LOOK = 20;
/** The largest message of ours; the server takes no more than a MiB. */
const MOST_MESSAGE = 1 << 16;
/** Bytes that have come and wait to be shown: a page cannot make a WebSocket wait (WHATWG WebSockets). */
const MOST_QUEUED = 64 << 20;

const unreachable = (): ApiError => new ApiError('failed', 'the server cannot be reached');

export class BrowserTransport implements Transport {
  /** `refused` is called when the token is not, or no more, good for anything. */
  constructor(
    private readonly token: string,
    private readonly refused: () => void,
  ) {}

  close(): void {
    // The browser keeps its connections.
  }

  async request({ method, path, contentType, body, signal }: TransportRequest): Promise<TransportResponse> {
    const content = isStream(body) ? await collect(body) : body;
    let response: Response;
    try {
      response = await fetch(path, {
        method,
        headers: {
          Authorization: `Bearer ${this.token}`,
          ...(contentType !== undefined && { 'Content-Type': contentType }),
        },
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        ...(content !== undefined && { body: content as BodyInit }),
        ...(signal && { signal }),
      });
    } catch (error) {
      throw signal?.aborted ? error : unreachable();
    }
    if (response.status === 401) this.refused();
    return {
      status: response.status,
      contentType: response.headers.get('content-type') ?? '',
      body: bodyOf(response),
    };
  }

  webSocket(path: string, listener: SocketListener): ClientSocket {
    return new BrowserSocket(() => this.open(path), listener);
  }

  private async open(path: string): Promise<WebSocket> {
    const { status, body } = await this.request({ method: 'POST', path: '/v1/tickets' });
    const text = await (await collect(body)).text();
    if (status >= 400)
      throw new ApiError('failed', `the server gives no ticket for a connection: status ${status}`, status);
    const { ticket } = JSON.parse(text) as Ticket;
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    url.searchParams.set('ticket', ticket);
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    return socket;
  }
}

/** What comes piece by piece: not bytes, nor a file, which the browser reads itself as it is sent. */
const isStream = (body: TransportRequest['body']): body is AsyncIterable<Uint8Array> =>
  typeof body === 'object' && !(body instanceof Uint8Array) && !(body instanceof Blob);

async function collect(body: AsyncIterable<Uint8Array>): Promise<Blob> {
  const parts: BlobPart[] = [];
  for await (const part of body) parts.push(part as Uint8Array<ArrayBuffer>);
  return new Blob(parts);
}

async function* bodyOf({ body }: Response): AsyncGenerator<Uint8Array> {
  if (!body) return;
  const reader = body.getReader();
  let over = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      over = done;
      if (done) return;
      yield value;
    }
  } catch (error) {
    over = true;
    throw error instanceof Error && error.name === 'AbortError'
      ? error
      : new ApiError('failed', 'the server broke off its answer');
  } finally {
    if (!over) await reader.cancel();
  }
}

class BrowserSocket implements ClientSocket {
  private socket: WebSocket | undefined;
  private hungUp = false;
  private told = false;
  private opened = false;
  private failure: Error | undefined;
  private queued = 0;
  /** What waits for the messages before it. */
  private taking: Promise<void> = Promise.resolve();

  constructor(
    open: () => Promise<WebSocket>,
    private readonly listener: SocketListener,
  ) {
    open().then(
      (socket) => this.begin(socket),
      (error: unknown) => this.end(error instanceof Error ? error : unreachable()),
    );
  }

  private begin(socket: WebSocket): void {
    this.socket = socket;
    if (this.hungUp) socket.close();
    socket.onopen = () => {
      this.opened = true;
      this.listener.open();
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => this.take(data);
    socket.onclose = ({ code }) => void this.taking.then(() => this.end(this.failure ?? this.reason(code)));
  }

  /** Why it was closed; undefined: as it should be. RFC 6455 §7.4.1. */
  private reason(code: number): Error | undefined {
    if (this.hungUp || code === 1000) return undefined;
    if (!this.opened) return new ApiError('failed', 'the server does not open the connection');
    return new ApiError('failed', code === 1001 ? 'the server ends' : 'the connection to the server was lost');
  }

  private end(error: Error | undefined): void {
    if (this.told) return;
    this.told = true;
    this.listener.closed(error);
  }

  private take(data: string | ArrayBuffer): void {
    const size = typeof data === 'string' ? data.length : data.byteLength;
    this.queued += size;
    if (this.queued > MOST_QUEUED) {
      this.failure ??= new ApiError('too-large', 'more came than the page could show');
      this.socket?.close();
      return;
    }
    this.taking = this.taking.then(async () => {
      this.queued -= size;
      if (this.failure) return;
      try {
        if (typeof data === 'string') this.listener.text(data);
        else await this.listener.binary(new Uint8Array(data));
      } catch (error) {
        this.failure ??= error instanceof Error ? error : new Error(String(error));
        this.socket?.close();
      }
    });
  }

  async send(message: string | Uint8Array): Promise<void> {
    const { socket } = this;
    if (socket?.readyState !== WebSocket.OPEN) return;
    if (typeof message === 'string') socket.send(message);
    else for (let at = 0; at < message.length; at += MOST_MESSAGE) socket.send(message.slice(at, at + MOST_MESSAGE));
    while (socket.readyState === WebSocket.OPEN && socket.bufferedAmount >= HIGH_WATER)
      await new Promise((resolve) => setTimeout(resolve, LOOK));
  }

  close(): void {
    this.hungUp = true;
    this.socket?.close();
  }
}
