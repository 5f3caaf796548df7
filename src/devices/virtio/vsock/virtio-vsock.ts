import type { StreamEnd, StreamListener, Streams } from '../../../iface/streams.js';
import { range, struct, type Infer } from '../../../snapshot/schema.js';
import { get } from '../../../bus/pci/config-space.js';
import type { DescriptorChain } from '../descriptor-chain.js';
import type { VirtioDevice, VirtioPort } from '../device.js';
import { DEVICE_TYPE } from '../registers.js';
import { Connection } from './connection.js';
import { HEADER_SIZE, HOST_CID, OP, parseHeader, TYPE_STREAM, writeHeader, type PacketHeader } from './packet.js';

/** VIRTIO 1.2 §5.10.3: stream sockets. */
const FEATURE_STREAM = 1n << 0n;

const QUEUE = { RECEIVE: 0, TRANSMIT: 1, EVENT: 2 } as const;

/** VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, §5.10.6.7: all connections are gone. */
const TRANSPORT_RESET = new Uint8Array(4);

/** The largest payload: as much as a connection's buffer holds. */
const MAX_PAYLOAD = 0x4_0000;
const MAX_CONNECTIONS = 4096;
/** Answers to packets of no connection that wait; when there are more, the guest's packets wait too. */
const MAX_REFUSALS = 256;
/** Ports of the host's side of connections that come from outside. */
const FIRST_HOST_PORT = 2 ** 30;
const LAST_HOST_PORT = 2 ** 31 - 1;

const stateSchema = struct({ nextHostPort: range(FIRST_HOST_PORT, LAST_HOST_PORT) });
type State = Infer<typeof stateSchema>;

export interface VirtioVsockParts {
  readonly id: string;
  /** The guest's context identifier, 3 … 2**32 - 2 (§5.10.4). */
  readonly cid: number;
  readonly streams: Streams;
}

/**
 * Socket device, VIRTIO 1.2 §5.10: stream connections between programs of the guest and sockets outside. Connections do
 * not survive a save: the restored guest is told that all of them are gone.
 */
export class VirtioVsock implements VirtioDevice {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.SOCKET;
  /** Other communication controller. */
  readonly classCode = 0x07_8000;
  readonly features = FEATURE_STREAM;
  readonly queueSizes = [256, 256, 16];
  readonly configSize = 8;
  private readonly cid: bigint;
  private readonly streams: Streams;
  private port: VirtioPort | undefined;
  private readonly connections = new Map<string, Connection>();
  /** Connections with something to send, in turn. */
  private readonly ready = new Set<Connection>();
  /** RST for packets of no connection. */
  private readonly refusals: PacketHeader[] = [];
  private nextHostPort = FIRST_HOST_PORT;
  private resetPending = false;
  private sending = false;
  /** Packets that made no sense. */
  dropped = 0;

  constructor({ id, cid, streams }: VirtioVsockParts) {
    this.id = id;
    this.cid = BigInt(cid);
    this.streams = streams;
    streams.serve('vsock', { persistent: false, accept: (guestPort, end) => this.accept(guestPort, end) });
  }

  /** Connections that are there or come about. */
  get open(): number {
    return this.connections.size;
  }

  connect(port: VirtioPort): void {
    this.port = port;
  }

  readConfig(offset: number, size: number): number {
    const config = new Uint8Array(12);
    new DataView(config.buffer).setBigUint64(0, this.cid, true);
    return get(config, offset, size);
  }

  writeConfig(): void {}

  notified(index: number): void {
    if (index === QUEUE.TRANSMIT) this.takePackets();
    else if (index === QUEUE.EVENT) this.tellReset();
    // The guest's packets may have waited for room for answers.
    else if (this.flush()) this.takePackets();
  }

  // ---- connections ----

  private add(guestPort: number, hostPort: number, byGuest: boolean): Connection {
    const key = keyOf(guestPort, hostPort);
    const connection = new Connection(guestPort, hostPort, byGuest, {
      ready: (one) => {
        this.ready.add(one);
        if (!this.sending) this.flush();
      },
      gone: (one) => {
        this.ready.delete(one);
        if (this.connections.get(key) === one) this.connections.delete(key);
      },
    });
    this.connections.set(key, connection);
    return connection;
  }

  /** Somebody outside wants to speak to a port of the guest's. */
  private accept(guestPort: number, end: StreamEnd): StreamListener | undefined {
    if (!this.port?.live || this.connections.size >= MAX_CONNECTIONS) return undefined;
    const hostPort = this.nextHostPort;
    this.nextHostPort = hostPort === LAST_HOST_PORT ? FIRST_HOST_PORT : hostPort + 1;
    const connection = this.add(guestPort, hostPort, false);
    connection.attach(end);
    return connection;
  }

  // ---- from the guest ----

  private takePackets(): void {
    const queue = this.port?.queue(QUEUE.TRANSMIT);
    while (this.refusals.length < MAX_REFUSALS) {
      const chain = queue?.pop();
      if (!chain) break;
      this.takePacket(chain);
      queue?.push(chain, 0);
    }
    queue?.flush();
    this.flush();
  }

