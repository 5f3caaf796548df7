import { beforeEach, describe, expect, it } from 'vitest';
import { ScanOut, type Frame } from '../../../display/scan-out.js';
import { FakeClock } from '../../../host/fake/clock.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { fromCp437 } from './cp437.js';
import { Vga, VGA_MEMORY, VGA_PORTS } from './vga.js';

const B8000 = 0xb_8000 - VGA_MEMORY;

/** What is on the screen. */
function screenOf(vga: Vga, now = 0): Frame {
  const out = new ScanOut();
  out.update(vga.picture(), now);
  return out.frame;
}

describe('the VGA', () => {
  let clock: FakeClock;
  let vga: Vga;
  beforeEach(() => {
    clock = new FakeClock();
    vga = new Vga(clock);
  });
  const out = (port: number, value: number): void => vga.ports.write(port - VGA_PORTS, 1, value);
  const read = (port: number): number => vga.ports.read(port - VGA_PORTS, 1);
  const set = (port: number, index: number, value: number): void => {
    out(port, index);
    out(port + 1, value);
  };
  const print = (row: number, column: number, text: string): void => {
    for (let i = 0; i < text.length; i++)
      vga.window.write(B8000 + (row * 80 + column + i) * 2, 2, 0x0700 | text.charCodeAt(i));
  };
  const attribute = (index: number, value: number): void => {
    read(0x3da);
    out(0x3c0, index);
    out(0x3c0, value);
  };
  /** What a BIOS writes for mode 13h, as far as it matters here. */
  const mode13 = (): void => {
    out(0x3c2, 0x63);
    set(0x3c4, 2, 0x0f);
    set(0x3c4, 4, 0x0e);
    set(0x3ce, 5, 0x40);
    set(0x3ce, 6, 0x05);
    set(0x3d4, 0x11, 0x0e);
    for (const [index, value] of [
      [0x01, 0x4f],
      [0x07, 0x1f],
      [0x09, 0x41],
      [0x12, 0x8f],
      [0x13, 0x28],
      [0x14, 0x40],
      [0x17, 0xa3],
    ])
      set(0x3d4, index, value);
  };

  it('is in mode 3, with a blank screen', () => {
    expect(vga.textMode).toBe(true);
    expect(vga.readText()).toEqual(Array.from({ length: 25 }, () => ''));
    expect(vga.cursor).toEqual({ row: 0, column: 0 });
    expect(screenOf(vga)).toMatchObject({ width: 720, height: 400 });
    expect(vga.window.read(B8000, 4)).toBe(0x0720_0720);
  });

  it('shows what is written to 0xb8000', () => {
    print(0, 0, 'Hello, world!');
    print(24, 70, 'bottom end');
    const text = vga.readText();
    expect([text[0], text[24].trim()]).toEqual(['Hello, world!', 'bottom end']);
    expect(text[24].length).toBe(80);
    expect(vga.window.read(B8000, 1)).toBe(0x48);
    expect(vga.window.peek?.(B8000 + 2, 2)).toBe(0x0765);
    // Nothing answers at 0xa0000 and 0xb0000 in this mode.
    expect([vga.window.read(0, 2), vga.window.read(0x1_0000, 4)]).toEqual([0xffff, 0xffff_ffff]);
  });

  it('scrolls by the start address and moves the cursor', () => {
    print(1, 0, 'second row');
    set(0x3d4, 0x0d, 80);
    expect(vga.readText()[0]).toBe('second row');
    set(0x3d4, 0x0f, 80 + 85);
    expect(vga.cursor).toEqual({ row: 1, column: 5 });
    set(0x3d4, 0x0a, 0x20);
    expect(vga.cursor).toBeUndefined();
  });

  it('shows code page 437', () => {
    expect([0x00, 0x01, 0x41, 0x7f, 0xb3, 0xdb, 0xe1, 0xff].map(fromCp437).join('')).toBe(' ☺A⌂│█ß ');
  });

  it('reads all its registers back, at the ports of the monitor chosen', () => {
    expect([read(0x3cc), read(0x3c2) & 0x10, read(0x3b5)]).toEqual([0x67, 0x10, 0xff]);
    out(0x3d4, 1);
    expect(read(0x3d5)).toBe(0x4f);
    out(0x3c2, 0x66);
    expect([read(0x3d5), read(0x3b5)]).toEqual([0xff, 0x4f]);
    out(0x3c2, 0x67);
    set(0x3ce, 8, 0x5a);
    expect(read(0x3cf)).toBe(0x5a);
    attribute(0x11, 0x3f);
    out(0x3c0, 0x11);
    expect(read(0x3c1)).toBe(0x3f);
  });

  it('protects the CRTC’s timing and the palette that is shown', () => {
    set(0x3d4, 0x00, 0x12);
    out(0x3d4, 0x00);
    expect(read(0x3d5)).toBe(0x5f);
    set(0x3d4, 0x07, 0x00);
    expect(read(0x3d5)).toBe(0x0f);
    attribute(0x20 | 1, 0x3f);
    expect(read(0x3c1)).toBe(0x01);
    attribute(1, 0x3f);
    expect(read(0x3c1)).toBe(0x3f);
  });

  it('counts through the DAC', () => {
    out(0x3c8, 0xff);
    for (const value of [1, 2, 3, 4, 5, 0xff]) out(0x3c9, value);
    out(0x3c7, 0xff);
    expect(Array.from({ length: 6 }, () => read(0x3c9))).toEqual([1, 2, 3, 4, 5, 0x3f]);
    expect([read(0x3c7), read(0x3c8)]).toEqual([3, 1]);
  });

  it('shows retrace and blanking as time passes', () => {
    const seen = new Set<number>();
    for (let i = 0; i < 3000; i++) {
      clock.advance(5000);
      seen.add(read(0x3da));
    }
    expect(seen).toEqual(new Set([0, 1, 9]));
  });

  it('stores mode 13h and reads its pixels', () => {
    mode13();
    out(0x3c8, 9);
    for (const value of [63, 32, 0]) out(0x3c9, value);
    vga.window.write(320 * 100 + 5, 1, 9);
    expect(vga.window.read(320 * 100 + 4, 4)).toBe(vga.window.peek?.(320 * 100 + 4, 4));
    expect(vga.window.read(320 * 100 + 5, 1)).toBe(9);
    attribute(0x20, 0);
    const { width, height, pixels } = screenOf(vga);
    // Each pixel takes two dots of two lines.
    expect([width, height]).toEqual([640, 400]);
    expect([...pixels].flatMap((color, at) => (color === 0xff_8200 ? [at] : []))).toEqual(
      [200, 201].flatMap((y) => [y * 640 + 10, y * 640 + 11]),
    );
    expect(vga.readText()).toEqual([]);
  });

  it('writes planes in all four modes', () => {
    mode13();
    set(0x3c4, 4, 0x06);
    set(0x3ce, 5, 0);
    const plane = (n: number, offset: number): number => {
      set(0x3ce, 4, n);
      return vga.window.read(offset, 1);
    };
    // Mode 0: rotate, set/reset in planes 0 and 1.
    set(0x3ce, 3, 1);
    set(0x3ce, 0, 0b0001);
    set(0x3ce, 1, 0b0011);
    vga.window.write(10, 1, 0x03);
    expect([0, 1, 2, 3].map((n) => plane(n, 10))).toEqual([0xff, 0x00, 0x81, 0x81]);
    // Mode 1 copies the latches that the last read loaded.
    set(0x3ce, 5, 1);
    vga.window.write(11, 1, 0);
    set(0x3ce, 5, 0);
    expect([0, 1, 2, 3].map((n) => plane(n, 11))).toEqual([0xff, 0x00, 0x81, 0x81]);
    // Mode 2 with a bit mask and XOR.
    set(0x3ce, 5, 2);
    set(0x3ce, 3, 0x18);
    set(0x3ce, 8, 0x0f);
    vga.window.write(11, 1, 0b0101);
    set(0x3ce, 5, 0);
    expect([0, 1, 2, 3].map((n) => plane(n, 11))).toEqual([0xf0, 0x00, 0x8e, 0x81]);
    // Mode 3: the data is the mask.
    set(0x3ce, 3, 0);
    set(0x3ce, 8, 0xff);
    set(0x3ce, 5, 3);
    set(0x3ce, 0, 0b1000);
    vga.window.write(11, 1, 0xf0);
    set(0x3ce, 5, 0);
    expect([0, 1, 2, 3].map((n) => plane(n, 11))).toEqual([0x00, 0x00, 0x0e, 0xf1]);
    // Read mode 1 compares colours.
    set(0x3ce, 5, 8);
    set(0x3ce, 2, 0b1000);
    set(0x3ce, 7, 0b1111);
    expect(vga.window.read(11, 1)).toBe(0xf1);
    // The map mask keeps planes from being written.
    set(0x3ce, 5, 0);
    set(0x3ce, 1, 0);
    set(0x3c4, 2, 0b0100);
    vga.window.write(11, 1, 0x55);
    expect([0, 1, 2, 3].map((n) => plane(n, 11))).toEqual([0x00, 0x00, 0x55, 0xf1]);
  });

  it('shows 16-colour graphics', () => {
    set(0x3c4, 4, 0x06);
    set(0x3ce, 5, 0);
    set(0x3ce, 6, 0x05);
    set(0x3d4, 0x11, 0);
    for (const [index, value] of [
      [0x07, 0x3e],
      [0x09, 0x40],
      [0x12, 0xdf],
      [0x17, 0xe3],
    ])
      set(0x3d4, index, value);
    set(0x3c4, 2, 0x04);
    vga.window.write(80, 1, 0x40);
    attribute(0x20, 0);
    const { width, height, pixels } = screenOf(vga);
    expect([width, height]).toEqual([640, 480]);
    // Line 1 starts at address 80; the second pixel is in plane 2: red.
    expect(pixels[640 + 1]).toBe(0xaa_0000);
  });

  it('survives any register values', () => {
    for (let value = 0; value < 256; value += 5) {
      for (let port = 0x3b0; port < 0x3e0; port++) {
        out(port, value);
        read(port);
      }
      for (let index = 0; index < 32; index++) for (const port of [0x3c4, 0x3ce, 0x3d4]) set(port, index, value);
      vga.window.write(value * 64, 4, 0x1234_5678);
      vga.window.read(value * 64, 4);
      expect(vga.readText().length + screenOf(vga).height).toBeGreaterThanOrEqual(0);
      expect(vga.cursor?.row ?? 0).toBeGreaterThanOrEqual(0);
    }
  });
});

snapshotSuite('the VGA', {
  create: (clock) => new Vga(clock),
  change(vga) {
    const out = (port: number, value: number): void => vga.ports.write(port - VGA_PORTS, 1, value);
    vga.window.write(B8000, 4, 0x0742_0741);
    vga.window.read(B8000, 1);
    for (const [port, value] of [
      [0x3c2, 0x63],
      [0x3c3, 0x00],
      [0x3c4, 2],
      [0x3c5, 7],
      [0x3ce, 8],
      [0x3cf, 0x7f],
      [0x3d4, 0x0f],
      [0x3d5, 9],
      [0x3da, 1],
      [0x3c0, 0x11],
      [0x3c0, 0x22],
      [0x3c0, 0x12],
      [0x3c6, 0x3f],
      [0x3c7, 0x11],
      [0x3c9, 0x12],
    ])
      out(port, value);
    vga.dispi.ports.write(0, 2, 1);
    vga.dispi.ports.write(2, 2, 320);
  },
  observe: (vga) => [vga.readText(), vga.cursor, Array.from({ length: 0x30 }, (_, port) => vga.ports.read(port, 1))],
});
