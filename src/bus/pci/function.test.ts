import { describe, expect, it } from 'vitest';
import type { IoHandler } from '../../iface/bus.js';
import type { BarSpec } from './bar.js';
import { Bus } from '../io-space.js';
import { ConfigPorts, ecamHandler } from './config-access.js';
import { get, put } from './config-space.js';
import { PciFunction, type PciIdentity } from './function.js';
import { PciBus, swizzle } from './pci-bus.js';
import { COMMAND, HEADER } from './registers.js';
import { Regions } from './regions.js';

/** A block of plain memory as a device's registers. */
function memory(size: number): IoHandler & { readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(size);
  const read = (offset: number, width: number) => get(bytes, offset, width);
  return { bytes, read, peek: read, write: (offset, width, value) => put(bytes, offset, width, value) };
}

const identity: PciIdentity = {
  vendorId: 0x1234,
  deviceId: 0x5678,
  revision: 3,
  classCode: 0x010802,
  subsystemVendorId: 0xaaaa,
  subsystemId: 0xbbbb,
  interruptPin: 1,
};

function setUp(extra: Partial<PciIdentity> = {}) {
  const bus = new Bus();
  const messages: string[] = [];
  const msi = { deliver: (address: number, data: number) => void messages.push(`${address.toString(16)}=${data}`) };
  const pci = new PciFunction('test', { ...identity, ...extra }, { ports: bus.ports, memory: bus.memory, msi });
  const read = (offset: number, size = 4) => pci.config.read(offset, size);
  const write = (offset: number, value: number, size = 4) => pci.config.write(offset, size, value);
  const enable = (bits: number) => write(HEADER.COMMAND, bits, 2);
  return { bus, pci, read, write, enable, messages };
}

describe('a function (PCI 3.0 §6.1, §6.2)', () => {
  it('shows its identity in accesses of all widths', () => {
    const { read } = setUp();
    expect(read(0)).toBe(0x5678_1234);
    expect([read(0, 2), read(2, 2), read(1, 1), read(3, 1)]).toEqual([0x1234, 0x5678, 0x12, 0x56]);
    expect([read(8), read(0x2c), read(0x3c)]).toEqual([0x0108_0203, 0xbbbb_aaaa, 0x100]);
  });

  it('keeps read-only registers and takes writes in parts', () => {
    const { read, write } = setUp();
    write(0, 0);
    write(HEADER.INTERRUPT_LINE, 0xff0b, 2);
    write(HEADER.COMMAND + 1, 0xff, 1);
    expect([read(0), read(0x3c, 2), read(4, 2)]).toEqual([0x5678_1234, 0x10b, 0x500]);
  });

  it('ends after 256 bytes, or after 4 KiB with PCI Express', () => {
    expect(setUp().read(0x100)).toBe(0xffff_ffff);
    expect(setUp({ extended: true }).read(0x100)).toBe(0);
    expect(setUp({ extended: true }).read(0x1000)).toBe(0xffff_ffff);
  });

  it('has a list of capabilities', () => {
    const { pci, read } = setUp();
    pci.addCapability(9, 5);
    const second = pci.addCapability(5, 10);
    expect([read(0x06, 2) & 0x10, read(0x34, 1), read(0x40, 2), read(second, 2)]).toEqual([0x10, 0x40, 0x4809, 5]);
  });
});

