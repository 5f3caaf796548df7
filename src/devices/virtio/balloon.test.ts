import { describe, expect, it } from 'vitest';
import { fuzz } from '../../testing/fuzz/target.js';
import { balloonTarget } from '../../testing/fuzz/targets/balloon.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { VirtioDriver, type SetUpOptions } from '../../testing/virtio-driver.js';
import { VirtioBalloon } from './balloon.js';

const [STATS, OOM, REPORTING] = [1n << 1n, 1n << 2n, 1n << 5n];
const VERSION_1 = 1n << 32n;

function setUp(options: SetUpOptions = {}) {
  const taken: [number, number][] = [];
  const device = new VirtioBalloon('balloon0', { take: (start, length) => void taken.push([start, length]) });
  const driver = new VirtioDriver(device).setUp(options);
  return { taken, device, driver, queues: driver.queues };
}

const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

function statistics(...values: [tag: number, value: bigint][]): Uint8Array {
  const bytes = Buffer.alloc(10 * values.length);
  values.forEach(([tag, value], i) => {
    bytes.writeUInt16LE(tag, 10 * i);
    bytes.writeBigUInt64LE(value, 10 * i + 2);
  });
  return bytes;
}

describe('virtio-balloon (VIRTIO 1.2 §5.5)', () => {
  it('tells what it wants, and learns what it gets', () => {
    const { device, driver } = setUp({ msix: true });
    device.targetPages = 1000;
    expect([driver.device(0, 4), driver.messages().length]).toEqual([1000, 1]);
    driver.writeDevice(4, 4, 600);
    expect(device.pages).toBe(600);
  });

  it('takes the pages that the guest gives, in runs', () => {
    const { taken, queues } = setUp();
    queues[0].exchange([words(7, 8, 9, 20, 19, 0xffff_ffff)], []);
    expect(taken).toEqual([
      [7 * 4096, 3 * 4096],
      [19 * 4096, 2 * 4096],
      [0xffff_ffff * 4096, 4096],
    ]);
    expect(queues[1].exchange([words(7)], [])).toHaveLength(1);
    expect(taken).toHaveLength(3);
  });

  it('takes whole pages of what is reported as free, on the queue that is left', () => {
    const { taken, queues } = setUp({ features: VERSION_1 | REPORTING | OOM });
    const at = 0x4000;
    queues[2].descriptor(0, at + 1, 0x3000, 2);
    queues[2].offer(0);
    queues[2].kick();
    expect(taken).toEqual([[at + 0x1000, 0x2000]]);
    const both = setUp();
    both.queues[3].descriptor(0, at, 0x1000, 2);
    both.queues[3].offer(0);
    both.queues[3].kick();
    expect(both.taken).toEqual([[at, 0x1000]]);
  });

  it('keeps the buffer of statistics until it wants new ones', () => {
    const { device, queues } = setUp();
    expect(queues[2].exchange([statistics([4, 5000n], [0, 0xffff_ffff_ffff_ffffn], [99, 1n])], [])).toEqual([]);
    expect([...device.statistics]).toEqual([['free-memory', 5000n]]);
    device.refresh();
    expect(queues[2].collect()).toHaveLength(1);
    device.refresh();
    expect(queues[2].collect()).toHaveLength(0);
    queues[2].exchange([statistics([5, 9000n])], []);
    expect([...device.statistics]).toEqual([['total-memory', 9000n]]);
  });

  it('gives that buffer back after a restore too', () => {
    const { device, queues } = setUp({ features: VERSION_1 | STATS });
    queues[2].exchange([statistics([4, 1n])], []);
    device.restore(device.stateSchema.check(structuredClone(device.save()), 'balloon'));
    device.resume();
    device.refresh();
    expect(queues[2].collect()).toHaveLength(1);
  });

  it('survives random buffers', () => fuzz(balloonTarget, 10000));

  snapshotSuite('virtio-balloon', {
    create: () => new VirtioBalloon('balloon0', { take() {} }),
    change: (device) => {
      const driver = new VirtioDriver(device).setUp();
      driver.queues[2].exchange([statistics([4, 5000n])], []);
      driver.writeDevice(4, 4, 600);
      device.targetPages = 700;
    },
  });
});
