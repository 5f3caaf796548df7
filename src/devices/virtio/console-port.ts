import { STREAM_WINDOW, type StreamEnd, type StreamListener } from '../../iface/streams.js';
import type { VirtioPort } from './device.js';

/** At most this much of one buffer is sent; what a driver offers beyond is dropped, so that it cannot hold the machine up. */
const MAX_BYTES = 0x10_0000;

/** What a port asks of its console. */
export interface PortOwner {
  /** The transport, while the driver runs. */
  readonly live: VirtioPort | undefined;
  /** Somebody outside has come, or has gone. */
  hostChanged(port: ConsolePort): void;
}

/** A port of the console device that leads to a stream, VIRTIO 1.2 §5.3.6.1. */
export class ConsolePort {
  /** The driver has the port. */
  ready = false;
  /** A program of the guest has it open: only then does the driver keep what is sent to it. */
  open = false;
  /** What the driver was last told of the other side. */
  told = false;
  private end: StreamEnd | undefined;
  private readonly waiting: Uint8Array[] = [];
  /** Bytes of `waiting` whose senders have gone. */
  private left = 0;
  /** From the guest, beyond what the stream had room for. */
  private overflow: Uint8Array | undefined;
  /** Bytes from the guest that nobody was there to take, or that were not in RAM. */
  dropped = 0;

  /** `queues`: index of the queue to the guest; the one from it is next. */
  constructor(
    readonly index: number,
    readonly name: string,
    private readonly queues: number,
    private readonly owner: PortOwner,
  ) {}

  /** Somebody is connected outside, or was, and the guest has not yet taken all of what they sent. */
  get connected(): boolean {
    return this.end !== undefined || this.left > 0;
  }

  /** Undefined: somebody is connected already, or those before have left more than is kept for them. */
  accept(end: StreamEnd): StreamListener | undefined {
    if (this.end || this.left >= STREAM_WINDOW) return undefined;
    this.end = end;
    end.accept(this.index);
    this.owner.hostChanged(this);
    return {
      accepted() {},
      data: (bytes) => {
        this.waiting.push(bytes);
        this.feed();
      },
      drained: () => this.transmit(),
      ended() {},
      closed: () => {
        this.end = undefined;
        this.left = this.waitingBytes();
        this.overflow = undefined;
        this.owner.hostChanged(this);
        this.transmit();
      },
    };
  }

  notified(queue: number): void {
    if (queue === this.queues) this.feed();
    else this.transmit();
  }

  /** Gives the guest what it has buffers for. */
  feed(): void {
    const queue = this.owner.live?.queue(this.queues);
    if (!queue || !this.open) return;
    for (let first = this.waiting.at(0); first; first = this.waiting.at(0)) {
      const chain = queue.pop();
      if (!chain) break;
      const part = first.subarray(0, chain.writeLength);
      queue.push(chain, chain.write(0, part) ? part.length : 0);
      this.took(part.length);
      if (part.length === first.length) this.waiting.shift();
      else this.waiting[0] = first.subarray(part.length);
    }
    queue.flush();
    if (this.left === 0) this.owner.hostChanged(this);
  }

  private waitingBytes(): number {
    return this.waiting.reduce((sum, { length }) => sum + length, 0);
  }

  /** The guest has so many bytes more: first those of whoever has gone, who needs no telling. */
  private took(count: number): void {
    const old = Math.min(count, this.left);
    this.left -= old;
    this.end?.taken(count - old);
  }

  /** Takes what the guest sends while there is room for it. With nobody there it goes nowhere. */
  private transmit(): void {
    const queue = this.owner.live?.queue(this.queues + 1);
    this.sendOverflow();
    while (!this.overflow) {
      const chain = queue?.pop();
      if (!chain) break;
      const bytes = new Uint8Array(Math.min(chain.readLength, MAX_BYTES));
      this.dropped += chain.readLength - bytes.length;
      if (chain.read(0, bytes) && this.end) {
        this.overflow = bytes;
        this.sendOverflow();
      } else this.dropped += bytes.length;
      queue?.push(chain, 0);
    }
    queue?.flush();
  }

  private sendOverflow(): void {
    const { overflow, end } = this;
    if (!overflow || !end) return;
    const part = overflow.subarray(0, Math.max(0, end.room));
    end.send(part);
    this.overflow = part.length < overflow.length ? overflow.subarray(part.length) : undefined;
  }

  /** The driver is gone; whoever is outside stays. */
  reset(): void {
    this.ready = false;
    this.open = false;
    this.told = false;
    const bytes = this.waitingBytes();
    this.waiting.length = 0;
    this.took(bytes);
  }
}
