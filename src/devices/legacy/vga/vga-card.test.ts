import { beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '../../../bus/io-space.js';
import { ScanOut, type Frame } from '../../../display/scan-out.js';
import { FakeClock } from '../../../host/fake/clock.js';
import { RecordingMsi } from '../../../host/fake/lines.js';
import { fuzz } from '../../../testing/fuzz/target.js';
import { vgaTarget } from '../../../testing/fuzz/targets/vga.js';
import { DISPI_PORT_COUNT, DISPI_PORTS } from './dispi.js';
import { VgaCard, VRAM_SIZE } from './vga-card.js';
import { Vga, VGA_MEMORY, VGA_MEMORY_SIZE, VGA_PORT_COUNT, VGA_PORTS } from './vga.js';

const LFB = 0xe000_0000;
const REGISTERS = 0xe100_0000;
const ROM = 0xe200_0000;

describe('the VGA on a card', () => {
  let bus: Bus;
  let vga: Vga;
  let card: VgaCard;
  let moves: (number | undefined)[];
  let written: [number, number][];
  beforeEach(() => {
    bus = new Bus();
    moves = [];
    written = [];
    const bytes = new Uint8Array(VRAM_SIZE);
    vga = new Vga(new FakeClock(), { bytes, written: (offset, length) => written.push([offset, length]) });
    bus.ports.claim('vga', VGA_PORT_COUNT, vga.ports, VGA_PORTS);
    bus.ports.claim('dispi', DISPI_PORT_COUNT, vga.dispi.ports, DISPI_PORTS);
    bus.memory.claim('vga', VGA_MEMORY_SIZE, vga.window, VGA_MEMORY);
    card = new VgaCard({
      vga,
      environment: { ports: bus.ports, memory: bus.memory, msi: new RecordingMsi() },
      rom: Uint8Array.from({ length: 3000 }, (_, i) => (i < 2 ? [0x55, 0xaa][i] : i)),
      moved: (address) => moves.push(address),
    });
    const { config } = card.pci;
    config.write(0x10, 4, LFB);
    config.write(0x18, 4, REGISTERS);
    config.write(0x04, 2, 2);
    written.splice(0);
  });

  /** By ports, as programs do. */
  const dispi = (index: number, value: number): void => {
    bus.portWrite(0x1ce, 2, index);
    bus.portWrite(0x1d0, 2, value);
  };
  const mode = (width: number, height: number, depth: number, flags = 0x41): void => {
    dispi(4, 0);
    dispi(1, width);
    dispi(2, height);
    dispi(3, depth);
    dispi(4, flags);
    // The palette's address source: the screen is on.
    bus.portRead(0x3da, 1);
    bus.portWrite(0x3c0, 1, 0x20);
  };
  const screen = (): Frame => {
    const out = new ScanOut();
    out.update(vga.picture(), 0);
    return out.frame;
  };

  it('is what QEMU’s is', () => {
    const { config } = card.pci;
    expect([config.read(0, 4), config.read(8, 4), config.read(0x2c, 4)]).toEqual([
      0x1111_1234, 0x0300_0002, 0x1100_1af4,
    ]);
    for (const [bar, size] of [
      [0x10, 0xff00_0008],
      [0x14, 0],
      [0x18, 0xffff_f000],
      [0x30, 0xffff_f001],
    ]) {
      config.write(bar, 4, 0xffff_ffff);
      expect(config.read(bar, 4)).toBe(size);
    }
  });

  it('has a ROM that answers when it is asked to', () => {
    const { config } = card.pci;
    config.write(0x30, 4, ROM);
    expect(bus.mmioRead(ROM, 4)).toBe(0xffff_ffff);
    config.write(0x30, 4, ROM + 1);
    expect([bus.mmioRead(ROM, 4), bus.mmioRead(ROM + 0x400, 1), bus.mmioRead(ROM + 3500, 2)]).toEqual([
      0x0302_aa55, 0x00, 0xffff,
    ]);
    bus.mmioWrite(ROM, 4, 0);
    config.write(0x04, 2, 0);
    expect(bus.mmioRead(ROM, 2)).toBe(0xffff);
  });

  it('tells where its memory is', () => {
    const { config } = card.pci;
    config.write(0x10, 4, 0xd000_0000);
    config.write(0x04, 2, 0);
    expect(moves).toEqual([LFB, 0xd000_0000, undefined]);
  });

  it('shows 32 bits a pixel, anywhere on a larger screen', () => {
    mode(64, 48, 32);
    dispi(6, 104);
    dispi(8, 3);
    dispi(9, 5);
    bus.mmioWrite(LFB + (5 * 104 + 3) * 4, 4, 0x12_3456);
    const { width, height, pixels } = screen();
    expect([width, height, pixels[0], pixels[1]]).toEqual([64, 48, 0x12_3456, 0]);
    expect(written.at(-1)).toEqual([(5 * 104 + 3) * 4, 4]);
    bus.portWrite(0x1ce, 2, 6);
    expect(bus.portRead(0x1d0, 2)).toBe(104);
  });

  it('shows a bank at 0xa0000, planes in sixteen colours', () => {
    // Graphics at 0xa0000, as firmware sets it besides.
    bus.portWrite(0x3ce, 2, 0x0506);
    mode(640, 480, 8);
    dispi(5, 2);
    bus.mmioWrite(VGA_MEMORY + 0x123, 1, 7);
    expect(bus.mmioRead(LFB + 0x2_0123, 1)).toBe(7);
    expect(bus.mmioRead(VGA_MEMORY + 0x120, 4)).toBe(0x0700_0000);
    mode(640, 480, 4);
    bus.portWrite(0x3c4, 2, 0x0f02);
    bus.portWrite(0x3c4, 2, 0x0604);
    bus.portWrite(0x3ce, 2, 0x0005);
    bus.mmioWrite(VGA_MEMORY + 80, 1, 0x40);
    // White of the EGA's palette.
    expect(screen().pixels[640 + 1]).toBe(0xff_ffff);
    expect(screen().pixels[640]).toBe(0);
  });

  it('clears memory unless it is told not to', () => {
    mode(64, 64, 32);
    bus.mmioWrite(LFB, 4, 0xffff);
    mode(64, 64, 32, 0xc1);
    expect(bus.mmioRead(LFB, 4)).toBe(0xffff);
    mode(64, 64, 32);
    expect(bus.mmioRead(LFB, 4)).toBe(0);
  });

  it('tells what it can, and refuses what it cannot', () => {
    const read = (index: number): number => {
      bus.portWrite(0x1ce, 2, index);
      return bus.portRead(0x1d0, 2);
    };
    expect([read(0), read(10), read(4)]).toEqual([0xb0c5, VRAM_SIZE / 65536, 0]);
    dispi(4, 2);
    expect([read(1), read(2), read(3)]).toEqual([4096, 2160, 32]);
    mode(4096, 2160, 32);
    expect(read(4) & 1).toBe(0);
    mode(2560, 1600, 32);
    expect(read(4) & 1).toBe(1);
    dispi(1, 800);
    expect([read(1), read(7)]).toEqual([2560, 1638]);
    dispi(9, 39);
    expect(read(9)).toBe(0);
    dispi(9, 38);
    expect(read(9)).toBe(38);
    dispi(0, 0xb0c4);
    dispi(0, 1);
    expect(read(0)).toBe(0xb0c4);
  });

  it('is the same after a restore when it was widened after it was scrolled', () => {
    mode(320, 8, 8);
    dispi(9, 31224);
    dispi(6, 4096);
    const state = vga.save();
    vga.restore(vga.stateSchema.check({ ...state }, 'vga'));
    expect(vga.save().dispi).toEqual(state.dispi);
    expect(screen()).toMatchObject({ width: 320, height: 8 });
  });

  it('takes words at port 0x1cf', () => {
    bus.portWrite(0x1ce, 2, 1);
    bus.portWrite(0x1cf, 2, 800);
    expect([bus.portRead(0x1cf, 2), bus.portRead(0x1d0, 2)]).toEqual([800, 800]);
  });

  it('has its registers behind BAR 2', () => {
    expect(bus.mmioRead(REGISTERS, 4)).toBe(0xffff_ff00);
    expect([bus.mmioRead(REGISTERS + 0x600, 4), bus.mmioRead(REGISTERS + 0x604, 4)]).toEqual([8, 0x1e1e_1e1e]);
    // Index and data in one write.
    bus.mmioWrite(REGISTERS + 0x40e, 2, 0x5a08);
    bus.portWrite(0x3ce, 1, 8);
    expect([bus.portRead(0x3cf, 1), bus.mmioRead(REGISTERS + 0x40f, 1)]).toEqual([0x5a, 0x5a]);
    bus.mmioWrite(REGISTERS + 0x502, 2, 1024);
    expect([bus.mmioRead(REGISTERS + 0x502, 2), bus.mmioRead(REGISTERS + 0x500, 4)]).toEqual([1024, 0x0400_b0c5]);
  });

  it('survives any registers in any order', () => fuzz(vgaTarget, 8000));
});
