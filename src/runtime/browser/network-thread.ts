/** The networks of a page's machine, from the machine's side. */
import { UsageError } from '../../base/errors.js';
import type { NetConfig } from '../../iface/net-config.js';
import { FrameRing } from '../../net/frame-ring.js';
import { RingBackend } from '../../net/ring-backend.js';
import { NearGateway } from '../../net/user/near-gateway.js';
import { Unplugged } from '../../net/unplugged.js';
import type { NetBackend } from '../../iface/net.js';
import { MessageRing } from '../common/message-ring.js';
import { NET_STATUS, type NetCommand, type NetStart, type RelayAddress } from './net-protocol.js';
import { PageNetworks } from './networks.js';
import { startThread } from './threads.js';

/** Bytes of a ring of frames: some tens of the longest; and of what is saved. */
const RING = 2 * 2 ** 20;
const SAVED = 2 ** 16;
/** Milliseconds that the thread may take to answer. */
const ANSWER = 2000;

export interface NetworkOptions {
  readonly relay: RelayAddress | undefined;
  /** What the machine sleeps on; absent: the networks are on its own thread, which comes back to its event loop. */
  readonly wake: Int32Array<SharedArrayBuffer> | undefined;
  /** There is something for the machine. */
  readonly wakeMachine: () => void;
}

/** Where networks live. */
interface Place {
  post(command: NetCommand): void;
  save(network: number): Uint8Array;
}

export class NetworkThread {
  private readonly backends: RingBackend[];
  private readonly links: Int32Array;

  private constructor(start: NetStart, place: Place) {
    this.links = new Int32Array(start.status);
    this.backends = start.networks.map(
      ({ config, fromGuest, toGuest }, network) =>
        new RingBackend(
          `net${network}`,
          new FrameRing(fromGuest),
          new FrameRing(toGuest),
          {
            wake: () => place.post({ kind: 'ring' }),
            reset: () => place.post({ kind: 'reset', network }),
            save: () => place.save(network),
            restore: (connections) => {
              if (connections.length > 0) place.post({ kind: 'restore', network, connections });
            },
          },
          (sink) => NearGateway.of(config, sink, () => performance.now()),
        ),
    );
  }

  /** Before the machine's thread begins to block. Rejected with a one-line error when there cannot be these networks. */
  static async open(
    networks: readonly NetConfig[],
    { relay, wake, wakeMachine }: NetworkOptions,
  ): Promise<NetworkThread | undefined> {
    if (networks.length === 0) return undefined;
    if (relay && !(URL.canParse(relay.url) && /^wss?:$/.test(new URL(relay.url).protocol)))
      throw new UsageError(`${relay.url} is no address of a network relay: ws: or wss:`);
    const status = new SharedArrayBuffer((NET_STATUS.LINK + networks.length) * 4);
    new Int32Array(status).fill(1, NET_STATUS.LINK);
    const answers = MessageRing.create(SAVED);
    const start: NetStart = {
      networks: networks.map((config) => {
        const [from, to] = [FrameRing.create(RING), FrameRing.create(RING)];
        from.markAsleep();
        return { config, fromGuest: from.shared, toGuest: to.shared };
      }),
      status,
      relay,
      wake,
      answers: answers.shared,
    };
    return new NetworkThread(start, wake ? await onWorker(start, answers) : await onThisThread(start, wakeMachine));
  }

  /** One for each network, in their order. */
  get networks(): readonly NetBackend[] {
    return this.backends;
  }

  /** Takes what has come. Cheap when nothing has. */
  poll(): void {
    this.backends.forEach((backend, i) => {
      backend.setLink(Atomics.load(this.links, NET_STATUS.LINK + i) !== 0);
      backend.poll();
    });
  }

  /** The guest's CPUs are about to sleep. True: not now, there is something for them. */
  settle(): boolean {
    let busy = false;
    for (const backend of this.backends) if (backend.settle()) busy = true;
    return busy;
  }
}

async function onWorker(start: NetStart, answers: MessageRing): Promise<Place> {
  const worker = await startThread('./net-worker.js', start);
  const post = (command: NetCommand): void => worker.postMessage(command);
  return {
    post,
    save: (network) => {
      post({ kind: 'save', network });
      const answer = answers.takeWithin(ANSWER);
      return answer instanceof Uint8Array ? answer : new Uint8Array(0);
    },
  };
}

async function onThisThread(start: NetStart, wakeMachine: () => void): Promise<Place> {
  const networks = await PageNetworks.start(start, wakeMachine);
  const turn = new MessageChannel();
  turn.port1.onmessage = () => networks.work();
  return {
    // Its sockets are looked at by the event loop, and the frames with them.
    post: (command) => {
      if (command.kind === 'ring') turn.port2.postMessage(0);
      else networks.command(command);
    },
    save: (network) => networks.save(network),
  };
}

/** Networks for a machine whose page gives it none. */
export const unplugged = (networks: readonly NetConfig[]): readonly NetBackend[] =>
  networks.map((_, i) => new Unplugged(`net${i}`));
