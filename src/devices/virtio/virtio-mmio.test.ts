import { describe, expect, it } from 'vitest';
import { CountingEntropy } from '../../host/fake/clock.js';
import { MemorySink, RecordingLine } from '../../host/fake/lines.js';
import { FakeMemory } from '../../host/fake/memory.js';
import { RandomSource } from '../../testing/random-source.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { VirtioConsole } from './console.js';
import type { VirtioDevice } from './device.js';
import { VirtioEntropy } from './entropy.js';
import { VIRTIO_MMIO_SIZE, VirtioMmio } from './virtio-mmio.js';

const VERSION_1 = 1n << 32n;
const EVENT_IDX = 1n << 29n;

/** A driver that sets up queues of eight, one behind the other, and then speaks for itself. */
class MmioDriver {
  readonly memory = new FakeMemory(0x2_0000);
  readonly line = new RecordingLine();
  readonly transport: VirtioMmio;
  readonly view = new DataView(this.memory.bytes.buffer);

  constructor(device: VirtioDevice) {
    this.transport = new VirtioMmio({ device, dma: this.memory, irq: this.line });
  }

  get(register: number): number {
    return this.transport.read(register, 4);
  }

  set(register: number, value: number): void {
    this.transport.write(register, 4, value);
  }

  accept(features: bigint): void {
    for (const half of [0, 1]) {
      this.set(0x24, half);
      this.set(0x20, Number((features >> BigInt(32 * half)) & 0xffff_ffffn));
    }
  }

  setUp(queues: number, features = VERSION_1): this {
    this.set(0x70, 3);
    this.accept(features);
    this.set(0x70, 0xb);
    for (let queue = 0; queue < queues; queue++) {
      this.set(0x30, queue);
      this.set(0x38, 8);
      const at = MmioDriver.at(queue);
      for (const [register, value] of [
        [0x80, at],
        [0x90, at + 0x100],
        [0xa0, at + 0x200],
      ])
        this.set(register, value);
      this.set(0x44, 1);
    }
    this.set(0x70, 0xf);
    return this;
  }

  static readonly at = (queue: number): number => 0x1000 * (1 + queue);

  /** Makes one buffer that the device writes available, as the first of a queue. */
  offer(queue: number, address: number, length: number): void {
    const at = MmioDriver.at(queue);
    this.view.setBigUint64(at, BigInt(address), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, 2, true);
    this.view.setUint16(at + 0x102, 1, true);
    this.set(0x50, queue);
  }
}

const entropy = (): MmioDriver => new MmioDriver(new VirtioEntropy('rng0', new CountingEntropy()));

describe('registers (VIRTIO 1.2 §4.2.2)', () => {
  it('say what the device is', () => {
    const driver = entropy();
    expect([0x00, 0x04, 0x08, 0x0c, 0x34].map((register) => driver.get(register))).toEqual([
      0x7472_6976, 2, 4, 0x1af4, 64,
    ]);
  });

  it('offer features by halves', () => {
    const driver = entropy();
    driver.set(0x14, 1);
    expect(driver.get(0x10) & 1).toBe(1);
    driver.set(0x14, 0);
    expect(driver.get(0x10)).toBe(0x3000_0000);
    driver.set(0x14, 2);
    expect(driver.get(0x10)).toBe(0);
  });

  it('refuse features that were not offered, and the lack of VERSION_1', () => {
    for (const features of [EVENT_IDX, VERSION_1 | 1n]) {
      const driver = entropy();
      driver.set(0x70, 3);
      driver.accept(features);
      driver.set(0x70, 0xb);
      expect(driver.get(0x70)).toBe(3);
    }
  });

  it('show no memory regions and no queues where there are none', () => {
    const driver = entropy();
    driver.set(0xac, 0);
    expect([0xb0, 0xb4].map((register) => driver.get(register))).toEqual([0xffff_ffff, 0xffff_ffff]);
    driver.set(0x30, 1);
    driver.set(0x44, 1);
    expect([0x34, 0x44].map((register) => driver.get(register))).toEqual([0, 0]);
  });

  it('take no accesses but whole ones', () => {
    const driver = entropy();
    expect([driver.transport.read(0, 1), driver.transport.read(2, 2)]).toEqual([0, 0]);
    driver.transport.write(0x70, 1, 3);
    expect(driver.get(0x70)).toBe(0);
  });

  it('keep a queue as it is while it is ready, and let it go', () => {
    const driver = entropy().setUp(1);
    driver.set(0x80, 0x8000);
    driver.set(0x38, 4);
    driver.set(0x44, 0);
    expect(driver.get(0x44)).toBe(0);
    driver.offer(0, 0x8000, 16);
    expect(driver.line.changes).toEqual([]);
    driver.set(0x44, 1);
    driver.set(0x50, 0);
    expect(driver.view.getUint16(MmioDriver.at(0) + 0x202, true)).toBe(1);
  });

  it('give configuration space in any width, and zeros behind it', () => {
    const device = new VirtioConsole('console0', new MemorySink());
    const driver = new MmioDriver(device);
    device.resize(80, 25);
    expect([driver.transport.read(0x100, 2), driver.transport.read(0x102, 1)]).toEqual([80, 25]);
    expect(driver.transport.read(0x1fc, 4)).toBe(0);
    driver.transport.write(0x1fc, 4, 1);
  });
});

