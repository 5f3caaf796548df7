import { COMMAND as ATA } from '../../../devices/ata/registers.js';
import { HOST, PORT } from '../../../devices/ahci/registers.js';
import { AhciDriver, DATA, LIST } from '../../ahci-driver.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const CODES = Object.values(ATA);
const REGISTERS = [0, 4, 8, 12, 0x10, 0x14, 0x18, 0x20, 0x2c, 0x30, 0x34, 0x38, 0x3c];

class Session implements FuzzSession {
  private readonly driver = new AhciDriver().start();

  constructor(private readonly random: RandomSource) {}

  step(): void {
    const { random, driver } = this;
    driver.port = random.below(3);
    driver.disk.later = random.once(8);
    switch (random.below(8)) {
      case 0:
        driver.set(random.pick(REGISTERS), random.next());
        break;
      case 1:
        driver.poke(random.below(0x400), random.pick([1, 2, 4]), random.next());
        break;
      case 2:
        driver.start(random.below(2));
        break;
      case 3:
        for (let i = 0; i < 8; i++) driver.memory.bytes[LIST + random.below(0x4000)] = random.next();
        driver.set(PORT.CI, random.next());
        break;
      case 4:
        if (driver.disk.waiting.length > 0) driver.disk.answer(random.below(driver.disk.waiting.length));
        break;
      default:
        this.command();
    }
    driver.disk.log.length = 0;
    driver.messages.length = 0;
  }

  private command(): void {
    const { random, driver } = this;
    const packet = Array.from({ length: 12 }, (_, i) => (i === 0 ? random.next() : random.below(3)) & 0xff);
    const piece = (): readonly [number, number] => [random.next() >>> random.below(20), 1 + random.below(0x2_0000)];
    driver.run({
      code: random.once(3) ? random.below(256) : random.pick(CODES),
      lba: random.below(random.once(2) ? 2048 : 2 ** 32),
      count: random.once(2) ? random.below(8) : random.below(0x1_0000),
      feature: random.once(2) ? random.below(4) : random.below(0x1_0000),
      device: random.below(256),
      ...(random.once(2) && { packet }),
      pieces: Array.from({ length: random.below(5) }, piece),
      slot: random.below(16),
      queued: random.once(2),
    });
  }

  end(): void {
    const { driver } = this;
    driver.disk.later = false;
    driver.disk.answerAll();
    driver.ahci.pci.config.write(4, 2, 6);
    driver.host(HOST.GHC, 1);
    driver.start(0);
    const { status } = driver.run({ code: ATA.READ_DMA_EXT, lba: 1, count: 1, pieces: [[DATA, 512]] });
    must(status === 0x50, `a reset does not help: status ${status}`);
  }
}

/** A guest of an AHCI controller that gets everything wrong. */
export const ahciTarget: FuzzTarget = { name: 'ahci', share: 8, length: 1000, start: (random) => new Session(random) };
