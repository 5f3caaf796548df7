import { describe, expect, it } from 'vitest';
import { CountingEntropy } from '../../host/fake/clock.js';
import { MemorySink } from '../../host/fake/lines.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { COMMON, EVENT_IDX, INDIRECT, VERSION_1, VirtioDriver } from '../../testing/virtio-driver.js';
import { VirtioConsole } from './console.js';
import { VirtioEntropy } from './entropy.js';

const entropy = () => new VirtioDriver(new VirtioEntropy('rng0', new CountingEntropy()));
const console0 = (sink = new MemorySink()) => {
  const device = new VirtioConsole('console0', sink);
  return { device, sink, driver: new VirtioDriver(device) };
};

describe('discovery (VIRTIO 1.2 §4.1.2 – §4.1.4)', () => {
  it('shows a non-transitional device with its structures in one BAR', () => {
    const { driver } = console0();
    expect([driver.config(0, 4), driver.config(8, 4), driver.config(0x2c, 4)]).toEqual([
      0x1043_1af4, 0x0780_0001, 0x1043_1af4,
    ]);
    expect(driver.capabilities().map(([id]) => id)).toEqual([0x11, 9, 9, 9, 9, 9]);
    expect([...driver.areas].map(([type, { size }]) => [type, size])).toEqual([
      [1, 0x3c],
      [3, 4],
      [4, 12],
      [2, 8],
    ]);
  });

  it('leaves out the device structure of a device without configuration', () => {
    expect([...entropy().areas.keys()]).toEqual([1, 3, 2]);
  });
});

describe('initialisation (§3.1.1, §4.1.4.3)', () => {
  it('offers features by halves and remembers what was accepted', () => {
    const driver = entropy();
    expect(driver.offered()).toBe(VERSION_1 | INDIRECT | EVENT_IDX);
    driver.writeCommon(COMMON.DEVICE_FEATURE_SELECT, 4, 2);
    expect(driver.common(COMMON.DEVICE_FEATURE, 4)).toBe(0);
    driver.accept(VERSION_1 | INDIRECT);
    driver.writeCommon(COMMON.DRIVER_FEATURE_SELECT, 4, 0);
    expect(driver.common(COMMON.DRIVER_FEATURE, 4)).toBe(0x1000_0000);
  });

  it.each([
    ['without VERSION_1', INDIRECT],
    ['with a feature that was not offered', VERSION_1 | 1n],
  ])('refuses features %s', (_name, features) => {
    const driver = entropy();
    driver.status = 3;
    driver.accept(features);
    driver.status = 0xf;
    expect(driver.status).toBe(3);
  });

  it('takes no other features after FEATURES_OK', () => {
    const driver = entropy().setUp();
    driver.accept(0n);
    expect(driver.transport.features).toBe(VERSION_1 | INDIRECT | EVENT_IDX);
  });

  it('keeps a queue as it is once it is enabled, and refuses sizes that are none', () => {
    const driver = entropy();
    driver.writeCommon(COMMON.QUEUE_SELECT, 2, 0);
    for (const size of [0, 3, 128]) driver.writeCommon(COMMON.QUEUE_SIZE, 2, size);
    expect(driver.common(COMMON.QUEUE_SIZE, 2)).toBe(64);
    driver.writeCommon(COMMON.QUEUE_SIZE, 2, 8);
    driver.writeCommon(COMMON.QUEUE_DESC + 4, 4, 7);
    driver.writeCommon(COMMON.QUEUE_ENABLE, 2, 1);
    driver.writeCommon(COMMON.QUEUE_SIZE, 2, 16);
    driver.writeCommon(COMMON.QUEUE_DESC + 4, 4, 9);
    driver.writeCommon(COMMON.QUEUE_ENABLE, 2, 0);
    const read = [COMMON.QUEUE_SIZE, COMMON.QUEUE_ENABLE].map((offset) => driver.common(offset, 2));
    expect([...read, driver.common(COMMON.QUEUE_DESC + 4, 4)]).toEqual([8, 1, 7]);
  });

  it('shows nothing for a queue that is not there', () => {
    const driver = entropy();
    driver.writeCommon(COMMON.QUEUE_SELECT, 2, 1);
    driver.writeCommon(COMMON.QUEUE_ENABLE, 2, 1);
    driver.writeCommon(COMMON.QUEUE_VECTOR, 2, 0);
    driver.writeCommon(COMMON.QUEUE_DESC, 4, 1);
    const sizes = [COMMON.QUEUE_SIZE, COMMON.QUEUE_ENABLE, COMMON.QUEUE_NOTIFY_OFF, COMMON.QUEUE_DESC];
    expect(sizes.map((offset) => driver.common(offset, 2))).toEqual([0, 0, 0, 0]);
    expect(driver.common(COMMON.QUEUE_VECTOR, 2)).toBe(0xffff);
  });

  it('says by NO_VECTOR that a vector does not exist', () => {
    const driver = entropy();
    driver.writeCommon(COMMON.CONFIG_VECTOR, 2, 2);
    expect(driver.common(COMMON.CONFIG_VECTOR, 2)).toBe(0xffff);
    driver.writeCommon(COMMON.CONFIG_VECTOR, 2, 1);
    expect(driver.common(COMMON.CONFIG_VECTOR, 2)).toBe(1);
  });

  it('can be accessed by bytes', () => {
    const driver = entropy();
    driver.writeCommon(COMMON.QUEUE_DESC + 1, 1, 0xab);
    expect([driver.common(COMMON.QUEUE_DESC, 4), driver.common(COMMON.QUEUE_DESC + 1, 1)]).toEqual([0xab00, 0xab]);
  });

  it('resets to where it began, PCI apart', () => {
    const driver = entropy().setUp({ msix: true });
    driver.queues[0].exchange([], [4]);
    driver.status = 0;
    expect([driver.status, driver.common(COMMON.QUEUE_VECTOR, 2), driver.common(COMMON.QUEUE_ENABLE, 2)]).toEqual([
      0, 0xffff, 0,
    ]);
    expect(driver.config(4, 2)).toBe(6);
    expect(driver.setUp().queues[0].exchange([], [4])).toHaveLength(1);
  });
});

