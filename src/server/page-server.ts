/** Serves the demonstration page, what the build made for it, and a guest. */
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { pipeline } from 'node:stream';

export interface PageOptions {
  /** Name of the guest, for people. */
  readonly guest: string;
  /** Files. */
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  /** Whether the page may share memory between threads (cross-origin isolation). */
  readonly isolated: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/** What pages may see of what the build made. */
const PUBLIC = [
  /^\/web\/(index\.html|page\.js|xterm\.css)$/,
  /^\/(runtime|sdk)\/browser\/[a-z-]+\.js$/,
  /^\/agent\/agent-(amd64|i386)$/,
  /^\/cpu\/x86\/[a-z-]+\.(wasm|bin|json)$/,
];

/** From the sources too, where tests run. */
const dist = fileURLToPath(new URL('../../dist/', import.meta.url));

function version(): string {
  const { version } = JSON.parse(readFileSync(path.join(dist, '../package.json'), 'utf8')) as { version: string };
  return version;
}

/** How the library is used in a page. */
const EXAMPLE = '/examples/browser.html';

/** Not listening yet. */
export function createPageServer(options: PageOptions): Server {
  const { guest, kernel, initrd, commandLine, isolated } = options;
  const offer = JSON.stringify({ version: version(), guest, commandLine });
  const guestFiles = new Map([
    ['/guest/kernel', kernel],
    ['/guest/initrd', initrd],
    [EXAMPLE, path.join(dist, '..', EXAMPLE)],
  ]);
  return createServer((request: IncomingMessage, response: ServerResponse) => {
    if (isolated) {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    }
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    // Files change with each build.
    response.setHeader('Cache-Control', 'no-cache');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { Allow: 'GET, HEAD' }).end();
      return;
    }
    const url = request.url ?? '/';
    const asked = url.split('?', 1)[0];
    if (asked === '/') {
      // With the page's parameters.
      response.writeHead(302, { Location: `/web${url}` }).end();
      return;
    }
    const name = asked === '/web/' ? '/web/index.html' : asked;
    if (name === '/guest/offer.json') {
      response.setHeader('Content-Type', TYPES['.json']).end(offer);
      return;
    }
    const file =
      guestFiles.get(name) ?? (PUBLIC.some((allowed) => allowed.test(name)) ? path.join(dist, name) : undefined);
    const found = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false });
    if (file === undefined || !found?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('Content-Type', TYPES[path.extname(name)] ?? 'application/octet-stream');
    response.setHeader('Content-Length', found.size);
    if (request.method === 'HEAD') response.end();
    else pipeline(createReadStream(file), response, () => undefined);
  });
}
