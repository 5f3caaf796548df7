import { Bus } from '../../../bus/io-space.js';
import { DISPI_PORT_COUNT, DISPI_PORTS } from '../../../devices/legacy/vga/dispi.js';
import { VgaCard, VRAM_SIZE } from '../../../devices/legacy/vga/vga-card.js';
import { Vga, VGA_MEMORY, VGA_MEMORY_SIZE, VGA_PORT_COUNT, VGA_PORTS } from '../../../devices/legacy/vga/vga.js';
import { ScanOut } from '../../../display/scan-out.js';
import { FakeClock } from '../../../host/fake/clock.js';
import { RecordingMsi } from '../../../host/fake/lines.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const LFB = 0xe000_0000;
const REGISTERS = 0xe100_0000;
/** Index ports, their data ports and how many registers there are: sequencer, graphics, CRTC in colour and monochrome. */
const INDEXED = [
  [0x3c4, 0x3c5, 5],
  [0x3ce, 0x3cf, 9],
  [0x3d4, 0x3d5, 0x19],
  [0x3b4, 0x3b5, 0x19],
] as const;
const SIZES = [0, 1, 7, 8, 320, 640, 800, 1024, 1280, 1920, 2560, 4096, 0xffff];
const DEPTHS = [0, 1, 4, 8, 15, 16, 24, 32, 33];
/** A picture may take milliseconds: one for so many inputs. */
const PICTURE_EVERY = 250;

class Session implements FuzzSession {
  private readonly bus = new Bus();
  private readonly vga: Vga;
  private readonly scanOut = new ScanOut();
  private inputs = 0;

  constructor(private readonly random: RandomSource) {
    const { bus } = this;
    const vram = {
      bytes: new Uint8Array(VRAM_SIZE),
      written: (offset: number, length: number) =>
        must(offset >= 0 && length >= 0 && offset + length <= VRAM_SIZE, 'a write is outside of display memory'),
    };
    this.vga = new Vga(new FakeClock(), vram);
    bus.ports.claim('vga', VGA_PORT_COUNT, this.vga.ports, VGA_PORTS);
    bus.ports.claim('dispi', DISPI_PORT_COUNT, this.vga.dispi.ports, DISPI_PORTS);
    bus.memory.claim('vga', VGA_MEMORY_SIZE, this.vga.window, VGA_MEMORY);
    const { config } = new VgaCard({
      vga: this.vga,
      environment: { ports: bus.ports, memory: bus.memory, msi: new RecordingMsi() },
      rom: new Uint8Array(4096),
      moved: () => undefined,
    }).pci;
    config.write(0x10, 4, LFB);
    config.write(0x18, 4, REGISTERS);
    config.write(0x04, 2, 2);
  }

  private dispi(index: number, value: number): void {
    this.bus.portWrite(0x1ce, 2, index);
    this.bus.portWrite(0x1d0, 2, value & 0xffff);
  }

  /** A mode as drivers set it, or nearly. */
  private mode(): void {
    const { random } = this;
    this.dispi(4, 0);
    this.dispi(1, random.pick(SIZES));
    this.dispi(2, random.pick(SIZES));
    this.dispi(3, random.pick(DEPTHS));
    this.dispi(4, random.once(4) ? random.below(256) : 0x41);
    this.bus.portRead(0x3da, 1);
    this.bus.portWrite(0x3c0, 1, 0x20);
  }

  private window(base: number, size: number): void {
    const { random, bus } = this;
    const width = random.pick([1, 2, 4] as const);
    const at = base + (random.below(size) & -width);
    if (random.once(2)) bus.mmioRead(at, width);
    else bus.mmioWrite(at, width, random.next() % 2 ** (8 * width));
  }

  step(): void {
    const { random, bus } = this;
    switch (random.below(12)) {
      case 0:
        if (random.once(6)) this.mode();
        break;
      case 1:
        this.dispi(random.below(12), random.once(2) ? random.pick(SIZES) : random.next());
        break;
      case 2:
      case 3:
      case 4: {
        const [index, data, count] = random.pick(INDEXED);
        bus.portWrite(index, 1, random.below(count + 2));
        bus.portWrite(data, 1, random.below(256));
        bus.portRead(data, 1);
        break;
      }
      case 5:
        bus.portRead(0x3da, 1);
        bus.portWrite(0x3c0, 1, random.below(0x35));
        bus.portWrite(0x3c0, 1, random.below(256));
        break;
      case 6:
        bus.portWrite(0x3b0 + random.below(0x30), 1, random.below(256));
        bus.portRead(0x3b0 + random.below(0x30), 1);
        break;
      case 7:
        bus.portWrite(random.pick([0x3c6, 0x3c7, 0x3c8, 0x3c9, 0x3c2, 0x3d8]), 1, random.below(256));
        break;
      case 8:
        this.window(REGISTERS, 0x1000);
        break;
      case 9:
        this.window(LFB, VRAM_SIZE);
        break;
      default:
        this.window(VGA_MEMORY, VGA_MEMORY_SIZE);
    }
    if (++this.inputs % PICTURE_EVERY === 0) this.look();
  }

  private look(): void {
    const { vga, random } = this;
    const picture = vga.picture();
    if (picture.kind === 'linear') {
      const { start, pitch, height, memory } = picture;
      must(start >= 0 && start + pitch * height <= memory.length, 'the picture is not inside of display memory');
    }
    this.scanOut.update(picture, random.below(100_000));
    const { width, height, pixels } = this.scanOut.frame;
    must(width > 0 && height > 0 && pixels.length >= width * height, 'a frame is smaller than it says');
    vga.readText();
  }

  end(): void {
    const { memory, ...registers } = this.vga.save();
    this.vga.restore(this.vga.stateSchema.check({ ...registers, memory }, 'vga'));
    const { memory: again, ...others } = this.vga.save();
    must(JSON.stringify(others) === JSON.stringify(registers), 'the state is another after a restore');
    must(Buffer.compare(memory, again) === 0, 'display memory is another after a restore');
    this.look();
  }
}

/** A program that drives the VGA's registers, windows and Bochs's interface, sensibly and not. */
export const vgaTarget: FuzzTarget = { name: 'vga', share: 12, length: 2000, start: (random) => new Session(random) };
