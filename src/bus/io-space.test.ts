import { describe, expect, it } from 'vitest';
import type { IoHandler } from '../iface/bus.js';
import { Bus, MEMORY_END, PORTS, PortSpace, WindowedSpace } from './io-space.js';

/** Remembers what reaches it; reads give the offset in every byte, plus `base`. */
class Recorder implements IoHandler {
  readonly log: string[] = [];
  constructor(
    private readonly base = 0,
    readonly widest: 1 | 2 | 4 = 4,
  ) {}
  read(offset: number, size: number): number {
    this.log.push(`r${offset}.${size}`);
    return this.peek(offset, size);
  }
  write(offset: number, size: number, value: number): void {
    this.log.push(`w${offset}.${size}=${value.toString(16)}`);
  }
  peek(offset: number, size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) value += ((this.base + offset + i) & 0xff) * 2 ** (8 * i);
    return value;
  }
}

describe.each([
  ['memory', () => new WindowedSpace(MEMORY_END)],
  ['ports', () => new PortSpace()],
])('a space of %s', (_name, create) => {
  it('passes aligned accesses on whole, relative to the window', () => {
    const space = create();
    const device = new Recorder(0x80);
    space.claim('a', 8, device, 0x100);
    expect(space.read(0x104, 4)).toBe(0x8786_8584);
    space.write(0x102, 2, 0xffff);
    space.write(0x100, 4, 0xffff_ffff);
    expect(device.log).toEqual(['r4.4', 'w2.2=ffff', 'w0.4=ffffffff']);
  });

  it('reads all ones where nobody answers, ignores writes there, and counts both', () => {
    const space = create();
    expect([space.read(0x10, 1), space.read(0x10, 2), space.read(0x10, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
    space.write(0x10, 4, 0);
    expect(space.unclaimed).toBe(4);
  });

  it('splits what straddles windows, byte enables for the rest', () => {
    const space = create();
    const [a, b] = [new Recorder(0x10), new Recorder(0x20)];
    space.claim('a', 2, a, 0x100);
    space.claim('b', 1, b, 0x102);
    expect(space.read(0x100, 4)).toBe(0xff20_1110);
    space.write(0x100, 4, 0x8765_4321);
    expect(a.log).toEqual(['r0.2', 'w0.2=4321']);
    expect(b.log).toEqual(['r0.1', 'w0.1=65']);
    expect(space.unclaimed).toBe(2);
  });

  it('splits what is not aligned into aligned parts, lowest first', () => {
    const space = create();
    const device = new Recorder();
    space.claim('a', 16, device, 0x100);
    expect(space.read(0x101, 4)).toBe(0x0403_0201);
    space.write(0x103, 2, 0xbbaa);
    expect(device.log).toEqual(['r1.1', 'r2.2', 'r4.1', 'w3.1=aa', 'w4.1=bb']);
  });

  it('splits what is wider than the device takes', () => {
    const space = create();
    const device = new Recorder(0, 1);
    space.claim('a', 2, device, 0x70);
    space.write(0x70, 2, 0x5a0b);
    expect(device.log).toEqual(['w0.1=b', 'w1.1=5a']);
  });

  it('lets the window mapped last win, and the one below reappear', () => {
    const space = create();
    const [below, above] = [new Recorder(0), new Recorder(0x80)];
    space.claim('below', 16, below, 0x100);
    const window = space.claim('above', 4, above, 0x104);
    expect(space.read(0x104, 4)).toBe(0x8382_8180);
    expect(space.read(0x108, 1)).toBe(8);
    window.map(0x10c);
    expect(space.read(0x104, 1)).toBe(4);
    expect(space.read(0x10c, 1)).toBe(0x80);
    window.unmap();
    window.unmap();
    expect(space.read(0x10c, 1)).toBe(0xc);
    expect(space.windows()).toEqual([{ name: 'below', start: 0x100, size: 16 }]);
  });

  it('passes an access whole to the window of its first byte, though a smaller one lies within', () => {
    const space = create();
    const [dwords, byte] = [new Recorder(0), new Recorder(0x80)];
    space.claim('0xcf8', 8, dwords, 0xcf8);
    space.claim('0xcf9', 1, byte, 0xcf9);
    space.write(0xcf8, 4, 0x8000_0000);
    expect([space.read(0xcf8, 4), space.read(0xcf9, 1), space.read(0xcfa, 2)]).toEqual([0x0302_0100, 0x80, 0x0302]);
    expect(byte.log).toEqual(['r0.1']);
  });

  it('claims without mapping', () => {
    const space = create();
    const window = space.claim('bar', 4, new Recorder());
    expect(space.read(0, 1)).toBe(0xff);
    window.map(0);
    expect(space.read(0, 1)).toBe(0);
  });

  it('peeks without side effects', () => {
    const space = create();
    const device = new Recorder(0x30);
    space.claim('a', 2, device, 0x100);
    space.claim('blind', 1, { read: () => 0, write: () => undefined }, 0x102);
    expect(space.peek(0x100, 4)).toBe(0xffff_3130);
    expect(device.log).toEqual([]);
    expect(space.unclaimed).toBe(0);
  });

  it('survives a device that moves its own window during an access', () => {
    const space = create();
    const window = space.claim('bar', 4, { read: () => 7, write: (_o, _s, value) => window.map(value) }, 0x100);
    space.write(0x100, 4, 0x200);
    expect([space.read(0x100, 1), space.read(0x200, 1)]).toEqual([0xff, 7]);
  });
});

describe('the edges of the spaces', () => {
  it('answers nothing beyond port 0xffff', () => {
    const bus = new Bus();
    bus.ports.claim('last', 1, new Recorder(0x42), PORTS - 1);
    expect(bus.portRead(PORTS - 1, 2)).toBe(0xff42);
    expect(bus.portRead(PORTS - 1, 4)).toBe(0xffff_ff42);
    bus.portWrite(PORTS - 2, 4, 0);
  });

  it('takes windows at the top of physical memory, and ones that reach beyond', () => {
    const bus = new Bus();
    bus.memory.claim('top', 0x2000, new Recorder(1), MEMORY_END - 0x1000);
    expect(bus.mmioRead(MEMORY_END - 0x1000, 1)).toBe(1);
    expect(bus.mmioRead(0, 1)).toBe(0xff);
    bus.mmioWrite(0xfec0_0000, 4, 1);
    expect(bus.memory.unclaimed).toBe(2);
  });

  it('finds every window among many', () => {
    const space = new WindowedSpace(MEMORY_END);
    for (let i = 0; i < 100; i++) space.claim(`w${i}`, 0x1000, new Recorder(i), 0x1_0000_0000 + i * 0x3000);
    for (let i = 99; i >= 0; i -= 7) {
      expect(space.read(0x1_0000_0000 + i * 0x3000, 1)).toBe(i);
      expect(space.read(0x1_0000_1000 + i * 0x3000, 1)).toBe(0xff);
    }
  });
});
