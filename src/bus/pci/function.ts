import { assert } from '../../base/assert.js';
import type { IoHandler, IoSpace } from '../../iface/bus.js';
import type { IrqLine, MsiSink } from '../../iface/lines.js';
import { bool, bytes, struct, type Infer } from '../../snapshot/schema.js';
import { Bar, type BarInfo, type BarSpec } from './bar.js';
import { ConfigSpace } from './config-space.js';
import { ExpansionRom } from './expansion-rom.js';
import { MsiCapability } from './msi.js';
import { MsixCapability, type MsixPlace } from './msix.js';
import { COMMAND, CONFIG_SIZE, EXTENDED_CONFIG_SIZE, HEADER, MULTI_FUNCTION, STATUS } from './registers.js';

/** What a function says it is, PCI 3.0 §6.2.1 and §6.2.4. */
export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  /** 24 bits: class, subclass, programming interface, highest first. */
  readonly classCode: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** INTA = 1 … INTD = 4; 0 or absent: none. */
  readonly interruptPin?: number;
  readonly multiFunction?: boolean;
  /** PCI Express: 4 KiB of configuration space instead of 256 bytes. */
  readonly extended?: boolean;
}

/** What a function needs of its bus and machine. */
export interface PciEnvironment {
  readonly ports: IoSpace;
  readonly memory: IoSpace;
  readonly msi: MsiSink;
}

const schemaFor = (config: number, msixTable: number, msixPending: number) =>
  struct({ config: bytes(config), msixTable: bytes(msixTable), msixPending: bytes(msixPending), intx: bool });
/** Saved state of a function: its registers, and whether it asks for its INTx pin. */
export type PciState = Infer<ReturnType<typeof schemaFor>>;

/**
 * A PCI function: configuration space with a type 0 header, BARs that move their windows as the guest writes them,
 * capabilities and interrupts. A device has one, fills it in its constructor and saves it with itself.
 */
export class PciFunction {
  readonly config: ConfigSpace;
  readonly interruptPin: number;
  private readonly bars: Bar[] = [];
  private readonly handlers: (IoHandler | undefined)[] = [];
  /** Where the next capability goes, and the byte that links to it. */
  private nextCapability: number = HEADER.END;
  private link: number = HEADER.CAPABILITIES;
  private msixCapability: MsixCapability | undefined;
  private msiCapability: MsiCapability | undefined;
  private line: IrqLine | undefined;
  private requested = false;

  constructor(
    readonly name: string,
    identity: PciIdentity,
    private readonly environment: PciEnvironment,
  ) {
    this.config = new ConfigSpace(identity.extended ? EXTENDED_CONFIG_SIZE : CONFIG_SIZE);
    this.interruptPin = identity.interruptPin ?? 0;
    this.defineHeader(identity);
  }

  private defineHeader(identity: PciIdentity): void {
    const { config } = this;
    config.define(HEADER.VENDOR_ID, 2, { value: identity.vendorId });
    config.define(HEADER.DEVICE_ID, 2, { value: identity.deviceId });
    config.define(HEADER.COMMAND, 2, {
      writable: COMMAND.IO | COMMAND.MEMORY | COMMAND.BUS_MASTER | COMMAND.PARITY | COMMAND.SERR | COMMAND.INTX_DISABLE,
    });
    config.define(HEADER.STATUS, 2, { dynamic: STATUS.INTERRUPT });
    config.define(HEADER.REVISION, 1, { value: identity.revision });
    config.define(HEADER.CLASS, 3, { value: identity.classCode });
    config.define(HEADER.CACHE_LINE_SIZE, 1, { writable: 0xff });
    config.define(HEADER.HEADER_TYPE, 1, { value: identity.multiFunction ? MULTI_FUNCTION : 0 });
    config.define(HEADER.SUBSYSTEM_VENDOR_ID, 2, { value: identity.subsystemVendorId ?? 0 });
    config.define(HEADER.SUBSYSTEM_ID, 2, { value: identity.subsystemId ?? 0 });
    config.define(HEADER.INTERRUPT_LINE, 1, { writable: 0xff });
    config.define(HEADER.INTERRUPT_PIN, 1, { value: this.interruptPin });
    config.watch(HEADER.COMMAND, 2, () => this.commandChanged());
  }

  // ---- what the device sets up ----

  /** Adds base address register `index`, 0 … 5. */
  addBar(index: number, spec: BarSpec): void {
    const space = spec.kind === 'io' ? this.environment.ports : this.environment.memory;
    this.bars.push(new Bar(this.name, index, spec, this.config, space));
    this.handlers[index] = spec.handler;
  }

