/** A guest's driver of a floppy controller, for tests. */
import { Dma8237 } from '../devices/legacy/dma8237/dma-8237.js';
import { Fdc } from '../devices/legacy/fdc/fdc.js';
import { floppyFormat } from '../devices/legacy/fdc/floppy-drive.js';
import { RecordingLine } from '../host/fake/lines.js';
import { FakeMemory } from '../host/fake/memory.js';
import { MemoryDisk } from './memory-disk.js';

export const BUFFER = 0x2_0000;

/** A driver with a disk of 1.44 MB in drive A. */
export class FdcDriver {
  readonly memory = new FakeMemory(0x10_0000);
  readonly disk: MemoryDisk;
  readonly line = new RecordingLine();
  readonly dma: Dma8237;
  readonly fdc: Fdc;

  constructor(kib = 1440, readOnly = false) {
    this.disk = new MemoryDisk(kib * 1024, readOnly);
    this.dma = new Dma8237(this.memory);
    const format = floppyFormat(this.disk.size);
    this.fdc = new Fdc({
      irq: this.line,
      dma: this.dma.channel(2),
      drives: format ? [{ disk: { backend: this.disk, format } }] : [],
    });
  }

  start(rate = 0): this {
    this.fdc.ports.write(0, 1, 0);
    this.fdc.ports.write(0, 1, 0x1c);
    for (let drive = 0; drive < 4; drive++) this.command([8], 2);
    this.fdc.changePort.write(0, 1, rate);
    this.command([3, 0xdf, 2]);
    return this;
  }

  get status(): number {
    return this.fdc.ports.read(2, 1);
  }

  /** RQM and DIO as they must be now. */
  private expect(status: number): void {
    const found = this.status & 0xc0;
    if (found !== status) throw new Error(`the main status is ${found}, not ${status}`);
  }

  command(bytes: readonly number[], results = 0): number[] {
    for (const byte of bytes) {
      this.expect(0x80);
      this.fdc.ports.write(3, 1, byte);
    }
    return this.results(results);
  }

  results(count: number): number[] {
    return Array.from({ length: count }, () => {
      this.expect(0xc0);
      return this.fdc.ports.read(3, 1);
    });
  }

  /** Programs channel 2: mode 46h to memory, 4Ah from memory. */
  program(mode: number, length: number): void {
    const { firstPorts, pagePorts } = this.dma;
    firstPorts.write(0xc, 1, 0);
    firstPorts.write(4, 1, BUFFER & 0xff);
    firstPorts.write(4, 1, (BUFFER >> 8) & 0xff);
    pagePorts.write(1, 1, BUFFER >> 16);
    firstPorts.write(0xc, 1, 0);
    firstPorts.write(5, 1, (length - 1) & 0xff);
    firstPorts.write(5, 1, (length - 1) >> 8);
    firstPorts.write(0xb, 1, mode);
    firstPorts.write(0xa, 1, 2);
  }

  seek(cylinder: number): void {
    this.command([0x0f, 0, cylinder]);
    const [status, at] = this.command([8], 2);
    if (status !== 0x20 || at !== cylinder) throw new Error(`a seek ended with ${status} at ${at}`);
  }
}
