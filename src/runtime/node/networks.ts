/** Networks on their thread, by kind. */
import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';
import { LinkSocket } from '../../host/node/net/link-socket.js';
import { Tap } from '../../host/node/net/tap.js';
import { NodeSockets } from '../../host/node/net/node-sockets.js';
import { reasonOf } from '../../host/node/read-file.js';
import type { NetConfig } from '../../iface/net-config.js';
import type { FrameInfo } from '../../iface/net.js';
import { parseMac } from '../../net/addresses.js';
import { FrameRing } from '../../net/frame-ring.js';
import { pcapHeader, pcapRecord } from '../../net/pcap.js';
import { RingSink } from '../../net/ring-sink.js';
import { cutSegments } from '../../net/segment.js';
import { decodeConnections, encodeConnections } from '../../net/user/saved-connections.js';
import { UserStack } from '../../net/user/user-stack.js';

/** Frames of a network that are looked at before others get their turn. */
const BATCH = 128;

export interface NetworkParts {
  readonly config: NetConfig;
  readonly fromGuest: SharedArrayBuffer;
  readonly toGuest: SharedArrayBuffer;
  readonly wakeMachine: () => void;
  /** A network at the other end came or went. */
  readonly setLink: (up: boolean) => void;
}

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

/** Throws a one-line error when the network cannot be had. */
export async function startNetwork(parts: NetworkParts): Promise<RunningNetwork> {
  const { config, wakeMachine } = parts;
  const input = new FrameRing(parts.fromGuest);
  const capture = config.pcap === '' ? undefined : new Capture(config.pcap);
  const sink = new RingSink(new FrameRing(parts.toGuest), wakeMachine, (frame) => capture?.write(frame));
  const end = await openEnd(parts, sink);
  return {
    move() {
      if (sink.hasRoomAgain()) end.room();
      let count = 0;
      for (let next = input.peek(); next && count < BATCH; next = input.peek(), count++) {
        capture?.write(next.frame);
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

async function openEnd({ config, setLink }: NetworkParts, sink: RingSink): Promise<NetworkEnd> {
  const { network, mtu } = config;
  const mac = parseMac(config.mac) ?? new Uint8Array(6);
  switch (network.kind) {
    case 'user': {
      const stack = new UserStack({ config: network, mac, mtu, sink, sockets: new NodeSockets() });
      for (const forward of network.forwards) await stack.forward(forward);
      return {
        receive: (frame, info) => stack.receive(frame, info),
        endBatch: () => stack.endBatch(),
        room: () => stack.room(),
        reset: () => stack.reset(),
        save: () => encodeConnections(stack.connections()),
        restore: (connections) => stack.resetConnections(decodeConnections(connections)),
      };
    }
    case 'link': {
      const link = await LinkSocket.open(network.path, {
        frame: (frame) => sink.sendWhole(frame),
        link: setLink,
      });
      return plainEnd((frame) => link.send(frame));
    }
    case 'tap': {
      const tap = Tap.open(network.ifname, {
        frame: (frame, info) => sink.sendCopy(frame, info),
        offloads: () => sink.offloads,
      });
      return {
        ...plainEnd(() => {}),
        receive: (frame, info) => tap.send(frame, info),
        room: () => tap.room(),
      };
    }
  }
}

/** A network that carries finished frames and knows nothing of connections. */
function plainEnd(send: (frame: Uint8Array) => void): NetworkEnd {
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

/** All frames, in a file. */
class Capture {
  private readonly fd: number;
  private hasEnded = false;

  constructor(file: string) {
    try {
      this.fd = fs.openSync(file, 'w');
      fs.writeSync(this.fd, pcapHeader());
    } catch (cause) {
      throw new HostError(`cannot write the capture ${file}: ${reasonOf(cause)}`, { cause });
    }
  }

  write(frame: Uint8Array): void {
    if (this.hasEnded) return;
    try {
      fs.writeSync(this.fd, pcapRecord(frame, Date.now()));
    } catch (error) {
      // A full disk ends the capture, not the machine: behind half a record nothing could be read.
      this.hasEnded = true;
      process.stderr.write(`vitrine: the capture of the network ends: ${reasonOf(error)}\n`);
    }
  }
}
