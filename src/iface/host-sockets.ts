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

/** An ICMP error that came for an echo request. */
export interface EchoError {
  /** Where the request was to go, and its sequence number. */
  readonly address: string;
  readonly sequence: number;
  /** Who says so. */
  readonly from: string;
  /** Of ICMP (RFC 792), or of ICMPv6 (RFC 4443). */
  readonly type: number;
  readonly code: number;
}

/** What sockets for echoes tell. */
export interface EchoEvents {
  /** The bytes, what follows the sequence number, belong to the receiver. */
  reply(address: string, sequence: number, data: Uint8Array): void;
  error(error: EchoError): void;
}

/** What became of an echo request at once; `lost` is all that nobody is to blame for, such as a full queue. */
export type EchoSent = 'sent' | 'unreachable' | 'prohibited' | 'lost';

/** A socket for echo requests, all with one identifier, which is the host's choice. */
export interface HostEchoes {
  /** Sequence numbers have 16 bits; `hopLimit`: 1 … 255. */
  send(request: {
    readonly address: string;
    readonly sequence: number;
    readonly data: Uint8Array;
    readonly hopLimit: number;
  }): EchoSent;
  /** Nothing is told any more. */
  close(): void;
}

export interface HostSockets {
  /** Milliseconds, monotonic. */
  now(): number;
  random(bytes: number): Uint8Array;
  connect(address: string, port: number, events: StreamEvents): HostStream;
  /** A UDP socket of any free port. `broken`: it cannot be had. */
  datagrams(family: 4 | 6, receive: DatagramReceiver, broken: () => void): HostDatagrams;
  /** A socket for ICMP or ICMPv6 echoes. Undefined: there are none for programs here. */
  echoes(family: 4 | 6, events: EchoEvents): HostEchoes | undefined;
  /** Addresses of a name, none when there are none. */
  resolve(name: string): Promise<readonly string[]>;
  /** The host's name servers. */
  nameServers(): readonly { readonly address: string; readonly port: number }[];
  /** Connections from outside. Rejected with a one-line error when it cannot listen. */
  listen(address: string, port: number, accept: (stream: HostStream) => StreamEvents): Promise<void>;
  /** Datagrams from outside. */
  listenDatagrams(address: string, port: number, receive: DatagramReceiver): Promise<HostDatagrams>;
  /** Calls again and again. The result ends that. */
  every(milliseconds: number, work: () => void): () => void;
}
