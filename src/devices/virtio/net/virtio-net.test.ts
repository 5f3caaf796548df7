import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../host/fake/clock.js';
import { FINISHED, GSO } from '../../../iface/net.js';
import { fuzz } from '../../../testing/fuzz/target.js';
import { virtioNetTarget } from '../../../testing/fuzz/targets/virtio-net.js';
import { FakeNetwork } from '../../../testing/fake-network.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { VERSION_1, VirtioDriver } from '../../../testing/virtio-driver.js';
import { VirtioNet } from './virtio-net.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

function setUp(options: { features?: bigint; pairs?: number; busy?: boolean } = {}) {
  const network = new FakeNetwork();
  const clock = new FakeClock();
  const device = new VirtioNet({ id: 'net', backend: network, mac: MAC, pairs: options.pairs ?? 1, mtu: 1500, clock });
  const notified = device.notified.bind(device);
  // A guest that waits after everything it asks.
  if (!options.busy)
    device.notified = (index) => {
      notified(index);
      device.settle();
    };
  const driver = new VirtioDriver(device).setUp({
    msix: true,
    ...(options.features && { features: options.features }),
  });
  return { network, device, driver, clock };
}

const frameFor = (mac: ArrayLike<number>, length = 60): Uint8Array => {
  const frame = Uint8Array.from({ length }, (_, i) => i & 0xff);
  frame.set(mac, 0);
  return frame;
};
const header = (...values: number[]): Uint8Array =>
  Uint8Array.from([...values, ...new Array<number>(12).fill(0)].slice(0, 12));
const control = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

