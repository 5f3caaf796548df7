import { FakeClock } from '../../../host/fake/clock.js';
import { FINISHED } from '../../../iface/net.js';
import { VirtioNet } from '../../../devices/virtio/net/virtio-net.js';
import { FakeNetwork } from '../../fake-network.js';
import type { RandomSource } from '../../random-source.js';
import { VERSION_1, VirtioDriver } from '../../virtio-driver.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const HEADER = 12;
const PAIRS = 2;
const SET_UP_EVERY = 25;
/** Classes and commands of the control queue, VIRTIO 1.2 §5.1.6.5. */
const CONTROL = [
  [0, 6],
  [1, 2],
  [2, 2],
  [3, 1],
  [4, 3],
  [5, 1],
] as const;

class Session implements FuzzSession {
  private readonly network = new FakeNetwork();
  private readonly clock = new FakeClock();
  private readonly device = new VirtioNet({
    id: 'net',
    backend: this.network,
    mac: MAC,
    pairs: PAIRS,
    mtu: 1500,
    clock: this.clock,
  });
  private readonly driver = new VirtioDriver(this.device);
  private inputs = 0;

  constructor(private readonly random: RandomSource) {}

  /** virtio_net_hdr: flags, type, header length, size of segments, where the checksum is, number of buffers. */
  private header(): Uint8Array {
    const { random } = this;
    const bytes = new Uint8Array(HEADER);
    if (random.once(3)) return bytes;
    const view = new DataView(bytes.buffer);
    bytes[0] = random.below(8);
    bytes[1] = random.pick([0, 1, 3, 4, 5, 0x81, random.below(256)]);
    for (const at of [2, 4, 6, 8, 10]) view.setUint16(at, random.u32(100) & 0xffff, true);
    return bytes;
  }

  private frame(length: number): Uint8Array {
    const frame = this.random.bytes(length);
    frame.set(this.random.once(4) ? [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] : MAC);
    return frame;
  }

  private control(): void {
    const { random, driver } = this;
    const [kind, count] = random.pick(CONTROL);
    const data = random.once(3) ? random.bytes(random.below(60)) : Uint8Array.of(random.below(3), 0, 0, 0, ...MAC);
    const queue = driver.queues.at(-1);
    queue?.exchange([Uint8Array.of(kind, random.below(count + 1)), data], [1]);
  }

  step(): void {
    const { random, driver, device, network } = this;
    if (this.inputs++ % SET_UP_EVERY === 0) driver.setUp({ features: random.once(2) ? -1n : VERSION_1 });
    driver.reuse();
    const queue = random.pick(driver.queues);
    switch (random.below(5)) {
      case 0:
        for (let i = 0; i < 4; i++)
          queue.descriptor(
            random.below(16),
            random.below(0x4000),
            random.u32(0x900),
            random.below(8),
            random.below(17),
          );
        driver.memory.bytes[0x1000 + random.below(0x4000)] = random.next();
        queue.offer(random.below(16));
        queue.kick();
        break;
      case 1:
        this.control();
        break;
      case 2:
        driver.queues[random.once(2) ? 0 : 2].add([], [random.below(2000)]);
        break;
      default:
        driver.queues[random.once(2) ? 1 : 3].exchange([this.header(), this.frame(14 + random.below(200))], []);
    }
    if (random.once(3)) {
      device.receive(this.frame(14 + random.below(3000)), FINISHED);
      device.received();
    }
    network.room = random.below(6);
    if (random.once(2)) device.settle();
    else this.clock.advance(random.below(200_000));
    device.sendReady();
    network.sent.length = 0;
  }

  end(): void {
    const { network, driver, device } = this;
    network.room = Infinity;
    driver.setUp();
    driver.queues[1].exchange([new Uint8Array(HEADER), this.frame(60)], []);
    device.settle();
    must(network.sent.length === 1, 'a reset does not help');
  }
}

/** A driver of the virtio network device that breaks its rules. */
export const virtioNetTarget: FuzzTarget = {
  name: 'virtio-net',
  share: 10,
  length: 1000,
  start: (random) => new Session(random),
};
