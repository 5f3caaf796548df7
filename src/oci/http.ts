/** HTTP as registries need it: redirections that do not carry passwords elsewhere, certificates that may be left unchecked. */
import * as http from 'node:http';
import * as https from 'node:https';
import { OciError } from './errors.js';

/** Milliseconds without a sign of the server. */
const PATIENCE = 30_000;
const MAX_REDIRECTIONS = 8;
const MAX_ATTEMPTS = 4;
/** Milliseconds before further attempts. */
const PAUSES = [250, 1000, 3000];
/** Seconds that a server may make us wait. */
const MAX_RETRY_AFTER = 30;

export interface HttpRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** A form to be posted. */
  readonly form?: URLSearchParams;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body is still to come: it must be read to its end or destroyed. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: http.IncomingMessage;
  /** Where it came from in the end. */
  readonly url: URL;
}

/** The network failed, so that another attempt may do better. */
export class NetworkFailure extends OciError {
  constructor(host: string, cause: unknown) {
    super('network', `${host}: ${reason(cause)}`, { cause });
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Several addresses were tried.
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const { code, message } = inner as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name cannot be resolved';
    case 'ECONNREFUSED':
      return 'it refuses the connection';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection broke off';
    case 'EPROTO':
      return 'it does not speak TLS (--insecure for a registry without)';
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'CERT_HAS_EXPIRED':
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `its certificate cannot be trusted (${code}); NODE_EXTRA_CA_CERTS names further authorities`;
    default:
      return message || (code ?? 'it does not answer');
  }
}

/** `localhost` and addresses that lead back to this machine. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return name === 'localhost' || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name);
}

export class HttpClient {
  private readonly secure: https.Agent;
  private readonly plain = new http.Agent({ keepAlive: true });

  /** `insecure`: certificates are not checked, and HTTP without TLS will do. */
  constructor(private readonly insecure: boolean) {
    this.secure = new https.Agent({ keepAlive: true, rejectUnauthorized: !insecure });
  }

  /** Ends connections that are kept open. */
  close(): void {
    this.secure.destroy();
    this.plain.destroy();
  }

  /** One request, redirections followed. Throws NetworkFailure, or what the signal was aborted with. */
  async request(url: URL, { headers = {}, form, signal }: HttpRequest = {}): Promise<HttpAnswer> {
    let at = url;
    let sent = headers;
    for (let redirections = 0; ; redirections++) {
      const answer = await this.once(at, sent, form, signal);
      const { location } = answer.headers;
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
      answer.body.destroy();
      if (redirections >= MAX_REDIRECTIONS) throw new OciError('network', `${url.host}: too many redirections`);
      const next = this.redirected(at, location);
      if (next.host !== at.host || next.protocol !== at.protocol) {
        // A form is a login: it is for the place that was named, and there is nothing to be had elsewhere without it.
        if (form) throw new OciError('network', `${at.host}: it leads a login to another place, ${next.host}`);
        // What authorizes is for the registry alone: storage elsewhere has its own in the address.
        sent = without(sent, 'authorization');
      }
      at = next;
    }
  }

  private redirected(from: URL, location: string): URL {
    if (!URL.canParse(location, from.href)) throw new OciError('network', `${from.host}: it leads to no address`);
    const next = new URL(location, from.href);
    const weaker = from.protocol === 'https:' && next.protocol === 'http:' && !this.insecure;
    if (!['http:', 'https:'].includes(next.protocol) || weaker)
      throw new OciError('network', `${from.host}: it leads to ${next.protocol}//${next.host}, which is not secure`);
    return next;
  }

  private once(
    url: URL,
    headers: Readonly<Record<string, string>>,
    form: URLSearchParams | undefined,
    signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const body = form?.toString();
      const client = url.protocol === 'https:' ? https : http;
      const request = client.request(url, {
        method: body === undefined ? 'GET' : 'POST',
        agent: url.protocol === 'https:' ? this.secure : this.plain,
        headers: {
          'user-agent': 'vitrine',
          'accept-encoding': 'identity',
          ...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
          ...headers,
        },
        ...(signal && { signal }),
        timeout: PATIENCE,
      });
      request.on('timeout', () => request.destroy(new Error('no answer in time')));
      request.on('error', (error) =>
        reject(signal?.aborted ? (signal.reason as Error) : new NetworkFailure(url.host, error)),
      );
      request.on('response', (response) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response, url }),
      );
      request.end(body);
    });
  }
}

function without(headers: Readonly<Record<string, string>>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key.toLowerCase() !== name));
}

/** Reads a body of at most so many bytes. */
export async function readBody({ body, url }: HttpAnswer, limit: number, signal?: AbortSignal): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of body as AsyncIterable<Uint8Array>) {
      length += part.length;
      if (length > limit) throw new OciError('too-large', `${url.host} answers with more than ${limit} bytes`);
      parts.push(part);
    }
  } catch (error) {
    if (error instanceof OciError) throw error;
    signal?.throwIfAborted();
    throw new NetworkFailure(url.host, error);
  }
  return Buffer.concat(parts);
}

/** The answer, unless the server may answer better later: then it is a NetworkFailure. */
export function unlessBusy(answer: HttpAnswer): HttpAnswer {
  const { status, url, body } = answer;
  if (status !== 429 && status !== 408 && status < 500) return answer;
  body.destroy();
  throw new NetworkFailure(url.host, new BusyServer(answer));
}

/** Does something again while the network fails. `wait`: milliseconds, from the number of attempts so far. */
export async function withRetries<T>(
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
  pauses: readonly number[] = PAUSES,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof NetworkFailure) || tries >= MAX_ATTEMPTS || tries > pauses.length) throw error;
      const asked = error.cause instanceof BusyServer ? error.cause.seconds * 1000 : 0;
      await sleep(Math.max(pauses[tries - 1], asked), signal);
    }
  }
}

/** A server that wants to be asked later. */
class BusyServer extends Error {
  /** How long it wants to be left alone, in seconds. */
  readonly seconds: number;

  constructor({ status, headers }: HttpAnswer) {
    super(`it answers with ${status}`);
    const told = Number(headers['retry-after']);
    this.seconds = told > 0 ? Math.min(told, MAX_RETRY_AFTER) : 0;
  }
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, milliseconds);
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    function done(): void {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }
    signal?.addEventListener('abort', aborted, { once: true });
  });
}