  private takePacket(chain: DescriptorChain): void {
    const bytes = new Uint8Array(HEADER_SIZE);
    if (!chain.read(0, bytes)) {
      this.dropped++;
      return;
    }
    const header = parseHeader(bytes);
    // §5.10.6.4.1: what is not from the guest, or not for the host, is nobody's.
    if (header.sourceCid !== this.cid || header.destinationCid !== HOST_CID) {
      this.dropped++;
      return;
    }
    const connection = this.connections.get(keyOf(header.sourcePort, header.destinationPort));
    if (header.type !== TYPE_STREAM) this.refuse(header);
    else if (header.op === OP.REQUEST) this.request(header, connection);
    else if (!connection) this.refuse(header);
    else connection.receive(header, header.op === OP.RW ? this.payload(chain, header.length) : undefined);
  }

  private payload(chain: DescriptorChain, length: number): Uint8Array | undefined {
    if (length > MAX_PAYLOAD || length > chain.readLength - HEADER_SIZE) {
      this.dropped++;
      return undefined;
    }
    const payload = new Uint8Array(length);
    return chain.read(HEADER_SIZE, payload) ? payload : undefined;
  }

  private request(header: PacketHeader, connection: Connection | undefined): void {
    if (connection || this.connections.size >= MAX_CONNECTIONS) {
      this.refuse(header);
      return;
    }
    const made = this.add(header.sourcePort, header.destinationPort, true);
    made.receive({ ...header, op: OP.CREDIT_UPDATE }, undefined);
    made.attach(this.streams.connect('vsock', header.destinationPort, made));
  }

  /** §5.10.6.4: RST for what there is no connection for; RST itself is not answered. */
  private refuse(header: PacketHeader): void {
    if (header.op === OP.RST) return;
    this.refusals.push({
      ...header,
      sourceCid: header.destinationCid,
      destinationCid: header.sourceCid,
      sourcePort: header.destinationPort,
      destinationPort: header.sourcePort,
      length: 0,
      op: OP.RST,
      flags: 0,
      bufAlloc: 0,
      fwdCnt: 0,
    });
  }

  // ---- to the guest ----

  /** Sends what there is buffers for. True: nothing of it waits for buffers any more. */
  private flush(): boolean {
    if (!this.port?.live) return false;
    const queue = this.port.queue(QUEUE.RECEIVE);
    this.sending = true;
    let starved = false;
    while (!starved && (this.refusals.length > 0 || this.ready.size > 0)) {
      const [connection] = this.ready;
      if (this.refusals.length === 0 && !connection?.hasWork) {
        this.ready.delete(connection);
        continue;
      }
      const chain = queue.pop();
      if (chain) queue.push(chain, this.fill(chain, connection));
      else starved = true;
    }
    this.sending = false;
    queue.flush();
    return !starved;
  }

  /** Returns the bytes written. A buffer that is too short for any packet comes back empty. */
  private fill(chain: DescriptorChain, connection: Connection): number {
    const most = chain.writeLength - HEADER_SIZE;
    if (most < 1) return 0;
    const refusal = this.refusals.shift();
    if (refusal) {
      chain.write(0, writeHeader(refusal));
      return HEADER_SIZE;
    }
    // To the end of the line.
    this.ready.delete(connection);
    this.ready.add(connection);
    const packet = connection.take(most);
    if (!connection.hasWork) this.ready.delete(connection);
    if (!packet) return 0;
    const { op, flags, payload } = packet;
    const header = writeHeader({
      sourceCid: HOST_CID,
      destinationCid: this.cid,
      sourcePort: connection.hostPort,
      destinationPort: connection.guestPort,
      length: payload?.length ?? 0,
      type: TYPE_STREAM,
      op,
      flags,
      ...connection.credit,
    });
    chain.write(0, header);
    if (payload) chain.write(HEADER_SIZE, payload);
    return HEADER_SIZE + (payload?.length ?? 0);
  }

  private tellReset(): void {
    if (!this.resetPending || !this.port?.live) return;
    const queue = this.port.queue(QUEUE.EVENT);
    const chain = queue.pop();
    if (!chain) return;
    this.resetPending = false;
    queue.push(chain, chain.write(0, TRANSPORT_RESET) ? TRANSPORT_RESET.length : 0);
    queue.flush();
  }

  // ---- reset and saved state ----

  reset(): void {
    for (const connection of this.connections.values()) connection.abandon();
    this.connections.clear();
    this.ready.clear();
    this.refusals.length = 0;
    this.resetPending = false;
    this.nextHostPort = FIRST_HOST_PORT;
  }

  resume(): void {
    this.resetPending = true;
    this.tellReset();
    if (this.port?.live) this.takePackets();
  }

  save(): State {
    return { nextHostPort: this.nextHostPort };
  }

  restore(state: State): void {
    this.reset();
    this.nextHostPort = state.nextHostPort;
  }
}

const keyOf = (guestPort: number, hostPort: number): string => `${guestPort}:${hostPort}`;
