import { VirtioBlock } from '../../../devices/virtio/block.js';
import { MemoryDisk } from '../../memory-disk.js';
import type { RandomSource } from '../../random-source.js';
import { COMMON, VERSION_1, VirtioDriver } from '../../virtio-driver.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const SET_UP_EVERY = 20;

class Session implements FuzzSession {
  private readonly disk = new MemoryDisk();
  private readonly device = new VirtioBlock({ id: 'blk0', backend: this.disk, queues: 2 });
  private readonly driver = new VirtioDriver(this.device);
  private inputs = 0;

  constructor(private readonly random: RandomSource) {}

  /** Descriptors that are almost right: addresses in RAM, small numbers, chains that may loop. */
  private table(): void {
    const { random, driver } = this;
    const queue = random.pick(driver.queues);
    const { size } = queue.place;
    for (let i = 0; i < size; i++)
      queue.descriptor(
        i,
        random.below(0x4000),
        random.u32(0x500),
        random.once(5) ? 4 : random.below(4),
        random.below(size + 1),
      );
    queue.offer(random.below(size));
  }

  /** A request of the block device's, its sector and its buffers anything. */
  private request(): void {
    const { random, driver } = this;
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    view.setUint32(0, random.once(8) ? random.next() : random.pick([0, 1, 4, 8, 11, 13]), true);
    view.setBigUint64(8, random.u64(64), true);
    const data = random.bytes(random.pick([0, 16, 20, 512, 1024]));
    driver.queues[0].add(
      [random.damage(header, 10), data],
      [random.pick([0, 512, 1000]), 1].slice(random.below(2)),
      random.once(3),
    );
  }

  step(): void {
    const { random, driver, disk } = this;
    if (this.inputs++ % SET_UP_EVERY === 0) {
      disk.later = random.once(4);
      disk.fails = random.once(9);
      driver.setUp({ features: random.once(2) ? -1n : VERSION_1 });
    }
    const queue = random.pick(driver.queues);
    const { desc, avail, used, size } = queue.place;
    switch (random.below(7)) {
      case 0:
      case 1:
        this.table();
        break;
      case 2:
      case 3:
        this.request();
        break;
      case 4:
        driver.memory.bytes[random.pick([desc, avail, used]) + random.below(256)] = random.next();
        break;
      case 5:
        queue.descriptor(random.below(size), random.next(), random.next(), random.next(), random.next());
        break;
      default:
        driver.writeCommon(random.below(COMMON.QUEUE_DEVICE + 8) & ~3, 4, random.next() & 0xff00_ffff);
    }
    queue.kick();
    if (disk.waiting.length > 0 && random.once(2)) disk.answer(random.below(disk.waiting.length));
    must(this.device.pending <= 2 * size, 'more is under way than the queues hold');
    disk.log.length = 0;
  }

  end(): void {
    const { disk, driver } = this;
    disk.answerAll();
    disk.later = false;
    disk.fails = false;
    const [{ data }] = driver.setUp().queues[0].exchange([new Uint8Array(16)], [512, 1]);
    must(data.at(-1) === 0, 'a reset does not help');
  }
}

/** A driver that breaks the rules of virtqueues and of the block device. */
export const virtqueueTarget: FuzzTarget = {
  name: 'virtqueue',
  share: 14,
  length: 1000,
  start: (random) => new Session(random),
};
