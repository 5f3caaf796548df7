import type { IoHandler } from '../../iface/bus.js';
import type { Dma } from '../../iface/guest-memory.js';
import { BusMasterDma } from '../../bus/pci/bus-master-dma.js';
import { allOnes, get, put } from '../../bus/pci/config-space.js';
import { PciFunction, type PciEnvironment } from '../../bus/pci/function.js';
import type { MsixCapability } from '../../bus/pci/msix.js';
import { Regions } from '../../bus/pci/regions.js';
import { CAPABILITY, HEADER } from '../../bus/pci/registers.js';
import { array, struct, u16, u32, u64, u8, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import { COMMON_FIELDS, COMMON_SIZE, type CommonRegisters } from './common-config.js';
import type { VirtioDevice, VirtioPort } from './device.js';
import { COMMON_FEATURES, FEATURE, STATUS } from './registers.js';
import { queueSchema, Virtqueue } from './virtqueue.js';

const VENDOR_ID = 0x1af4;
/** Device ids are this plus the device type, §4.1.2. */
const DEVICE_ID_BASE = 0x1040;

/** Vendor capability types, §4.1.4. */
const CAP_TYPE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI_CONFIG: 5 } as const;

/** struct virtio_pci_cap, §4.1.4: offsets. */
const CAP = { LENGTH: 2, TYPE: 3, BAR: 4, OFFSET: 8, AREA_LENGTH: 12, EXTRA: 16 } as const;

/** Which BARs there are: MSI-X in a small 32-bit one, everything else in one that can lie anywhere. */
export interface VirtioPciLayout {
  readonly msixBar: number;
  readonly registerBar: number;
  /** Where the registers begin behind their BAR, bytes, and how large that is: what lies before them is another's. */
  readonly registerOffset: number;
  readonly registerBarSize: number;
}

/** Offsets and sizes in bytes. */
const MSIX_PLACE = { table: 0, pending: 0x800 } as const;
const MSIX_BAR_SIZE = 0x1000;
const LAYOUT: VirtioPciLayout = { msixBar: 1, registerBar: 4, registerOffset: 0, registerBarSize: 0x4000 };
const AREA = { COMMON: 0x0000, ISR: 0x1000, DEVICE: 0x2000, NOTIFY: 0x3000 } as const;
/** Each queue has a notification address of its own: queue_notify_off is its index. */
const NOTIFY_MULTIPLIER = 4;

/** ISR status, §4.1.4.5. */
const ISR = { QUEUE: 1 << 0, CONFIG: 1 << 1 } as const;

/** VIRTIO_MSI_NO_VECTOR, §4.1.5.1.2. */
const NO_VECTOR = 0xffff;

const schemaFor = (pci: PciFunction['stateSchema'], queues: number) =>
  struct({
    pci,
    status: u8,
    deviceFeatureSelect: u32,
    driverFeatureSelect: u32,
    driverFeatures: u64,
    configVector: u16,
    generation: u8,
    isr: u8,
    queueSelect: u16,
    queueVectors: array(u16, { length: queues }),
    queues: array(queueSchema, { length: queues }),
  });
type State = Infer<ReturnType<typeof schemaFor>>;

export interface VirtioPciParts {
  /** Unique in the machine, stable: `virtio-blk0`. */
  readonly name: string;
  readonly device: VirtioDevice;
  readonly environment: PciEnvironment;
  readonly dma: Dma;
  /** Absent: the usual one. */
  readonly layout?: VirtioPciLayout;
}

/**
 * Virtio over PCI, VIRTIO 1.2 §4.1, without the transitional interface. Saves the transport and its queues; the device
 * saves itself. After a restore of both and of guest memory, `resume` lets the device go on.
 */
export class VirtioPci implements VirtioPort, CommonRegisters, Snapshotable<State> {
  readonly id: string;
  readonly stateVersion = 1;
  readonly pci: PciFunction;
  /** Times that the driver broke the rules so that a reset is needed. */
  violations = 0;

