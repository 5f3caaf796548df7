/** A guest's request as whoever asks for it can: a page, which sends no more than browsers let it. */
import { BadRequest, valueOf, type HttpRequest } from './request-parser.js';

/** Of one connection (RFC 9110 §7.6.1), of the browser's own making, or such that other servers are asked for leave first without need. */
const WITHHELD = new Set([
  'accept-encoding',
  'cache-control',
  'connection',
  'content-length',
  'cookie',
  'expect',
  'host',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'keep-alive',
  'origin',
  'pragma',
  'proxy-authorization',
  'proxy-connection',
  'referer',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
]);

/** The header fields that are passed on. */
export const passedOn = ({ headers }: HttpRequest): [string, string][] =>
  headers.filter(([name]) => !WITHHELD.has(name)).map(([name, value]) => [name, value]);

/**
 * What a request is for. `peer`: what the guest calls the address that it has connected to, for requests that do not say whom they are for.
 * Throws a BadRequest for what no page can ask for.
 */
export function addressOf(request: HttpRequest, peer: string): URL {
  const { method, target, headers, minor } = request;
  // Tunnels, and a server's own affairs (RFC 9112 §3.2.3, §3.2.4).
  if (method === 'CONNECT' || target === '*')
    throw new BadRequest(501, `${method} ${target} cannot be done from a page`);
  if (valueOf(headers, 'upgrade') !== undefined && /\bupgrade\b/i.test(valueOf(headers, 'connection') ?? ''))
    throw new BadRequest(501, 'other protocols than HTTP cannot be spoken from a page');
  const host = valueOf(headers, 'host');
  if (minor === 1 && host === undefined) throw new BadRequest(400, 'the request does not say which host it is for');
  const text = target.startsWith('/') ? `http://${host !== undefined && host !== '' ? host : peer}${target}` : target;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new BadRequest(400, `${target} is no address`);
  if (url.username !== '' || url.password !== '')
    throw new BadRequest(400, 'an address has neither name nor password here');
  return url;
}
