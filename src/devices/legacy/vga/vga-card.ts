/**
 * A VGA as a PCI card: display memory behind BAR 0, registers behind BAR 2, the video BIOS in its ROM. The layout is that of QEMU's
 * standard VGA (docs/specs/standard-vga.rst), which every system has a driver for.
 */
import type { BarSpec } from '../../../bus/pci/bar.js';
import { PciFunction, type PciEnvironment, type PciState } from '../../../bus/pci/function.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { edid } from '../../display/edid.js';
import { PORT } from './registers.js';
import type { Vga } from './vga.js';

/** Bytes of display memory. */
export const VRAM_SIZE = 16 << 20;

export const MEMORY_BAR = 0;
export const REGISTER_BAR = 2;
export const REGISTER_SIZE = 0x1000;
/** Areas behind BAR 2. */
const AREA = { EDID_END: 0x400, PORTS: 0x400, PORTS_END: 0x420, DISPI: 0x500, DISPI_END: 0x516, QEMU: 0x600 } as const;
/** Registers of QEMU's own: how long they are, and the byte order of pixels. */
const EXTENSION = { SIZE: 8, BYTE_ORDER: 4, LITTLE: 0x1e1e_1e1e } as const;
/** The size that a monitor prefers, in pixels. */
const PREFERRED = { width: 1280, height: 800 } as const;

/** The registers behind BAR 2. */
export class VgaRegisters implements IoHandler {
  private readonly edid = edid(PREFERRED.width, PREFERRED.height);

  constructor(private readonly vga: Vga) {}

  read(offset: number, size: number): number {
    return this.access(offset, size, (port) => this.vga.ports.read(port, 1));
  }

  peek(offset: number, size: number): number {
    return this.access(offset, size, (port) => this.vga.ports.peek?.(port, 1) ?? 0xff);
  }

  private access(offset: number, size: number, readPort: (port: number) => number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.byte(offset + i, readPort);
    return value;
  }

  private byte(at: number, readPort: (port: number) => number): number {
    if (at < AREA.EDID_END) return this.edid[at] ?? 0;
    if (at >= AREA.PORTS && at < AREA.PORTS_END) return readPort(at - AREA.PORTS + PORT.ATTRIBUTE);
    if (at >= AREA.DISPI && at < AREA.DISPI_END)
      return (this.vga.dispi.read((at - AREA.DISPI) >> 1) >> (8 * (at & 1))) & 0xff;
    const extension = at - AREA.QEMU;
    if (extension < 0 || extension >= EXTENSION.SIZE) return extension < 0 ? 0 : 0xff;
    return extension >= EXTENSION.BYTE_ORDER ? EXTENSION.LITTLE & 0xff : extension === 0 ? EXTENSION.SIZE : 0;
  }

  write(offset: number, size: number, value: number): void {
    if (offset >= AREA.PORTS && offset < AREA.PORTS_END)
      // Low byte first: index, then data.
      for (let i = 0; i < size; i++)
        this.vga.ports.write(offset - AREA.PORTS + PORT.ATTRIBUTE + i, 1, (value >>> (8 * i)) & 0xff);
    else if (offset >= AREA.DISPI && offset < AREA.DISPI_END && size >= 2)
      for (let i = 0; i < size; i += 2)
        this.vga.dispi.write((value >>> (8 * i)) & 0xffff, (offset + i - AREA.DISPI) >> 1);
  }
}

/** BAR 0. `moved` is told where display memory is visible, whenever that changes. */
export const memoryBar = (vga: Vga, moved: (address: number | undefined) => void): BarSpec => ({
  kind: 'mem32',
  size: VRAM_SIZE,
  prefetchable: true,
  handler: vga.linear,
  moved,
});

export interface VgaCardParts {
  readonly vga: Vga;
  readonly environment: PciEnvironment;
  /** The video BIOS; without one, firmware shows nothing. */
  readonly rom?: Uint8Array | undefined;
  /** Told where display memory is visible, whenever that changes. */
  readonly moved: (address: number | undefined) => void;
}

export class VgaCard implements Snapshotable<PciState> {
  readonly id = 'pci.vga';
  readonly stateVersion = 1;
  readonly pci: PciFunction;

  constructor({ vga, environment, rom, moved }: VgaCardParts) {
    this.pci = new PciFunction(
      'vga',
      {
        vendorId: 0x1234,
        deviceId: 0x1111,
        revision: 2,
        classCode: 0x03_0000,
        subsystemVendorId: 0x1af4,
        subsystemId: 0x1100,
      },
      environment,
    );
    this.pci.addBar(MEMORY_BAR, memoryBar(vga, moved));
    this.pci.addBar(REGISTER_BAR, { kind: 'mem32', size: REGISTER_SIZE, handler: new VgaRegisters(vga) });
    if (rom) this.pci.addRom(rom);
  }

  get stateSchema(): PciFunction['stateSchema'] {
    return this.pci.stateSchema;
  }

  save(): PciState {
    return this.pci.save();
  }

  restore(state: PciState): void {
    this.pci.restore(state);
  }
}
