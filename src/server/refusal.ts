/** Answers that refuse. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiError } from '../api/errors.js';
import type { Method } from '../api/routes.js';
import { errorBody } from './answers.js';

/** Milliseconds that a client has to send what it is sending and nobody reads. */
const LINGER = 5000;
/** Seconds until it is worth asking again (RFC 9110 §10.2.3): when a tenant has less under way, or machines have started. */
const RETRY_AFTER: Readonly<Record<number, number>> = { 429: 2, 503: 5 };

export class NotAllowed extends ApiError {
  constructor(readonly allowed: readonly Method[]) {
    super('method-not-allowed', `that can be asked by ${allowed.join(', ')} only`);
  }
}

function headersOf(error: ApiError): Record<string, string> {
  const { status } = error;
  return {
    'Content-Type': 'application/json',
    ...(error instanceof NotAllowed && { Allow: error.allowed.join(', ') }),
    ...(status === 401 && { 'WWW-Authenticate': 'Bearer realm="vitrine"' }),
    ...(status === 426 && { Upgrade: 'websocket' }),
    ...(status in RETRY_AFTER && { 'Retry-After': String(RETRY_AFTER[status]) }),
  };
}

/** Whether a request has a body (RFC 9112 §6.3). */
const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** Nothing has been answered yet. */
export function sendRefusal(error: ApiError, request: IncomingMessage, response: ServerResponse): void {
  const body = errorBody(error);
  const unread = hasBody(request) && !request.complete;
  response.writeHead(error.status, {
    ...headersOf(error),
    'Content-Length': Buffer.byteLength(body),
    // What was not read is not waited for.
    ...(unread && { Connection: 'close' }),
  });
  if (!unread) {
    response.end(body);
    return;
  }
  // A client that is still sending when the connection goes may never see the answer (RFC 9112 §9.6).
  response.write(body);
  const end = (): void => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, LINGER);
  request.once('close', end);
  request.once('end', end);
  request.resume();
}

/** Nothing has been answered yet to whoever wanted a WebSocket. */
export function refuseUpgrade(error: ApiError, socket: Duplex & { destroySoon?: () => void }): void {
  const body = errorBody(error);
  const headers = { ...headersOf(error), 'Content-Length': String(Buffer.byteLength(body)), Connection: 'close' };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? 'Error'}\r\n${lines.join('')}\r\n${body}`);
  // Nobody looks after such a socket any more: its other end may never close it.
  if (socket.destroySoon) socket.destroySoon();
  else socket.destroy();
}
