/** A network on the thread that it lives on: frames between the rings of a machine's card and whatever carries them on. */
import type { NetConfig, UserNetConfig } from '../../iface/net-config.js';
import type { FrameInfo } from '../../iface/net.js';
import type { HostSockets } from '../../iface/host-sockets.js';
import { parseMac } from '../../net/addresses.js';
import { FrameRing } from '../../net/frame-ring.js';
import { RingSink } from '../../net/ring-sink.js';
import { cutSegments } from '../../net/segment.js';
import { decodeConnections, encodeConnections } from '../../net/user/saved-connections.js';
import { UserStack } from '../../net/user/user-stack.js';

/** Frames of a network that are looked at before others get their turn. */
const BATCH = 128;

/** What a network does with frames of the guest. */
export interface NetworkEnd {
  receive(frame: Uint8Array, info: FrameInfo): void;
  endBatch(): void;
  /** There is room for frames to the guest again. */
  room(): void;
  reset(): void;
  save(): Uint8Array;
  restore(connections: Uint8Array): void;
}

export interface RunningNetwork {
  /** Takes frames of the guest. True: there may be more. */
  move(): boolean;
  reset(): void;
  save(): Uint8Array;
  restore(connections: Uint8Array): void;
}

export interface RingPair {
  /** Frames from the guest, and to it. */
  readonly fromGuest: SharedArrayBuffer;
  readonly toGuest: SharedArrayBuffer;
}

export interface NetworkWork {
  readonly wakeMachine: () => void;
  /** Sees each frame, in both directions. */
  readonly observe?: (frame: Uint8Array) => void;
  /** What is at the other end. Rejected with a one-line error when the network cannot be had. */
  readonly open: (sink: RingSink) => Promise<NetworkEnd>;
}

/** Rejected with a one-line error when the network cannot be had. */
export async function runNetwork(
  { fromGuest, toGuest }: RingPair,
  { wakeMachine, observe = () => {}, open }: NetworkWork,
): Promise<RunningNetwork> {
  const input = new FrameRing(fromGuest);
  const sink = new RingSink(new FrameRing(toGuest), wakeMachine, observe);
  const end = await open(sink);
  return {
    move() {
      if (sink.hasRoomAgain()) end.room();
      let count = 0;
      for (let next = input.peek(); next && count < BATCH; next = input.peek(), count++) {
        observe(next.frame);
        end.receive(next.frame, next.info);
        input.release();
        if (count === BATCH - 1) break;
      }
      end.endBatch();
      if (count > 0 && input.takeWaiter()) wakeMachine();
      return !input.isEmpty || input.sleep();
    },
    reset: () => end.reset(),
    save: () => end.save(),
    restore: (connections) => end.restore(connections),
  };
}

/** The user-mode network. Rejected with a one-line error when a port that is to be forwarded cannot be had. */
export async function userEnd(
  { mac, mtu }: NetConfig,
  config: UserNetConfig,
  sink: RingSink,
  sockets: HostSockets,
): Promise<NetworkEnd> {
  const stack = new UserStack({ config, mac: parseMac(mac) ?? new Uint8Array(6), mtu, sink, sockets });
  for (const forward of config.forwards) await stack.forward(forward);
  return {
    receive: (frame, info) => stack.receive(frame, info),
    endBatch: () => stack.endBatch(),
    room: () => stack.room(),
    reset: () => stack.reset(),
    save: () => encodeConnections(stack.connections()),
    restore: (connections) => stack.resetConnections(decodeConnections(connections)),
  };
}

/** A network that carries finished frames and knows nothing of connections. */
export function plainEnd(send: (frame: Uint8Array) => void): NetworkEnd {
  return {
    receive: (frame, info) =>
      cutSegments(frame, info, (part) => {
        send(part);
        return true;
      }),
    endBatch: () => {},
    room: () => {},
    reset: () => {},
    save: () => new Uint8Array(0),
    restore: () => {},
  };
}