  status = 0;
  deviceFeatureSelect = 0;
  driverFeatureSelect = 0;
  generation = 0;
  queueSelect = 0;
  private driverFeatures = 0n;
  private configVectorNumber = NO_VECTOR;
  private isr = 0;
  private readonly queueVectors: number[];
  private readonly queues: Virtqueue[];
  private readonly msix: MsixCapability;
  private readonly device: VirtioDevice;
  private readonly layout: VirtioPciLayout;
  /** What is behind the BAR of the registers. */
  readonly registers = new Regions();
  private restoring = false;

  constructor(parts: VirtioPciParts) {
    const { device, environment, name } = parts;
    this.id = `pci.${name}`;
    this.device = device;
    this.layout = parts.layout ?? LAYOUT;
    const { msixBar, registerBar, registerBarSize } = this.layout;
    this.pci = new PciFunction(
      name,
      {
        vendorId: VENDOR_ID,
        deviceId: DEVICE_ID_BASE + device.deviceType,
        revision: 1,
        classCode: device.classCode,
        subsystemVendorId: VENDOR_ID,
        // §4.1.2.1: 0x40 or higher tells that the device is not transitional.
        subsystemId: DEVICE_ID_BASE + device.deviceType,
        interruptPin: 1,
      },
      environment,
    );
    const dma = new BusMasterDma(this.pci, parts.dma);
    this.queues = device.queueSizes.map((size, index) => {
      const features = (): bigint => this.driverFeatures;
      return new Virtqueue(size, {
        dma,
        get features() {
          return features();
        },
        interrupt: () => this.interrupt(this.queueVectors[index], ISR.QUEUE),
        broken: () => this.broken(),
      });
    });
    this.queueVectors = this.queues.map(() => NO_VECTOR);
    this.msix = this.pci.addMsix(this.queues.length + 1, { bar: msixBar, ...MSIX_PLACE });
    const msixRegions = new Regions();
    this.msix.attachTo(msixRegions);
    this.pci.addBar(msixBar, { kind: 'mem32', size: MSIX_BAR_SIZE, handler: msixRegions });
    this.defineAreas();
    this.pci.addBar(registerBar, {
      kind: 'mem64',
      size: registerBarSize,
      prefetchable: true,
      handler: this.registers,
    });
    this.pci.config.watch(HEADER.COMMAND, 2, () => this.kickAll());
    device.connect(this);
  }

  private defineAreas(): void {
    const { device } = this;
    this.area(CAP_TYPE.COMMON, AREA.COMMON, COMMON_SIZE, this.commonHandler());
    this.area(CAP_TYPE.ISR, AREA.ISR, 4, this.isrHandler());
    if (device.configSize > 0) this.area(CAP_TYPE.DEVICE, AREA.DEVICE, device.configSize, this.deviceHandler());
    const notify = this.queues.length * NOTIFY_MULTIPLIER;
    const at = this.area(CAP_TYPE.NOTIFY, AREA.NOTIFY, notify, this.notifyHandler(), 4);
    this.pci.config.define(at + CAP.EXTRA, 4, { value: NOTIFY_MULTIPLIER });
    this.definePciConfigAccess();
  }

  private area(type: number, offset: number, size: number, handler: IoHandler, extra = 0): number {
    const { config } = this.pci;
    const at = this.pci.addCapability(CAPABILITY.VENDOR, CAP.EXTRA + extra);
    config.define(at + CAP.LENGTH, 1, { value: CAP.EXTRA + extra });
    config.define(at + CAP.TYPE, 1, { value: type });
    config.define(at + CAP.BAR, 1, { value: this.layout.registerBar });
    config.define(at + CAP.OFFSET, 4, { value: this.layout.registerOffset + offset });
    config.define(at + CAP.AREA_LENGTH, 4, { value: size });
    this.registers.add(this.layout.registerOffset + offset, size, handler);
    return at;
  }

