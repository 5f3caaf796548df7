/** Intel 82540EM, the "PRO/1000 MT Desktop Adapter": SDM 317453-006. */
import type { IoHandler } from '../../iface/bus.js';
import type { Clock } from '../../iface/clock.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { NetBackend, Nic, NicOffloads } from '../../iface/net.js';
import { BusMasterDma } from '../../bus/pci/bus-master-dma.js';
import { PciFunction, type PciEnvironment } from '../../bus/pci/function.js';
import { bool, bytes, struct, u32, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import { Eeprom, eepromSchema } from './eeprom.js';
import { Interrupts, interruptsSchema, RECEIVE, TRANSMIT } from './interrupts.js';
import { Phy, phySchema } from './phy.js';
import { Receiver } from './receive.js';
import {
  CAUSE,
  CTRL,
  CTRL_EXT_EE_RST,
  RAH,
  RCTL,
  RDTR_FPD,
  REG,
  RegisterFile,
  REGISTERS,
  STATUS,
  WINDOW,
} from './registers.js';
import { Statistics, statisticsSchema } from './statistics.js';
import { Transmitter, transmitterSchema } from './transmit.js';

const IDS = { vendor: 0x8086, device: 0x100e, subvendor: 0x8086, subsystem: 0x001e } as const;
const REVISION = 2;
/** The window in port space, §13.2.2: an address, and what is there. */
const PORTS = 32;
const IOADDR = 0;
const IODATA = 4;
const IOADDR_MASK = 0xf_ffff;

const stateSchema = (pci: PciFunction['stateSchema']) =>
  struct({
    pci,
    registers: bytes(REGISTERS),
    ioAddress: u32,
    eeprom: eepromSchema,
    phy: phySchema,
    interrupts: interruptsSchema,
    statistics: statisticsSchema,
    transmitter: transmitterSchema,
    linkUp: bool,
  });
type State = Infer<ReturnType<typeof stateSchema>>;

export interface E1000Parts {
  /** Unique in the machine, stable. */
  readonly id: string;
  /** What its PCI function is called; absent: as it is. */
  readonly name?: string;
  readonly environment: PciEnvironment;
  readonly dma: Dma;
  readonly backend: NetBackend;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  readonly clock: Clock;
}

/** Frames from the network come with their checksums, one packet each. */
const NO_OFFLOADS: NicOffloads = { checksum: false, tcp4: false, tcp6: false };

export class E1000 implements Snapshotable<State>, Nic {
  readonly id: string;
  readonly stateVersion = 1;
  readonly pci: PciFunction;
  readonly offloads = NO_OFFLOADS;
  private readonly backend: NetBackend;
  private readonly registers = new RegisterFile();
  private readonly eeprom: Eeprom;
  private readonly phy: Phy;
  private readonly interrupts: Interrupts;
  private readonly statistics = new Statistics();
  private readonly receiver: Receiver;
  private readonly transmitter: Transmitter;
  private linkUp: boolean;
  private ioAddress = 0;

  constructor({ id, name = id, environment, dma, backend, mac, clock }: E1000Parts) {
    this.id = id;
    this.backend = backend;
    this.linkUp = backend.linkUp;
    this.pci = new PciFunction(
      name,
      {
        vendorId: IDS.vendor,
        deviceId: IDS.device,
        revision: REVISION,
        classCode: 0x02_0000,
        subsystemVendorId: IDS.subvendor,
        subsystemId: IDS.subsystem,
        interruptPin: 1,
      },
      environment,
    );
    const through = new BusMasterDma(this.pci, dma);
    const { registers, statistics } = this;
    this.eeprom = new Eeprom(mac, IDS);
    this.interrupts = new Interrupts(registers, clock, (asserted) => this.pci.setIntx(asserted));
    this.phy = new Phy(
      () => this.linkUp,
      () => this.interrupts.raise(CAUSE.LSC),
    );
    this.receiver = new Receiver(registers, through, this.interrupts, statistics);
    this.transmitter = new Transmitter({
      ...{ registers, dma: through, interrupts: this.interrupts, statistics, backend, clock },
      loop: (frame) => this.receiver.receive(frame),
      loopsBack: () => this.phy.loopsBack,
      hasLink: () => this.hasLink,
    });
    this.pci.addBar(0, { kind: 'mem32', size: WINDOW, handler: this.memory });
    this.pci.addBar(2, { kind: 'io', size: PORTS, handler: this.ports });
    this.reset();
    backend.connect(this);
  }

  /** What CTRL.RST resets: all but the EEPROM and the transceiver. */
  private reset(): void {
    this.registers.reset();
    this.interrupts.reset();
    this.transmitter.reset();
    this.statistics.reset();
    this.loadAddress();
  }

  /** Power goes: nothing happens any more by itself. */
  turnOff(): void {
    this.reset();
    this.phy.reset();
    this.pci.reset();
  }

  /** The first address is that of the EEPROM. */
  private loadAddress(): void {
    const mac = new DataView(this.eeprom.mac.buffer);
    this.registers.set(REG.RAL, mac.getUint32(0, true));
    this.registers.set(REG.RAH, (RAH.AV + mac.getUint16(4, true)) >>> 0);
  }

  private get hasLink(): boolean {
    return this.phy.hasLink && this.registers.has(REG.CTRL, CTRL.SLU);
  }

  // ---- windows ----

  private readonly memory: IoHandler = {
    read: (offset, size) => part(this.read(offset & ~3), offset, size),
    peek: (offset, size) => part(this.peek(offset & ~3), offset, size),
    // §13.2: registers are written whole; of less, the rest is what stands there.
    write: (offset, size, value) => {
      const at = offset & ~3;
      if (size === 4) this.write(at, value);
      else this.write(at, merge(this.peek(at), offset, size, value));
    },
  };

  private readonly ports: IoHandler = {
    read: (offset, size) => {
      if (offset >> 2 === IOADDR >> 2) return part(this.ioAddress, offset, size);
      return offset >> 2 === IODATA >> 2 ? this.memory.read((this.ioAddress & ~3) | (offset & 3), size) : 0;
    },
    peek: (offset, size) => {
      if (offset >> 2 === IOADDR >> 2) return part(this.ioAddress, offset, size);
      return offset >> 2 === IODATA >> 2 ? part(this.peek(this.ioAddress & ~3), offset, size) : 0;
    },
    write: (offset, size, value) => {
      // Less than a whole word is ignored.
      if (size !== 4) return;
      if (offset === IOADDR) this.ioAddress = value & IOADDR_MASK;
      else if (offset === IODATA) this.write(this.ioAddress & ~3, value);
    },
  };

  private peek(at: number): number {
    switch (at) {
      case REG.STATUS:
        return this.status;
      case REG.EECD:
        return this.eeprom.readEecd();
      case REG.EERD:
        return this.eeprom.readEerd();
      case REG.MDIC:
        return this.phy.readMdic();
      case REG.ICR:
        return this.interrupts.causes;
      case REG.IMS:
        return this.interrupts.mask;
      default:
        if (at >= REG.STATISTICS && at < REG.STATISTICS_END) return this.statistics.peek(at - REG.STATISTICS);
        return at < REGISTERS ? this.registers.get(at) : 0;
    }
  }

  private read(at: number): number {
    if (at === REG.ICR) return this.interrupts.readCauses();
    if (at >= REG.STATISTICS && at < REG.STATISTICS_END) return this.statistics.read(at - REG.STATISTICS);
    return this.peek(at);
  }

  private get status(): number {
    return STATUS.FD | STATUS.SPEED_1000 | STATUS.ASDV_1000 | (this.hasLink ? STATUS.LU : 0);
  }

  private write(at: number, value: number): void {
    switch (at) {
      case REG.CTRL:
        this.writeControl(value);
        break;
      case REG.CTRL_EXT:
        this.registers.write(at, value);
        if (value & CTRL_EXT_EE_RST) this.loadAddress();
        break;
      case REG.EECD:
        this.eeprom.writeEecd(value);
        break;
      case REG.EERD:
        this.eeprom.writeEerd(value);
        break;
      case REG.MDIC:
        if (this.phy.writeMdic(value)) this.interrupts.raise(CAUSE.MDAC);
        break;
      case REG.ICR:
        this.interrupts.clear(value);
        break;
      case REG.ICS:
        this.interrupts.raise(value);
        break;
      case REG.IMS:
        this.interrupts.setMask(this.interrupts.mask | value);
        break;
      case REG.IMC:
        this.interrupts.setMask(this.interrupts.mask & ~value);
        break;
      default:
        if (at < REGISTERS) this.writeStored(at, value);
    }
  }

  private writeStored(at: number, value: number): void {
    this.registers.write(at, value);
    switch (at) {
      case REG.TDT:
      case REG.TCTL:
        this.transmitter.run();
        break;
      case REG.RCTL:
      case REG.RDT:
        if (this.canReceive) this.backend.receiveReady();
        break;
      case REG.RDTR:
        if (value >= RDTR_FPD) this.interrupts.expedite(RECEIVE);
        break;
      case REG.TIDV:
        if (value >= RDTR_FPD) this.interrupts.expedite(TRANSMIT);
        break;
    }
  }

  private writeControl(value: number): void {
    if (value >= CTRL.PHY_RST) {
      this.phy.reset();
      this.interrupts.raise(CAUSE.LSC);
    }
    if (value & CTRL.RST) {
      this.reset();
      this.backend.receiveReady();
      return;
    }
    const hadLink = this.hasLink;
    this.registers.write(REG.CTRL, value);
    if (this.hasLink !== hadLink) this.interrupts.raise(CAUSE.LSC);
  }

  // ---- the network's side ----

  private get canReceive(): boolean {
    return !this.receiver.enabled || this.receiver.hasRoom;
  }

  receive(frame: Uint8Array): boolean {
    const looped = this.phy.loopsBack || this.registers.has(REG.RCTL, RCTL.LBM);
    return looped || !this.hasLink || this.receiver.receive(frame);
  }

  /** The card tells of each frame by itself. */
  received(): void {}

  sendReady(): void {
    this.transmitter.run();
  }

  /** Nothing is kept back. */
  settle(): boolean {
    return false;
  }

  linkChanged(up: boolean): void {
    if (up === this.linkUp) return;
    this.linkUp = up;
    this.phy.cableChanged();
    this.interrupts.raise(CAUSE.LSC);
  }

  // ---- saved state ----

  get stateSchema(): ReturnType<typeof stateSchema> {
    return stateSchema(this.pci.stateSchema);
  }

  save(): State {
    return {
      pci: this.pci.save(),
      registers: new Uint8Array(this.registers.values.buffer.slice(0)),
      ioAddress: this.ioAddress,
      eeprom: this.eeprom.save(),
      phy: this.phy.save(),
      interrupts: this.interrupts.save(),
      statistics: this.statistics.save(),
      transmitter: this.transmitter.save(),
      linkUp: this.linkUp,
    };
  }

  restore(state: State): void {
    new Uint8Array(this.registers.values.buffer).set(state.registers);
    this.ioAddress = state.ioAddress & IOADDR_MASK;
    this.eeprom.restore(state.eeprom);
    this.phy.restore(state.phy);
    this.interrupts.restore(state.interrupts);
    this.statistics.restore(state.statistics);
    this.transmitter.restore(state.transmitter);
    this.linkUp = state.linkUp;
    this.pci.restore(state.pci);
  }

  /** After a restore: goes on where the guest was, on a network that may have gone. */
  resume(): void {
    this.linkChanged(this.backend.linkUp);
    this.backend.receiveReady();
    this.sendReady();
  }
}

/** A part of a 32-bit register. */
const part = (value: number, offset: number, size: number): number =>
  size === 4 ? value : (value >>> (8 * (offset & 3))) & (2 ** (8 * size) - 1);

/** A register with a part of it replaced. */
function merge(before: number, offset: number, size: number, value: number): number {
  const shift = 8 * (offset & 3);
  const mask = (2 ** (8 * size) - 1) << shift;
  return ((before & ~mask) | ((value << shift) & mask)) >>> 0;
}
