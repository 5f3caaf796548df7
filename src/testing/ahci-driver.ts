/** A guest's driver of an AHCI controller, for tests. */
import { gpa } from '../base/units.js';
import { Bus } from '../bus/io-space.js';
import { Ahci } from '../devices/ahci/ahci.js';
import { CMD, HOST, PORT, PORT_SIZE, PORTS } from '../devices/ahci/registers.js';
import { AtaDisk } from '../devices/ata/ata-disk.js';
import { AtapiCdRom } from '../devices/ata/atapi-cdrom.js';
import type { AtaDrive } from '../devices/ata/drive.js';
import { COMMAND as ATA } from '../devices/ata/registers.js';
import { FakeMemory } from '../host/fake/memory.js';
import { MemoryDisk } from './memory-disk.js';

export const ABAR = 0xf000_0000;
export const LIST = 0x1000;
export const FRAMES = 0x2000;
export const TABLE = 0x3000;
export const DATA = 0x8000;

interface Command {
  readonly code: number;
  readonly lba?: number;
  readonly count?: number;
  readonly feature?: number;
  readonly device?: number;
  readonly packet?: readonly number[];
  /** Pieces of memory: address and length. */
  readonly pieces?: readonly (readonly [number, number])[];
  readonly slot?: number;
  readonly queued?: boolean;
}

/** A driver of one controller with a disk at port 0 and a CD at port 1. */
export class AhciDriver {
  readonly memory = new FakeMemory(0x10_0000);
  readonly disk = new MemoryDisk(2048 * 512);
  readonly cd = new MemoryDisk(64 * 2048, true);
  readonly drives: AtaDrive[];
  readonly ahci: Ahci;
  readonly messages: number[] = [];
  private readonly bus = new Bus();
  port = 0;

  constructor() {
    this.drives = [
      new AtaDisk({ id: 'disk', backend: this.disk, serialAta: true }),
      new AtapiCdRom({ id: 'cd', medium: this.cd, serial: 'CD-1', serialAta: true }),
    ];
    const { ports, memory } = this.bus;
    const msi = { deliver: (_address: number, data: number) => void this.messages.push(data) };
    this.ahci = new Ahci({ environment: { ports, memory, msi }, dma: this.memory, drives: this.drives });
    this.ahci.pci.config.write(0x24, 4, ABAR);
    this.ahci.pci.config.write(4, 2, 6);
  }

  get(register: number): number {
    return this.bus.mmioRead(ABAR + PORTS + PORT_SIZE * this.port + register, 4);
  }

  set(register: number, value: number): void {
    this.bus.mmioWrite(ABAR + PORTS + PORT_SIZE * this.port + register, 4, value >>> 0);
  }

  host(register: number, value?: number): number {
    if (value !== undefined) this.bus.mmioWrite(ABAR + register, 4, value);
    return this.bus.mmioRead(ABAR + register, 4);
  }

  poke(offset: number, size: number, value: number): void {
    this.bus.mmioWrite(ABAR + offset, size, value);
  }

  start(port = 0): this {
    this.port = port;
    this.host(HOST.GHC, 0x8000_0002);
    this.set(PORT.CLB, LIST);
    this.set(PORT.FB, FRAMES);
    this.set(PORT.CMD, CMD.FRE);
    this.set(PORT.SERR, 0xffff_ffff);
    this.set(PORT.IS, 0xffff_ffff);
    this.set(PORT.IE, 0xffff_ffff);
    this.set(PORT.CMD, CMD.FRE | CMD.ST);
    return this;
  }

  place({ code, slot = 0, pieces = [], packet, ...fields }: Command): void {
    const { lba = 0, count = 0, feature = 0, device = 0x40 } = fields;
    const { bytes } = this.memory;
    const view = new DataView(bytes.buffer);
    const table = TABLE + slot * 0x200;
    view.setUint32(LIST + 32 * slot, 5 | (packet ? 0x20 : 0) | (pieces.length << 16), true);
    view.setUint32(LIST + 32 * slot + 4, 0, true);
    view.setUint32(LIST + 32 * slot + 8, table, true);
    view.setUint32(LIST + 32 * slot + 12, 0, true);
    const at = (index: number): number => Math.floor(lba / 2 ** (8 * index)) & 0xff;
    bytes.set(
      [0x27, 0x80, code, feature & 0xff, at(0), at(1), at(2), device, at(3), at(4), at(5), feature >> 8],
      table,
    );
    bytes.set([count & 0xff, count >> 8, 0, 0], table + 12);
    bytes.set(packet ?? [], table + 0x40);
    pieces.forEach(([address, length], i) => {
      view.setUint32(table + 0x80 + 16 * i, address, true);
      view.setUint32(table + 0x84 + 16 * i, 0, true);
      view.setUint32(table + 0x8c + 16 * i, length - 1, true);
    });
  }

  run(command: Command): { readonly status: number; readonly error: number } {
    this.place(command);
    if (command.queued) this.set(PORT.SACT, 1 << (command.slot ?? 0));
    this.set(PORT.CI, 1 << (command.slot ?? 0));
    return { status: this.get(PORT.TFD) & 0xff, error: this.get(PORT.TFD) >> 8 };
  }

  packet(packet: readonly number[], length = 0): { readonly status: number; readonly error: number } {
    const pieces = length > 0 ? ([[DATA, length]] as const) : [];
    return this.run({ code: ATA.PACKET, feature: 1, packet, pieces });
  }

  restart(): void {
    this.set(PORT.CMD, CMD.FRE);
    this.set(PORT.IS, 0xffff_ffff);
    this.set(PORT.CMD, CMD.FRE | CMD.ST);
  }

  bytesAt(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.memory.read(gpa(address), bytes);
    return bytes;
  }

  transferred(slot = 0): number {
    return this.memory.readU32(gpa(LIST + 32 * slot + 4));
  }
}
