/** The API over HTTP/1.1 (RFC 9110, 9112), on whatever it listens: requests are let in, matched, checked, answered, counted. */
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { ApiError } from '../api/errors.js';
import { matchRoute, routes, takesTicket, type Method, type Route, type RouteId } from '../api/routes.js';
import { WebSocketServer } from 'ws';
import { apiErrorOf } from './answers.js';
import type { Answer, Call, HttpCall, HttpHandlers, SocketHandlers } from './call.js';
import type { Grant } from './grant.js';
import type { HeldPart } from './held-bytes.js';
import { mostFiles } from './host-limits.js';
import type { Log } from './log.js';
import type { Measurements } from './measurements.js';
import { Peer } from './peer.js';
import { NotAllowed, refuseUpgrade, sendRefusal } from './refusal.js';
import { bytesOf, jsonOf, MOST_JSON, queryOf } from './request-body.js';
import type { Service } from './service.js';
import { MOST_CALLS, type Tenant } from './tenant.js';
import type { Tickets } from './tickets.js';
import { problemOf } from './validate.js';

/** The largest message that is taken from a WebSocket. */
const MOST_MESSAGE = 1 << 20;
/** Milliseconds that a client has for the head of a request. */
const HEAD_TIME = 20_000;
/** Milliseconds without a byte on a connection whose user has shown no token: also one who asks for a file of the console and does not read it. */
const STRANGER_TIME = 30_000;
/** Connections at a time. */
const MOST_CONNECTIONS = 10_000;

export interface ServerParts {
  readonly service: Service;
  readonly version: string;
  /** Whose request it is, by its headers; undefined: nobody's. */
  readonly authenticate: (authorization: string | undefined) => Grant | undefined;
  /** Whether a token counts still. */
  readonly holds: (grant: Grant) => boolean;
  readonly tickets: Tickets;
  /** Whether a page that was loaded from there may open WebSockets, and read answers. */
  readonly allowsOrigin: (origin: string, host: string | undefined, secure: boolean) => boolean;
  readonly handlers: HttpHandlers;
  readonly sockets: SocketHandlers;
  readonly log: Log;
  readonly measurements: Measurements;
  /** What needs no token: the console's files. True: it has been answered. */
  readonly files?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** PEM. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
}

const SECURITY_HEADERS = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
} as const;

interface Admitted {
  readonly grant: Grant;
  readonly tenant: Tenant;
  readonly id: RouteId;
  readonly route: Route;
  readonly names: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
}