describe('queues (§2.7)', () => {
  it('are served once the driver is ready, not before', () => {
    const driver = entropy().setUp();
    driver.status = 0xb;
    driver.queues[0].add([], [8]);
    driver.queues[0].kick();
    expect(driver.queues[0].collect()).toEqual([]);
    driver.status = 0xf;
    expect(driver.queues[0].collect()).toHaveLength(1);
  });

  it('wait while bus mastering is off', () => {
    const driver = entropy().setUp();
    driver.writeConfig(4, 2, 2);
    driver.queues[0].add([], [8]);
    driver.queues[0].kick();
    expect(driver.queues[0].collect()).toEqual([]);
    driver.writeConfig(4, 2, 6);
    expect(driver.queues[0].collect()).toHaveLength(1);
  });

  it.each([
    ['direct', false],
    ['indirect', true],
  ])('carry %s chains, also around the end of the rings', (_name, indirect) => {
    const driver = entropy().setUp({ queueSize: 8 });
    let next = 0;
    for (let round = 0; round < 50; round++) {
      const [{ data, length }] = driver.queues[0].exchange([], [3, 4, 1], indirect);
      expect(length).toBe(8);
      expect([...data]).toEqual(Array.from({ length: 8 }, () => next++ & 0xff));
    }
  });

  it('follow an indirect table of which a part that is not used lies beyond RAM', () => {
    const driver = entropy().setUp();
    const [queue] = driver.queues;
    const buffer = driver.allocate(16);
    const table = driver.memory.bytes.length - 16;
    queue.descriptor(0, buffer, 16, 2, 0, table);
    queue.descriptor(0, table, 48, 4);
    queue.offer(0);
    queue.kick();
    expect([queue.collect().map(({ length }) => length), driver.needsReset]).toEqual([[16], false]);
  });

  it('survive the wrap of their indices at 65536', () => {
    const driver = entropy().setUp({ queueSize: 4, features: VERSION_1 | EVENT_IDX });
    const [queue] = driver.queues;
    const buffer = driver.allocate(16);
    queue.descriptor(0, buffer, 16, 2);
    for (let i = 0; i < 0x1_0010; i++) {
      queue.offer(0);
      queue.kick();
    }
    expect([queue.collect().length, driver.needsReset]).toEqual([0x10, false]);
  });

  it('interrupt by INTx until the ISR is read', () => {
    const driver = entropy().setUp({ features: VERSION_1 });
    driver.queues[0].exchange([], [1]);
    expect([driver.line.level, driver.isr(), driver.line.level, driver.isr()]).toEqual([true, 1, false, 0]);
  });

  it('interrupt by MSI-X without touching INTx', () => {
    const driver = entropy().setUp({ msix: true });
    driver.queues[0].exchange([], [1]);
    expect([driver.messages(), driver.line.level, driver.isr()]).toEqual([[0x41], false, 0]);
  });

  it('do not interrupt when the driver does not want to know', () => {
    const driver = entropy().setUp({ msix: true, features: VERSION_1 });
    driver.queues[0].availableFlags = 1;
    driver.queues[0].exchange([], [1]);
    driver.queues[0].availableFlags = 0;
    expect(driver.messages()).toEqual([]);
    driver.queues[0].exchange([], [1]);
    expect(driver.messages()).toEqual([0x41]);
  });

  it('interrupt once when used_event is passed, and say when they want a notification', () => {
    const driver = entropy().setUp({ msix: true });
    const [queue] = driver.queues;
    queue.usedEvent = 2;
    for (const expected of [[], [], [0x41], []]) {
      queue.exchange([], [1]);
      expect(driver.messages()).toEqual(expected);
    }
    expect(queue.availableEvent).toBe(4);
    queue.usedEvent = 5;
    for (let i = 0; i < 5; i++) queue.add([], [1]);
    queue.kick();
    expect([driver.messages(), queue.collect().length]).toEqual([[0x41], 5]);
  });
});

