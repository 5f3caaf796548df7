import { assert } from '../../../base/assert.js';
import { get } from '../../../bus/pci/config-space.js';
import { nanoseconds } from '../../../base/units.js';
import type { Clock, Timer } from '../../../iface/clock.js';
import {
  GSO,
  MAX_FRAME,
  MIN_FRAME,
  type FrameInfo,
  type Gso,
  type NetBackend,
  type Nic,
  type NicOffloads,
} from '../../../iface/net.js';
import { bool, range, struct, u64, type Infer } from '../../../snapshot/schema.js';
import { filterSchema, ReceiveFilter } from '../../net/receive-filter.js';
import type { DescriptorChain } from '../descriptor-chain.js';
import type { VirtioDevice, VirtioPort } from '../device.js';
import { DEVICE_TYPE } from '../registers.js';
import type { Virtqueue } from '../virtqueue.js';
import { control } from './control.js';
import { flowOf, FLOWS } from './flow.js';
import { ACK, CONFIG, FEATURE, GSO_ECN, HEADER, HEADER_FLAG, STATUS_LINK_UP } from './registers.js';

/** Descriptors in a queue for frames, and in the control queue. */
const QUEUE_SIZE = 256;
const CONTROL_SIZE = 64;
export const MAX_PAIRS = 8;
/** Longest control command that is looked at: two tables of some thousand addresses. */
const MAX_COMMAND = 0x1_0000;

/**
 * Nanoseconds for which frames are gathered while a guest offers one after the other: the network is woken and the guest
 * interrupted once for all of them.
 */
const GATHER = 100_000;

/** What a driver can switch off for a while, and what it accepted stands for, §5.1.6.5.6.1. */
const GUEST_OFFLOADS = FEATURE.GUEST_CSUM | FEATURE.GUEST_TSO4 | FEATURE.GUEST_TSO6;

const stateSchema = struct({
  filter: filterSchema,
  pairs: range(1, MAX_PAIRS),
  /** Of GUEST_OFFLOADS, those in force. */
  guestOffloads: u64,
  /** As the guest was told. */
  linkUp: bool,
  /** The driver has set the device up. */
  started: bool,
});
type State = Infer<typeof stateSchema>;

export interface VirtioNetParts {
  readonly id: string;
  readonly backend: NetBackend;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  /** Pairs of queues, 1 … 8. */
  readonly pairs: number;
  /** Largest packet that the network carries, bytes. */
  readonly mtu: number;
  readonly clock: Clock;
}

/**
 * Network device, VIRTIO 1.2 §5.1. The first frame from the guest goes on at once; those that it offers soon after go
 * together, when it has nothing else to do or GATHER is over. What the network has no room for stays
 * in its queue. Frames of a flow arrive by the pair by which the guest sent it last.
 */
export class VirtioNet implements VirtioDevice, Nic {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly deviceType = DEVICE_TYPE.NET;
  /** Ethernet controller. */
  readonly classCode = 0x02_0000;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly configSize = CONFIG.SIZE;
  readonly maxPairs: number;
  readonly filter: ReceiveFilter;
  /** Frames that were thrown away: malformed, or not meant for this card. */
  dropped = 0;

  private readonly backend: NetBackend;
  private port: VirtioPort | undefined;
  private pairs = 1;
  private guestOffloads = 0n;
  private linkUp: boolean;
  private started = false;
  /** Bit for each pair by which frames came that the guest was not told of yet. */
  private fresh = 0;
  /** By which pair each flow was sent last: what comes for it comes by the same, §5.1.6.5.5. */
  private readonly steering = new Uint8Array(FLOWS);
  /** Armed while frames are gathered. */
  private readonly gathering: Timer;
  private readonly header = new Uint8Array(HEADER.SIZE);
  private readonly headerView = new DataView(this.header.buffer);