export class ApiServer {
  readonly server: Server;
  private readonly webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MOST_MESSAGE,
    perMessageDeflate: false,
    // What noVNC and others ask for; without a wish, none.
    handleProtocols: (protocols) => (protocols.has('binary') ? 'binary' : false),
  });
  private closing = false;
  /** What is under way, and how it is ended. */
  private readonly live = new Map<() => void, Grant>();

  constructor(private readonly parts: ServerParts) {
    const options = { maxHeaderSize: 16_384, requireHostHeader: true };
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      void this.answer(request, response).catch((error: unknown) => {
        // Not even the refusal worked: that concerns nobody else.
        parts.log.error('internal', { message: String(error) });
        response.destroy();
      });
    this.server = parts.tls
      ? createHttps({ ...options, ...parts.tls, minVersion: 'TLSv1.2', handshakeTimeout: HEAD_TIME }, listener)
      : createHttp(options, listener);
    this.server.headersTimeout = HEAD_TIME;
    // What is sent may be as long as it takes; that it goes on is looked at elsewhere.
    this.server.requestTimeout = 0;
    this.server.setTimeout(STRANGER_TIME);
    // Machines, and what they reach, need descriptors, too.
    this.server.maxConnections = Math.min(MOST_CONNECTIONS, Math.floor(mostFiles() / 2));
    this.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.upgrade(request, socket, head),
    );
  }

  /** Lets nobody in any more, and ends what is left. */
  close(): void {
    this.closing = true;
    this.server.close();
    for (const socket of this.webSockets.clients) socket.close(1001);
    this.server.closeIdleConnections();
  }

  /** Ends what was opened with tokens that count no more. */
  recheck(): void {
    for (const [end, grant] of this.live) if (!this.parts.holds(grant)) end();
  }

  /** Ends what has not ended by itself. */
  terminate(): void {
    for (const socket of this.webSockets.clients) socket.terminate();
    this.server.closeAllConnections();
  }

  /** Who asks for what. Throws an ApiError. */
  private admit(request: IncomingMessage, webSocket: boolean): Admitted {
    const { authenticate, holds, tickets } = this.parts;
    const [path, search = ''] = splitOnce(request.url ?? '/');
    const match = matchRoute(request.method ?? '', path, webSocket);
    const byTicket = 'route' in match && takesTicket(match.route);
    const grant =
      authenticate(request.headers.authorization) ?? (byTicket ? tickets.redeem(ticketIn(search)) : undefined);
    // Who is nobody learns nothing, not even what there is.
    if (!grant || !holds(grant)) throw new ApiError('unauthenticated', 'give a token: Authorization: Bearer TOKEN');
    if (this.closing) throw new ApiError('stopping', 'the server ends');
    if ('allowed' in match) {
      if (match.allowed.length === 0) throw new ApiError('not-found', 'there is nothing of that name here');
      if (!webSocket && match.allowed.includes(request.method as Method))
        throw new ApiError('upgrade-required', 'that is a WebSocket');
      throw new NotAllowed(match.allowed);
    }
    const { id, route, names } = match;
    const { tenant } = grant;
    const query = queryOf(search);
    const problem = route.query ? problemOf(route.query, { ...query }) : unwanted(query);
    if (problem !== undefined) throw new ApiError('invalid', `what stands behind the question mark: ${problem}`);
    if (tenant.calls >= MOST_CALLS) throw new ApiError('limit', 'too much is asked at a time');
    return { grant, tenant, id, route, names, query };
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const begun = performance.now();
    // A socket is taken away from a request that is over.
    const { remoteAddress: remote } = request.socket;
    const { files, log, measurements } = this.parts;
    let admitted: Admitted | undefined;
    try {
      if (files?.(request, response)) return;
      for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
      if (this.isPreflight(request, response)) return;
      admitted = this.admit(request, false);
      admitted.tenant.calls++;
      // Commands and logs may be quiet for long; the next request begins anew.
      request.socket.setTimeout(0);
      await this.run(admitted, request, response);
    } catch (error) {
      this.refuse(error, admitted?.tenant, request, response);
    } finally {
      if (admitted) admitted.tenant.calls--;
      const milliseconds = performance.now() - begun;
      const route = admitted?.id ?? 'none';
      measurements.request(route, response.statusCode, milliseconds / 1000);
      log.info('request', {
        method: request.method,
        route,
        path: splitOnce(request.url ?? '')[0].slice(0, 256),
        status: response.statusCode,
        milliseconds: Math.round(milliseconds * 10) / 10,
        tenant: admitted?.tenant.name,
        remote,
      });
    }
  }

  /** Lets pages that may be here read what they get (Fetch, "CORS protocol"). True: one has only asked whether it may, and knows now. */
  private isPreflight(request: IncomingMessage, response: ServerResponse): boolean {
    const { origin, host } = request.headers;
    if (origin === undefined || !this.parts.allowsOrigin(origin, host, this.parts.tls !== undefined)) return false;
    response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Vary', 'Origin');
    if (request.method !== 'OPTIONS') return false;
    response.setHeader('Access-Control-Allow-Methods', 'GET, POST, PUT, DELETE');
    response.setHeader('Access-Control-Allow-Headers', 'Authorization, Content-Type');
    response.writeHead(204).end();
    return true;
  }

  private async run(admitted: Admitted, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { parts } = this;
    const { id, route, tenant, grant } = admitted;
    const gone = new AbortController();
    const held = tenant.held.hold();
    const end = (): void => void response.destroy();
    this.live.set(end, grant);
    // Also when the client is slow to take its answer, which is in memory until then.
    response.on('close', () => {
      this.live.delete(end);
      held.release();
      if (!response.writableFinished) gone.abort(new ApiError('gone', 'the client has hung up'));
    });
    const handler = parts.handlers[id];
    if (!handler) throw new ApiError('not-found', 'there is nothing of that name here');
    const body =
      route.body === undefined || route.body === 'bytes' ? undefined : await checkedBody(route, request, held);
    // A link in a page leads there: what a guest says is kept as a file, and never shown as a page of ours.
    if (admitted.query['ticket'] !== undefined) response.setHeader('Content-Disposition', 'attachment');
    const call: HttpCall = {
      parts,
      service: parts.service,
      ...admitted,
      signal: gone.signal,
      held,
      body,
      bytes: bytesOf(request),
      send: (bytes, contentType = 'application/octet-stream') => {
        if (!response.headersSent) response.writeHead(route.status, { 'Content-Type': contentType });
        return written(response, bytes);
      },
    };
    finish(response, route, await handler(call));
  }

  private refuse(error: unknown, tenant: Tenant | undefined, request: IncomingMessage, response: ServerResponse): void {
    const known = apiErrorOf(error, tenant?.local ?? false);
    if (!known)
      this.parts.log.error('internal', {
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    else if (known !== error) this.parts.log.warn('refused', { tenant: tenant?.name, message: String(error) });
    const told = known ?? new ApiError('internal', 'the server has failed');
    if (response.headersSent) {
      // Half an answer must not pass for a whole one.
      response.destroy();
      return;
    }
    sendRefusal(told, request, response);
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { parts } = this;
    // Until there is a WebSocket nobody else listens.
    const ignore = (): void => {};
    socket.on('error', ignore);
    request.socket.setTimeout(0);
    let tenant: Tenant | undefined;
    try {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket')
        throw new ApiError('invalid', 'the only upgrade is to a WebSocket');
      const { origin, host } = request.headers;
      if (origin !== undefined && !parts.allowsOrigin(origin, host, parts.tls !== undefined))
        throw new ApiError('forbidden', 'pages from there may not open WebSockets here');
      const admitted = this.admit(request, true);
      ({ tenant } = admitted);
      const handler = parts.sockets[admitted.id];
      if (!handler) throw new ApiError('not-found', 'there is nothing of that name here');
      const gone = new AbortController();
      const call: Call = { parts, service: parts.service, ...admitted, signal: gone.signal };
      const serve = handler(call);
      const owner = admitted.tenant;
      this.webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        socket.off('error', ignore);
        owner.calls++;
        parts.measurements.webSockets++;
        const begun = performance.now();
        const { remoteAddress: remote } = request.socket;
        const end = (): void => webSocket.terminate();
        this.live.set(end, admitted.grant);
        webSocket.on('close', () => {
          this.live.delete(end);
          owner.calls--;
          parts.measurements.webSockets--;
          gone.abort();
          const milliseconds = Math.round(performance.now() - begun);
          parts.log.info('web-socket', {
            route: admitted.id,
            tenant: owner.name,
            milliseconds,
            remote,
          });
        });
        serve(new Peer(webSocket));
      });
    } catch (error) {
      const known = apiErrorOf(error, tenant?.local ?? false);
      if (!known)
        parts.log.error('internal', { message: error instanceof Error ? (error.stack ?? '') : String(error) });
      const told = known ?? new ApiError('internal', 'the server has failed');
      parts.measurements.request('web-socket', told.status, 0);
      refuseUpgrade(told, socket);
    }
  }
}

