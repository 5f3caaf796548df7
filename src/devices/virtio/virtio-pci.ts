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
import type { VirtioDevice } from './device.js';
import { CAUSE, VirtioTransport } from './transport.js';
import { queueSchema } from './virtqueue.js';

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
export class VirtioPci extends VirtioTransport implements CommonRegisters, Snapshotable<State> {
  readonly id: string;
  readonly stateVersion = 1;
  readonly pci: PciFunction;

  private configVectorNumber = NO_VECTOR;
  private readonly queueVectors: number[];
  private readonly msix: MsixCapability;
  private readonly layout: VirtioPciLayout;
  /** What is behind the BAR of the registers. */
  readonly registers = new Regions();
  private restoring = false;

  constructor(parts: VirtioPciParts) {
    const { device, environment, name } = parts;
    const pci = new PciFunction(
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
    super(device, new BusMasterDma(pci, parts.dma));
    this.id = `pci.${name}`;
    this.pci = pci;
    this.layout = parts.layout ?? LAYOUT;
    const { msixBar, registerBar, registerBarSize } = this.layout;
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

  get configVector(): number {
    return this.configVectorNumber;
  }

  set configVector(vector: number) {
    this.configVectorNumber = this.vectorOrNone(vector);
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

  // ---- what the device sees ----

  protected get canReachMemory(): boolean {
    return this.pci.busMaster;
  }

  protected queueInterrupt(queue: number): void {
    this.interrupt(this.queueVectors[queue], CAUSE.QUEUE);
  }

  protected configInterrupt(): void {
    this.interrupt(this.configVectorNumber, CAUSE.CONFIG);
  }

  private interrupt(vector: number, cause: number): void {
    if (this.msix.enabled) {
      if (vector !== NO_VECTOR) this.msix.trigger(vector);
      return;
    }
    this.isr |= cause;
    this.pci.setIntx(true);
  }

  protected override kickAll(): void {
    if (!this.restoring) super.kickAll();
  }

  // ---- reset and saved state ----

  protected resetInterrupts(): void {
    this.configVectorNumber = NO_VECTOR;
    this.queueVectors.fill(NO_VECTOR);
    this.pci.setIntx(false);
  }

  /** Power goes. */
  turnOff(): void {
    this.reset();
  }

  /** System reset. */
  reset(): void {
    this.resetDevice();
    this.generation = 0;
    this.pci.reset();
  }

  get stateSchema(): ReturnType<typeof schemaFor> {
    return schemaFor(this.pci.stateSchema, this.queues.length);
  }

  save(): State {
    return {
      ...this.saveCommon(),
      pci: this.pci.save(),
      configVector: this.configVectorNumber,
      queueVectors: [...this.queueVectors],
    };
  }

  restore(state: State): void {
    this.restoreCommon(state);
    this.configVectorNumber = this.vectorOrNone(state.configVector);
    state.queueVectors.forEach((vector, i) => (this.queueVectors[i] = this.vectorOrNone(vector)));
    // Nothing moves yet: memory may not be back.
    this.restoring = true;
    this.pci.restore(state.pci);
    this.restoring = false;
  }
}
