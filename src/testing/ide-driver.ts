/** A guest's driver of a PIIX3 IDE function, for tests. */
import { Bus } from '../bus/io-space.js';
import { AtaDisk } from '../devices/ata/ata-disk.js';
import { AtapiCdRom } from '../devices/ata/atapi-cdrom.js';
import { COMMAND as ATA } from '../devices/ata/registers.js';
import { Piix3Ide } from '../devices/ide/piix3-ide.js';
import { RecordingLine } from '../host/fake/lines.js';
import { FakeMemory } from '../host/fake/memory.js';
import { MemoryDisk } from './memory-disk.js';

export const BUS_MASTER = 0xc000;
export const TABLE = 0x1000;
export const DATA = 0x8000;

/** A driver of the function, with a disk as the first drive of the first channel and a CD as that of the second. */
export class IdeDriver {
  readonly memory = new FakeMemory(0x10_0000);
  readonly disk = new MemoryDisk(2048 * 512);
  readonly cd = new MemoryDisk(64 * 2048, true);
  readonly lines = [new RecordingLine(), new RecordingLine()] as const;
  readonly ide: Piix3Ide;
  readonly bus = new Bus();

  constructor() {
    const { ports, memory } = this.bus;
    this.ide = new Piix3Ide({
      environment: { ports, memory, msi: { deliver: () => undefined } },
      dma: this.memory,
      irqs: [this.lines[0], this.lines[1]],
      drives: [
        new AtaDisk({ id: 'disk', backend: this.disk, serialAta: false }),
        undefined,
        new AtapiCdRom({ id: 'cd', medium: this.cd, serial: 'CD-1', serialAta: false }),
      ],
    });
    this.ide.pci.config.write(0x20, 4, BUS_MASTER);
    this.ide.pci.config.write(4, 2, 5);
  }

  out(port: number, value: number, size = 1): void {
    this.bus.portWrite(port, size, size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1));
  }
  in(port: number, size = 1): number {
    return this.bus.portRead(port, size);
  }

  /** 28-bit command on the first channel. */
  command(code: number, lba = 0, count = 0, feature = 0): number {
    this.out(0x1f6, 0xe0 | (lba >>> 24));
    this.out(0x1f1, feature);
    this.out(0x1f2, count);
    for (let i = 0; i < 3; i++) this.out(0x1f3 + i, (lba >>> (8 * i)) & 0xff);
    this.out(0x1f7, code);
    return this.in(0x3f6);
  }

  readData(port: number, words: number): Uint8Array {
    return Uint8Array.from(
      Array.from({ length: words }, () => this.in(port, 2)).flatMap((word) => [word & 0xff, word >> 8]),
    );
  }

  /** Puts a table of pieces into memory and starts the bus master of a channel. */
  dma(pieces: readonly (readonly [number, number])[], toMemory: boolean, channel = 0): void {
    const view = new DataView(this.memory.bytes.buffer);
    pieces.forEach(([address, length], i) => {
      view.setUint32(TABLE + 8 * i, address, true);
      view.setUint32(TABLE + 8 * i + 4, (length & 0xffff) | (i === pieces.length - 1 ? 0x8000_0000 : 0), true);
    });
    const base = BUS_MASTER + 8 * channel;
    this.out(base + 4, TABLE, 4);
    this.out(base + 2, 6);
    this.out(base, toMemory ? 8 : 0);
    this.out(base, toMemory ? 9 : 1);
  }

  /** A packet on the second channel. */
  packet(packet: readonly number[], dma = false, limit = 0xfffe): void {
    this.out(0x176, 0xa0);
    this.out(0x171, dma ? 1 : 0);
    this.out(0x174, limit & 0xff);
    this.out(0x175, limit >> 8);
    this.out(0x177, ATA.PACKET);
    for (let i = 0; i < 12; i += 2) this.out(0x170, (packet[i] ?? 0) | ((packet[i + 1] ?? 0) << 8), 2);
  }
}
