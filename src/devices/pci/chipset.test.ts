import { describe, expect, it } from 'vitest';
import { gpa } from '../../base/units.js';
import { InterruptRouter } from '../../bus/interrupts.js';
import { Bus } from '../../bus/io-space.js';
import { PciBus } from '../../bus/pci/pci-bus.js';
import { RecordingMsi } from '../../host/fake/lines.js';
import { noise } from '../../testing/noise.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { HostBridge, type ShadowSegment } from './host-bridge.js';
import { LpcBridge } from './lpc-bridge.js';

function chipset() {
  const bus = new Bus();
  const environment = { ports: bus.ports, memory: bus.memory, msi: new RecordingMsi() };
  const levels = new Map<string, boolean>();
  const chip = (name: string) => (pin: number) => ({
    set: (level: boolean) => void levels.set(`${name}${pin}`, level),
  });
  const router = new InterruptRouter(chip('pic'), chip('apic'));
  const pm = { read: () => 0x50, write: () => undefined };
  const lpc = new LpcBridge(environment, router, pm);
  const pci = new PciBus((slot, pin) => lpc.intx(slot, pin));
  let shadow: readonly ShadowSegment[] = [];
  let shadowed = 0;
  const host = new HostBridge(environment, pci, (segments) => {
    shadow = segments;
    shadowed++;
  });
  pci.attach(31, lpc.pci);
  const high = () => [...levels].flatMap(([name, level]) => (level ? [name] : [])).sort();
  return { bus, host, lpc, pci, high, shadow: () => shadow, shadowed: () => shadowed };
}

describe('host bridge of the Q35 (3 Series datasheet)', () => {
  it('is found by ports with its identity', () => {
    const { bus } = chipset();
    bus.portWrite(0xcf8, 4, 0x8000_0000);
    expect([bus.portRead(0xcfc, 4), bus.portRead(0xcfe, 2)]).toEqual([0x29c0_8086, 0x29c0]);
    bus.portWrite(0xcf8, 4, 0x8000_0008);
    expect(bus.portRead(0xcfc, 4)).toBe(0x0600_0000);
    bus.portWrite(0xcf8, 4, 0x8000_f800);
    expect(bus.portRead(0xcfc, 4)).toBe(0x2918_8086);
  });

  it('places ECAM where PCIEXBAR says, in its three lengths', () => {
    const { bus, host } = chipset();
    const at = (base: number) => bus.mmioRead(base + 0xf_8000, 4);
    const config = host.pci.config;
    expect(at(0xe000_0000)).toBe(0xffff_ffff);
    config.write(0x60, 4, 0xb000_0001);
    expect(at(0xb000_0000)).toBe(0x2918_8086);
    config.write(0x60, 4, 0xb400_0005);
    expect([at(0xb000_0000), at(0xb400_0000)]).toEqual([0xffff_ffff, 0x2918_8086]);
    config.write(0x60, 4, 0xb000_0007);
    expect(at(0xb000_0000)).toBe(0xffff_ffff);
    host.enableEcam(gpa(0x8_c000_0000 - 0x4000_0000));
    expect([at(0x8_8000_0000), config.read(0x60, 4), config.read(0x64, 4)]).toEqual([0x2918_8086, 0x8000_0001, 8]);
    host.reset();
    expect(at(0x8_8000_0000)).toBe(0xffff_ffff);
  });

  it('reports shadow RAM by segments, once for each change', () => {
    const { host, shadow, shadowed } = chipset();
    const config = host.pci.config;
    expect(shadow().map(({ start, size }) => [start, size])).toEqual([
      ...Array.from({ length: 12 }, (_, i) => [0xc_0000 + i * 0x4000, 0x4000]),
      [0xf_0000, 0x1_0000],
    ]);
    expect([shadowed(), shadow().some(({ readRam, writeRam }) => readRam || writeRam)]).toEqual([1, false]);
    config.write(0x90, 1, 0x20);
    config.write(0x91, 1, 0x13);
    config.write(0x91, 1, 0x13);
    expect(shadowed()).toBe(3);
    const at = (start: number) => shadow().find((segment) => segment.start === start);
    expect(at(0xf_0000)).toMatchObject({ readRam: false, writeRam: true });
    expect(at(0xc_0000)).toMatchObject({ readRam: true, writeRam: true });
    expect(at(0xc_4000)).toMatchObject({ readRam: true, writeRam: false });
    config.write(0x90, 4, 0x3333_3330);
    config.write(0x94, 4, 0x0033_3333);
    expect([shadowed(), shadow().every(({ readRam, writeRam }) => readRam && writeRam)]).toEqual([5, true]);
    host.reset();
    expect(at(0xf_0000)).toMatchObject({ readRam: false, writeRam: false });
  });

  it('keeps SMRAM until it is locked, and unlocks it by reset', () => {
    const { host } = chipset();
    const { config } = host.pci;
    config.write(0x9d, 1, 0x48);
    expect(config.read(0x9d, 1)).toBe(0x4a);
    config.write(0x9d, 1, 0x58);
    expect(config.read(0x9d, 1)).toBe(0x1a);
    config.write(0x9d, 1, 0x40);
    expect(config.read(0x9d, 1)).toBe(0x1a);
    host.reset();
    expect(config.read(0x9d, 1)).toBe(2);
  });
});

