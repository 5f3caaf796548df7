import { floppyFormat } from '../../../devices/legacy/fdc/floppy-drive.js';
import { FdcDriver } from '../../fdc-driver.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const COMMANDS = [0x46, 0xe6, 0x45, 0xc5, 0x4d, 0x42, 0x56, 0x51, 0x0f, 0x07];
const KIB = [1440, 720, 2880];

class Session implements FuzzSession {
  private readonly kib: number;
  private driver: FdcDriver;

  constructor(private readonly random: RandomSource) {
    this.kib = random.pick(KIB);
    this.driver = new FdcDriver(this.kib).start();
  }

  step(): void {
    const { random, driver } = this;
    driver.disk.later = random.once(16);
    switch (random.below(6)) {
      case 0:
        driver.fdc.ports.write(random.below(4), 1, random.below(256));
        break;
      case 1:
        driver.program(
          random.once(5) ? random.below(256) : random.pick([0x46, 0x4a, 0x56, 0x66]),
          1 + random.below(0x1_0000),
        );
        break;
      case 2:
        for (let n = random.below(300); n > 0; n--) driver.fdc.ports.read(3, 1);
        break;
      case 3: {
        const place = [random.below(8), random.below(82), random.below(2), 1 + random.below(40), 2, random.below(40)];
        const code = random.once(10) ? random.below(256) : random.pick(COMMANDS);
        for (const byte of [code, ...place, 0x1b, 0xff]) driver.fdc.ports.write(3, 1, byte);
        break;
      }
      case 4:
        if (driver.disk.waiting.length > 0) driver.disk.answer();
        else driver.fdc.changePort.write(0, 1, random.below(4));
        break;
      default:
        if (random.once(300)) this.move();
        else if (random.once(20)) this.change();
        else driver.dma.firstPorts.write(random.below(16), 1, random.below(256));
    }
    driver.disk.log.length = 0;
  }

  /** Another disk, or none. */
  private change(): void {
    const { driver, random } = this;
    const format = random.once(3) ? undefined : floppyFormat(driver.disk.size);
    driver.fdc.change(0, format && { backend: driver.disk, format });
  }

  /** On to a machine that is restored from this one's state. */
  private move(): void {
    const after = new FdcDriver(this.kib);
    after.fdc.restore(after.fdc.stateSchema.check(structuredClone(this.driver.fdc.save()), 'fdc'));
    after.fdc.resume();
    this.driver = after;
  }

  end(): void {
    const { driver } = this;
    driver.disk.later = false;
    driver.disk.answerAll();
    driver.start();
    must(driver.command([0x10], 1)[0] === 0x90, 'a reset does not help');
  }
}

/** A guest of a floppy controller that gets everything wrong. */
export const fdcTarget: FuzzTarget = { name: 'fdc', share: 6, length: 2000, start: (random) => new Session(random) };
