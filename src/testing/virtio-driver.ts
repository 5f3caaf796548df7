/**
 * The driver's side of a virtio device, for tests of any of them: finds the device's structures through PCI
 * configuration space, sets it up as VIRTIO 1.2 §3.1 says and exchanges buffers through split virtqueues in fake memory.
 */
import { Bus } from '../bus/io-space.js';
import { PciBus } from '../bus/pci/pci-bus.js';
import type { VirtioDevice } from '../devices/virtio/device.js';
import { VirtioPci } from '../devices/virtio/virtio-pci.js';
import { RecordingLine, RecordingMsi } from '../host/fake/lines.js';
import { FakeMemory } from '../host/fake/memory.js';

const REGISTER_BAR = 0x1_0000_0000;
const MSIX_BAR = 0xfe00_0000;
/** Guest memory of the test machine, bytes. */
const MEMORY_SIZE = 0x20_0000;
const SLOT = 3;

export const VERSION_1 = 1n << 32n;
export const INDIRECT = 1n << 28n;
export const EVENT_IDX = 1n << 29n;

/** Offsets in the common configuration structure, §4.1.4.3. */
export const COMMON = {
  DEVICE_FEATURE_SELECT: 0x00,
  DEVICE_FEATURE: 0x04,
  DRIVER_FEATURE_SELECT: 0x08,
  DRIVER_FEATURE: 0x0c,
  CONFIG_VECTOR: 0x10,
  NUM_QUEUES: 0x12,
  STATUS: 0x14,
  GENERATION: 0x15,
  QUEUE_SELECT: 0x16,
  QUEUE_SIZE: 0x18,
  QUEUE_VECTOR: 0x1a,
  QUEUE_ENABLE: 0x1c,
  QUEUE_NOTIFY_OFF: 0x1e,
  QUEUE_DESC: 0x20,
  QUEUE_DRIVER: 0x28,
  QUEUE_DEVICE: 0x30,
} as const;

/** Where a structure lies in memory space. */
interface Area {
  readonly base: number;
  readonly size: number;
}

export interface SetUpOptions {
  /** Features to accept of those offered. Default: all. */
  readonly features?: bigint;
  /** Use MSI-X, vector 0 for configuration changes and 1 + n for queue n. Default: INTx. */
  readonly msix?: boolean;
  /** Size of every queue. Default: 16, or less where the device has less. */
  readonly queueSize?: number;
}

/** A machine with one virtio device in slot 3, and its driver. */
export class VirtioDriver {
  readonly bus = new Bus();
  readonly msi = new RecordingMsi();
  readonly line = new RecordingLine();
  readonly transport: VirtioPci;
  /** Structures by their type: 1 common, 2 notify, 3 ISR, 4 device. */
  readonly areas = new Map<number, Area>();
  queues: DriverQueue[] = [];
  accepted = 0n;
  private notifyMultiplier = 0;
  private free = 0x1000;
  private behindQueues = 0;

  constructor(
    device: VirtioDevice,
    readonly memory = new FakeMemory(MEMORY_SIZE),
  ) {
    const environment = { ports: this.bus.ports, memory: this.bus.memory, msi: this.msi };
    this.transport = new VirtioPci({ name: device.id, device, environment, dma: memory });
    new PciBus(() => this.line).attach(SLOT, this.transport.pci);
    this.enumerate();
  }

  // ---- configuration space ----

