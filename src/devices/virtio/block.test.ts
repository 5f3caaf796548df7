import { describe, expect, it } from 'vitest';
import { fuzz } from '../../testing/fuzz/target.js';
import { virtqueueTarget } from '../../testing/fuzz/targets/virtqueue.js';
import { MemoryDisk } from '../../testing/memory-disk.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { VERSION_1, VirtioDriver, type SetUpOptions } from '../../testing/virtio-driver.js';
import { VirtioBlock, type VirtioBlockParts } from './block.js';

function setUp(disk = new MemoryDisk(), parts: Partial<VirtioBlockParts> = {}, options: SetUpOptions = {}) {
  const device = new VirtioBlock({ id: 'blk0', backend: disk, ...parts });
  const driver = new VirtioDriver(device).setUp({ msix: true, ...options });
  return { disk, device, driver, queue: driver.queues[0] };
}

const [IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES] = [0, 1, 4, 8, 11, 13];
const [OK, IOERR, UNSUPP] = [0, 1, 2];

function header(type: number, sector: bigint | number = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

function ranges(...all: [sector: bigint | number, count: number, flags?: number][]): Uint8Array {
  const bytes = new Uint8Array(16 * all.length);
  const view = new DataView(bytes.buffer);
  all.forEach(([sector, count, flags = 0], i) => {
    view.setBigUint64(16 * i, BigInt(sector), true);
    view.setUint32(16 * i + 8, count, true);
    view.setUint32(16 * i + 12, flags, true);
  });
  return bytes;
}

describe('configuration (VIRTIO 1.2 §5.2.4)', () => {
  it('tells capacity, limits and topology', () => {
    const { driver } = setUp();
    const at = (offset: number, size: 1 | 2 | 4) => driver.device(offset, size);
    expect([at(0, 4), at(4, 4), at(12, 4), at(20, 4)]).toEqual([64, 0, 254, 512]);
    expect([at(24, 1), at(25, 1), at(26, 2), at(28, 4), at(34, 2)]).toEqual([3, 0, 8, 0, 1]);
    expect([at(36, 4), at(40, 4), at(44, 4), at(48, 4), at(52, 4), at(56, 1)]).toEqual([
      0x20_0000, 16, 1, 0x20_0000, 16, 1,
    ]);
  });

  it('offers what the disk can do', () => {
    const features = (parts: Partial<VirtioBlockParts>, readOnly = false) =>
      new VirtioBlock({ id: 'b', backend: new MemoryDisk(512, readOnly), ...parts }).features;
    expect(features({})).toBe(0x6e44n);
    expect(features({}, true)).toBe(0x0664n);
    expect(features({ queues: 4 }) & 0x1000n).toBe(0x1000n);
    expect(new VirtioBlock({ id: 'b', backend: new MemoryDisk(512), queues: 4 }).queueSizes).toEqual([
      256, 256, 256, 256,
    ]);
  });
});

describe('requests (§5.2.6)', () => {
  it('read and write sectors, whatever the framing', () => {
    const { disk, queue } = setUp();
    const [read] = queue.exchange([header(IN, 3)], [512, 512, 1]);
    expect(read.length).toBe(1025);
    expect(read.data.subarray(0, 1024)).toEqual(disk.bytes.subarray(3 * 512, 5 * 512));
    expect(read.data[1024]).toBe(OK);
    const data = new Uint8Array(512).fill(0xa5);
    const all = Uint8Array.of(...header(OUT, 7), ...data);
    const [written] = queue.exchange([all.subarray(0, 5), all.subarray(5, 100), all.subarray(100)], [1]);
    expect([written.length, written.data[0], disk.bytes.subarray(7 * 512, 8 * 512)]).toEqual([1, OK, data]);
    const [odd] = queue.exchange([header(IN, 7)], [100, 412 + 1], true);
    expect(odd.data).toEqual(Uint8Array.of(...data, OK));
  });

  it('go through in pieces when they are large', () => {
    const { disk, queue } = setUp(new MemoryDisk(0x20_0000));
    const [{ data }] = queue.exchange([header(IN, 0)], [0x18_0000, 1]);
    expect(disk.log).toEqual(['read 0 1048576', 'read 1048576 524288']);
    expect(Buffer.compare(data.subarray(0, -1), disk.bytes.subarray(0, 0x18_0000))).toBe(0);
  });

  it('go through in smaller pieces by the cache of the host, which reads ahead', () => {
    const disk = Object.assign(new MemoryDisk(0x10_0000), { buffers: undefined });
    const { queue } = setUp(disk);
    const [{ data }] = queue.exchange([header(IN, 0)], [0x9_0000, 1]);
    expect(disk.log).toEqual(['read 0 262144', 'read 262144 262144', 'read 524288 65536']);
    expect(Buffer.compare(data.subarray(0, -1), disk.bytes.subarray(0, 0x9_0000))).toBe(0);
  });

  it('read no data that are known to be zeros', () => {
    const isZero = (offset: number, length: number): boolean => offset + length <= 0x4_0000;
    const disk = Object.assign(new MemoryDisk(0x10_0000), { isZero });
    const { queue } = setUp(disk);
    const [{ data, length }] = queue.exchange([header(IN, 0)], [0x9_0000, 1]);
    expect(length).toBe(0x9_0001);
    expect(disk.log).toEqual(['read 262144 327680']);
    expect(data.subarray(0, 0x4_0000).every((byte) => byte === 0)).toBe(true);
    expect(Buffer.compare(data.subarray(0x4_0000, -1), disk.bytes.subarray(0x4_0000, 0x9_0000))).toBe(0);
  });

  it('write large data in pieces', () => {
    const { disk, queue } = setUp(new MemoryDisk(0x20_0000));
    const pattern = Uint8Array.from({ length: 0x11_0000 }, (_, i) => i * 7);
    expect(queue.exchange([header(OUT, 8), pattern], [1])[0].data[0]).toBe(OK);
    expect(disk.log).toEqual(['write 4096 1048576', 'write 1052672 65536']);
    expect(Buffer.compare(disk.bytes.subarray(8 * 512, 8 * 512 + 0x11_0000), pattern)).toBe(0);
  });

  it('move data by memory of the disk’s choice, again after it has failed', () => {
    const { disk, queue } = setUp();
    for (const fails of [false, true, false]) {
      disk.fails = fails;
      queue.exchange([header(IN, 1)], [512, 1]);
      queue.exchange([header(OUT, 1), new Uint8Array(512)], [1]);
    }
    expect([disk.scratch.made, disk.scratch.free.length]).toEqual([1, 1]);
  });

  it('flush, give the serial number, discard and write zeroes', () => {
    const { disk, queue } = setUp();
    expect(queue.exchange([header(FLUSH)], [1])[0].data[0]).toBe(OK);
    const [id] = queue.exchange([header(GET_ID)], [20, 1]);
    expect([Buffer.from(id.data).toString('latin1'), id.length]).toEqual(['SERIAL-1'.padEnd(21, '\0'), 21]);
    expect(queue.exchange([header(DISCARD), ranges([1, 2], [8, 8])], [1])[0].data[0]).toBe(OK);
    expect(queue.exchange([header(WRITE_ZEROES), ranges([2, 1, 1], [5, 0])], [1])[0].data[0]).toBe(OK);
    expect(disk.log).toEqual(['flush', 'discard 512 1024', 'discard 4096 4096', 'zero 1024 512']);
    expect(disk.bytes.subarray(1024, 1536).every((byte) => byte === 0)).toBe(true);
  });

  const refused: [string, Uint8Array[], number[], number][] = [
    ['a read beyond the end', [header(IN, 63)], [1024, 1], IOERR],
    ['a read at a sector beyond all numbers', [header(IN, (1n << 64n) - 1n)], [512, 1], IOERR],
    ['a read of part of a sector', [header(IN)], [100, 1], IOERR],
    ['a write beyond the end', [header(OUT, 64), new Uint8Array(512)], [1], IOERR],
    ['a discard beyond the end', [header(DISCARD), ranges([60, 5])], [1], IOERR],
    ['a discard with a flag', [header(DISCARD), ranges([0, 1, 1])], [1], UNSUPP],
    ['zeroes with a reserved flag', [header(WRITE_ZEROES), ranges([0, 1, 2])], [1], UNSUPP],
    ['too large a range', [header(WRITE_ZEROES), ranges([0, 0x20_0001])], [1], IOERR],
    ['too many ranges', [header(DISCARD), new Uint8Array(17 * 16)], [1], IOERR],
    ['half a range', [header(DISCARD), new Uint8Array(24)], [1], IOERR],
    ['no range', [header(DISCARD)], [1], IOERR],
    ['a request of an unknown type', [header(99)], [1], UNSUPP],
  ];
  it.each(refused)('%s fails and touches nothing', (_name, out, into, status) => {
    const { disk, queue } = setUp();
    const [{ data }] = queue.exchange(out, into);
    expect([data.at(-1), disk.log]).toEqual([status, []]);
  });

  it.each([OUT, DISCARD, WRITE_ZEROES])('of type %i fail on a read-only disk', (type) => {
    const { disk, queue } = setUp(new MemoryDisk(4096, true));
    const data = type === OUT ? new Uint8Array(512) : ranges([0, 1]);
    expect([queue.exchange([header(type), data], [1])[0].data[0], disk.log]).toEqual([IOERR, []]);
  });

  it('report failures of the disk, and buffers that are not in RAM', () => {
    const { disk, queue, driver } = setUp();
    disk.fails = true;
    expect(queue.exchange([header(IN)], [512, 1])[0].data.at(-1)).toBe(IOERR);
    disk.fails = false;
    const [at, status] = [driver.allocate(16), driver.allocate(1)];
    driver.memory.bytes.set(header(IN), at);
    queue.descriptor(0, at, 16, 1, 1);
    queue.descriptor(1, 0xf000_0000, 512, 3, 2);
    queue.descriptor(2, status, 1, 2);
    queue.offer(0);
    queue.kick();
    expect([driver.memory.bytes[status], driver.needsReset]).toEqual([IOERR, false]);
  });

  it.each([
    ['no room for the status', [header(IN)], []],
    ['no whole header', [new Uint8Array(15)], [1]],
  ])('with %s make the device ask for a reset', (_name, out, into) => {
    const { queue, driver } = setUp();
    queue.exchange(out, into);
    expect(driver.needsReset).toBe(true);
  });
});

describe('a back end that answers later', () => {
  it('may answer in any order', () => {
    const { disk, device, queue, driver } = setUp();
    disk.later = true;
    const heads = [1, 2, 3].map((sector) => queue.add([header(IN, sector)], [512, 1]));
    queue.kick();
    expect([queue.collect(), device.pending]).toEqual([[], 3]);
    queue.usedEvent = 0;
    disk.answer(1);
    expect(driver.messages()).toEqual([0x41]);
    disk.answer(1);
    disk.answer(0);
    expect(queue.collect().map(({ head }) => head)).toEqual([heads[1], heads[2], heads[0]]);
    expect(device.pending).toBe(0);
  });

  it('writes nothing to memory and tells nobody after a reset', () => {
    const { disk, device, queue, driver } = setUp();
    disk.later = true;
    queue.exchange([header(IN, 1)], [512, 1]);
    queue.exchange([header(OUT, 2), new Uint8Array(512)], [1]);
    driver.status = 0;
    const before = driver.memory.bytes.slice();
    disk.answer();
    disk.answer();
    expect([Buffer.compare(driver.memory.bytes, before), driver.messages(), device.pending]).toEqual([0, [], 0]);
    disk.later = false;
    expect(driver.setUp({ msix: true }).queues[0].exchange([header(IN, 1)], [512, 1])).toHaveLength(1);
  });

  it('is not overrun by a driver that offers the same buffer again and again', () => {
    const { disk, queue, driver } = setUp();
    disk.later = true;
    queue.exchange([header(IN, 1)], [512, 1]);
    for (let i = 0; i < 20; i++) {
      queue.offer(0);
      queue.kick();
    }
    expect([disk.waiting.length, driver.needsReset]).toEqual([16, true]);
    while (disk.waiting.length > 0) disk.answer();
  });

  it('is asked again after a restore', () => {
    const first = setUp();
    first.disk.later = true;
    first.queue.exchange([header(IN, 1)], [512, 1]);
    first.queue.exchange([header(OUT, 9), new Uint8Array(512).fill(3)], [1]);
    const saved = [first.device.save(), first.driver.transport.save()] as const;

    const device = new VirtioBlock({ id: 'blk0', backend: new MemoryDisk() });
    const driver = new VirtioDriver(device);
    driver.memory.bytes.set(first.driver.memory.bytes);
    device.restore(device.stateSchema.check(structuredClone(saved[0]), 'blk0'));
    driver.transport.restore(driver.transport.stateSchema.check(structuredClone(saved[1]), 'pci'));
    expect([device.pending, driver.messages()]).toEqual([2, []]);
    driver.transport.resume();
    expect([device.pending, driver.messages()]).toEqual([0, [0x41]]);
    const view = new DataView(driver.memory.bytes.buffer);
    expect(view.getUint16(first.queue.place.used + 2, true)).toBe(2);
  });
});

describe('cache modes (§5.2.6.2)', () => {
  const FLUSH_FEATURE = 1n << 9n;
  const WCE = 1n << 11n;
  const write = [header(OUT, 1), new Uint8Array(512)];
  it('write through for a driver that knows no flush', () => {
    const { disk, queue } = setUp(new MemoryDisk(), {}, { features: VERSION_1 });
    queue.exchange(write, [1]);
    expect(disk.log).toEqual(['write 512 512', 'flush']);
  });
  it('write back for one that does', () => {
    const { disk, queue } = setUp(new MemoryDisk(), {}, { features: VERSION_1 | FLUSH_FEATURE });
    queue.exchange(write, [1]);
    expect(disk.log).toEqual(['write 512 512']);
  });
  it('are the driver’s choice where it may choose', () => {
    const { disk, device, queue } = setUp(new MemoryDisk(), {}, { features: VERSION_1 | FLUSH_FEATURE | WCE });
    expect(device.readConfig(32, 1)).toBe(1);
    device.writeConfig(32, 1, 0);
    queue.exchange(write, [1]);
    expect(disk.log).toEqual(['write 512 512', 'flush']);
    device.reset();
    expect(device.readConfig(32, 1)).toBe(1);
  });
  it('are on in the state of older versions', () => {
    expect(new VirtioBlock({ id: 'b', backend: new MemoryDisk() }).upgrade({ inFlight: [] })).toEqual({
      inFlight: [],
      writeback: true,
    });
  });
});

describe('several queues (VIRTIO_BLK_F_MQ)', () => {
  it('work side by side', () => {
    const { driver } = setUp(new MemoryDisk(), { queues: 3 });
    driver.queues.forEach((queue, i) => {
      expect(queue.exchange([header(IN, i)], [512, 1])).toHaveLength(1);
      expect(driver.messages()).toEqual([0x41 + i]);
    });
  });
});

snapshotSuite('the virtio block device', {
  create: () => new VirtioBlock({ id: 'blk0', backend: new MemoryDisk() }),
  change: (device) => device.restore({ inFlight: [{ queue: 0, head: 3 }], writeback: false }),
  observe: (device) => device.pending,
});

describe('a hostile driver', () => {
  it('never makes the device throw or hang, and a reset always helps', () => fuzz(virtqueueTarget, 20000));
});
