/** A server of one file, in parts and to pages of other origins; and what it was asked for. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class RangeServer {
  /** Of the requests so far, `bytes=…`. */
  readonly asked: string[] = [];

  private constructor(
    private readonly server: Server,
    readonly address: string,
  ) {}

  static async start(file: Uint8Array): Promise<RangeServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const ranges = new RangeServer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('request', (request, response) => {
      // One that pages of other origins may not read.
      if (request.url === '/private') {
        response.end('private');
        return;
      }
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.setHeader('Access-Control-Expose-Headers', 'Content-Range');
      response.setHeader('Last-Modified', 'Sat, 21 Nov 2026 00:00:00 GMT');
      const range = request.headers.range ?? '';
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
      if (last === undefined) {
        response.end('a page of another origin');
        return;
      }
      ranges.asked.push(range);
      response.writeHead(206, { 'Content-Range': `bytes ${first}-${last}/${file.length}` });
      response.end(file.subarray(Number(first), Number(last) + 1));
    });
    return ranges;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
