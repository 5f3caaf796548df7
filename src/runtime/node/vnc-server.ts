/** A machine's screen for VNC clients: on the thread of the machine's owner, which has an event loop. */
import type { VncPeer, VncState } from '../../vmm/qmp/machine.js';
import { HostError } from '../../base/errors.js';
import { RfbServer } from '../../display/rfb/server.js';
import type { Viewer } from '../../display/rfb/viewer.js';
import type { FrameNews } from '../../display/frame-news.js';
import { rfbCrypto } from '../../host/node/rfb-crypto.js';
import {
  listenTcp,
  listenWebSocket,
  type AcceptStream,
  type StreamAddress,
  type StreamListener,
} from '../../host/node/stream-listener.js';
import { ZlibStream } from '../../host/node/zlib-stream.js';
import { listenReason } from './listen-reason.js';
import type { MachineHandle } from './machine-handle.js';

export interface VncOptions {
  readonly address: StreamAddress;
  /** Where WebSockets are taken, besides. */
  readonly webSocket?: StreamAddress;
  /** At most eight characters; absent: everybody who can connect may look and type. */
  readonly password?: string;
}

/** Milliseconds that a client has for its password. */
const HANDSHAKE_TIME = 30_000;

const show = ({ host, port }: StreamAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

async function listen(address: StreamAddress, work: () => Promise<StreamListener>): Promise<StreamListener> {
  try {
    return await work();
  } catch (cause) {
    throw new HostError(`cannot listen for VNC on ${show(address)}: ${listenReason(cause)}`, { cause });
  }
}

export class VncServer {
  private readonly listeners: StreamListener[] = [];
  private handle: MachineHandle | undefined;
  private readonly server: RfbServer;
  private readonly peers = new Map<Viewer, VncPeer>();
  private readonly hasPassword: boolean;

  private constructor({ password }: VncOptions, name: string) {
    this.hasPassword = password !== undefined;
    this.server = new RfbServer({
      name,
      password,
      crypto: rfbCrypto,
      createDeflater: () => new ZlibStream(),
      requestFrame: () => this.handle?.requestFrame(),
      input: (event) => this.handle?.input(event),
      resize: (width, height) => this.handle?.preferSize(width, height) ?? false,
      now: () => performance.now(),
      schedule: (milliseconds, work) => {
        setTimeout(work, milliseconds).unref();
      },
    });
  }

  /** Throws a one-line error when it cannot listen there. `name` is the title of viewers' windows. */
  static async listen(options: VncOptions, name: string): Promise<VncServer> {
    const server = new VncServer(options, name);
    const { address, webSocket, password } = options;
    const accept: AcceptStream = (stream) => server.accept(stream);
    try {
      server.listeners.push(await listen(address, () => listenTcp(address, accept)));
      if (webSocket)
        server.listeners.push(
          await listen(webSocket, () => listenWebSocket(webSocket, password !== undefined, accept)),
        );
    } catch (error) {
      server.close();
      throw error;
    }
    return server;
  }

  /** Where it listens: TCP first. */
  get addresses(): readonly StreamAddress[] {
    return this.listeners.map(({ address }) => address);
  }

  /** The same for people. */
  get description(): string {
    const [tcp, webSocket] = this.addresses.map(show);
    return webSocket === undefined ? tcp : `${tcp}, WebSocket ${webSocket}`;
  }

  /** For the monitor. */
  get state(): VncState {
    const clients = [...this.peers].flatMap(([viewer, peer]) => (viewer.entered ? [peer] : []));
    return { ...this.addresses[0], hasPassword: this.hasPassword, clients };
  }

  /** Clients see this machine. */
  attach(handle: MachineHandle): void {
    this.handle = handle;
  }

  /** What the machine has answered. */
  frame(news: FrameNews): void {
    this.server.frame(news);
  }

  private accept(stream: Parameters<AcceptStream>[0]): ReturnType<AcceptStream> {
    const viewer = this.handle && this.server.accept(stream);
    if (!viewer) {
      stream.close();
      return undefined;
    }
    const timer = setTimeout(() => {
      if (!viewer.entered) viewer.close();
    }, HANDSHAKE_TIME);
    timer.unref();
    this.peers.set(viewer, { ...stream.remote, isWebSocket: stream.isWebSocket });
    return {
      receive: (bytes) => viewer.receive(bytes),
      drained: () => viewer.drained(),
      closed: () => {
        clearTimeout(timer);
        this.peers.delete(viewer);
        viewer.close();
      },
    };
  }

  close(): void {
    this.server.close();
    for (const listener of this.listeners) listener.close();
  }
}
