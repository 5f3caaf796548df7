import { VirtioConsole } from '../../../devices/virtio/console.js';
import { FakeStreams } from '../../fake-streams.js';
import type { RandomSource } from '../../random-source.js';
import { VirtioDriver } from '../../virtio-driver.js';
import type { FuzzSession, FuzzTarget } from '../target.js';

const NAMES = ['org.a', 'org.b', 'org.c'];
const [CONTROL_IN, CONTROL_OUT] = [2, 3];
const REMEMBERED = 12;

class Session implements FuzzSession {
  private readonly streams = new FakeStreams();
  private readonly device = new VirtioConsole(
    'console0',
    { write: () => undefined },
    { names: NAMES, streams: this.streams },
  );
  private readonly driver = new VirtioDriver(this.device).setUp();

  constructor(private readonly random: RandomSource) {}

  private control(): Uint8Array {
    const { random } = this;
    const bytes = Buffer.alloc(8 + (random.once(10) ? random.below(20) : 0));
    bytes.writeUInt32LE(random.u32(NAMES.length + 2));
    bytes.writeUInt16LE(random.once(10) ? random.next() & 0xffff : random.below(9), 4);
    bytes.writeUInt16LE(random.once(10) ? random.next() & 0xffff : random.below(2), 6);
    return random.damage(bytes, 15);
  }

  private outside(): void {
    const { random, streams } = this;
    const stream = random.once(4) ? streams.open('port', random.u32(6)) : streams.made.at(-1 - random.below(4));
    if (stream?.state === 'open') {
      if (random.once(2)) stream.listener.data(random.bytes(random.below(200)));
      if (random.once(6)) stream.listener.ended();
      if (random.once(2)) stream.drain();
    }
    if (random.once(8)) stream?.fail(random.once(2));
    streams.made.splice(0, streams.made.length - REMEMBERED);
    for (const { sent } of streams.made) sent.length = 0;
  }

  step(): void {
    const { random, driver, device } = this;
    // More buffers than the ring has entries are against the rules.
    if (driver.needsReset || random.once(400)) driver.setUp();
    driver.reuse();
    const { queues } = driver;
    queues[CONTROL_OUT].exchange([this.control()], random.once(30) ? [9] : []);
    if (random.once(2)) queues[CONTROL_IN].exchange([], [random.once(4) ? random.below(12) : 64]);
    if (random.once(2)) {
      const queue = queues[4 + random.below(2 * NAMES.length)];
      queue.exchange([random.bytes(random.below(300))], random.once(3) ? [] : [random.below(100)]);
    }
    if (random.once(8)) {
      queues[0].exchange([], [random.below(30)]);
      device.receive(random.bytes(random.below(20)));
      queues[1].exchange([random.bytes(random.below(100))], []);
    }
    if (random.once(40)) device.resize(random.below(300), random.below(100));
    if (random.once(60)) driver.writeDevice(random.below(16), random.pick([1, 2, 4]), random.next());
    if (random.once(300)) {
      device.restore(device.stateSchema.check(structuredClone(device.save()), 'console'));
      device.resume();
    }
    this.outside();
  }

  end(): void {
    this.device.stateSchema.check(this.device.save(), 'console');
  }
}

/** A driver of the virtio console with ports, and who is connected to them. */
export const consoleTarget: FuzzTarget = {
  name: 'console',
  share: 8,
  length: 500,
  start: (random) => new Session(random),
};
