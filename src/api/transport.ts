/** How a client reaches a server; Node's is in node-transport.ts, a page brings its own. */

export interface TransportRequest {
  readonly method: string;
  /** With what stands behind the question mark. */
  readonly path: string;
  readonly contentType?: string;
  /** At once, or as it comes; a file of a page's is read as it is sent. */
  readonly body?: string | Uint8Array | Blob | AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  readonly contentType: string;
  /** To be read to its end, or left by `return`. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface SocketListener {
  open(): void;
  text(message: string): void;
  /** A promise makes the server wait. */
  binary(bytes: Uint8Array): void | Promise<void>;
  /** Nothing more comes. `error`: one line, where it never opened or was lost. */
  closed(error?: Error): void;
}

export interface ClientSocket {
  /** Resolves when there is room for more. */
  send(message: string | Uint8Array): Promise<void>;
  close(): void;
}

export interface Transport {
  /** Rejected with a one-line error when there is no server. */
  request(request: TransportRequest): Promise<TransportResponse>;
  webSocket(path: string, listener: SocketListener): ClientSocket;
  /** Lets go of what is kept for later requests. */
  close(): void;
}
