import { COMMAND as ATA } from '../../../devices/ata/registers.js';
import { BUS_MASTER, IdeDriver } from '../../ide-driver.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const CODES = Object.values(ATA);
const BASES = [0x1f0, 0x170];

class Session implements FuzzSession {
  private driver = new IdeDriver();

  constructor(private readonly random: RandomSource) {}

  step(): void {
    const { random, driver } = this;
    driver.disk.later = random.once(8);
    switch (random.below(8)) {
      case 0:
        driver.out(random.pick(BASES) + random.below(8), random.next(), random.pick([1, 2, 4]));
        break;
      case 1:
        driver.out(BUS_MASTER + random.below(16), random.next(), random.pick([1, 2, 4]));
        break;
      case 2:
        for (let n = random.below(300); n > 0; n--) driver.in(random.pick(BASES), 2);
        break;
      case 3:
        for (let n = random.below(300); n > 0; n--) driver.out(random.pick(BASES), random.next() & 0xffff, 2);
        break;
      case 4:
        driver.command(random.pick(CODES), random.u32(4096), random.below(256), random.below(4));
        break;
      case 5:
        driver.packet([...random.bytes(12)], random.once(2), random.below(0x1_0000));
        break;
      case 6: {
        const piece = (): readonly [number, number] => [random.next() >>> random.below(20), random.below(0x1_0000)];
        driver.dma(Array.from({ length: 1 + random.below(6) }, piece), random.once(2), random.below(2));
        break;
      }
      default:
        if (driver.disk.waiting.length > 0) driver.disk.answer();
        else if (random.once(10)) driver.out(random.pick([0x3f6, 0x376]), random.next());
        else if (random.once(200)) this.move();
    }
    driver.disk.log.length = 0;
  }

  /** On to a machine that is restored from this one's state. */
  private move(): void {
    const after = new IdeDriver();
    after.ide.restore(after.ide.stateSchema.check(structuredClone(this.driver.ide.save()), 'ide'));
    after.ide.resume();
    this.driver = after;
  }

  end(): void {
    const { driver } = this;
    driver.disk.later = false;
    driver.disk.answerAll();
    driver.out(0x3f6, 4);
    driver.out(0x3f6, 0);
    must(driver.command(ATA.READ_SECTORS, 1, 1) === 0x58, 'a reset does not help');
  }
}

/** A guest of an IDE function that gets everything wrong. */
export const ideTarget: FuzzTarget = { name: 'ide', share: 6, length: 1000, start: (random) => new Session(random) };