describe('base address registers (PCI 3.0 §6.2.5.1)', () => {
  const sizes: [string, BarSpec['kind'], number, number[], boolean][] = [
    ['I/O', 'io', 0x20, [0xffff_ffe1, 0], false],
    ['32-bit memory', 'mem32', 0x1000, [0xffff_f000, 0], false],
    ['64-bit prefetchable memory', 'mem64', 0x4000, [0xffff_c00c, 0xffff_ffff], true],
    ['large 64-bit memory', 'mem64', 2 ** 33, [0x0000_0004, 0xffff_fffe], false],
  ];
  it.each(sizes)('%s: all ones written tell the size', (_name, kind, size, expected, prefetchable) => {
    const { pci, read, write } = setUp();
    pci.addBar(0, { kind, size, prefetchable, handler: memory(4) });
    write(0x10, 0xffff_ffff);
    write(0x14, 0xffff_ffff);
    expect([read(0x10), read(0x14)]).toEqual(expected);
  });

  it('move their window while decoding is on', () => {
    const { bus, pci, write, enable } = setUp();
    const registers = memory(0x1000);
    pci.addBar(1, { kind: 'mem32', size: 0x1000, handler: registers });
    registers.bytes[4] = 0x77;
    write(0x14, 0xfebf_0000);
    expect([bus.mmioRead(0xfebf_0004, 1), pci.barAddress(1)]).toEqual([0xff, undefined]);
    enable(COMMAND.MEMORY);
    expect([bus.mmioRead(0xfebf_0004, 1), pci.barAddress(1)]).toEqual([0x77, 0xfebf_0000]);
    write(0x14, 0xc000_0000);
    expect([bus.mmioRead(0xfebf_0004, 1), bus.mmioRead(0xc000_0004, 4)]).toEqual([0xff, 0x77]);
    write(0x14, 0xffff_ffff);
    expect(pci.barAddress(1)).toBeUndefined();
    write(0x14, 0xd000_0000);
    enable(COMMAND.IO | COMMAND.BUS_MASTER);
    expect(bus.mmioRead(0xd000_0004, 1)).toBe(0xff);
  });

  it('decode 64-bit addresses below 2**52 and 16-bit ports only', () => {
    const { bus, pci, write, enable } = setUp();
    pci.addBar(0, { kind: 'io', size: 8, handler: memory(8) });
    pci.addBar(2, { kind: 'mem64', size: 0x1000, handler: memory(0x1000) });
    enable(COMMAND.IO | COMMAND.MEMORY);
    write(0x10, 0xc000);
    write(0x18, 0x0000_2000);
    write(0x1c, 0x80);
    expect([pci.barAddress(0), pci.barAddress(2)]).toEqual([0xc000, 0x80_0000_2000]);
    expect([bus.portRead(0xc003, 1), bus.mmioRead(0x80_0000_2ffc, 4)]).toEqual([0, 0]);
    write(0x10, 0x1_0000);
    write(0x1c, 0x10_0000);
    expect([pci.barAddress(0), pci.barAddress(2)]).toEqual([undefined, undefined]);
  });
});

describe('INTx (PCI 3.0 §6.2.2, §6.2.3)', () => {
  it('drives the pin unless disabled, and shows the request in status all the same', () => {
    const { pci, read, enable } = setUp();
    const levels: boolean[] = [];
    new PciBus((slot, pin) => ({ set: (level) => levels.push(level && slot === 3 && pin === 0) })).attach(3, pci);
    pci.setIntx(true);
    expect([levels.at(-1), read(6, 2) & 8]).toEqual([true, 8]);
    enable(COMMAND.INTX_DISABLE);
    expect([levels.at(-1), read(6, 2) & 8]).toEqual([false, 8]);
    enable(0);
    pci.setIntx(false);
    expect([levels.at(-1), read(6, 2) & 8]).toEqual([false, 0]);
  });

  it('swizzles behind bridges', () => {
    expect([swizzle(0, 0), swizzle(1, 0), swizzle(3, 2)]).toEqual([0, 1, 1]);
  });
});

describe('MSI (PCI 3.0 §6.8.1)', () => {
  const message = (data: number) => `fee01000=${data}`;

  function withMsi() {
    const all = setUp();
    const msi = all.pci.addMsi(4);
    all.enable(COMMAND.BUS_MASTER);
    all.write(0x44, 0xfee0_1003);
    all.write(0x4c, 0x4053, 2);
    return { ...all, msi };
  }

  it('sends nothing until enabled, then address and data', () => {
    const { msi, write, messages, read } = withMsi();
    expect(read(0x42, 2)).toBe(0x184);
    msi.trigger(0);
    write(0x42, 1, 2);
    msi.trigger(2);
    expect(messages).toEqual([message(0x4053)]);
    write(0x42, 0x21, 2); // four vectors: the low bits of the data are the vector's
    msi.trigger(2);
    expect(messages.at(-1)).toBe(message(0x4052));
  });

  it('keeps masked vectors pending', () => {
    const { msi, write, messages, read } = withMsi();
    write(0x42, 0x21, 2);
    write(0x50, 0b0110);
    msi.trigger(1);
    msi.trigger(2);
    msi.trigger(3);
    expect([messages.length, read(0x54)]).toEqual([1, 0b0110]);
    write(0x50, 0b0100);
    expect([messages.at(-1), read(0x54)]).toEqual([message(0x4051), 0b0100]);
  });
});