  config(offset: number, size: 1 | 2 | 4): number {
    return this.transport.pci.config.read(offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.transport.pci.config.write(offset, size, value);
  }

  /** Offsets of the capabilities, as [id, offset]. */
  capabilities(): [number, number][] {
    const found: [number, number][] = [];
    for (let at = this.config(0x34, 1); at !== 0; at = this.config(at + 1, 1)) found.push([this.config(at, 1), at]);
    return found;
  }

  private enumerate(): void {
    this.writeConfig(0x14, 4, MSIX_BAR);
    this.writeConfig(0x20, 4, REGISTER_BAR % 2 ** 32);
    this.writeConfig(0x24, 4, Math.floor(REGISTER_BAR / 2 ** 32));
    this.writeConfig(0x04, 2, 6);
    for (const [id, at] of this.capabilities()) {
      if (id !== 9) continue;
      const type = this.config(at + 3, 1);
      if (this.config(at + 4, 1) === 4)
        this.areas.set(type, { base: REGISTER_BAR + this.config(at + 8, 4), size: this.config(at + 12, 4) });
      if (type === 2) this.notifyMultiplier = this.config(at + 16, 4);
    }
  }

  // ---- structures ----

  private at(type: number): number {
    const area = this.areas.get(type);
    if (!area) throw new Error(`the device has no structure of type ${type}`);
    return area.base;
  }

  common(offset: number, size: 1 | 2 | 4): number {
    return this.bus.mmioRead(this.at(1) + offset, size);
  }

  writeCommon(offset: number, size: 1 | 2 | 4, value: number): void {
    this.bus.mmioWrite(this.at(1) + offset, size, value);
  }

  device(offset: number, size: 1 | 2 | 4): number {
    return this.bus.mmioRead(this.at(4) + offset, size);
  }

  writeDevice(offset: number, size: 1 | 2 | 4, value: number): void {
    this.bus.mmioWrite(this.at(4) + offset, size, value);
  }

  /** Reads and so clears the ISR status. */
  isr(): number {
    return this.bus.mmioRead(this.at(3), 1);
  }

  get status(): number {
    return this.common(COMMON.STATUS, 1);
  }

  set status(value: number) {
    this.writeCommon(COMMON.STATUS, 1, value);
  }

  /** Whether the device says that it needs a reset. */
  get needsReset(): boolean {
    return (this.status & 0x40) !== 0;
  }

  offered(): bigint {
    let features = 0n;
    for (const half of [0, 1]) {
      this.writeCommon(COMMON.DEVICE_FEATURE_SELECT, 4, half);
      features |= BigInt(this.common(COMMON.DEVICE_FEATURE, 4)) << BigInt(32 * half);
    }
    return features;
  }

  accept(features: bigint): void {
    this.accepted = features;
    for (const half of [0, 1]) {
      this.writeCommon(COMMON.DRIVER_FEATURE_SELECT, 4, half);
      this.writeCommon(COMMON.DRIVER_FEATURE, 4, Number((features >> BigInt(32 * half)) & 0xffff_ffffn));
    }
  }

  // ---- initialisation, §3.1.1 ----

  /** Resets the device and sets it up with all its queues. */
  setUp(options: SetUpOptions = {}): this {
    this.status = 0;
    this.free = 0x1000;
    this.status = 3;
    this.accept(this.offered() & (options.features ?? -1n));
    this.status = 0xb;
    if (!(this.status & 8)) throw new Error('the device refused the features');
    if (options.msix) this.enableMsix();
    const count = this.common(COMMON.NUM_QUEUES, 2);
    this.queues = Array.from({ length: count }, (_, index) => this.setUpQueue(index, options));
    this.behindQueues = this.free;
    this.status = 0xf;
    return this;
  }

  private enableMsix(): void {
    const at = this.capabilities().find(([id]) => id === 0x11)?.[1] ?? 0;
    const vectors = (this.config(at + 2, 2) & 0x7ff) + 1;
    for (let vector = 0; vector < vectors; vector++) {
      this.bus.mmioWrite(MSIX_BAR + vector * 16, 4, 0xfee0_0000);
      this.bus.mmioWrite(MSIX_BAR + vector * 16 + 8, 4, 0x40 + vector);
      this.bus.mmioWrite(MSIX_BAR + vector * 16 + 12, 4, 0);
    }
    this.writeConfig(at + 2, 2, 0x8000);
    this.writeCommon(COMMON.CONFIG_VECTOR, 2, 0);
  }

  private setUpQueue(index: number, options: SetUpOptions): DriverQueue {
    this.writeCommon(COMMON.QUEUE_SELECT, 2, index);
    const size = Math.min(options.queueSize ?? 16, this.common(COMMON.QUEUE_SIZE, 2));
    this.writeCommon(COMMON.QUEUE_SIZE, 2, size);
    if (options.msix) this.writeCommon(COMMON.QUEUE_VECTOR, 2, index + 1);
    const [desc, avail, used] = [this.allocate(16 * size), this.allocate(6 + 2 * size), this.allocate(6 + 8 * size)];
    const address = (offset: number, value: number): void => {
      this.writeCommon(offset, 4, value);
      this.writeCommon(offset + 4, 4, 0);
    };
    address(COMMON.QUEUE_DESC, desc);
    address(COMMON.QUEUE_DRIVER, avail);
    address(COMMON.QUEUE_DEVICE, used);
    this.writeCommon(COMMON.QUEUE_ENABLE, 2, 1);
    const notify = this.at(2) + this.notifyMultiplier * this.common(COMMON.QUEUE_NOTIFY_OFF, 2);
    return new DriverQueue(this, { index, size, desc, avail, used, notify });
  }

  /** Takes back all memory that was allocated since the queues were set up, whether the device still has it or not. */
  reuse(): void {
    this.free = this.behindQueues;
  }

  /** Takes zeroed guest memory, aligned to 16 bytes. */
  allocate(size: number): number {
    const at = this.free;
    this.free = Math.ceil((at + size) / 16) * 16;
    if (this.free > this.memory.bytes.length) throw new Error('the test machine is out of memory');
    this.memory.bytes.fill(0, at, this.free);
    return at;
  }

  /** Message data sent since the last call. */
  messages(): number[] {
    return this.msi.messages.splice(0).map(({ data }) => data);
  }
}

interface Placement {
  readonly index: number;
  readonly size: number;
  /** Addresses of descriptors, available ring, used ring and notification register. */
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly notify: number;
}

/** A buffer that came back. */
export interface Returned {
  readonly head: number;
  /** What the used ring says was written. */
  readonly length: number;
  /** The whole of the writable part. */
  readonly data: Uint8Array;
}

/** A virtqueue as the driver has it. */
export class DriverQueue {
  readonly view: DataView;
  private nextDescriptor = 0;
  private available = 0;
  private lastUsed = 0;
  private readonly writable = new Map<number, { at: number; length: number }[]>();

