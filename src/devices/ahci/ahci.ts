/** The SATA controller of an ICH9 in AHCI mode: device 31 function 2 (ICH9 datasheet 316972-004 ch. 14; AHCI 1.3.1). */
import type { IoHandler } from '../../iface/bus.js';
import type { Dma } from '../../iface/guest-memory.js';
import { BusMasterDma } from '../../bus/pci/bus-master-dma.js';
import { PciFunction, type PciEnvironment } from '../../bus/pci/function.js';
import type { MsiCapability } from '../../bus/pci/msi.js';
import { array, bool, range, struct, u32, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { AtaDrive } from '../ata/drive.js';
import { AhciPort } from './port.js';
import { portSchema } from './port-state.js';
import { CAP, GHC, HOST, PORT, PORT_SIZE, PORTS, VERSION_1_3_1 } from './registers.js';

export const AHCI_PORTS = 6;
const SLOTS = 32;
/** Generation 2, 3 Gbit/s. */
const SPEED = 2;
const CAPABILITIES =
  (AHCI_PORTS -
    1 +
    ((SLOTS - 1) << CAP.SLOTS_SHIFT) +
    CAP.PMD +
    CAP.SAM +
    (SPEED << CAP.SPEED_SHIFT) +
    CAP.SCLO +
    CAP.SNCQ +
    CAP.S64A) >>>
  0;
const ALL_PORTS = (1 << AHCI_PORTS) - 1;
/** Bytes of registers at BAR 5; and of the window at BAR 4 that reaches them by index and data (§13 of the specification). */
const REGISTERS_SIZE = 0x1000;
const INDEX_SIZE = 32;
const INDEX = { INDEX: 0x10, DATA: 0x14 } as const;

const stateSchema = (pci: PciFunction['stateSchema']) =>
  struct({
    pci,
    interrupts: range(0, ALL_PORTS),
    enabled: bool,
    index: u32,
    ports: array(portSchema, { length: AHCI_PORTS }),
  });
type State = Infer<ReturnType<typeof stateSchema>>;

export interface AhciParts {
  readonly environment: PciEnvironment;
  readonly dma: Dma;
  /** By port; what is left out has no drive. */
  readonly drives: readonly (AtaDrive | undefined)[];
}

export class Ahci implements Snapshotable<State> {
  readonly id = 'ahci';
  readonly stateVersion = 1;
  readonly pci: PciFunction;
  private readonly msi: MsiCapability;
  private readonly ports: readonly AhciPort[];
  private interrupts = 0;
  private enabled = false;
  private index = 0;

  constructor({ environment, dma, drives }: AhciParts) {
    this.pci = new PciFunction(
      this.id,
      // Class 01h 06h 01h: serial ATA, AHCI. Interrupt pin A, as D31IP has it after reset.
      { vendorId: 0x8086, deviceId: 0x2922, revision: 2, classCode: 0x010601, interruptPin: 1 },
      environment,
    );
    const through = new BusMasterDma(this.pci, dma);
    this.ports = Array.from(
      { length: AHCI_PORTS },
      (_, i) => new AhciPort({ dma: through, drive: drives[i], changed: () => this.update() }),
    );
    const registers: IoHandler = {
      read: (offset, size) => part(this.readRegister(offset & ~3), offset, size),
      peek: (offset, size) => part(this.readRegister(offset & ~3), offset, size),
      write: (offset, size, value) => this.write(offset, size, value),
    };
    this.pci.addBar(4, { kind: 'io', size: INDEX_SIZE, handler: this.indexed(registers) });
    this.pci.addBar(5, { kind: 'mem32', size: REGISTERS_SIZE, handler: registers });
    this.msi = this.pci.addMsi(1);
  }

  /** Index-data pair. */
  private indexed(registers: IoHandler): IoHandler {
    const read = (offset: number, size: number): number => {
      if ((offset & ~3) === INDEX.INDEX) return part(this.index, offset, size);
      if ((offset & ~3) === INDEX.DATA) return registers.read(this.index + (offset & 3), size);
      return 0;
    };
    return {
      read,
      peek: read,
      write: (offset, size, value) => {
        if (offset === INDEX.INDEX && size === 4) this.index = value & (REGISTERS_SIZE - 4);
        else if ((offset & ~3) === INDEX.DATA) registers.write(this.index + (offset & 3), size, value);
      },
    };
  }

  private readRegister(offset: number): number {
    if (offset >= PORTS) {
      const port = Math.floor((offset - PORTS) / PORT_SIZE);
      return port < AHCI_PORTS ? this.ports[port].read((offset - PORTS) % PORT_SIZE) : 0;
    }
    switch (offset) {
      case HOST.CAP:
        return CAPABILITIES;
      case HOST.GHC:
        return (GHC.AHCI + (this.enabled ? GHC.INTERRUPTS : 0)) >>> 0;
      case HOST.IS:
        return this.interrupts;
      case HOST.PI:
        return ALL_PORTS;
      case HOST.VS:
        return VERSION_1_3_1;
      default:
        return 0;
    }
  }

  /** Registers are meant to be written whole; of a narrower write the rest is what stands there, or nothing to clear or set. */
  private write(offset: number, size: number, value: number): void {
    const at = offset & ~3;
    if (size === 4) {
      this.writeRegister(at, value);
      return;
    }
    const shift = 8 * (offset & 3);
    const mask = ((2 ** (8 * size) - 1) << shift) >>> 0;
    const inPort = at >= PORTS ? (at - PORTS) % PORT_SIZE : -1;
    const bits = at === HOST.IS || [PORT.IS, PORT.SERR, PORT.SACT, PORT.CI].includes(inPort as never);
    const rest = bits ? 0 : this.readRegister(at) & ~mask;
    this.writeRegister(at, ((rest | (value << shift)) & (bits ? mask : ~0)) >>> 0);
  }

  private writeRegister(offset: number, value: number): void {
    if (offset >= PORTS) {
      const port = Math.floor((offset - PORTS) / PORT_SIZE);
      if (port < AHCI_PORTS) this.ports[port].write((offset - PORTS) % PORT_SIZE, value);
      return;
    }
    switch (offset) {
      case HOST.GHC:
        if (value & GHC.RESET) this.resetRegisters();
        else this.enabled = (value & GHC.INTERRUPTS) !== 0;
        this.update();
        break;
      case HOST.IS:
        this.interrupts &= ~value;
        this.update(true);
        break;
    }
  }

  private resetRegisters(): void {
    this.enabled = false;
    this.interrupts = 0;
    for (const port of this.ports) port.reset();
    this.interrupts = 0;
  }

  /** `cleared`: the host has handled some; what is left needs a message of its own (§10.6.2.2). */
  private update(cleared = false): void {
    // Ports report while they are being made.
    if (this.ports === undefined) return;
    const before = this.interrupts;
    this.ports.forEach((port, i) => {
      if (port.pending) this.interrupts |= 1 << i;
    });
    const asserted = this.enabled && this.interrupts !== 0;
    this.pci.setIntx(asserted);
    if (asserted && this.msi.enabled && (cleared || (this.interrupts & ~before) !== 0)) this.msi.trigger(0);
  }

  /** After a restore: goes on with what was under way. */
  resume(): void {
    for (const port of this.ports) port.resume();
  }

  get stateSchema(): ReturnType<typeof stateSchema> {
    return stateSchema(this.pci.stateSchema);
  }

  save(): State {
    return {
      pci: this.pci.save(),
      interrupts: this.interrupts,
      enabled: this.enabled,
      index: this.index,
      ports: this.ports.map((port) => port.save()),
    };
  }

  restore(state: State): void {
    this.pci.restore(state.pci);
    this.interrupts = state.interrupts;
    this.enabled = state.enabled;
    this.index = state.index & (REGISTERS_SIZE - 4);
    this.ports.forEach((port, i) => port.restore(state.ports[i]));
  }
}

/** A part of a 32-bit register. */
const part = (value: number, offset: number, size: number): number =>
  size === 4 ? value >>> 0 : (value >>> (8 * (offset & 3))) & (2 ** (8 * size) - 1);