describe('LPC bridge of the ICH9 (datasheet §13.1)', () => {
  it('places the ACPI registers and the chipset configuration registers', () => {
    const { bus, lpc } = chipset();
    const { config } = lpc.pci;
    config.write(0x40, 4, 0x601);
    expect(bus.portRead(0x600, 1)).toBe(0xff);
    config.write(0x44, 1, 0x80);
    expect([bus.portRead(0x600, 1), bus.portRead(0x67f, 1), bus.portRead(0x680, 1)]).toEqual([0x50, 0x50, 0xff]);
    config.write(0x40, 2, 0xb000);
    expect([bus.portRead(0x600, 1), bus.portRead(0xb000, 1), config.read(0x40, 4)]).toEqual([0xff, 0x50, 0xb001]);
    config.write(0xf0, 4, 0xfed1_c001);
    expect(bus.mmioRead(0xfed1_f140, 2)).toBe(0x3210);
    bus.mmioWrite(0xfed1_f410, 4, 0x20);
    expect(bus.mmioRead(0xfed1_f410, 1)).toBe(0x20);
    lpc.reset();
    expect([bus.mmioRead(0xfed1_f410, 1), bus.portRead(0xb000, 1)]).toEqual([0xff, 0xff]);
  });

  it('routes slots to PIRQE … PIRQH in turns and its own to PIRQA … PIRQD', () => {
    const { lpc } = chipset();
    const route = (slot: number) => [0, 1, 2, 3].map((pin) => lpc.pirqOf(slot, pin));
    expect([route(0), route(1), route(24), route(31)]).toEqual([
      [4, 5, 6, 7],
      [5, 6, 7, 4],
      [4, 5, 6, 7],
      [0, 1, 2, 3],
    ]);
  });

  it('takes PCI interrupts to I/O APIC pins 16 … 23 and to the 8259 pins of PIRQx_ROUT', () => {
    const { lpc, high } = chipset();
    const line = lpc.intx(2, 1);
    line.set(true);
    expect(high()).toEqual(['apic23']);
    lpc.pci.config.write(0x6b, 1, 11);
    expect(high()).toEqual(['apic23', 'pic11']);
    lpc.pci.config.write(0x6b, 1, 10);
    expect(high()).toEqual(['apic23', 'pic10']);
    lpc.pci.config.write(0x6b, 1, 2);
    expect(high()).toEqual(['apic23']);
    lpc.routePirqs([10, 10, 11, 11, 10, 10, 11, 11]);
    expect(high()).toEqual(['apic23', 'pic11']);
    line.set(false);
    expect(high()).toEqual([]);
  });

  it('moves an asserted pin when DnnIR changes', () => {
    const { bus, lpc, high } = chipset();
    lpc.pci.config.write(0xf0, 4, 0xfed1_c001);
    lpc.intx(31, 0).set(true);
    expect(high()).toEqual(['apic16']);
    bus.mmioWrite(0xfed1_f140, 2, 0x3217);
    expect(high()).toEqual(['apic23']);
    lpc.reset();
    expect(high()).toEqual(['apic16']);
  });
});

describe('a guest that writes anything into configuration space', () => {
  it('never makes the chipset throw, and leaves no window behind after a reset', () => {
    const { bus, host, lpc } = chipset();
    const windows = () => [...bus.ports.windows(), ...bus.memory.windows()];
    const before = windows();
    for (let seed = 1; seed <= 50; seed++) {
      const next = noise(seed * 0x9e37_79b9);
      for (let step = 0; step < 100; step++) {
        const size = [1, 2, 4][next() % 3] ?? 1;
        bus.portWrite(0xcf8, 4, (0x8000_0000 + (next() & 1 ? 0xf800 : 0) + (next() & 0xfc)) >>> 0);
        bus.portWrite(0xcfc + (next() & 3 & -size), size, next());
        bus.mmioWrite(0xfed1_c000 + (next() & 0x3ffc), 4, next());
        bus.mmioRead(next(), 4);
      }
      host.reset();
      lpc.reset();
      expect(windows()).toEqual(before);
    }
  });
});

snapshotSuite('the host bridge', {
  create: () => chipset().host,
  change: (host) => {
    const { config } = host.pci;
    config.write(0x60, 4, 0xb000_0001);
    config.write(0x91, 4, 0x3030_3030);
    config.write(0x9d, 1, 0x58);
    config.write(0x9d, 1, 0x40);
    host.enableEcam(gpa(0xc000_0000));
    // The address register, through the bridge's own configuration space: slot 0, register 4.
    host.restore({ ...host.save(), configAddress: 0x8000_0004 });
  },
  observe: (host) => {
    host.pci.config.write(0x9d, 1, 0x48);
    return [host.pci.config.read(0x9d, 1), host.pci.config.read(0x90, 4)];
  },
});

snapshotSuite('the LPC bridge', {
  create: () => chipset().lpc,
  change: (lpc) => {
    lpc.enablePm(0x600);
    lpc.routePirqs([10, 11]);
    lpc.restore({ ...lpc.save(), chipset: new Uint8Array(0x4000).fill(0x77) });
  },
  observe: (lpc) => [lpc.pirqOf(31, 2), lpc.pirqOf(1, 2)],
});
