/** How programs in Node reach a server: by TCP, TLS, or a Unix socket. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { connect as connectSocket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { WebSocket } from 'ws';
import { HostError, UsageError } from '../base/errors.js';
import { ApiError } from './errors.js';
import type { ClientSocket, SocketListener, Transport, TransportRequest, TransportResponse } from './transport.js';

export interface NodeTransportOptions {
  readonly token?: string;
  /** Certificates (PEM) of who may sign the server's, besides those that the system trusts. */
  readonly ca?: string;
}

/** Bytes that wait to be sent on a WebSocket before its user is asked to wait. */
const HIGH_WATER = 1 << 20;
const MOST_MESSAGE = 16 << 20;

const reasonOf = (error: Error): string => ('code' in error ? String(error.code) : error.message);

/** `unix:/path`, `http://host:port` or `https://host:port`. */
interface Place {
  readonly show: string;
  readonly secure: boolean;
  /** Options for a request to it. */
  readonly options: RequestOptions;
  readonly url: string;
}

function placeOf(address: string): Place {
  if (address.startsWith('unix:')) {
    const socketPath = address.slice('unix:'.length);
    return { show: socketPath, secure: false, options: { socketPath, host: 'localhost' }, url: 'http://localhost' };
  }
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new UsageError(`${address} is no address of a server: https://HOST:PORT, http://HOST:PORT or unix:FILE`);
  const secure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return { show: url.host, secure, options: { host, port }, url: url.origin };
}

export class NodeTransport implements Transport {
  private readonly place: Place;
  private readonly agent: HttpAgent | HttpsAgent;

  /** Throws a UsageError for what is no address. */
  constructor(
    address: string,
    private readonly options: NodeTransportOptions = {},
  ) {
    this.place = placeOf(address);
    this.agent = this.place.secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  }

  close(): void {
    this.agent.destroy();
  }

  private get headers(): Record<string, string> {
    const { token } = this.options;
    return token === undefined ? {} : { Authorization: `Bearer ${token}` };
  }

  private unreachable(error: Error): Error {
    return new HostError(`cannot reach the server at ${this.place.show}: ${reasonOf(error)}`, { cause: error });
  }

  async request({ method, path, body, contentType, signal }: TransportRequest): Promise<TransportResponse> {
    signal?.throwIfAborted();
    const { secure, options } = this.place;
    const whole = typeof body === 'string' ? Buffer.from(body) : body instanceof Blob ? body.stream() : body;
    const ask = secure ? httpsRequest : httpRequest;
    const sent = ask({
      ...options,
      method,
      path,
      agent: this.agent,
      headers: {
        ...this.headers,
        ...(contentType !== undefined && { 'Content-Type': contentType }),
        ...(whole instanceof Uint8Array && { 'Content-Length': whole.length }),
      },
      ...(signal && { signal }),
      ...(secure && this.options.ca !== undefined && { ca: this.options.ca }),
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      sent.on('response', resolve);
      sent.on('error', (error) => reject(signal?.aborted ? (signal.reason as Error) : this.unreachable(error)));
    });
    if (whole === undefined || whole instanceof Uint8Array) sent.end(whole);
    // A server that refuses answers before it has read all, and hangs up then: its answer says why.
    else pipeline(Readable.from(whole, { objectMode: false }), sent).catch(() => {});
    const response = await answered;
    return {
      status: response.statusCode ?? 0,
      contentType: response.headers['content-type'] ?? '',
      body: bodyOf(response),
    };
  }

  webSocket(path: string, listener: SocketListener): ClientSocket {
    const { secure, options, url } = this.place;
    const { socketPath } = options;
    const socket = new WebSocket(`${secure ? 'wss' : 'ws'}${url.slice(url.indexOf(':'))}${path}`, {
      headers: this.headers,
      perMessageDeflate: false,
      maxPayload: MOST_MESSAGE,
      ...(secure && this.options.ca !== undefined && { ca: this.options.ca }),
      ...(typeof socketPath === 'string' && { createConnection: () => connectSocket(socketPath) }),
    });
    return new NodeSocket(socket, listener, (error) => this.unreachable(error));
  }
}

async function* bodyOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of response) yield part as Uint8Array;
  } catch (cause) {
    throw new HostError('the server broke off its answer', { cause });
  }
}

class NodeSocket implements ClientSocket {
  /** What waits for the messages before it. */
  private taking: Promise<unknown> = Promise.resolve();
  private failure: Error | undefined;
  /** Open, or it never will be. */
  private readonly begun: Promise<void>;

  constructor(
    private readonly socket: WebSocket,
    listener: SocketListener,
    unreachable: (error: Error) => Error,
  ) {
    this.begun = new Promise((resolve) => {
      socket.on('open', () => {
        listener.open();
        resolve();
      });
      socket.on('close', () => resolve());
    });
    socket.on('message', (data, isBinary) => {
      const bytes = data as Buffer;
      this.taking = this.taking.then(async () => {
        if (!isBinary) listener.text(bytes.toString('utf8'));
        else {
          const taken = listener.binary(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
          if (!taken) return;
          socket.pause();
          await taken;
          socket.resume();
        }
      });
      this.taking.catch((error: unknown) => {
        this.failure ??= error instanceof Error ? error : new Error(String(error));
        socket.terminate();
      });
    });
    socket.on('unexpected-response', (_request, response) => {
      void refusal(response).then((error) => {
        this.failure ??= error;
        socket.terminate();
      });
    });
    socket.on('error', (error) => (this.failure ??= unreachable(error)));
    socket.on('close', () => void this.taking.catch(() => {}).then(() => listener.closed(this.failure)));
  }

  async send(message: string | Uint8Array): Promise<void> {
    const { socket } = this;
    if (socket.readyState === WebSocket.CONNECTING) await this.begun;
    if (socket.readyState !== WebSocket.OPEN) return;
    // The callback comes when the system has taken it.
    const sent = new Promise<void>((resolve) => socket.send(message, () => resolve()));
    if (socket.bufferedAmount >= HIGH_WATER) await sent;
  }

  close(): void {
    this.socket.close();
  }
}

/** Why a server does not want to speak in messages. */
async function refusal(response: IncomingMessage): Promise<Error> {
  let text = '';
  try {
    for await (const part of response) text += String(part);
    const { error } = JSON.parse(text) as { readonly error?: { readonly code?: unknown; readonly message?: unknown } };
    if (typeof error?.code === 'string' && typeof error.message === 'string')
      return new ApiError(error.code, error.message, response.statusCode);
  } catch {
    // Something else answers there.
  }
  return new ApiError('failed', `the server answers with status ${response.statusCode ?? 0}`, response.statusCode);
}
