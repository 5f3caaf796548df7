/** What virtio transports have in common: device status, features, queues (VIRTIO 1.2 §2, §3.1). */
import type { Dma } from '../../iface/guest-memory.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { COMMON_FEATURES, FEATURE, STATUS } from './registers.js';
import { Virtqueue, type QueueState } from './virtqueue.js';

/** Interrupt causes: ISR status of PCI (§4.1.4.5), InterruptStatus of MMIO (§4.2.2), bit for bit. */
export const CAUSE = { QUEUE: 1 << 0, CONFIG: 1 << 1 } as const;

/** What all transports save. */
export interface TransportState {
  readonly status: number;
  readonly deviceFeatureSelect: number;
  readonly driverFeatureSelect: number;
  readonly driverFeatures: bigint;
  readonly generation: number;
  /** Causes that the driver has not seen yet. */
  readonly isr: number;
  readonly queueSelect: number;
  readonly queues: QueueState[];
}

export abstract class VirtioTransport implements VirtioPort {
  /** Times that the driver broke the rules so that a reset is needed. */
  violations = 0;

  status = 0;
  deviceFeatureSelect = 0;
  driverFeatureSelect = 0;
  /** Of configuration space. */
  generation = 0;
  queueSelect = 0;
  protected isr = 0;
  protected readonly queues: readonly Virtqueue[];
  private driverFeatures = 0n;

  /** The transport calls `device.connect` itself, once it can be asked. */
  constructor(
    protected readonly device: VirtioDevice,
    dma: Dma,
  ) {
    this.queues = device.queueSizes.map((size, index) => {
      const features = (): bigint => this.driverFeatures;
      return new Virtqueue(size, {
        dma,
        get features() {
          return features();
        },
        interrupt: () => this.queueInterrupt(index),
        broken: () => this.broken(),
      });
    });
  }

  /** Tells the driver of used buffers. */
  protected abstract queueInterrupt(queue: number): void;
  /** Tells the driver that configuration or NEEDS_RESET changed. */
  protected abstract configInterrupt(): void;
  /** What of a reset by the driver is the transport's own. */
  protected abstract resetInterrupts(): void;
  /** Whether the device may reach memory. */
  protected abstract readonly canReachMemory: boolean;

  // ---- registers ----

  get deviceFeatures(): number {
    return half(this.device.features | COMMON_FEATURES, this.deviceFeatureSelect);
  }

  get driverFeaturesHalf(): number {
    return half(this.driverFeatures, this.driverFeatureSelect);
  }

  set driverFeaturesHalf(value: number) {
    if (this.driverFeatureSelect > 1 || this.status & STATUS.FEATURES_OK) return;
    const shift = BigInt(32 * this.driverFeatureSelect);
    this.driverFeatures = (this.driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  get queueCount(): number {
    return this.queues.length;
  }

  /** Undefined when `queueSelect` names no queue: its registers read 0 and keep nothing. */
  get selectedQueue(): Virtqueue | undefined {
    return this.queues[this.queueSelect];
  }

  writeStatus(value: number): void {
    if (value === 0) {
      this.resetDevice();
      return;
    }
    const before = this.status;
    let status = value | (before & STATUS.NEEDS_RESET);
    // §2.2, §3.1.1: FEATURES_OK stays clear when the device cannot work with what the driver accepted.
    const offered = this.device.features | COMMON_FEATURES;
    const acceptable = (this.driverFeatures & ~offered) === 0n && (this.driverFeatures & FEATURE.VERSION_1) !== 0n;
    if (!acceptable) status &= ~STATUS.FEATURES_OK;
    if (!(status & STATUS.FEATURES_OK)) status &= ~STATUS.DRIVER_OK;
    this.status = status;
    if (status & ~before & STATUS.DRIVER_OK) this.kickAll();
  }

  // ---- what the device sees ----

  get live(): boolean {
    const { status } = this;
    return (status & (STATUS.DRIVER_OK | STATUS.NEEDS_RESET)) === STATUS.DRIVER_OK && this.canReachMemory;
  }

  get features(): bigint {
    return this.driverFeatures;
  }

  queue(index: number): Virtqueue {
    return this.queues[index];
  }

  configChanged(): void {
    this.generation = (this.generation + 1) & 0xff;
    if (this.status & STATUS.DRIVER_OK) this.configInterrupt();
  }

  broken(): void {
    this.violations++;
    if (this.status & STATUS.NEEDS_RESET) return;
    this.status |= STATUS.NEEDS_RESET;
    if (this.status & STATUS.DRIVER_OK) this.configInterrupt();
  }

  protected kick(queue: number): void {
    if (this.live && queue < this.queues.length && this.queues[queue].ready) this.device.notified(queue);
  }

  protected kickAll(): void {
    for (let queue = 0; queue < this.queues.length; queue++) this.kick(queue);
  }

  // ---- reset and saved state ----

  /** §2.4: the driver's reset; what belongs to the bus stays. */
  protected resetDevice(): void {
    this.status = 0;
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
    this.driverFeatures = 0n;
    this.queueSelect = 0;
    this.isr = 0;
    for (const queue of this.queues) queue.reset();
    this.resetInterrupts();
    this.device.reset();
  }

  /** Call when the whole machine has been restored. */
  resume(): void {
    this.device.resume();
  }

  protected saveCommon(): TransportState {
    return {
      status: this.status,
      deviceFeatureSelect: this.deviceFeatureSelect,
      driverFeatureSelect: this.driverFeatureSelect,
      driverFeatures: this.driverFeatures,
      generation: this.generation,
      isr: this.isr,
      queueSelect: this.queueSelect,
      queues: this.queues.map((queue) => queue.save()),
    };
  }

  protected restoreCommon(state: TransportState): void {
    this.status = state.status;
    this.deviceFeatureSelect = state.deviceFeatureSelect;
    this.driverFeatureSelect = state.driverFeatureSelect;
    this.driverFeatures = state.driverFeatures;
    this.generation = state.generation;
    this.isr = state.isr;
    this.queueSelect = state.queueSelect;
    const stopped = (state.status & STATUS.NEEDS_RESET) !== 0;
    state.queues.forEach((queue, i) => this.queues[i].restore(queue, stopped));
  }
}

/** 32 bits of a feature set, as select registers choose them: there are none beyond 64. */
const half = (features: bigint, select: number): number =>
  select < 2 ? Number((features >> BigInt(32 * select)) & 0xffff_ffffn) : 0;
