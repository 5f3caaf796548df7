/**
 * The network as a page reaches it: by `fetch` alone (Fetch, WHATWG). A guest's connections to port 80 end here, in a server of HTTP that has
 * the browser ask; all names have addresses, which are made up; everything else is refused, or lost.
 */
import { HostError } from '../../base/errors.js';
import type {
  DatagramReceiver,
  HostDatagrams,
  HostSockets,
  HostStream,
  StreamEvents,
} from '../../iface/host-sockets.js';

/** What answers for the network. Pure parts of it are given: they are in `net`. */
export interface FetchParts {
  /** Answers a question of names. */
  answer(message: Uint8Array): Uint8Array | undefined;
  /** Serves a connection to an address. */
  serve(address: string, events: StreamEvents): HostStream;
}

/** Of name servers: the documentation's network (RFC 5737), where nobody else is. */
const SERVER = { address: '192.0.2.53', port: 53 } as const;
const HTTP_PORT = 80;

const NOTHING: HostStream = { write: (_, sent) => sent(), end() {}, reset() {}, pause() {}, resume() {} };

export class FetchSockets implements HostSockets {
  constructor(private readonly parts: FetchParts) {}

  now(): number {
    return performance.now();
  }

  random(bytes: number): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(bytes));
  }

  connect(address: string, port: number, events: StreamEvents): HostStream {
    if (port === HTTP_PORT) return this.parts.serve(address, events);
    queueMicrotask(() => {
      events.failed('refused');
      events.closed(true);
    });
    return NOTHING;
  }

  datagrams(_family: 4 | 6, receive: DatagramReceiver): HostDatagrams {
    let open = true;
    return {
      send: (bytes, address, port) => {
        const answer = port === SERVER.port ? this.parts.answer(bytes) : undefined;
        if (answer)
          queueMicrotask(() => {
            if (open) receive(answer, address, port);
          });
      },
      close: () => {
        open = false;
      },
    };
  }

  /** Pages have no way to send any. */
  echoes(): undefined {
    return undefined;
  }

  /** Rules are for names then, which are learnt as they are asked for. */
  resolve(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  nameServers(): readonly { readonly address: string; readonly port: number }[] {
    return [SERVER];
  }

  listen(): Promise<void> {
    return Promise.reject(new HostError('a page cannot listen on ports'));
  }

  listenDatagrams(): Promise<HostDatagrams> {
    return Promise.reject(new HostError('a page cannot listen on ports'));
  }

  every(milliseconds: number, work: () => void): () => void {
    const timer = setInterval(work, milliseconds);
    return () => clearInterval(timer);
  }
}