describe('MSI-X (PCI 3.0 §6.8.2)', () => {
  function withMsix(vectors = 3) {
    const all = setUp();
    const regions = new Regions();
    const msix = all.pci.addMsix(vectors, { bar: 1, table: 0, pending: 0x800 });
    msix.attachTo(regions);
    all.pci.addBar(1, { kind: 'mem32', size: 0x1000, handler: regions });
    all.write(0x14, 0xe000_0000);
    all.enable(COMMAND.MEMORY | COMMAND.BUS_MASTER);
    const table = (offset: number, value: number) => all.bus.mmioWrite(0xe000_0000 + offset, 4, value);
    for (let v = 0; v < vectors; v++) {
      table(v * 16, 0xfee0_0000 + (v << 12));
      table(v * 16 + 8, 0x40 + v);
    }
    return { ...all, msix, table };
  }

  it('describes table and pending bits, and starts masked', () => {
    const { read, bus } = withMsix();
    expect([read(0x40), read(0x44), read(0x48)]).toEqual([0x0002_0011, 1, 0x801]);
    expect([bus.mmioRead(0xe000_000c, 4), bus.mmioRead(0xe000_0800, 4), bus.mmioRead(0xe000_0030, 4)]).toEqual([
      1, 0, 0xffff_ffff,
    ]);
  });

  it('sends unmasked vectors, and masked ones once unmasked', () => {
    const { msix, table, write, messages, bus } = withMsix();
    table(12, 0);
    msix.trigger(0);
    expect(messages).toEqual([]);
    write(0x42, 0x8000, 2);
    msix.trigger(0);
    msix.trigger(1);
    msix.trigger(1);
    msix.trigger(7);
    expect([messages, bus.mmioRead(0xe000_0800, 4)]).toEqual([['fee00000=64'], 2]);
    table(16 + 12, 0xffff_fffe);
    expect([messages.at(-1), bus.mmioRead(0xe000_0800, 4), bus.mmioRead(0xe000_001c, 4)]).toEqual([
      'fee01000=65',
      0,
      0,
    ]);
  });

  it('obeys the function mask and bus mastering', () => {
    const { msix, table, write, messages, enable } = withMsix();
    table(12, 0);
    write(0x42, 0xc000, 2);
    msix.trigger(0);
    expect(messages).toHaveLength(0);
    write(0x42, 0x8000, 2);
    expect(messages).toHaveLength(1);
    enable(COMMAND.MEMORY);
    msix.trigger(0);
    expect(messages).toHaveLength(1);
    enable(COMMAND.MEMORY | COMMAND.BUS_MASTER);
    expect(messages).toHaveLength(2);
  });

  it('keeps pending bits read-only', () => {
    const { bus } = withMsix(70);
    bus.mmioWrite(0xe000_0800, 4, 0xffff_ffff);
    expect([bus.mmioRead(0xe000_0800, 4), bus.mmioRead(0xe000_080c, 4)]).toEqual([0, 0]);
  });
});

