import { gpa, type Gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import { array, bool, range, struct, u16, u32, type Infer } from '../../snapshot/schema.js';
import { DescriptorChain } from './descriptor-chain.js';
import { AVAILABLE, DESCRIPTOR, DESCRIPTOR_FLAG, FEATURE, MAX_CHAIN_BYTES, MAX_QUEUE_SIZE, USED } from './registers.js';

/** What a queue asks of its transport. */
export interface QueueHost {
  readonly dma: Dma;
  /** The features that the driver accepted. */
  readonly features: bigint;
  /** Tells the driver about used buffers. */
  interrupt(): void;
  /** The driver broke the rules: the device needs a reset (§2.1.2). */
  broken(): void;
}

export const queueSchema = struct({
  size: range(1, MAX_QUEUE_SIZE),
  ready: bool,
  /** Low and high halves of the addresses of descriptors, available ring and used ring. */
  addresses: array(u32, { length: 6 }),
  nextAvailable: u16,
  usedIndex: u16,
  signalled: u16,
  outstanding: range(0, MAX_QUEUE_SIZE),
});
export type QueueState = Infer<typeof queueSchema>;

/** Addresses beyond what a guest-physical address can be stand for this one, where no memory is. */
const NOWHERE = 2 ** 52 - 2 ** 33;

/** Where descriptors are read to: one, or all of an indirect table. */
const descriptors = new Uint8Array(DESCRIPTOR.SIZE * MAX_QUEUE_SIZE);
/** Of one, and of the table: guests are little-endian, and so are the hosts. */
const words = new Uint32Array(descriptors.buffer);

const address = (low: number, high: number): Gpa => gpa(high < 2 ** 20 ? high * 2 ** 32 + low : NOWHERE);

/**
 * A split virtqueue, VIRTIO 1.2 §2.7, seen from the device. Rings and descriptors are the guest's and may hold anything:
 * what breaks the rules is reported as `broken` and stops the queue; no chain is followed for longer than its table.
 */
export class Virtqueue {
  size: number;
  ready = false;
  /** Low and high halves of the addresses of descriptors, available ring and used ring. */
  readonly addresses = new Uint32Array(6);
  private nextAvailable = 0;
  private usedIndex = 0;
  /** `usedIndex` when the driver was last told, or would have been. */
  private signalled = 0;
  /** Chains taken and not yet given back. */
  private outstanding = 0;
  private stopped = false;

  /** `maxSize` is a power of two, at most MAX_QUEUE_SIZE. */
  constructor(
    readonly maxSize: number,
    private readonly host: QueueHost,
  ) {
    this.size = maxSize;
  }

  reset(): void {
    this.size = this.maxSize;
    this.ready = false;
    this.addresses.fill(0);
    this.nextAvailable = 0;
    this.usedIndex = 0;
    this.signalled = 0;
    this.outstanding = 0;
    this.stopped = false;
  }

  /** Takes the next chain that the driver has made available. */
  pop(): DescriptorChain | undefined {
    if (!this.usable) return undefined;
    const { dma } = this.host;
    let waiting = this.waiting();
    if (waiting === 0 && this.eventIndex) {
      // Ask for a notification from here on, then look again: the driver may just have added something (§2.7.10).
      dma.writeU16(gpa(this.used + USED.RING + USED.ELEMENT * this.size), this.nextAvailable);
      dma.fence();
      waiting = this.waiting();
    }
    if (waiting === 0) return undefined;
    if (waiting > this.size || this.outstanding >= this.size) {
      this.broken();
      return undefined;
    }
    const chain = this.reopen(dma.readU16(gpa(this.available + AVAILABLE.RING + 2 * (this.nextAvailable % this.size))));
    if (chain) {
      this.nextAvailable = (this.nextAvailable + 1) & 0xffff;
      this.outstanding++;
    }
    return chain;
  }

  /** Reads the chain that begins at a descriptor: again, if it was taken before a save and never given back. */
  reopen(head: number): DescriptorChain | undefined {
    if (!this.usable) return undefined;
    const chain = this.follow(head);
    if (!chain) this.broken();
    return chain;
  }

  /** Takes back the last `count` calls of `pop`: the chains are as the driver made them available. */
  unpop(count: number): void {
    if (!this.usable) return;
    this.nextAvailable = (this.nextAvailable - count) & 0xffff;
    this.outstanding = Math.max(0, this.outstanding - count);
  }

  /** Gives a chain back, of which the device wrote `written` bytes. `flush` tells the driver. */
  push(chain: DescriptorChain, written: number): void {
    this.pushAll([chain], [written]);
  }

  /** Gives chains back that belong together: the driver sees all of them or none. */
  pushAll(chains: readonly DescriptorChain[], written: readonly number[]): void {
    if (!this.usable) return;
    const { dma } = this.host;
    chains.forEach((chain, i) => {
      const element = this.used + USED.RING + USED.ELEMENT * (this.usedIndex % this.size);
      dma.writeU32(gpa(element), chain.head);
      dma.writeU32(gpa(element + 4), written[i]);
      this.usedIndex = (this.usedIndex + 1) & 0xffff;
    });
    this.outstanding = Math.max(0, this.outstanding - chains.length);
    dma.writeU16(gpa(this.used + USED.INDEX), this.usedIndex);
  }

  /**
   * Interrupts the driver for what was pushed since the last time, unless it does not want to know (§2.7.7, §2.7.10). True:
   * it was told.
   */
  flush(): boolean {
    if (!this.usable || this.usedIndex === this.signalled) return false;
    const { dma } = this.host;
    // The driver asks for an interrupt, and then looks for used buffers once more (§2.7.7.1).
    dma.fence();
    const [old, now] = [this.signalled, this.usedIndex];
    this.signalled = now;
    if (this.eventIndex) {
      const event = dma.readU16(gpa(this.available + AVAILABLE.RING + 2 * this.size));
      if (((now - event - 1) & 0xffff) >= ((now - old) & 0xffff)) return false;
    } else if (dma.readU16(gpa(this.available + AVAILABLE.FLAGS)) & AVAILABLE.NO_INTERRUPT) return false;
    this.host.interrupt();
    return true;
  }

  private get usable(): boolean {
    return this.ready && !this.stopped;
  }

  private get eventIndex(): boolean {
    return (this.host.features & FEATURE.EVENT_IDX) !== 0n;
  }

  private get descriptors(): Gpa {
    return address(this.addresses[0], this.addresses[1]);
  }

  private get available(): Gpa {
    return address(this.addresses[2], this.addresses[3]);
  }

  private get used(): Gpa {
    return address(this.addresses[4], this.addresses[5]);
  }

  private waiting(): number {
    return (this.host.dma.readU16(gpa(this.available + AVAILABLE.INDEX)) - this.nextAvailable) & 0xffff;
  }

  private broken(): void {
    this.stopped = true;
    this.host.broken();
  }

  /** Undefined: the chain breaks the rules. */
  private follow(head: number): DescriptorChain | undefined {
    const { dma } = this.host;
    const readable = { addresses: new Array<Gpa>(), lengths: new Array<number>() };
    const writable = { addresses: new Array<Gpa>(), lengths: new Array<number>() };
    let [table, count, index, left, bytes, indirect] = [this.descriptors, this.size, head, this.size, 0, false];
    // Whether all of the table has been read.
    let whole = false;
    for (;;) {
      // As many steps as the table has entries see every one of them: what goes on after that is a loop.
      if (index >= count || left-- === 0) return undefined;
      const at = whole ? DESCRIPTOR.WORDS * index : 0;
      if (!whole && !dma.read(gpa(table + DESCRIPTOR.SIZE * index), descriptors, 0, DESCRIPTOR.SIZE)) return undefined;
      const low = words[at + DESCRIPTOR.ADDRESS];
      const high = words[at + DESCRIPTOR.ADDRESS + 1];
      const length = words[at + DESCRIPTOR.LENGTH];
      const flags = words[at + DESCRIPTOR.FLAGS];
      if (flags & DESCRIPTOR_FLAG.INDIRECT) {
        // §2.7.5.3.1: only where negotiated, not nested, last in its chain, a table of whole descriptors.
        const entries = length / DESCRIPTOR.SIZE;
        const allowed = !indirect && (this.host.features & FEATURE.INDIRECT_DESC) !== 0n;
        if (!allowed || flags & DESCRIPTOR_FLAG.NEXT || entries % 1 !== 0 || entries === 0 || entries > MAX_QUEUE_SIZE)
          return undefined;
        [table, count, index, left, indirect] = [address(low, high), entries, 0, entries, true];
        // What is not in RAM may be an entry that the chain does not have.
        whole = dma.read(table, descriptors, 0, length);
        continue;
      }
      bytes += length;
      // §2.7.4.2: what the device writes comes after what it reads.
      const pieces = flags & DESCRIPTOR_FLAG.WRITE ? writable : readable;
      const outOfOrder = pieces === readable && writable.lengths.length > 0;
      if (bytes > MAX_CHAIN_BYTES || outOfOrder) return undefined;
      pieces.addresses.push(address(low, high));
      pieces.lengths.push(length);
      if (!(flags & DESCRIPTOR_FLAG.NEXT)) return new DescriptorChain(head, dma, readable, writable);
      index = flags >>> DESCRIPTOR.NEXT_SHIFT;
    }
  }

  save(): QueueState {
    return {
      size: this.size,
      ready: this.ready,
      addresses: [...this.addresses],
      nextAvailable: this.nextAvailable,
      usedIndex: this.usedIndex,
      signalled: this.signalled,
      outstanding: this.outstanding,
    };
  }

  /** `stopped` is part of the device status, which the transport saves. */
  restore(state: QueueState, stopped: boolean): void {
    this.size = Math.min(state.size, this.maxSize);
    this.ready = state.ready;
    this.addresses.set(state.addresses);
    this.nextAvailable = state.nextAvailable;
    this.usedIndex = state.usedIndex;
    this.signalled = state.signalled;
    this.outstanding = state.outstanding;
    this.stopped = stopped;
  }
}
