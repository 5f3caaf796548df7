/** The web console's files, which need no token: what they show does. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** From the sources too, where tests run. */
const dist = fileURLToPath(new URL('../../dist/web/', import.meta.url));

/** Paths of requests, and what is there. */
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '/': ['console/index.html', 'text/html; charset=utf-8'],
  '/console/main.js': ['console/main.js', 'text/javascript; charset=utf-8'],
  '/console/console.css': ['console/console.css', 'text/css; charset=utf-8'],
  '/console/xterm.css': ['xterm.css', 'text/css; charset=utf-8'],
  '/console/icon.svg': ['console/icon.svg', 'image/svg+xml'],
};

/**
 * Nothing comes from elsewhere, and nothing is sent there (Content Security Policy Level 3). Scripts are files of ours; xterm.js makes
 * style elements and attributes, which is all that `unsafe-inline` lets through here.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  // A new version is there at once.
  'Cache-Control': 'no-cache',
} as const;

interface Known {
  readonly bytes: Buffer;
  readonly tag: string;
}

/** Gives what answers requests for the console's files; it says false for all others. */
export function consoleFiles(): (request: IncomingMessage, response: ServerResponse) => boolean {
  const known = new Map<string, Known>();
  const load = (file: string): Known => {
    let found = known.get(file);
    if (!found) {
      const bytes = readFileSync(path.join(dist, file));
      found = { bytes, tag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"` };
      known.set(file, found);
    }
    return found;
  };
  return (request, response) => {
    const { method, url = '/', headers } = request;
    const place = url.split('?', 1)[0];
    if ((method !== 'GET' && method !== 'HEAD') || !Object.hasOwn(FILES, place)) return false;
    const [file, type] = FILES[place];
    let content: Known;
    try {
      content = load(file);
    } catch {
      // It was built without pages: the API is there all the same.
      return false;
    }
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    response.setHeader('ETag', content.tag);
    if (headers['if-none-match'] === content.tag) response.writeHead(304).end();
    else {
      response.writeHead(200, { 'Content-Type': type, 'Content-Length': content.bytes.length });
      response.end(method === 'HEAD' ? undefined : content.bytes);
    }
    return true;
  };
}
