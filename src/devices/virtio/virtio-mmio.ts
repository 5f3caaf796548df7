/** Virtio over MMIO, VIRTIO 1.2 §4.2, without the legacy interface. */
import { allOnes } from '../../bus/pci/config-space.js';
import type { IoHandler } from '../../iface/bus.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { IrqLine } from '../../iface/lines.js';
import { array, struct, u32, u64, u8, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { VirtioDevice } from './device.js';
import { CAUSE, VirtioTransport } from './transport.js';
import { queueSchema, type Virtqueue } from './virtqueue.js';

/** Registers, §4.2.2: 32 bits each. */
const REG = {
  MAGIC: 0x000,
  VERSION: 0x004,
  DEVICE_ID: 0x008,
  VENDOR_ID: 0x00c,
  DEVICE_FEATURES: 0x010,
  DEVICE_FEATURES_SEL: 0x014,
  DRIVER_FEATURES: 0x020,
  DRIVER_FEATURES_SEL: 0x024,
  QUEUE_SEL: 0x030,
  QUEUE_NUM_MAX: 0x034,
  QUEUE_NUM: 0x038,
  QUEUE_READY: 0x044,
  QUEUE_NOTIFY: 0x050,
  INTERRUPT_STATUS: 0x060,
  INTERRUPT_ACK: 0x064,
  STATUS: 0x070,
  QUEUE_DESC_LOW: 0x080,
  QUEUE_DESC_HIGH: 0x084,
  QUEUE_DRIVER_LOW: 0x090,
  QUEUE_DRIVER_HIGH: 0x094,
  QUEUE_DEVICE_LOW: 0x0a0,
  QUEUE_DEVICE_HIGH: 0x0a4,
  SHM_LEN_LOW: 0x0b0,
  SHM_LEN_HIGH: 0x0b4,
  SHM_BASE_LOW: 0x0b8,
  SHM_BASE_HIGH: 0x0bc,
  CONFIG_GENERATION: 0x0fc,
  CONFIG: 0x100,
} as const;

/** "virt". */
const MAGIC = 0x7472_6976;
const VERSION = 2;
/** The vendor that PCI devices of virtio have. */
const VENDOR = 0x1af4;

/** Bytes of a window: registers and 256 bytes of configuration space. */
export const VIRTIO_MMIO_SIZE = 0x200;

/** Where the six halves of a queue's addresses are. */
const ADDRESSES: ReadonlyMap<number, number> = new Map(
  [
    REG.QUEUE_DESC_LOW,
    REG.QUEUE_DESC_HIGH,
    REG.QUEUE_DRIVER_LOW,
    REG.QUEUE_DRIVER_HIGH,
    REG.QUEUE_DEVICE_LOW,
    REG.QUEUE_DEVICE_HIGH,
  ].map((register, index) => [register, index]),
);

const schemaFor = (queues: number) =>
  struct({
    status: u8,
    deviceFeatureSelect: u32,
    driverFeatureSelect: u32,
    driverFeatures: u64,
    generation: u8,
    isr: u8,
    queueSelect: u32,
    queues: array(queueSchema, { length: queues }),
  });
type State = Infer<ReturnType<typeof schemaFor>>;

export interface VirtioMmioParts {
  readonly device: VirtioDevice;
  readonly dma: Dma;
  /** Level-triggered: asserted while InterruptStatus is not 0. */
  readonly irq: IrqLine;
}

const isPowerOfTwo = (n: number): boolean => n > 0 && (n & (n - 1)) === 0;

/** Saves the transport and its queues; the device saves itself. */
export class VirtioMmio extends VirtioTransport implements IoHandler, Snapshotable<State> {
  readonly id: string;
  readonly stateVersion = 1;
  protected readonly canReachMemory = true;
  private readonly irq: IrqLine;

  constructor({ device, dma, irq }: VirtioMmioParts) {
    super(device, dma);
    this.id = `mmio.${device.id}`;
    this.irq = irq;
    device.connect(this);
  }

  // ---- the window ----

  read(offset: number, size: number): number {
    return this.peek(offset, size);
  }

  /** No register changes by being read. */
  peek(offset: number, size: number): number {
    if (offset >= REG.CONFIG) return this.hasConfig(offset) ? this.device.readConfig(offset - REG.CONFIG, size) : 0;
    // §4.2.2.2: drivers access these whole. What else they do reads as nothing.
    return size === 4 && offset % 4 === 0 ? this.register(offset) >>> 0 : 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset >= REG.CONFIG) {
      if (this.hasConfig(offset)) this.device.writeConfig(offset - REG.CONFIG, size, value);
    } else if (size === 4 && offset % 4 === 0) this.setRegister(offset, value);
  }

  private hasConfig(offset: number): boolean {
    return offset - REG.CONFIG < this.device.configSize;
  }

  private register(offset: number): number {
    switch (offset) {
      case REG.MAGIC:
        return MAGIC;
      case REG.VERSION:
        return VERSION;
      case REG.DEVICE_ID:
        return this.device.deviceType;
      case REG.VENDOR_ID:
        return VENDOR;
      case REG.DEVICE_FEATURES:
        return this.deviceFeatures;
      case REG.QUEUE_NUM_MAX:
        return this.selectedQueue?.maxSize ?? 0;
      case REG.QUEUE_READY:
        return this.selectedQueue?.ready ? 1 : 0;
      case REG.INTERRUPT_STATUS:
        return this.isr;
      case REG.STATUS:
        return this.status;
      case REG.SHM_LEN_LOW:
      case REG.SHM_LEN_HIGH:
      case REG.SHM_BASE_LOW:
      case REG.SHM_BASE_HIGH:
        // §4.2.2: a length of all ones says that there is no such region.
        return allOnes(4);
      case REG.CONFIG_GENERATION:
        return this.generation;
      default:
        // Write-only, or of features that are not offered.
        return 0;
    }
  }

  private setRegister(offset: number, value: number): void {
    switch (offset) {
      case REG.DEVICE_FEATURES_SEL:
        this.deviceFeatureSelect = value;
        break;
      case REG.DRIVER_FEATURES:
        this.driverFeaturesHalf = value;
        break;
      case REG.DRIVER_FEATURES_SEL:
        this.driverFeatureSelect = value;
        break;
      case REG.QUEUE_SEL:
        this.queueSelect = value;
        break;
      case REG.QUEUE_NUM:
        this.setUp((queue) => {
          if (isPowerOfTwo(value) && value <= queue.maxSize) queue.size = value;
        });
        break;
      case REG.QUEUE_READY:
        this.setReady(value === 1);
        break;
      case REG.QUEUE_NOTIFY:
        this.kick(value);
        break;
      case REG.INTERRUPT_ACK:
        this.isr &= ~value;
        this.irq.set(this.isr !== 0);
        break;
      case REG.STATUS:
        this.writeStatus(value & 0xff);
        break;
      default: {
        const address = ADDRESSES.get(offset);
        if (address !== undefined) this.setUp((queue) => (queue.addresses[address] = value));
      }
    }
  }

  /** §4.2.2.2: the driver leaves a queue's registers alone while the queue is ready. */
  private setUp(change: (queue: Virtqueue) => void): void {
    const queue = this.selectedQueue;
    if (queue && !queue.ready) change(queue);
  }

  /** A driver may stop using a queue, unlike over PCI; what it is used for next begins with a reset. */
  private setReady(ready: boolean): void {
    const queue = this.selectedQueue;
    if (queue) queue.ready = ready;
  }

  // ---- interrupts ----

  protected queueInterrupt(): void {
    this.interrupt(CAUSE.QUEUE);
  }

  protected configInterrupt(): void {
    this.interrupt(CAUSE.CONFIG);
  }

  private interrupt(cause: number): void {
    this.isr |= cause;
    this.irq.set(true);
  }

  protected resetInterrupts(): void {
    this.irq.set(false);
  }

  // ---- saved state ----

  get stateSchema(): ReturnType<typeof schemaFor> {
    return schemaFor(this.queues.length);
  }

  save(): State {
    return this.saveCommon();
  }

  /** Nothing moves yet: memory may not be back. */
  restore(state: State): void {
    this.restoreCommon(state);
    this.irq.set(this.isr !== 0);
  }
}