describe('virtio-net (VIRTIO 1.2 §5.1)', () => {
  it('tells its address, link and MTU', () => {
    const { driver } = setUp();
    expect([0, 1, 2, 3, 4, 5].map((i) => driver.device(i, 1))).toEqual([...MAC]);
    expect([driver.device(6, 2), driver.device(8, 2), driver.device(10, 2)]).toEqual([1, 1, 1500]);
  });

  it('sends frames, with what is left to do', () => {
    const { network, driver } = setUp();
    driver.queues[1].exchange([header(), frameFor(MAC)], []);
    driver.queues[1].exchange([header(1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0), frameFor(MAC, 3000)], []);
    expect(network.sent.map(({ frame }) => frame.length)).toEqual([60, 3000]);
    expect(network.sent[0].info).toEqual(FINISHED);
    expect(network.sent[1].info).toEqual({ checksumStart: 34, checksumOffset: 16, gso: GSO.TCP4, segmentSize: 1460 });
  });

  it('drops what breaks the rules, and goes on', () => {
    const { network, driver, device } = setUp();
    const bad = [
      header(1, 0, 0, 0, 0, 0, 0xff, 0xff),
      header(0, 1),
      header(1, 7, 0, 0, 1, 0, 34, 0, 16),
      header(1, 1, 0, 0, 0, 0, 34),
    ];
    for (const head of bad) expect(driver.queues[1].exchange([head, frameFor(MAC)], [])).toHaveLength(1);
    driver.queues[1].exchange([Uint8Array.of(1, 2, 3)], []);
    driver.queues[1].exchange([header(), new Uint8Array(70_000)], []);
    expect([network.sent.length, device.dropped]).toEqual([0, 6]);
    driver.queues[1].exchange([header(), frameFor(MAC)], []);
    expect(network.sent).toHaveLength(1);
  });

  it('keeps frames in the queue that the network has no room for', () => {
    const { network, driver, device } = setUp();
    network.room = 1;
    for (let i = 0; i < 3; i++) driver.queues[1].add([header(), frameFor(MAC)], []);
    driver.queues[1].kick();
    expect(driver.queues[1].collect()).toHaveLength(1);
    network.room = Infinity;
    device.sendReady();
    expect([network.sent.length, driver.queues[1].collect().length]).toEqual([3, 2]);
  });

  it('gathers what a busy guest offers one by one, and tells it once', () => {
    const { network, driver, device, clock } = setUp({ busy: true, features: VERSION_1 });
    const offer = (): void => {
      driver.queues[1].add([header(), frameFor(MAC)], []);
      driver.queues[1].kick();
    };
    clock.advance(1e6);
    const before = network.sent.length;
    for (let i = 0; i < 5; i++) offer();
    expect([network.sent.length - before, driver.messages()]).toEqual([1, []]);
    clock.advance(100_000);
    expect([network.sent.length - before, driver.messages()]).toEqual([5, [0x42]]);
    offer();
    offer();
    expect(network.sent.length - before).toBe(5);
    expect(device.settle()).toBe(true);
    expect([network.sent.length - before, driver.messages()]).toEqual([7, [0x42]]);
    expect(device.settle()).toBe(false);
    offer();
    expect(network.sent.length - before).toBe(8);
    clock.advance(1e6);
    expect(clock.nextDeadline).toBeUndefined();
  });

  it('spreads a long frame over buffers (MRG_RXBUF), all of it or nothing', () => {
    const { driver, device } = setUp();
    const frame = frameFor(MAC, 1000);
    driver.queues[0].add([], [300]);
    driver.queues[0].add([], [300]);
    driver.queues[0].kick();
    expect(device.receive(frame, FINISHED)).toBe(false);
    expect(driver.queues[0].collect()).toEqual([]);
    driver.queues[0].add([], [600]);
    driver.queues[0].kick();
    expect(device.receive(frame, FINISHED)).toBe(true);
    device.received();
    const buffers = driver.queues[0].collect();
    expect(buffers.map(({ length }) => length)).toEqual([300, 300, 412]);
    const bytes = buffers.flatMap(({ data, length }) => [...data.subarray(0, length)]);
    expect(bytes.slice(10, 12)).toEqual([3, 0]);
    expect(Uint8Array.from(bytes.slice(12))).toEqual(frame);
    expect(driver.messages()).toEqual([0x41]);
  });

  it('filters by the modes, addresses and VLANs that the driver sets (§5.1.6.5)', () => {
    const { driver, device } = setUp();
    const commands = driver.queues[2];
    const command = (...bytes: number[]): number => commands.exchange([control(...bytes)], [1])[0].data[0];
    const takes = (mac: ArrayLike<number>): boolean => device.filter.takes(frameFor(mac), true);
    const multicast = [1, 0, 0x5e, 1, 2, 3];
    const other = [2, 0, 0, 0, 0, 9];
    expect([takes(MAC), takes(other), takes(multicast), takes([255, 255, 255, 255, 255, 255])]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(command(0, 0, 1)).toBe(0);
    expect(takes(other)).toBe(true);
    expect(command(0, 0, 0)).toBe(0);
    expect(command(1, 0, 1, 0, 0, 0, ...other, 1, 0, 0, 0, ...multicast)).toBe(0);
    expect([takes(other), takes(multicast)]).toEqual([true, true]);
    expect(command(1, 0, 255, 0, 0, 0, ...other)).toBe(1);
    expect(command(0, 5, 1)).toBe(0);
    expect(takes([255, 255, 255, 255, 255, 255])).toBe(false);
    expect(command(1, 1, 2, 2, 2, 2, 2, 2)).toBe(0);
    expect([takes(MAC), takes([2, 2, 2, 2, 2, 2]), driver.device(0, 1)]).toEqual([false, true, 2]);
    const tagged = frameFor([2, 2, 2, 2, 2, 2]);
    tagged.set([0x81, 0, 0, 7], 12);
    expect(device.filter.takes(tagged, true)).toBe(false);
    expect(command(2, 0, 7, 0)).toBe(0);
    expect(device.filter.takes(tagged, true)).toBe(true);
    expect([command(9, 9), command(4, 0, 1, 0), command(2, 0, 0xff, 0xff)]).toEqual([1, 1, 1]);
  });

  it('has its control queue behind all pairs when the driver knows of several (§5.1.2)', () => {
    const { driver, network } = setUp({ pairs: 2 });
    expect(driver.queues[4].exchange([control(4, 0, 2, 0)], [1])[0].data[0]).toBe(0);
    driver.queues[3].exchange([header(), frameFor(MAC)], []);
    expect(network.sent).toHaveLength(1);
  });

  it('receives a flow by the pair that it was sent by (§5.1.6.5.5)', () => {
    const { driver, device } = setUp({ pairs: 2 });
    driver.queues[4].exchange([control(4, 0, 2, 0)], [1]);
    const flow = (from: number, to: number): Uint8Array => {
      const frame = frameFor(MAC, 60);
      frame.set([8, 0, 0x45], 12);
      frame[23] = 6;
      frame.set([10, 0, 2, from, 10, 0, 2, to, from, 1, to, 2], 26);
      return frame;
    };
    driver.queues[3].exchange([header(), flow(15, 2)], []);
    for (const queue of [0, 2]) {
      driver.queues[queue].add([], [2000]);
      driver.queues[queue].kick();
    }
    driver.messages();
    expect([device.receive(flow(2, 15), FINISHED), device.receive(flow(3, 15), FINISHED)]).toEqual([true, true]);
    device.received();
    expect([driver.queues[2].collect().length, driver.queues[0].collect().length]).toEqual([1, 1]);
    expect(driver.messages()).toEqual([0x41, 0x43]);
  });

  it('tells of a cable that is pulled', () => {
    const { driver, device } = setUp();
    device.linkChanged(false);
    expect([driver.device(6, 2), driver.messages()]).toEqual([0, [0x40]]);
  });

  it('survives a hostile driver', () => fuzz(virtioNetTarget, 10000));
});

snapshotSuite('the virtio network device', {
  create: () =>
    new VirtioNet({ id: 'net', backend: new FakeNetwork(), mac: MAC, pairs: 2, mtu: 1500, clock: new FakeClock() }),
  change: (device) => {
    device.restore({
      filter: { ...device.filter.save(), promiscuous: false, unicast: [MAC.slice()], noBroadcast: true },
      pairs: 2,
      guestOffloads: 2n,
      linkUp: false,
      started: true,
    });
  },
  observe: (device) => [device.offloads, device.filter.takes(frameFor([2, 0, 0, 0, 0, 9]), false)],
});
