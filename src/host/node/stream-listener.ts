/** Listens for streams of bytes: by TCP, and in WebSockets (RFC 6455). */
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { createServer, isIP, type AddressInfo, type Server, type Socket } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';

/** A connection as its user sees it. */
export interface ByteStream {
  /** Where it comes from. */
  readonly remote: StreamAddress;
  readonly isWebSocket: boolean;
  /** False: no more until `drained`. */
  write(bytes: Uint8Array): boolean;
  close(): void;
}

/** What the user of a connection does with it. */
export interface ByteStreamUser {
  receive(bytes: Uint8Array): void;
  drained(): void;
  /** It has ended, from whichever side. */
  closed(): void;
}

/** Undefined: the connection is refused. */
export type AcceptStream = (stream: ByteStream) => ByteStreamUser | undefined;

export interface StreamAddress {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
}

export interface StreamListener {
  /** Where it listens. */
  readonly address: StreamAddress;
  close(): void;
}

/** Bytes that wait to be sent on a connection before its user is asked to wait. */
const HIGH_WATER = 1 << 20;
/** The largest message that is taken from a WebSocket. */
const MOST_MESSAGE = 1 << 20;
/** Milliseconds between looks at whether a WebSocket takes more again. */
const DRAIN_POLL = 20;

function listening(server: Server, { host, port }: StreamAddress): Promise<StreamListener> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve({
        address: { host, port: (server.address() as AddressInfo).port },
        close: () => server.close(),
      });
    });
  });
}

const remoteOf = ({ remoteAddress = '', remotePort = 0 }: Socket): StreamAddress => ({
  host: remoteAddress,
  port: remotePort,
});

function serveSocket(socket: Socket, accept: AcceptStream): void {
  socket.on('error', () => {});
  const user = accept({
    remote: remoteOf(socket),
    isWebSocket: false,
    write: (bytes) => {
      socket.write(bytes);
      return socket.writableLength < HIGH_WATER;
    },
    // What was written before is still sent.
    close: () => socket.destroySoon(),
  });
  if (!user) return;
  socket.on('data', (bytes) => user.receive(new Uint8Array(bytes)));
  socket.on('drain', () => user.drained());
  socket.on('close', () => user.closed());
}

/** Rejected with the system's error when it cannot listen. */
export function listenTcp(address: StreamAddress, accept: AcceptStream): Promise<StreamListener> {
  return listening(
    createServer({ noDelay: true }, (socket) => serveSocket(socket, accept)),
    address,
  );
}

const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Whether the page that connects may: no page (a program), one of this host, or one that was loaded from the address that it connects
 * to. A name would not do, because any page's name can be made to lead here.
 */
function fromOurselves({ headers }: IncomingMessage): boolean {
  if (headers.origin === undefined) return true;
  try {
    const { hostname } = new URL(headers.origin);
    const own = new URL(`http://${headers.host ?? ''}`).hostname;
    return LOOPBACK.has(hostname) || (hostname === own && isIP(hostname.replace(/^\[|\]$/g, '')) !== 0);
  } catch {
    return false;
  }
}

function serveWebSocket(socket: WebSocket, remote: StreamAddress, accept: AcceptStream): void {
  let timer: NodeJS.Timeout | undefined;
  const user = accept({
    remote,
    isWebSocket: true,
    write: (bytes) => {
      socket.send(bytes);
      if (socket.bufferedAmount < HIGH_WATER) return true;
      timer ??= setInterval(() => {
        if (socket.bufferedAmount >= HIGH_WATER / 2) return;
        clearInterval(timer);
        timer = undefined;
        user?.drained();
      }, DRAIN_POLL);
      return false;
    },
    close: () => socket.close(),
  });
  socket.on('error', () => {});
  if (!user) return;
  socket.on('message', (data) => {
    const parts = Array.isArray(data) ? data : [data];
    for (const part of parts) user.receive(new Uint8Array(part));
  });
  socket.on('close', () => {
    clearInterval(timer);
    user.closed();
  });
}

/**
 * Rejected with the system's error when it cannot listen. `anyOrigin`: pages of other hosts may connect too, because they will have to
 * know a password.
 */
export async function listenWebSocket(
  address: StreamAddress,
  anyOrigin: boolean,
  accept: AcceptStream,
): Promise<StreamListener> {
  const http = createHttpServer((_request, response) => {
    response.writeHead(426, { 'content-type': 'text/plain' }).end('This is a WebSocket for a VNC client.\n');
  });
  const server = new WebSocketServer({
    server: http,
    maxPayload: MOST_MESSAGE,
    perMessageDeflate: false,
    // What noVNC and others ask for; without a wish, none.
    handleProtocols: (protocols) => (protocols.has('binary') ? 'binary' : false),
    verifyClient: ({ req }: { req: IncomingMessage }) => anyOrigin || fromOurselves(req),
  });
  // Told by the server below.
  server.on('error', () => {});
  server.on('connection', (socket, request) => serveWebSocket(socket, remoteOf(request.socket), accept));
  const listener = await listening(http, address);
  return {
    address: listener.address,
    close: () => {
      for (const socket of server.clients) socket.terminate();
      listener.close();
    },
  };
}