describe('interrupts (§4.2.2, §4.2.3.3)', () => {
  it('assert the line until they are acknowledged', () => {
    const driver = entropy().setUp(1);
    driver.offer(0, 0x8000, 16);
    expect([driver.get(0x60), driver.line.level]).toEqual([1, true]);
    expect(driver.memory.bytes.slice(0x8000, 0x8004)).toEqual(Uint8Array.of(0, 1, 2, 3));
    driver.set(0x64, 1);
    expect([driver.get(0x60), driver.line.level]).toEqual([0, false]);
  });

  it('tell of a device that needs a reset, which a reset mends', () => {
    const driver = entropy().setUp(1);
    // A chain that leads nowhere.
    driver.view.setUint16(MmioDriver.at(0) + 0x104, 99, true);
    driver.offer(0, 0x8000, 16);
    expect([driver.get(0x70) & 0x40, driver.get(0x60)]).toEqual([0x40, 2]);
    driver.set(0x70, 0);
    expect([driver.get(0x70), driver.get(0x60), driver.line.level]).toEqual([0, 0, false]);
  });

  it('count changes of configuration', () => {
    const device = new VirtioConsole('console0', new MemorySink());
    const driver = new MmioDriver(device).setUp(2, VERSION_1 | 1n);
    const before = driver.get(0xfc);
    device.resize(100, 40);
    expect([driver.get(0xfc) - before, driver.get(0x60)]).toEqual([1, 2]);
  });
});

it('survives whatever is written to it', () => {
  const source = new RandomSource(5);
  const next = (limit: number): number => source.below(limit);
  for (let round = 0; round < 200; round++) {
    const driver = entropy();
    driver.memory.bytes.forEach((_, i, all) => (all[i] = i < 0x4000 ? next(256) : 0));
    if (round % 2) driver.setUp(1);
    for (let i = 0; i < 300; i++) {
      const size = [1, 2, 4][next(3)];
      const at = Math.floor(next(VIRTIO_MMIO_SIZE) / size) * size;
      const value = next(3) ? next(16) : source.next();
      if (next(4)) driver.transport.write(at, size, value % 2 ** (8 * size));
      else expect(driver.transport.read(at, size)).toBeGreaterThanOrEqual(0);
    }
    driver.transport.stateSchema.check(driver.transport.save(), 'mmio');
  }
});

snapshotSuite('virtio over MMIO', {
  create: () => entropy().transport,
  change: (transport) => {
    const set = (register: number, value: number): void => transport.write(register, 4, value);
    set(0x70, 3);
    set(0x14, 1);
    set(0x24, 1);
    set(0x20, 1);
    set(0x70, 0xb);
    set(0x38, 8);
    set(0x80, 0x1000);
    set(0x44, 1);
    set(0x70, 0xf);
    set(0x30, 1);
    transport.configChanged();
  },
  observe: (transport) => [0x60, 0x70, 0xfc, 0x44].map((register) => transport.read(register, 4)),
});
