import { VirtioKeyboard, VirtioTablet } from '../../../devices/virtio/input/input.js';
import type { RandomSource } from '../../random-source.js';
import { VirtioDriver } from '../../virtio-driver.js';
import type { FuzzSession, FuzzTarget } from '../target.js';

const CODES = ['KeyA', 'Enter', 'ShiftLeft', 'F12', 'NumpadEnter', 'NoSuchKey', ''];

class Session implements FuzzSession {
  private readonly keyboard = new VirtioKeyboard('keyboard');
  private readonly tablet = new VirtioTablet('tablet');
  private readonly drivers = [new VirtioDriver(this.keyboard).setUp(), new VirtioDriver(this.tablet).setUp()];

  constructor(private readonly random: RandomSource) {}

  /** What a user does. */
  private user(): void {
    const { random, keyboard, tablet } = this;
    keyboard.key(random.pick(CODES), random.once(2));
    tablet.point(random.below(0x8000), random.below(0x8000), random.below(32));
    if (random.once(3)) tablet.wheel(random.below(5) - 2, random.below(5) - 2);
  }

  step(): void {
    const { random } = this;
    const driver = random.pick(this.drivers);
    if (random.once(300)) driver.setUp();
    driver.reuse();
    if (random.once(2)) this.user();
    const [events, status] = driver.queues;
    switch (random.below(4)) {
      case 0:
        status.exchange([random.bytes(random.once(3) ? random.below(30) : 8)], random.once(20) ? [8] : []);
        break;
      case 1:
        for (let n = random.below(12); n >= 0; n--) events.add([], [random.once(8) ? random.below(20) : 8]);
        events.kick();
        break;
      case 2:
        driver.writeDevice(0, 1, random.once(4) ? random.below(256) : random.pick([0, 1, 2, 3, 0x10, 0x11, 0x12]));
        driver.writeDevice(1, 1, random.below(32));
        for (let at = random.below(8); at < 136; at += 1 + random.below(40)) driver.device(at, 1);
        break;
      default:
        driver.writeDevice(random.below(140), random.pick([1, 2, 4]), random.next());
    }
    events.collect();
    // More buffers than the ring has entries are against the rules.
    if (driver.needsReset) driver.setUp();
  }

  end(): void {
    for (const device of [this.keyboard, this.tablet]) device.stateSchema.check(device.save(), device.id);
  }
}

/** A driver of the virtio keyboard and tablet, while somebody types. */
export const inputTarget: FuzzTarget = { name: 'input', share: 6, length: 500, start: (random) => new Session(random) };