  constructor(private readonly parts: VirtioNetParts) {
    const { id, backend, mac, pairs } = parts;
    assert(pairs >= 1 && pairs <= MAX_PAIRS, `a network device has 1 … ${MAX_PAIRS} pairs of queues`);
    this.id = id;
    this.backend = backend;
    this.maxPairs = pairs;
    this.filter = new ReceiveFilter(mac);
    this.linkUp = backend.linkUp;
    this.queueSizes = [...new Array<number>(2 * pairs).fill(QUEUE_SIZE), CONTROL_SIZE];
    const all = Object.entries(FEATURE).reduce((set, [, bit]) => set | bit, 0n);
    this.features = pairs > 1 ? all : all & ~FEATURE.MQ;
    this.gathering = parts.clock.createTimer(() => this.gathered());
    backend.connect(this);
  }

  connect(port: VirtioPort): void {
    this.port = port;
  }

  private has(feature: bigint): boolean {
    return ((this.port?.features ?? 0n) & feature) !== 0n;
  }

  // ---- configuration, §5.1.4 ----

  readConfig(offset: number, size: number): number {
    const config = new Uint8Array(CONFIG.SIZE + 4);
    const view = new DataView(config.buffer);
    config.set(this.filter.state.mac, CONFIG.MAC);
    view.setUint16(CONFIG.STATUS, this.linkUp ? STATUS_LINK_UP : 0, true);
    view.setUint16(CONFIG.MAX_PAIRS, this.maxPairs, true);
    view.setUint16(CONFIG.MTU, this.parts.mtu, true);
    return get(config, offset, size);
  }

  /** §5.1.4: everything is read-only for a driver of this version. */
  writeConfig(): void {}

  linkChanged(up: boolean): void {
    if (up === this.linkUp) return;
    this.linkUp = up;
    this.port?.configChanged();
  }

  // ---- queues, §5.1.2 ----

  /** Where the control queue is depends on whether the driver knows of several pairs. */
  private get controlQueue(): number {
    return this.has(FEATURE.MQ) ? 2 * this.maxPairs : 2;
  }

  notified(index: number): void {
    if (!this.started) this.start();
    if (index === this.controlQueue && this.has(FEATURE.CTRL_VQ)) this.serveControl(index);
    else if (index % 2 === 1) this.offered(index);
    else if (index < 2 * this.maxPairs) this.backend.receiveReady();
  }

  private offered(index: number): void {
    if (this.gathering.deadline !== undefined) return;
    this.transmit(index);
    this.gather();
  }

  private gather(): void {
    const { clock } = this.parts;
    this.gathering.arm(nanoseconds(clock.now() + GATHER));
  }

  private gathered(): void {
    if (this.transmitAll().sent) this.gather();
  }

  settle(): boolean {
    if (this.gathering.deadline === undefined) return false;
    this.gathering.cancel();
    return this.transmitAll().told;
  }

  sendReady(): void {
    this.transmitAll();
  }

  /** Also tells the guest of what was sent before. */
  private transmitAll(): { readonly sent: boolean; readonly told: boolean } {
    let [sent, told] = [false, false];
    if (!this.port?.live) return { sent, told };
    for (let pair = 0; pair < this.maxPairs; pair++) {
      if (this.transmit(2 * pair + 1)) sent = true;
      if (this.port.queue(2 * pair + 1).flush()) told = true;
    }
    return { sent, told };
  }