describe('drivers that break the rules (§2.1.2)', () => {
  const cases: [string, (driver: VirtioDriver) => void][] = [
    ['a head beyond the table', ({ queues: [queue] }) => queue.offer(16)],
    [
      'a loop',
      ({ queues: [queue] }) => {
        queue.descriptor(0, 0x1000, 4, 1 | 2, 1);
        queue.descriptor(1, 0x1000, 4, 1 | 2, 0);
        queue.offer(0);
      },
    ],
    [
      'a link beyond the table',
      ({ queues: [queue] }) => {
        queue.descriptor(0, 0x1000, 4, 1 | 2, 16);
        queue.offer(0);
      },
    ],
    [
      'something to read after something to write',
      ({ queues: [queue] }) => {
        queue.descriptor(0, 0x1000, 4, 1 | 2, 1);
        queue.descriptor(1, 0x1000, 4, 0);
        queue.offer(0);
      },
    ],
    [
      'more than 4 GiB in a chain',
      ({ queues: [queue] }) => {
        queue.descriptor(0, 0x1000, 0xffff_ffff, 1 | 2, 1);
        queue.descriptor(1, 0x1000, 2, 2);
        queue.offer(0);
      },
    ],
    [
      'an indirect table of half a descriptor',
      ({ queues: [queue] }) => {
        queue.descriptor(0, 0x1000, 24, 4);
        queue.offer(0);
      },
    ],
    [
      'an empty indirect table',
      ({ queues: [queue] }) => {
        queue.descriptor(0, 0x1000, 0, 4);
        queue.offer(0);
      },
    ],
    [
      'an indirect table in another',
      (driver) => {
        const [queue] = driver.queues;
        const table = driver.allocate(16);
        queue.descriptor(0, table, 16, 4, 0, table);
        queue.descriptor(0, table, 16, 4);
        queue.offer(0);
      },
    ],
    [
      'an indirect descriptor with a successor',
      (driver) => {
        driver.queues[0].descriptor(0, driver.allocate(16), 16, 4 | 1, 1);
        driver.queues[0].offer(0);
      },
    ],
    ['an available index that jumps', ({ queues: [queue] }) => queue.view.setUint16(queue.place.avail + 2, 17, true)],
    [
      'a descriptor table that is not in RAM',
      (driver) => {
        driver.status = 0;
        driver.setUp();
        const [queue] = driver.queues;
        driver.status = 0;
        driver.status = 3;
        driver.accept(VERSION_1);
        driver.status = 0xb;
        driver.writeCommon(COMMON.QUEUE_SIZE, 2, 16);
        driver.writeCommon(COMMON.QUEUE_DESC, 4, 0xf000_0000);
        driver.writeCommon(COMMON.QUEUE_DESC + 4, 4, 0xffff_ffff);
        driver.writeCommon(COMMON.QUEUE_DRIVER, 4, queue.place.avail);
        driver.writeCommon(COMMON.QUEUE_DEVICE, 4, queue.place.used);
        driver.writeCommon(COMMON.QUEUE_ENABLE, 2, 1);
        driver.status = 0xf;
        queue.offer(0);
      },
    ],
  ];
  it.each(cases)('%s: the device asks for a reset and works after it', (_name, act) => {
    const driver = entropy().setUp();
    act(driver);
    driver.queues[0].kick();
    expect([driver.needsReset, driver.transport.violations, driver.isr() & 2]).toEqual([true, 1, 2]);
    driver.queues[0].kick();
    expect(driver.queues[0].collect()).toEqual([]);
    driver.status = 0;
    expect(driver.status).toBe(0);
    expect(driver.setUp().queues[0].exchange([], [4])).toHaveLength(1);
  });

  it('indirect descriptors that were not negotiated', () => {
    const driver = entropy().setUp({ features: VERSION_1 });
    driver.queues[0].exchange([], [4], true);
    expect(driver.needsReset).toBe(true);
  });
});