function splitOnce(url: string): [string, string?] {
  const at = url.indexOf('?');
  return at < 0 ? [url] : [url.slice(0, at), url.slice(at + 1)];
}

const ticketIn = (search: string): string => /(?:^|&)ticket=([A-Za-z0-9_-]{1,128})(?:&|$)/.exec(search)?.[1] ?? '';

const unwanted = (query: Readonly<Record<string, string>>): string | undefined => {
  const [first] = Object.keys(query);
  return first === undefined ? undefined : `${first}: there is nothing of that name`;
};

async function checkedBody(route: Route, request: IncomingMessage, held: HeldPart): Promise<unknown> {
  const body = await jsonOf(request, route.mostBody ?? MOST_JSON, held);
  if (body === undefined && route.bodyOptional) return {};
  if (typeof route.body === 'object') {
    const problem = problemOf(route.body, body);
    if (problem !== undefined) throw new ApiError('invalid', `the request: ${problem}`);
  }
  return body;
}

/** Resolves when there is room for more; rejected when the client has hung up. */
function written(response: ServerResponse, bytes: Uint8Array): Promise<void> {
  if (response.destroyed) return Promise.reject(new ApiError('gone', 'the client has hung up'));
  if (response.write(bytes)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      if (response.destroyed) reject(new ApiError('gone', 'the client has hung up'));
      else resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

function finish(response: ServerResponse, route: Route, answer: Answer = {}): void {
  if (response.headersSent) {
    response.end();
    return;
  }
  const { json, text, bytes, status = route.status } = answer;
  const body = json !== undefined ? Buffer.from(JSON.stringify(json)) : text !== undefined ? Buffer.from(text) : bytes;
  const contentType = answer.contentType ?? (json !== undefined ? 'application/json' : 'application/octet-stream');
  response.writeHead(status, body && { 'Content-Type': contentType, 'Content-Length': body.length });
  response.end(body);
}

/** All routes of the table. */
export const allRoutes: Readonly<Record<RouteId, Route>> = routes;