  constructor(
    private readonly driver: VirtioDriver,
    readonly place: Placement,
  ) {
    this.view = new DataView(driver.memory.bytes.buffer);
  }

  /** Writes a descriptor, into the queue's table or another one. */
  descriptor(index: number, address: number, length: number, flags: number, next = 0, table = this.place.desc): void {
    const at = table + 16 * index;
    this.view.setBigUint64(at, BigInt(address), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  /** Puts a head into the available ring. */
  offer(head: number): void {
    this.view.setUint16(this.place.avail + 4 + 2 * (this.available % this.place.size), head, true);
    this.available = (this.available + 1) & 0xffff;
    this.view.setUint16(this.place.avail + 2, this.available, true);
  }

  /** Offers a buffer: parts that the device reads, then sizes of parts that it writes. Returns the head. */
  add(out: readonly Uint8Array[], into: readonly number[], indirect = false): number {
    const parts = [
      ...out.map((bytes) => {
        const at = this.driver.allocate(bytes.length);
        this.driver.memory.bytes.set(bytes, at);
        return { at, length: bytes.length, flags: 0 };
      }),
      ...into.map((length) => ({ at: this.driver.allocate(length), length, flags: 2 })),
    ];
    const { size } = this.place;
    const table = indirect ? this.driver.allocate(16 * parts.length) : this.place.desc;
    const first = indirect ? 0 : this.nextDescriptor;
    const number = (i: number): number => (indirect ? i : (first + i) % size);
    parts.forEach(({ at, length, flags }, i) => {
      const more = i + 1 < parts.length;
      this.descriptor(number(i), at, length, flags | (more ? 1 : 0), more ? number(i + 1) : 0, table);
    });
    const head = this.nextDescriptor;
    if (indirect) this.descriptor(head, table, 16 * parts.length, 4);
    this.nextDescriptor = (head + (indirect ? 1 : parts.length)) % size;
    this.writable.set(
      head,
      parts.filter(({ flags }) => flags === 2),
    );
    this.offer(head);
    return head;
  }

  kick(): void {
    this.driver.bus.mmioWrite(this.place.notify, 2, this.place.index);
  }

  /** What the device has given back since the last call. */
  collect(): Returned[] {
    const returned: Returned[] = [];
    const { used, size } = this.place;
    while (this.lastUsed !== this.view.getUint16(used + 2, true)) {
      const element = used + 4 + 8 * (this.lastUsed % size);
      const head = this.view.getUint32(element, true);
      const parts = this.writable.get(head) ?? [];
      const data = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
      let filled = 0;
      for (const { at, length } of parts) {
        data.set(this.driver.memory.bytes.subarray(at, at + length), filled);
        filled += length;
      }
      returned.push({ head, length: this.view.getUint32(element + 4, true), data });
      this.lastUsed = (this.lastUsed + 1) & 0xffff;
    }
    return returned;
  }

  /** Offers a buffer, notifies the device, and returns what came back. */
  exchange(out: readonly Uint8Array[], into: readonly number[], indirect = false): Returned[] {
    this.add(out, into, indirect);
    this.kick();
    return this.collect();
  }

  /** avail.flags: bit 0 asks for no interrupts. */
  set availableFlags(value: number) {
    this.view.setUint16(this.place.avail, value, true);
  }

  /** With EVENT_IDX: the used index from which on the driver wants an interrupt. */
  set usedEvent(value: number) {
    this.view.setUint16(this.place.avail + 4 + 2 * this.place.size, value, true);
  }

  /** With EVENT_IDX: the available index from which on the device wants a notification. */
  get availableEvent(): number {
    return this.view.getUint16(this.place.used + 4 + 8 * this.place.size, true);
  }
}
