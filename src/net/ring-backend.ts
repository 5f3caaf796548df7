import type { FrameInfo, NetBackend, Nic } from '../iface/net.js';
import { FINISHED, GSO } from '../iface/net.js';
import { bytes, struct, type Infer } from '../snapshot/schema.js';
import { OFFLOAD, type FrameRing } from './frame-ring.js';
import { cutSegments } from './segment.js';
import type { FrameSink } from './user/ip-output.js';
import type { NearGateway } from './user/near-gateway.js';

const stateSchema = struct({
  /** What the thread of the network wants to find again; its own format. */
  connections: bytes(),
});
type State = Infer<typeof stateSchema>;

/** Frames handed to a card in one go, so that the CPU gets its turn. */
const BATCH = 256;
/** Answers of the near gateway that wait for the card; more are lost. */
const MAX_ANSWERS = 256;

/** The thread that a network lives on, as the machine's thread sees it. */
export interface NetThread {
  /** Something was put into the ring. Not called while the thread is awake. */
  wake(): void;
  /** The guest's card is another one: the machine was reset. */
  reset(): void;
  /** What is to be found again after a restore; blocks for a moment. */
  save(): Uint8Array;
  /** Comes before the first frame. */
  restore(connections: Uint8Array): void;
}

/**
 * The machine's end of a network that lives on another thread: two rings of frames, looked at between slices. What the
 * card cannot take so is finished here.
 */
export class RingBackend implements NetBackend {
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  linkUp = true;
  private nic: Nic | undefined;
  private readonly near: NearGateway | undefined;
  /** What the card fills next. */
  private room: Uint8Array | undefined;
  /** Packets of a frame that was cut, which the card had no room for yet, and answers of the near gateway. */
  private waiting: Uint8Array[] = [];
  private starved = false;
  private waitsForRoom = false;

  constructor(
    readonly id: string,
    private readonly toNetwork: FrameRing,
    private readonly fromNetwork: FrameRing,
    private readonly thread: NetThread,
    openNear: (sink: FrameSink) => NearGateway | undefined,
  ) {
    this.near = openNear(this.nearSink());
  }

  private nearSink(): FrameSink {
    let answer = new Uint8Array(0);
    return {
      offloads: { checksum: false, tcp4: false, tcp6: false },
      reserve: (length) => {
        answer = new Uint8Array(length);
        return this.waiting.length < MAX_ANSWERS ? answer : undefined;
      },
      commit: () => this.waiting.push(answer),
    };
  }

  connect(nic: Nic): void {
    if (this.nic) this.thread.reset();
    this.nic = nic;
    this.waiting = [];
    this.starved = false;
    this.waitsForRoom = false;
    this.tellOffloads();
  }

  /** The network came or went. */
  setLink(up: boolean): void {
    if (up === this.linkUp) return;
    this.linkUp = up;
    this.nic?.linkChanged(up);
  }

  reserve(length: number): Uint8Array | undefined {
    let room = this.toNetwork.reserve(length);
    if (!room) {
      this.toNetwork.waitForRoom();
      room = this.toNetwork.reserve(length);
      this.waitsForRoom = room === undefined;
      if (this.waitsForRoom) this.flush();
    }
    this.room = room;
    return room;
  }

  commit(info: FrameInfo): void {
    if (this.room && this.near?.receive(this.room)) return;
    this.toNetwork.commit(info);
  }

  flush(): void {
    const { nic } = this;
    // Whoever has the answer at once need not go idle and be woken for it.
    if (nic && this.waiting.length > 0 && !this.starved) this.deliver(nic);
    // A card may find nothing to send when its driver rings.
    if (!this.toNetwork.isEmpty && this.toNetwork.takeSleeper()) this.thread.wake();
  }

  receiveReady(): void {
    this.tellOffloads();
    this.starved = false;
    this.poll();
  }

  private tellOffloads(): void {
    const { checksum, tcp4, tcp6 } = this.nic?.offloads ?? { checksum: false, tcp4: false, tcp6: false };
    this.fromNetwork.setOffloads(
      (checksum ? OFFLOAD.CHECKSUM : 0) | (tcp4 ? OFFLOAD.TCP4 : 0) | (tcp6 ? OFFLOAD.TCP6 : 0),
    );
  }

  /** Frames wait that the card has room for. */
  get isBusy(): boolean {
    return !this.starved && (this.waiting.length > 0 || !this.fromNetwork.isEmpty);
  }

  /** The guest's CPUs are about to sleep. True: not now. */
  settle(): boolean {
    return (this.nic?.settle() ?? false) || this.isBusy;
  }

  /** Takes what has come. Cheap when nothing has. */
  poll(): void {
    const { nic } = this;
    if (!nic) return;
    this.near?.poll();
    if (this.waitsForRoom && this.toNetwork.reserve(2048)) {
      this.waitsForRoom = false;
      nic.sendReady();
    }
    if (this.starved || (this.waiting.length === 0 && this.fromNetwork.isEmpty)) return;
    this.deliver(nic);
  }

  private deliver(nic: Nic): void {
    let count = 0;
    for (; count < BATCH && !this.starved; count++) {
      const packet = this.waiting.at(0);
      if (packet) {
        if (nic.receive(packet, FINISHED)) this.waiting.shift();
        else this.starved = true;
        continue;
      }
      const next = this.fromNetwork.peek();
      if (!next) break;
      if (this.takes(nic, next.info)) {
        if (nic.receive(next.frame, next.info)) this.fromNetwork.release();
        else this.starved = true;
        continue;
      }
      cutSegments(next.frame, next.info, (part) => {
        this.waiting.push(part.slice());
        return true;
      });
      this.fromNetwork.release();
    }
    nic.received();
    if (this.fromNetwork.takeWaiter()) this.thread.wake();
  }

  private takes({ offloads }: Nic, { gso, checksumStart }: FrameInfo): boolean {
    if (gso !== GSO.NONE) return gso === GSO.TCP4 ? offloads.tcp4 : offloads.tcp6;
    return checksumStart === 0 || offloads.checksum;
  }

  save(): State {
    return { connections: this.thread.save() };
  }

  restore({ connections }: State): void {
    this.thread.restore(connections);
  }
}
