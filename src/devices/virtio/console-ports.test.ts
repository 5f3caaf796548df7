import { describe, expect, it } from 'vitest';
import { fuzz } from '../../testing/fuzz/target.js';
import { consoleTarget } from '../../testing/fuzz/targets/console.js';
import { FakeStreams } from '../../testing/fake-streams.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { VirtioDriver, type DriverQueue } from '../../testing/virtio-driver.js';
import { VirtioConsole } from './console.js';

const EVENT = { READY: 0, ADD: 1, PORT_READY: 3, CONSOLE: 4, RESIZE: 5, OPEN: 6, NAME: 7 } as const;

const control = (id: number, event: number, value: number): Uint8Array => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(id);
  bytes.writeUInt16LE(event, 4);
  bytes.writeUInt16LE(value, 6);
  return bytes;
};

function create(names = ['org.a', 'org.b']) {
  const streams = new FakeStreams();
  const written: number[] = [];
  const device = new VirtioConsole('console0', { write: (bytes) => void written.push(...bytes) }, { names, streams });
  return { streams, device, written };
}

/** With a driver that has said that it and its ports are ready. */
function setUp() {
  const made = create();
  const driver = new VirtioDriver(made.device).setUp();
  const [, , controlIn, controlOut] = driver.queues;
  for (let i = 0; i < 15; i++) controlIn.add([], [64]);
  controlIn.kick();
  controlOut.exchange([control(0, EVENT.READY, 1)], []);
  for (const id of [0, 1, 2]) controlOut.exchange([control(id, EVENT.PORT_READY, 1)], []);
  const heard = controls(controlIn);
  const tell = (id: number, event: number, value: number): void => {
    controlOut.exchange([control(id, event, value)], []);
  };
  return { ...made, driver, controlIn, heard, tell, queues: driver.queues };
}

function controls(queue: DriverQueue): [id: number, event: number, value: number, rest: string][] {
  return queue.collect().map(({ data, length }) => {
    const bytes = Buffer.from(data.subarray(0, length));
    return [bytes.readUInt32LE(0), bytes.readUInt16LE(4), bytes.readUInt16LE(6), bytes.toString('latin1', 8)];
  });
}

describe('a console with many ports (VIRTIO 1.2 §5.3.6)', () => {
  it('is as it always was without them', () => {
    const { device } = create([]);
    expect([device.queueSizes.length, device.features & 2n]).toEqual([2, 0n]);
  });

  it('introduces its ports', () => {
    const { driver, heard, device } = setUp();
    expect([driver.device(4, 4), device.queueSizes.length]).toEqual([3, 8]);
    expect(heard).toEqual([
      [0, EVENT.ADD, 1, ''],
      [1, EVENT.ADD, 1, ''],
      [2, EVENT.ADD, 1, ''],
      [0, EVENT.CONSOLE, 1, ''],
      [0, EVENT.RESIZE, 0, '\x19\0\x50\0'],
      [0, EVENT.OPEN, 1, ''],
      [1, EVENT.NAME, 1, 'org.a'],
      [2, EVENT.NAME, 1, 'org.b'],
    ]);
  });

  it('tells when somebody comes and goes outside, and lets only one in', () => {
    const { streams, controlIn } = setUp();
    const stream = streams.open('port', 2);
    expect(streams.open('port', 2).state).toBe('closed');
    expect(streams.open('port', 3).state).toBe('closed');
    expect(controls(controlIn)).toEqual([[2, EVENT.OPEN, 1, '']]);
    stream.fail();
    expect(controls(controlIn)).toEqual([[2, EVENT.OPEN, 0, '']]);
  });

  it('passes bytes on both ways, to the guest only when it has the port open', () => {
    const { streams, queues, tell } = setUp();
    const stream = streams.open('port', 1);
    queues[4].add([], [4]);
    queues[4].add([], [100]);
    queues[4].kick();
    stream.listener.data(Buffer.from('hello'));
    expect(queues[4].collect()).toEqual([]);
    tell(1, EVENT.OPEN, 1);
    expect(queues[4].collect().map(({ data, length }) => Buffer.from(data.subarray(0, length)).toString())).toEqual([
      'hell',
      'o',
    ]);
    expect(stream.credited).toBe(5);
    queues[5].exchange([Buffer.from('back')], []);
    expect(Buffer.concat(stream.sent).toString()).toBe('back');
  });

  it('makes the guest wait for whoever reads slowly, and loses what nobody is there for', () => {
    const { streams, queues } = setUp();
    expect(queues[5].exchange([Buffer.from('nobody')], [])).toHaveLength(1);
    const stream = streams.open('port', 1);
    const sizes = (): number => stream.sent.reduce((sum, { length }) => sum + length, 0);
    for (let i = 0; i < 3; i++) queues[5].exchange([new Uint8Array(200_000)], []);
    expect(sizes()).toBe(0x4_0000);
    stream.drain();
    stream.drain();
    expect(sizes()).toBe(600_000);
    for (let i = 0; i < 3; i++) queues[5].exchange([new Uint8Array(200_000)], []);
    stream.fail();
    expect(queues[5].collect().length).toBeGreaterThan(0);
  });

  it('gives the guest what was sent by whoever has gone, before it says so, and what the next one sends behind it', () => {
    const { streams, queues, tell, controlIn } = setUp();
    const first = streams.open('port', 1);
    first.listener.data(Buffer.from('first '));
    first.fail();
    const second = streams.open('port', 1);
    second.listener.data(Buffer.from('second'));
    expect(controls(controlIn)).toEqual([[1, EVENT.OPEN, 1, '']]);
    for (let i = 0; i < 2; i++) queues[4].add([], [100]);
    queues[4].kick();
    tell(1, EVENT.OPEN, 1);
    const text = queues[4].collect().map(({ data, length }) => Buffer.from(data.subarray(0, length)).toString());
    expect([text, second.credited, controls(controlIn)]).toEqual([['first ', 'second'], 6, []]);
    second.listener.data(Buffer.from('last'));
    second.fail();
    expect(controls(controlIn)).toEqual([]);
    queues[4].exchange([], [100]);
    expect(controls(controlIn)).toEqual([[1, EVENT.OPEN, 0, '']]);
  });

  it('keeps no more for a guest that does not listen than one stream holds', () => {
    const { streams } = setUp();
    const first = streams.open('port', 1);
    first.listener.data(new Uint8Array(0x4_0000));
    first.fail();
    expect(streams.open('port', 1).state).toBe('closed');
  });

  it('tells a restored guest that nobody is there any more', () => {
    const { streams, device, tell } = setUp();
    streams.open('port', 1);
    tell(1, EVENT.OPEN, 1);
    const saved = device.save();
    expect(saved.ports[0]).toEqual({ ready: true, open: true, told: true });
    const again = setUp();
    again.device.restore(saved);
    again.device.resume();
    expect(controls(again.controlIn)).toContainEqual([1, EVENT.OPEN, 0, '']);
  });

  it('survives random control messages', () => fuzz(consoleTarget, 10000));

  it('reads the state of a console that had no other ports', () => {
    const { device } = create([]);
    device.restore(device.stateSchema.check(device.upgrade({ cols: 100, rows: 30 }), 'console'));
    expect(device.save()).toMatchObject({ cols: 100, rows: 30 });
  });

  snapshotSuite('a console with ports', {
    create: () => create().device,
    change: (device) => {
      const driver = new VirtioDriver(device).setUp();
      driver.queues[3].exchange([control(1, EVENT.PORT_READY, 1)], []);
      driver.queues[3].exchange([control(1, EVENT.OPEN, 1)], []);
      device.resize(100, 30);
    },
  });
});