  /** True: something was taken from the queue. */
  private transmit(index: number): boolean {
    const queue = this.port?.queue(index);
    if (!queue || (index > 1 && !this.has(FEATURE.MQ)) || index >= 2 * this.maxPairs) return false;
    let sent = false;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (!this.send(chain, index >> 1)) {
        queue.unpop(1);
        break;
      }
      queue.push(chain, 0);
      sent = true;
    }
    this.backend.flush();
    return sent;
  }

  /** False: the network has no room. */
  private send(chain: DescriptorChain, pair: number): boolean {
    const length = chain.readLength - HEADER.SIZE;
    const info = length >= MIN_FRAME && length <= MAX_FRAME ? this.readHeader(chain, length) : undefined;
    if (!info) {
      this.dropped++;
      return true;
    }
    const room = this.backend.reserve(length);
    if (!room) return false;
    if (chain.read(HEADER.SIZE, room)) {
      if (this.pairs > 1) this.steering[flowOf(room)] = pair;
      this.backend.commit(info);
    } else this.dropped++;
    return true;
  }

  /** §5.1.6.2. Undefined: it says what was not negotiated, or cannot be. */
  private readHeader(chain: DescriptorChain, length: number): FrameInfo | undefined {
    const { header, headerView: view } = this;
    if (!chain.read(0, header)) return undefined;
    const gso = header[HEADER.GSO_TYPE] & ~GSO_ECN;
    const checksum = (header[HEADER.FLAGS] & HEADER_FLAG.NEEDS_CSUM) !== 0;
    const checksumStart = checksum ? view.getUint16(HEADER.CHECKSUM_START, true) : 0;
    const checksumOffset = checksum ? view.getUint16(HEADER.CHECKSUM_OFFSET, true) : 0;
    const segmentSize = gso === GSO.NONE ? 0 : view.getUint16(HEADER.GSO_SIZE, true);
    if (
      checksum &&
      (!this.has(FEATURE.CSUM) || checksumStart < MIN_FRAME || checksumStart + checksumOffset + 2 > length)
    )
      return undefined;
    if (gso !== GSO.NONE) {
      const feature = gso === GSO.TCP4 ? FEATURE.HOST_TSO4 : gso === GSO.TCP6 ? FEATURE.HOST_TSO6 : 0n;
      if (!checksum || segmentSize === 0 || !this.has(feature)) return undefined;
    }
    return { checksumStart, checksumOffset, gso: gso as Gso, segmentSize };
  }

  // ---- frames from the network, §5.1.6.4 ----

  get offloads(): NicOffloads {
    const has = (feature: bigint): boolean => (this.guestOffloads & feature) !== 0n;
    const checksum = has(FEATURE.GUEST_CSUM);
    return {
      checksum,
      tcp4: checksum && has(FEATURE.GUEST_TSO4),
      tcp6: checksum && has(FEATURE.GUEST_TSO6),
    };
  }

  /** The pair by which a frame comes to the guest. */
  private pairOf(frame: Uint8Array): number {
    if (this.pairs === 1) return 0;
    const pair = this.steering[flowOf(frame)];
    return pair < this.pairs && this.port?.queue(2 * pair).ready ? pair : 0;
  }

  receive(frame: Uint8Array, info: FrameInfo): boolean {
    const { port } = this;
    // Without a driver a card loses what comes.
    if (!port?.live || !port.queue(0).ready || !this.filter.takes(frame, this.has(FEATURE.CTRL_VLAN))) {
      this.dropped++;
      return true;
    }
    const pair = this.pairOf(frame);
    const queue = port.queue(2 * pair);
    const need = HEADER.SIZE + frame.length;
    const chains: DescriptorChain[] = [];
    for (let room = 0; room < need;) {
      const chain = queue.pop();
      if (!chain) {
        queue.unpop(chains.length);
        // A queue that is broken will never have room.
        return !port.live;
      }
      room += chain.writeLength;
      chains.push(chain);
      if (!this.has(FEATURE.MRG_RXBUF) && room < need) return this.drop(queue, chains);
      // Buffers of no length, again and again.
      if (chains.length > QUEUE_SIZE) return this.drop(queue, chains);
    }
    this.writeFrame(queue, chains, frame, info);
    this.fresh |= 1 << pair;
    return true;
  }

  private drop(queue: Virtqueue, chains: readonly DescriptorChain[]): true {
    this.dropped++;
    queue.unpop(chains.length);
    return true;
  }

  private writeFrame(queue: Virtqueue, chains: readonly DescriptorChain[], frame: Uint8Array, info: FrameInfo): void {
    const { header, headerView: view } = this;
    header.fill(0);
    header[HEADER.FLAGS] = info.checksumStart > 0 ? HEADER_FLAG.NEEDS_CSUM : 0;
    header[HEADER.GSO_TYPE] = info.gso;
    view.setUint16(HEADER.GSO_SIZE, info.segmentSize, true);
    view.setUint16(HEADER.CHECKSUM_START, info.checksumStart, true);
    view.setUint16(HEADER.CHECKSUM_OFFSET, info.checksumOffset, true);
    // §5.1.6.4.1: at least the headers; Linux takes them as a hint.
    if (info.gso !== GSO.NONE) view.setUint16(HEADER.HEADER_LENGTH, info.checksumStart + 20, true);
    view.setUint16(HEADER.BUFFERS, chains.length, true);
    const written: number[] = [];
    let done = 0;
    // The header may lie across buffers, if the driver wants it so.
    let headerDone = 0;
    for (const chain of chains) {
      const start = Math.min(chain.writeLength, HEADER.SIZE - headerDone);
      if (start > 0) chain.write(0, header.subarray(headerDone, headerDone + start));
      headerDone += start;
      const count = Math.min(chain.writeLength - start, frame.length - done);
      if (count > 0) chain.write(start, frame.subarray(done, done + count));
      done += Math.max(0, count);
      written.push(start + Math.max(0, count));
    }
    queue.pushAll(chains, written);
  }

  received(): void {
    for (let pair = 0; this.fresh >> pair > 0; pair++) if (this.fresh & (1 << pair)) this.port?.queue(2 * pair).flush();
    this.fresh = 0;
  }

  // ---- control queue ----

  private serveControl(index: number): void {
    const queue = this.port?.queue(index);
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) {
      const message = new Uint8Array(Math.min(chain.readLength, MAX_COMMAND));
      const ok = chain.readLength <= MAX_COMMAND && chain.read(0, message) && this.command(message);
      queue?.push(chain, chain.write(0, Uint8Array.of(ok ? ACK.OK : ACK.ERROR)) ? 1 : 0);
    }
    queue?.flush();
  }

  private command(message: Uint8Array): boolean {
    const { filter, maxPairs } = this;
    const ok = control(
      {
        features: this.port?.features ?? 0n,
        filter,
        maxPairs,
        setPairs: (pairs) => (this.pairs = pairs),
        setGuestOffloads: (bits) => {
          if (bits & ~(GUEST_OFFLOADS & (this.port?.features ?? 0n))) return false;
          this.guestOffloads = bits;
          return true;
        },
      },
      message,
    );
    // What the card takes may have changed.
    this.backend.receiveReady();
    return ok;
  }

  // ---- reset and saved state ----

  /** DRIVER_OK: what the driver accepted is in force. */
  private start(): void {
    this.started = true;
    this.guestOffloads = (this.port?.features ?? 0n) & GUEST_OFFLOADS;
    // Promiscuous only where the driver cannot say what it wants, §5.1.6.5.1.
    this.filter.set({ promiscuous: !this.has(FEATURE.CTRL_RX) });
    this.backend.receiveReady();
  }

  reset(): void {
    this.gathering.cancel();
    this.started = false;
    this.pairs = 1;
    this.steering.fill(0);
    this.guestOffloads = 0n;
    this.filter.reset();
    this.backend.receiveReady();
  }

  /** After a restore: goes on where the guest was, on a network that may have gone. */
  resume(): void {
    this.linkChanged(this.backend.linkUp);
    if (!this.port?.live) return;
    this.backend.receiveReady();
    this.sendReady();
  }

  save(): State {
    return {
      filter: this.filter.save(),
      pairs: this.pairs,
      guestOffloads: this.guestOffloads,
      linkUp: this.linkUp,
      started: this.started,
    };
  }

  restore(state: State): void {
    this.filter.restore({ ...state.filter, vlans: state.filter.vlans.slice() });
    this.pairs = Math.min(state.pairs, this.maxPairs);
    this.guestOffloads = state.guestOffloads;
    this.linkUp = state.linkUp;
    this.started = state.started;
  }
}
