/** Networks on their thread, by kind. */
import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';
import { LinkSocket } from '../../host/node/net/link-socket.js';
import { Tap } from '../../host/node/net/tap.js';
import { reasonOf } from '../../host/node/read-file.js';
import type { HostSockets } from '../../iface/host-sockets.js';
import type { NetConfig } from '../../iface/net-config.js';
import { pcapHeader, pcapRecord } from '../../net/pcap.js';
import type { RingSink } from '../../net/ring-sink.js';
import {
  plainEnd,
  runNetwork,
  userEnd,
  type NetworkEnd,
  type RingPair,
  type RunningNetwork,
} from '../common/network-end.js';

export interface NetworkParts extends RingPair {
  readonly config: NetConfig;
  readonly wakeMachine: () => void;
  /** What the user-mode network goes through. */
  readonly sockets: HostSockets;
  /** A network at the other end came or went. */
  readonly setLink: (up: boolean) => void;
}

/** Throws a one-line error when the network cannot be had. */
export async function startNetwork(parts: NetworkParts): Promise<RunningNetwork> {
  const { config, wakeMachine } = parts;
  const capture = config.pcap === '' ? undefined : new Capture(config.pcap);
  return runNetwork(parts, {
    wakeMachine,
    ...(capture && { observe: (frame: Uint8Array) => capture.write(frame) }),
    open: (sink) => openEnd(parts, sink),
  });
}

async function openEnd({ config, setLink, sockets }: NetworkParts, sink: RingSink): Promise<NetworkEnd> {
  const { network } = config;
  switch (network.kind) {
    case 'user':
      return userEnd(config, network, sink, sockets);
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

/** Opens a file to write over. A pipe that nobody reads is an error: to wait for a reader would hold the whole thread up for good. */
function openToWrite(file: string): number {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = fs.constants;
  const fd = fs.openSync(file, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0o666);
  try {
    if (!fs.fstatSync(fd).isFIFO()) return fd;
    // Who reads slowly is waited for. There is a reader, so this returns.
    const waiting = fs.openSync(file, 'w');
    fs.closeSync(fd);
    return waiting;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** All frames, in a file. */
class Capture {
  private readonly fd: number;
  private hasEnded = false;

  constructor(file: string) {
    try {
      this.fd = openToWrite(file);
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