describe('configuration access (PCI 3.0 §3.2.2.3, PCI Express 3.0 §7.2)', () => {
  function machine() {
    const all = setUp();
    const pciBus = new PciBus(() => ({ set: () => undefined }));
    pciBus.attach(3, all.pci);
    const targets = { bus: (n: number) => (n === 0 ? pciBus : undefined) };
    const resets: number[] = [];
    const ports = new ConfigPorts(targets);
    all.bus.ports.claim('pci', 8, ports.handler, 0xcf8);
    all.bus.ports.claim('reset', 1, { read: () => 0x42, write: (_o, _s, value) => resets.push(value) }, 0xcf9);
    all.bus.memory.claim('ecam', 2 ** 28, ecamHandler(targets), 0xb000_0000);
    return { ...all, resets, ports, pciBus };
  }

  it('works through the ports in all widths', () => {
    const { bus, read } = machine();
    const at = (slot: number, reg: number) => bus.portWrite(0xcf8, 4, 0x8000_0000 + (slot << 11) + reg);
    at(3, 0);
    expect([bus.portRead(0xcfc, 4), bus.portRead(0xcfe, 2), bus.portRead(0xcff, 1)]).toEqual([
      0x5678_1234, 0x5678, 0x56,
    ]);
    expect(bus.portRead(0xcf8, 4)).toBe(0x8000_1800);
    at(3, 0x3c);
    bus.portWrite(0xcfc, 1, 9);
    expect(read(0x3c, 1)).toBe(9);
    at(4, 0);
    expect(bus.portRead(0xcfc, 2)).toBe(0xffff);
    bus.portWrite(0xcf8, 4, 0x1800);
    expect(bus.portRead(0xcfc, 4)).toBe(0xffff_ffff);
    bus.portWrite(0xcf8, 4, 0x8001_1800);
    expect(bus.portRead(0xcfc, 4)).toBe(0xffff_ffff);
  });

  it('leaves port 0xcf9 to reset control', () => {
    const { bus, resets } = machine();
    bus.portWrite(0xcf8, 4, 0x8000_1800);
    bus.portWrite(0xcf9, 1, 6);
    expect([resets, bus.portRead(0xcf9, 1), bus.portRead(0xcf8, 1), bus.portRead(0xcf8, 4)]).toEqual([
      [6],
      0x42,
      0xff,
      0x8000_1800,
    ]);
  });

  it('works through memory', () => {
    const { bus, read } = machine();
    expect(bus.mmioRead(0xb001_8000, 4)).toBe(0x5678_1234);
    expect(bus.mmioRead(0xb001_8100, 4)).toBe(0xffff_ffff);
    expect(bus.mmioRead(0xb011_8000, 4)).toBe(0xffff_ffff);
    bus.mmioWrite(0xb001_803c, 1, 5);
    expect(read(0x3c, 1)).toBe(5);
  });

  it('finds free slots', () => {
    const { pciBus, bus } = machine();
    const msi = { deliver: () => undefined };
    for (const slot of [1, 2])
      pciBus.attach(slot, new PciFunction('x', identity, { ports: bus.ports, memory: bus.memory, msi }));
    expect(pciBus.freeSlot()).toBe(4);
  });
});

describe('saved state of a function', () => {
  it('restores registers, windows, interrupts and MSI-X', () => {
    const build = () => {
      const all = setUp();
      const regions = new Regions();
      const msix = all.pci.addMsix(2, { bar: 0, table: 0, pending: 0x800 });
      msix.attachTo(regions);
      all.pci.addBar(0, { kind: 'mem64', size: 0x1000, handler: regions });
      return { ...all, msix };
    };
    const first = build();
    first.write(0x10, 0xe000_0000);
    first.enable(COMMAND.MEMORY | COMMAND.BUS_MASTER);
    first.bus.mmioWrite(0xe000_0008, 4, 0x99);
    first.write(0x42, 0x8000, 2);
    first.msix.trigger(1);
    first.pci.setIntx(true);
    const saved = first.pci.stateSchema.check(structuredClone(first.pci.save()), 'pci');
    const copy = build();
    const levels: boolean[] = [];
    copy.pci.connect({ set: (level) => levels.push(level) });
    copy.pci.restore(saved);
    expect(copy.pci.save()).toEqual(saved);
    expect([copy.bus.mmioRead(0xe000_0008, 4), copy.bus.mmioRead(0xe000_0800, 4)]).toEqual([0x99, 2]);
    expect([levels.at(-1), copy.messages]).toEqual([false, []]);
    copy.write(0x42, 0, 2);
    expect([levels.at(-1), copy.messages]).toEqual([true, []]);
    copy.pci.reset();
    expect(copy.pci.save()).toEqual(build().pci.save());
    expect([copy.pci.barAddress(0), levels.at(-1)]).toEqual([undefined, false]);
  });

  it('takes nothing over that no state could have', () => {
    const { pci, read } = setUp();
    const state = pci.save();
    pci.restore({ ...state, config: new Uint8Array(256).fill(0xff) });
    expect([read(0), read(8), read(4, 2), read(0x40)]).toEqual([0x5678_1234, 0x0108_0203, 0x547, 0]);
  });
});