  /** §4.1.4.9: a window into BARs for who cannot reach memory space, such as firmware. */
  private definePciConfigAccess(): void {
    const { config } = this.pci;
    const at = this.pci.addCapability(CAPABILITY.VENDOR, CAP.EXTRA + 4);
    config.define(at + CAP.LENGTH, 1, { value: CAP.EXTRA + 4 });
    config.define(at + CAP.TYPE, 1, { value: CAP_TYPE.PCI_CONFIG });
    config.define(at + CAP.BAR, 1, { writable: 0xff });
    config.define(at + CAP.OFFSET, 4, { writable: 0xffff_ffff });
    config.define(at + CAP.AREA_LENGTH, 4, { writable: 0xffff_ffff });
    const target = (offset: number): { handler: IoHandler; at: number; size: number } | undefined => {
      const handler = this.pci.barHandler(config.get(at + CAP.BAR, 1));
      const size = config.get(at + CAP.AREA_LENGTH, 4);
      const to = config.get(at + CAP.OFFSET, 4);
      const valid = offset === 0 && (size === 1 || size === 2 || size === 4) && to % size === 0;
      return handler && valid && to < this.layout.registerBarSize ? { handler, at: to, size } : undefined;
    };
    config.override(at + CAP.EXTRA, 4, {
      read: (offset, size) => {
        const found = target(offset);
        return found ? found.handler.read(found.at, found.size) % 2 ** (8 * size) : allOnes(size);
      },
      write: (offset, _size, value) => {
        const found = target(offset);
        found?.handler.write(found.at, found.size, value % 2 ** (8 * found.size));
      },
    });
  }

  // ---- registers ----

  /** Common configuration: fields may be accessed in parts or, as the two halves of a 64-bit one, by dwords. */
  private commonHandler(): IoHandler {
    const image = new Uint8Array(COMMON_SIZE);
    const load = (offset: number, size: number): void => {
      for (const field of COMMON_FIELDS)
        if (field.at < offset + size && offset < field.at + field.size)
          put(image, field.at, field.size, field.read(this));
    };
    const peek = (offset: number, size: number): number => {
      if (offset + size > COMMON_SIZE) return allOnes(size);
      load(offset, size);
      return get(image, offset, size);
    };
    return {
      read: peek,
      peek,
      write: (offset, size, value) => {
        if (offset + size > COMMON_SIZE) return;
        load(offset, size);
        put(image, offset, size, value);
        for (const field of COMMON_FIELDS)
          if (field.at < offset + size && offset < field.at + field.size)
            field.write?.(this, get(image, field.at, field.size));
      },
    };
  }

  private isrHandler(): IoHandler {
    return {
      read: (offset) => {
        if (offset !== 0) return 0;
        const { isr } = this;
        this.isr = 0;
        this.pci.setIntx(false);
        return isr;
      },
      peek: (offset) => (offset === 0 ? this.isr : 0),
      write: () => undefined,
    };
  }

  private notifyHandler(): IoHandler {
    return {
      read: () => 0,
      peek: () => 0,
      write: (offset) => this.kick(Math.floor(offset / NOTIFY_MULTIPLIER)),
    };
  }

  private deviceHandler(): IoHandler {
    const { device } = this;
    const read = (offset: number, size: number): number => device.readConfig(offset, size);
    return { read, peek: read, write: (offset, size, value) => device.writeConfig(offset, size, value) };
  }

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

  get configVector(): number {
    return this.configVectorNumber;
  }

  set configVector(vector: number) {
    this.configVectorNumber = this.vectorOrNone(vector);
  }

  get queueCount(): number {
    return this.queues.length;
  }

  get selectedQueue(): Virtqueue | undefined {
    return this.queues[this.queueSelect];
  }

  get queueVector(): number {
    return this.queueVectors[this.queueSelect] ?? NO_VECTOR;
  }

  set queueVector(vector: number) {
    if (this.queueSelect < this.queues.length) this.queueVectors[this.queueSelect] = this.vectorOrNone(vector);
  }

