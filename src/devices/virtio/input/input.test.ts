import { beforeEach, describe, expect, it } from 'vitest';
import { fuzz } from '../../../testing/fuzz/target.js';
import { inputTarget } from '../../../testing/fuzz/targets/input.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { VirtioDriver } from '../../../testing/virtio-driver.js';
import { VirtioKeyboard, VirtioTablet } from './input.js';

/** Offers buffers for events, and reads the events that come. */
function listener(driver: VirtioDriver): () => number[][] {
  const [events] = driver.queues;
  for (let i = 0; i < 12; i++) events.add([], [8]);
  events.kick();
  return () =>
    events.collect().map(({ data }) => {
      const view = new DataView(data.buffer);
      return [view.getUint16(0, true), view.getUint16(2, true), view.getInt32(4, true)];
    });
}

function config(driver: VirtioDriver, select: number, subselect: number): number[] {
  driver.writeDevice(0, 1, select);
  driver.writeDevice(1, 1, subselect);
  return Array.from({ length: driver.device(2, 1) }, (_, i) => driver.device(8 + i, 1));
}

describe('the keyboard', () => {
  let keyboard: VirtioKeyboard;
  let driver: VirtioDriver;
  beforeEach(() => {
    keyboard = new VirtioKeyboard('keyboard');
    driver = new VirtioDriver(keyboard);
  });

  it('says what it is', () => {
    driver.setUp();
    expect(String.fromCharCode(...config(driver, 1, 0))).toBe('Vitrine keyboard');
    expect(config(driver, 3, 0)).toEqual([6, 0, 0x27, 6, 1, 0, 1, 0]);
    const keys = config(driver, 0x11, 1);
    // Escape, A and the right Meta key.
    expect([1, 30, 126].map((code) => (keys[code >> 3] >> (code & 7)) & 1)).toEqual([1, 1, 1]);
    expect([config(driver, 0x11, 3), config(driver, 0x12, 0), config(driver, 0x77, 0)]).toEqual([[], [], []]);
  });

  it('reports keys once, and what is pressed without a driver not at all', () => {
    keyboard.key('KeyA', true);
    expect(keyboard.live).toBe(false);
    driver.setUp();
    expect(keyboard.live).toBe(true);
    const events = listener(driver);
    for (const [code, down] of [
      ['KeyA', true],
      ['KeyA', true],
      ['NoSuchKey', true],
      ['KeyA', false],
      ['KeyA', false],
    ] as const)
      keyboard.key(code, down);
    expect(events()).toEqual([
      [1, 30, 1],
      [0, 0, 0],
      [1, 30, 0],
      [0, 0, 0],
    ]);
  });

  it('keeps what finds no buffer, up to a bound, whole reports at a time', () => {
    driver.setUp();
    for (let i = 0; i < 400; i++) keyboard.key('KeyA', i % 2 === 0);
    const [queue] = driver.queues;
    let count = 0;
    for (let turn = 0; turn < 100; turn++) {
      for (let i = 0; i < 8; i++) queue.add([], [8]);
      queue.kick();
      count += queue.collect().length;
    }
    expect(count).toBe(256);
  });
});

describe('the tablet', () => {
  it('reports where it points, its buttons and its wheel', () => {
    const tablet = new VirtioTablet('tablet');
    const driver = new VirtioDriver(tablet).setUp();
    const events = listener(driver);
    expect(config(driver, 0x12, 1).slice(4, 8)).toEqual([0xff, 0x7f, 0, 0]);
    tablet.point(100, 200, 0);
    tablet.point(100, 300, 0b10001);
    tablet.point(100, 300, 0b10001);
    tablet.wheel(1, -2);
    expect(events()).toEqual([
      [3, 0, 100],
      [3, 1, 200],
      [0, 0, 0],
      [3, 1, 300],
      [1, 0x110, 1],
      [1, 0x114, 1],
      [0, 0, 0],
      [2, 8, -1],
      [2, 6, -2],
      [0, 0, 0],
    ]);
  });

  it('survives a driver that offers nonsense', () => fuzz(inputTarget, 10000));
});

snapshotSuite('the tablet', {
  create: () => new VirtioTablet('tablet'),
  change(tablet) {
    const driver = new VirtioDriver(tablet).setUp();
    driver.writeDevice(0, 1, 0x12);
    driver.writeDevice(1, 1, 1);
    tablet.point(5, 6, 1);
  },
  observe: (tablet) => tablet.readConfig(2, 1),
});
