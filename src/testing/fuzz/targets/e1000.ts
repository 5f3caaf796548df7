import { REG, REGISTERS } from '../../../devices/e1000/registers.js';
import { E1000_MAC, E1000Driver, E1000_RING } from '../../e1000-driver.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

/** Registers that do something when they are written or read. */
const LIVELY = [
  ...[REG.CTRL, REG.CTRL_EXT, REG.EECD, REG.EERD, REG.MDIC, REG.VET, REG.ICR, REG.ITR, REG.ICS, REG.IMS, REG.IMC],
  ...[REG.RCTL, REG.TCTL, REG.RXCSUM, REG.RAL, REG.RAH],
  ...[REG.RDBAL, REG.RDBAH, REG.RDLEN, REG.RDH, REG.RDT, REG.RDTR, REG.RADV],
  ...[REG.TDBAL, REG.TDBAH, REG.TDLEN, REG.TDH, REG.TDT, REG.TIDV, REG.TXDCTL, REG.TADV],
];
const START_EVERY = 40;

class Session implements FuzzSession {
  private readonly driver = new E1000Driver();
  private inputs = 0;

  constructor(private readonly random: RandomSource) {}

  /** Bytes that begin as TCP over IP over Ethernet does. */
  private frame(): Uint8Array {
    const { random } = this;
    const frame = random.bytes(14 + random.below(random.once(8) ? 5000 : 300));
    frame.set(random.once(4) ? [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] : E1000_MAC);
    if (frame.length < 60 || random.once(4)) return frame;
    frame.set(
      random.pick([
        [8, 0, 0x45],
        [0x86, 0xdd, 0x60],
        [0x81, 0, 0, 7, 8, 0, 0x45],
      ]),
      12,
    );
    frame.set(
      random.pick([
        [0, 60],
        [frame.length >> 8, frame.length & 0xff],
      ]),
      16,
    );
    frame[23] = random.pick([6, 17, 1]);
    frame[46] = 0x50;
    return frame;
  }

  private descriptor(): { bytes?: Uint8Array; words: number[] } {
    const { random } = this;
    const command = random.once(3) ? random.below(256) : random.pick([0x0b, 0x2b, 0x2f, 0x8b, 0x6f]);
    switch (random.below(4)) {
      case 0: {
        // A context: mostly where the headers are.
        const usual = !random.once(3);
        const segment = random.pick([0, 1, 8, 100, 1460, random.below(0x1_0000)]);
        return {
          words: usual
            ? [
                0x0021_180e,
                0x0000_3222,
                (0x20 + random.below(8)) * 2 ** 24 + random.below(5000),
                (54 << 8) + segment * 2 ** 16,
              ]
            : [random.next(), random.next(), (0x20 | command) * 2 ** 24 + (random.next() & 0xf_ffff), random.next()],
        };
      }
      case 1: {
        const bytes = this.frame();
        return { bytes, words: [bytes.length + 0x0010_0000 + (0x20 | command) * 2 ** 24, random.below(4) << 8] };
      }
      case 2:
        return { words: [random.next(), random.once(2) ? 0 : random.next(), random.next(), random.next()] };
      default: {
        const bytes = this.frame();
        return { bytes, words: [bytes.length + random.below(256) * 2 ** 16 + command * 2 ** 24, random.next()] };
      }
    }
  }

  step(): void {
    const { random, driver } = this;
    if (this.inputs++ % START_EVERY === 0) {
      if (random.once(2)) driver.set(REG.CTRL, 1 << 26);
      driver.card.pci.config.write(4, 2, 7);
      driver.start(random.below(2 ** 27), random.below(E1000_RING));
    }
    switch (random.below(6)) {
      case 0:
        driver.set(random.once(6) ? random.below(REGISTERS / 4) * 4 : random.pick(LIVELY), random.u32(0x1000));
        break;
      case 1:
        driver.get(random.once(3) ? random.below(0x8000) * 4 : random.pick(LIVELY));
        driver.port(random.below(8) * 4, random.u32(0x6000));
        break;
      case 2:
        driver.card.receive(this.frame());
        break;
      case 3:
        driver.set(REG.TDT, random.below(E1000_RING));
        driver.set(REG.RDT, random.below(E1000_RING));
        break;
      default: {
        if (driver.get(REG.TDT) >= E1000_RING) driver.set(REG.TDT, 0);
        driver.offer(this.descriptor());
      }
    }
    driver.network.room = random.below(6);
    if (random.once(4)) driver.card.sendReady();
    if (random.once(16)) driver.card.linkChanged(random.once(2));
    driver.clock.advance(random.below(100_000));
    driver.network.sent.length = 0;
  }

  end(): void {
    const { driver } = this;
    driver.network.room = Infinity;
    driver.card.linkChanged(true);
    driver.card.pci.config.write(4, 2, 7);
    // Both by port, as drivers of this card do, and with the transceiver.
    driver.port(0, REG.CTRL);
    driver.port(4, 0x8400_0000);
    driver.card.pci.config.write(0x10, 4, 0xf000_0000);
    driver.start();
    driver.network.sent.length = 0;
    driver.send(this.frame().subarray(0, 14));
    must(driver.network.sent.length === 1, 'a reset does not help');
  }
}

/** A driver of the 82540EM that breaks its rules. */
export const e1000Target: FuzzTarget = {
  name: 'e1000',
  share: 10,
  length: 1000,
  start: (random) => new Session(random),
};
