/** The host's network as a user-mode network stack reaches it. Everything happens on the stack's own thread. */

/** Why there is no connection. */
export type ConnectFailure = 'refused' | 'unreachable' | 'other';

/** What a stream tells; nothing more follows `closed`. */
export interface StreamEvents {
  connected(): void;
  failed(reason: ConnectFailure): void;
  /** The bytes belong to the receiver. */
  data(bytes: Uint8Array): void;
  /** The other side sends nothing more. */
  ended(): void;
  /** `broken`: by a reset or an error. */
  closed(broken: boolean): void;
}

export interface HostStream {
  /** Sends bytes, which then belong to the stream; `sent` is told when the host has taken them. */
  write(bytes: Uint8Array, sent: () => void): void;
  /** Nothing more will be written. */
  end(): void;
  /** Ends both directions at once, with a reset. */
  reset(): void;
  pause(): void;
  resume(): void;
}

export interface HostDatagrams {
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

export type DatagramReceiver = (bytes: Uint8Array, address: string, port: number) => void;

export interface HostSockets {
  /** Milliseconds, monotonic. */
  now(): number;
  random(bytes: number): Uint8Array;
  connect(address: string, port: number, events: StreamEvents): HostStream;
  /** A UDP socket of any free port. `broken`: it cannot be had. */
  datagrams(family: 4 | 6, receive: DatagramReceiver, broken: () => void): HostDatagrams;
  /** Addresses of a name, none when there are none. */
  resolve(name: string): Promise<readonly string[]>;
  /** The host's name servers. */
  nameServers(): readonly { readonly address: string; readonly port: number }[];
  /** Connections from outside. Rejected with a one-line error when it cannot listen. */
  listen(address: string, port: number, accept: (stream: HostStream) => StreamEvents): Promise<void>;
  /** Datagrams from outside. */
  listenDatagrams(address: string, port: number, receive: DatagramReceiver): Promise<HostDatagrams>;
  every(milliseconds: number, work: () => void): void;
}