  /** Gives the function an expansion ROM with this image. */
  addRom(image: Uint8Array): void {
    new ExpansionRom(this.name, image, this.config, this.environment.memory);
  }

  /** Reserves `size` bytes for a capability with this id and returns where it begins (PCI 3.0 §6.7). */
  addCapability(id: number, size: number): number {
    const { config } = this;
    const at = this.nextCapability;
    assert(at + size <= CONFIG_SIZE, 'no room for the capability');
    config.define(at, 1, { value: id });
    config.define(at + 1, 1, {});
    config.define(this.link, 1, { value: at });
    config.define(HEADER.STATUS, 2, { value: STATUS.CAPABILITIES, dynamic: STATUS.INTERRUPT });
    this.link = at + 1;
    this.nextCapability = Math.ceil((at + size) / 4) * 4;
    return at;
  }

  addMsi(vectors: number): MsiCapability {
    this.msiCapability = new MsiCapability(this, vectors, this.environment.msi);
    this.config.watch(this.msiCapability.at, 4, () => this.updateIntx());
    return this.msiCapability;
  }

  addMsix(vectors: number, place: MsixPlace): MsixCapability {
    this.msixCapability = new MsixCapability(this, vectors, place, this.environment.msi);
    this.config.watch(this.msixCapability.at, 4, () => this.updateIntx());
    return this.msixCapability;
  }

  // ---- what the device asks ----

  /** May access memory and send messages. */
  get busMaster(): boolean {
    return (this.config.get(HEADER.COMMAND, 2) & COMMAND.BUS_MASTER) !== 0;
  }

  /** The address that BAR `index` decodes now; undefined while it decodes none. */
  barAddress(index: number): number | undefined {
    return this.bars.find((bar) => bar.index === index)?.address;
  }

  /** Its base address registers. */
  get regions(): readonly BarInfo[] {
    return this.bars.map(({ info }) => info);
  }

  /** The registers behind BAR `index`, for indirect access to them. */
  barHandler(index: number): IoHandler | undefined {
    return this.handlers[index];
  }

  /** Asserts or releases the INTx pin, PCI 3.0 §6.2.2 and §6.2.3. */
  setIntx(asserted: boolean): void {
    this.requested = asserted;
    this.updateIntx();
  }

  // ---- what the bus does ----

  /** Connects the INTx pin. */
  connect(line: IrqLine): void {
    this.line = line;
    this.updateIntx();
  }

  /** Releases the INTx pin, and returns what drove it. */
  disconnect(): IrqLine | undefined {
    const { line } = this;
    line?.set(false);
    this.line = undefined;
    return line;
  }

  /** Bus reset: registers to their initial values; the device resets itself besides. */
  reset(): void {
    this.requested = false;
    this.msixCapability?.reset();
    this.config.reset();
  }

  private commandChanged(): void {
    this.updateIntx();
    if (!this.busMaster) return;
    this.msiCapability?.deliverPending();
    this.msixCapability?.deliverPending();
  }

  private updateIntx(): void {
    const { config } = this;
    const status = config.get(HEADER.STATUS, 2) & ~STATUS.INTERRUPT;
    config.set(HEADER.STATUS, 2, status | (this.requested ? STATUS.INTERRUPT : 0));
    // A function that sends messages does not use its pin (§6.8.1.3, §6.8.2.3).
    const messages = this.msiCapability?.enabled === true || this.msixCapability?.enabled === true;
    this.line?.set(this.requested && !messages && !(config.get(HEADER.COMMAND, 2) & COMMAND.INTX_DISABLE));
  }

  // ---- saved state ----

  /** Complete once all capabilities have been added. */
  get stateSchema(): ReturnType<typeof schemaFor> {
    const { table, pending } = this.msixCapability?.save() ?? NO_MSIX;
    return schemaFor(this.config.size, table.length, pending.length);
  }

  save(): PciState {
    const { table, pending } = this.msixCapability?.save() ?? NO_MSIX;
    return { config: this.config.save(), msixTable: table, msixPending: pending, intx: this.requested };
  }

  restore(state: PciState): void {
    this.requested = state.intx;
    this.msixCapability?.restore({ table: state.msixTable, pending: state.msixPending });
    this.config.restore(state.config);
  }
}

const NO_MSIX = { table: new Uint8Array(0), pending: new Uint8Array(0) };
