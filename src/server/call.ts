/** A request that has been let in and checked, as whoever answers it sees it. */
import type { RouteId } from '../api/routes.js';
import type { Grant } from './grant.js';
import type { HeldPart } from './held-bytes.js';
import type { Service } from './service.js';
import type { Peer } from './peer.js';
import type { Tenant } from './tenant.js';
import type { ServerParts } from './http-server.js';

export interface Call {
  readonly parts: ServerParts;
  readonly service: Service;
  readonly tenant: Tenant;
  /** Of the path's braces. */
  readonly names: Readonly<Record<string, string>>;
  /** As the route's schema has it. */
  readonly query: Readonly<Record<string, string>>;
  /** Aborted when the client hangs up. */
  readonly signal: AbortSignal;
}

export interface HttpCall extends Call {
  /** Who asks, by which token. */
  readonly grant: Grant;
  /** What the request keeps in memory. */
  readonly held: HeldPart;
  /** As the route's schema has it: the handler says what that is. */
  readonly body: unknown;
  /** Of a route whose body is bytes. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Sends a part of the answer; a promise until there is room for more. The first one sends the head, too. */
  readonly send: (bytes: Uint8Array, contentType?: string) => Promise<void>;
}

/** JSON, unless bytes were sent; undefined: nothing. */
export interface Answer {
  readonly json?: unknown;
  readonly text?: string;
  readonly bytes?: Uint8Array;
  readonly contentType?: string;
  /** Where not that of the route. */
  readonly status?: number;
}

export type HttpHandler = (call: HttpCall) => Promise<Answer | undefined> | Answer | undefined;

/** Looks whether there is what is asked for (throws otherwise), and gives what to do with the connection then. */
export type SocketHandler = (call: Call) => (peer: Peer) => void;

export type HttpHandlers = Readonly<Partial<Record<RouteId, HttpHandler>>>;
export type SocketHandlers = Readonly<Partial<Record<RouteId, SocketHandler>>>;
