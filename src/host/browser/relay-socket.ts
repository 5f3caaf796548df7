/** A network behind a WebSocket (RFC 6455): each message is one Ethernet frame, without its checksum, both ways. */

/** Bytes of a frame at least and at most. */
const SHORTEST = 14;
const LONGEST = 65_553;
/** Bytes that may wait to be sent; frames beyond are lost, as on a wire. */
const MAX_WAITING = 4 * 2 ** 20;
/** Milliseconds until a connection that was lost is tried again: at first, and at last. */
const SOON = 500;
const LATE = 15_000;

export interface RelayEvents {
  frame(frame: Uint8Array): void;
  /** Whether there is a network at the other end. */
  link(up: boolean): void;
}

export interface RelayServer {
  /** `ws:` or `wss:`. */
  readonly url: string;
  readonly token?: string | undefined;
}

export class RelaySocket {
  private socket: WebSocket | undefined;
  private pause = SOON;

  /** `mac`: of the guest's card. */
  constructor(
    private readonly server: RelayServer,
    private readonly mac: string,
    private readonly events: RelayEvents,
  ) {
    events.link(false);
    void this.connect();
  }

  private async connect(): Promise<void> {
    let address: URL;
    try {
      address = await this.address();
    } catch {
      this.tryAgain();
      return;
    }
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.socket = socket;
      this.pause = SOON;
      this.events.link(true);
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (data instanceof ArrayBuffer && data.byteLength >= SHORTEST && data.byteLength <= LONGEST)
        this.events.frame(new Uint8Array(data));
    };
    socket.onclose = () => {
      this.socket = undefined;
      this.events.link(false);
      this.tryAgain();
    };
  }

  private tryAgain(): void {
    setTimeout(() => void this.connect(), this.pause);
    this.pause = Math.min(LATE, 2 * this.pause);
  }

  /** With a ticket for one connection: pages send no tokens with WebSockets. */
  private async address(): Promise<URL> {
    const { url, token } = this.server;
    const address = new URL(url);
    address.searchParams.set('mac', this.mac);
    if (token === undefined) return address;
    const tickets = new URL('tickets', url);
    tickets.protocol = tickets.protocol === 'wss:' ? 'https:' : 'http:';
    const answer = await fetch(tickets, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const { ticket } = (await answer.json()) as { readonly ticket?: unknown };
    if (typeof ticket === 'string') address.searchParams.set('ticket', ticket);
    return address;
  }

  /** Sends a frame, or loses it. */
  send(frame: Uint8Array): void {
    const { socket } = this;
    // Frames lie in shared memory, which a socket does not take.
    if (socket && socket.bufferedAmount < MAX_WAITING) socket.send(frame.slice());
  }
}