describe('access through configuration space (§4.1.4.9)', () => {
  it('reaches registers with the width that the driver sets', () => {
    const { driver } = console0();
    const at = driver.capabilities().at(-1)?.[1] ?? 0;
    const select = (offset: number, size: number) => {
      driver.writeConfig(at + 4, 1, 4);
      driver.writeConfig(at + 8, 4, offset);
      driver.writeConfig(at + 12, 4, size);
    };
    select(COMMON.NUM_QUEUES, 2);
    expect(driver.config(at + 16, 4)).toBe(2);
    select(COMMON.STATUS, 1);
    driver.writeConfig(at + 16, 4, 3);
    expect(driver.status).toBe(3);
    for (const [offset, size] of [
      [0, 3],
      [1, 2],
      [0x10_0000, 4],
    ]) {
      select(offset, size);
      driver.writeConfig(at + 16, 4, 0);
      expect(driver.config(at + 16, 4)).toBe(0xffff_ffff);
    }
    driver.writeConfig(at + 4, 1, 3);
    expect([driver.config(at + 16, 4), driver.status]).toEqual([0xffff_ffff, 3]);
  });
});

describe('console (§5.3)', () => {
  it('sends what is transmitted, and emergency bytes before any set-up', () => {
    const { driver, sink } = console0();
    driver.writeDevice(8, 4, 0x21);
    driver.setUp();
    const bytes = (text: string) => new TextEncoder().encode(text);
    driver.queues[1].exchange([bytes('hel'), bytes('lo')], []);
    driver.queues[1].exchange([bytes(' there')], [], true);
    expect(sink.text).toBe('!hello there');
  });

  it('takes input as far as there are buffers, and asks for the rest', () => {
    const { driver, device } = console0();
    let drained = 0;
    device.onDrain = () => {
      drained++;
    };
    expect(device.receive(Uint8Array.of(1, 2, 3))).toBe(0);
    driver.setUp();
    const [receive] = driver.queues;
    receive.add([], [2]);
    receive.kick();
    expect(drained).toBe(1);
    receive.add([], [2]);
    receive.kick();
    expect([drained, device.receive(Uint8Array.of(1, 2, 3, 4, 5))]).toEqual([1, 4]);
    expect(receive.collect().map(({ data }) => [...data])).toEqual([
      [1, 2],
      [3, 4],
    ]);
    receive.add([], [8]);
    receive.kick();
    expect([drained, device.receive(Uint8Array.of(5))]).toEqual([2, 1]);
    expect(receive.collect()).toMatchObject([{ length: 1 }]);
  });

  it('tells its size and changes of it', () => {
    const { driver, device } = console0();
    driver.setUp({ msix: true });
    expect([driver.device(0, 2), driver.device(2, 2), driver.device(4, 4)]).toEqual([80, 25, 0]);
    const generation = driver.common(COMMON.GENERATION, 1);
    device.resize(132, 50);
    device.resize(132, 50);
    expect([driver.device(0, 4), driver.messages()]).toEqual([(50 << 16) | 132, [0x40]]);
    expect(driver.common(COMMON.GENERATION, 1)).toBe(generation + 1);
  });

  it('drops the excess of a giant buffer', () => {
    const { driver, device, sink } = console0();
    driver.setUp();
    const [, transmit] = driver.queues;
    for (let i = 0; i < 8; i++) transmit.descriptor(i, 0x1000, 0x4_0000, i < 7 ? 1 : 0, i + 1);
    transmit.offer(0);
    transmit.kick();
    expect([sink.bytes.length, device.dropped]).toEqual([0x10_0000, 0x10_0000]);
  });
});

snapshotSuite('a virtio transport', {
  create: () => console0().driver.transport,
  change: (transport) => {
    const { driver } = changed;
    driver.setUp({ features: VERSION_1 });
    driver.queues[1].exchange([Uint8Array.of(1)], []);
    driver.writeCommon(COMMON.CONFIG_VECTOR, 2, 1);
    driver.writeCommon(COMMON.QUEUE_VECTOR, 2, 2);
    changed.device.resize(10, 10);
    driver.writeConfig(0x3c, 1, 11);
    transport.restore(driver.transport.save());
  },
  observe: (transport) => [transport.live, transport.features, transport.selectedQueue?.size],
});
const changed = console0();

snapshotSuite('the virtio console', {
  create: () => console0().device,
  change: (device) => device.resize(120, 40),
  observe: (device) => device.readConfig(0, 4),
  // It has no ports besides: those are in console-ports.test.ts.
  untouched: ['ports', 'controls'],
});

describe('a machine that is saved and restored', () => {
  it('goes on with rings, interrupts and input', () => {
    const first = console0();
    first.driver.setUp({ msix: true });
    first.driver.queues[0].add([], [4]);
    first.driver.queues[0].kick();
    const second = console0();
    second.driver.memory.bytes.set(first.driver.memory.bytes);
    second.device.restore(first.device.save());
    second.driver.transport.restore(first.driver.transport.save());
    second.driver.transport.resume();
    expect([second.driver.status, second.device.receive(Uint8Array.of(9))]).toEqual([0xf, 1]);
    expect(second.driver.messages()).toEqual([0x41]);
  });
});
