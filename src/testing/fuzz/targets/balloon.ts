import { VirtioBalloon } from '../../../devices/virtio/balloon.js';
import type { RandomSource } from '../../random-source.js';
import { VERSION_1, VirtioDriver } from '../../virtio-driver.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

/** Page numbers are 32 bits wide: memory ends here at most. */
const MOST_MEMORY = 2 ** 44;

class Session implements FuzzSession {
  private readonly device = new VirtioBalloon('balloon0', {
    take: (start, length) =>
      must(
        start >= 0 && length > 0 && start % 4096 === 0 && length % 4096 === 0 && start + length <= MOST_MEMORY,
        'odd memory is taken',
      ),
  });
  private readonly driver = new VirtioDriver(this.device);

  constructor(private readonly random: RandomSource) {
    this.setUp();
  }

  private setUp(): void {
    this.driver.setUp({ features: this.random.once(2) ? -1n : VERSION_1 | BigInt(this.random.below(64)) });
  }

  /** Page numbers, as they come from a guest: runs, up and down, twice, and nonsense. */
  private pages(): Uint8Array {
    const { random } = this;
    const first = random.u32(4096);
    const step = random.pick([1, 1, -1, 0, 7]);
    const list = Array.from({ length: random.below(64) }, (_, i) =>
      random.once(10) ? random.next() : first + i * step,
    );
    return new Uint8Array(Uint32Array.from(list).buffer);
  }

  private statistics(): Uint8Array {
    const { random } = this;
    const bytes = Buffer.alloc(10 * random.below(14));
    for (let at = 0; at < bytes.length; at += 10) {
      bytes.writeUInt16LE(random.once(10) ? random.next() & 0xffff : random.below(12), at);
      bytes.writeBigUInt64LE(random.u64(1 << 30), at + 2);
    }
    return bytes;
  }

  step(): void {
    const { random, driver, device } = this;
    if (random.once(100)) this.setUp();
    driver.reuse();
    const { queues } = driver;
    const content = random.damage(random.once(3) ? this.statistics() : this.pages(), 10);
    const queue = random.pick(queues);
    if (random.once(4)) {
      // Free pages are reported as buffers to be written to.
      queue.descriptor(0, random.next() >>> random.below(12), random.u32(1 << 20), random.below(4), random.below(4));
      queue.offer(0);
      queue.kick();
    } else queue.exchange([content], random.once(6) ? [random.below(5000)] : []);
    if (random.once(10)) device.refresh();
    if (random.once(20)) device.targetPages = random.below(1 << 20);
    if (random.once(10)) driver.writeDevice(random.below(16), random.pick([1, 2, 4]), random.next());
    if (random.once(200)) {
      device.restore(device.stateSchema.check(structuredClone(device.save()), 'balloon'));
      device.resume();
    }
    if (driver.needsReset) this.setUp();
  }

  end(): void {
    this.device.stateSchema.check(this.device.save(), 'balloon');
  }
}

/** A guest's balloon driver. */
export const balloonTarget: FuzzTarget = {
  name: 'balloon',
  share: 6,
  length: 500,
  start: (random) => new Session(random),
};