  /** §4.1.5.1.2: reading back NO_VECTOR tells the driver that there is no such vector. */
  private vectorOrNone(vector: number): number {
    return vector < this.msix.vectors ? vector : NO_VECTOR;
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
    return (status & (STATUS.DRIVER_OK | STATUS.NEEDS_RESET)) === STATUS.DRIVER_OK && this.pci.busMaster;
  }

  get features(): bigint {
    return this.driverFeatures;
  }

  queue(index: number): Virtqueue {
    return this.queues[index];
  }

  configChanged(): void {
    this.generation = (this.generation + 1) & 0xff;
    if (this.status & STATUS.DRIVER_OK) this.interrupt(this.configVectorNumber, ISR.CONFIG);
  }

  broken(): void {
    this.violations++;
    if (this.status & STATUS.NEEDS_RESET) return;
    this.status |= STATUS.NEEDS_RESET;
    if (this.status & STATUS.DRIVER_OK) this.interrupt(this.configVectorNumber, ISR.CONFIG);
  }

  private interrupt(vector: number, cause: number): void {
    if (this.msix.enabled) {
      if (vector !== NO_VECTOR) this.msix.trigger(vector);
      return;
    }
    this.isr |= cause;
    this.pci.setIntx(true);
  }

  private kick(queue: number): void {
    if (this.live && queue < this.queues.length && this.queues[queue].ready) this.device.notified(queue);
  }

  private kickAll(): void {
    if (!this.restoring) for (let queue = 0; queue < this.queues.length; queue++) this.kick(queue);
  }

  // ---- reset and saved state ----

  /** §2.4: the driver's reset; what belongs to PCI stays. */
  private resetDevice(): void {
    this.status = 0;
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
    this.driverFeatures = 0n;
    this.configVectorNumber = NO_VECTOR;
    this.queueSelect = 0;
    this.queueVectors.fill(NO_VECTOR);
    this.isr = 0;
    for (const queue of this.queues) queue.reset();
    this.pci.setIntx(false);
    this.device.reset();
  }

  /** System reset. */
  reset(): void {
    this.resetDevice();
    this.generation = 0;
    this.pci.reset();
  }

  /** Call when the whole machine has been restored. */
  resume(): void {
    this.device.resume();
  }

  get stateSchema(): ReturnType<typeof schemaFor> {
    return schemaFor(this.pci.stateSchema, this.queues.length);
  }

  save(): State {
    return {
      pci: this.pci.save(),
      status: this.status,
      deviceFeatureSelect: this.deviceFeatureSelect,
      driverFeatureSelect: this.driverFeatureSelect,
      driverFeatures: this.driverFeatures,
      configVector: this.configVectorNumber,
      generation: this.generation,
      isr: this.isr,
      queueSelect: this.queueSelect,
      queueVectors: [...this.queueVectors],
      queues: this.queues.map((queue) => queue.save()),
    };
  }

  restore(state: State): void {
    this.status = state.status;
    this.deviceFeatureSelect = state.deviceFeatureSelect;
    this.driverFeatureSelect = state.driverFeatureSelect;
    this.driverFeatures = state.driverFeatures;
    this.configVectorNumber = this.vectorOrNone(state.configVector);
    this.generation = state.generation;
    this.isr = state.isr;
    this.queueSelect = state.queueSelect;
    state.queueVectors.forEach((vector, i) => (this.queueVectors[i] = this.vectorOrNone(vector)));
    const stopped = (state.status & STATUS.NEEDS_RESET) !== 0;
    state.queues.forEach((queue, i) => this.queues[i].restore(queue, stopped));
    // Nothing moves yet: memory may not be back.
    this.restoring = true;
    this.pci.restore(state.pci);
    this.restoring = false;
  }
}

/** 32 bits of a feature set, as select registers choose them: there are none beyond 64. */
const half = (features: bigint, select: number): number =>
  select < 2 ? Number((features >> BigInt(32 * select)) & 0xffff_ffffn) : 0;
