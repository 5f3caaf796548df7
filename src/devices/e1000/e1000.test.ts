import { describe, expect, it } from 'vitest';
import { addWords, foldSum } from '../../base/internet-checksum.js';
import { FINISHED, GSO } from '../../iface/net.js';
import { crc32 } from '../../base/crc32.js';
import { E1000Driver, E1000_MAC, E1000_RING } from '../../testing/e1000-driver.js';
import { fuzz } from '../../testing/fuzz/target.js';
import { e1000Target } from '../../testing/fuzz/targets/e1000.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { CAUSE, CTRL, RCTL, REG, RXCSUM } from './registers.js';

const BROADCAST = [255, 255, 255, 255, 255, 255];
const frameFor = (mac: ArrayLike<number>, length = 60): Uint8Array => {
  const frame = Uint8Array.from({ length }, (_, i) => i & 0xff);
  frame.set(mac, 0);
  return frame;
};
const put16 = (bytes: Uint8Array, at: number, value: number): void => bytes.set([value >> 8, value & 0xff], at);
const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

/** TCP over IPv4 with so much data, its checksums as a driver leaves them to the card. */
function tcpFrame(data: number): Uint8Array {
  const frame = frameFor(E1000_MAC, 54 + data);
  frame.set([8, 0, 0x45, 0], 12);
  put16(frame, 16, 40 + data);
  frame.set([0, 9, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 18);
  frame.set([0x12, 0x34, 0, 80, 0, 0, 0, 100, 0, 0, 0, 7, 0x50, 0x19, 1, 0, 0, 0, 0, 0], 34);
  put16(frame, 50, foldSum(addWords(frame, 26, 34, 6)));
  return frame;
}
const ipIsRight = (frame: Uint8Array): boolean => foldSum(addWords(frame, 14, 34)) === 0xffff;
const tcpIsRight = (frame: Uint8Array): boolean =>
  foldSum(addWords(frame, 34, frame.length, addWords(frame, 26, 34, 6 + frame.length - 34))) === 0xffff;

/** IP header at 14, TCP at 34, 54 bytes of both. */
const context = (command: number, segmentSize: number, length: number, tcpEnd = 0) => ({
  words: [
    0x0021_180e,
    0x0000_3222 + tcpEnd * 2 ** 16,
    length + (0x20 | command) * 2 ** 24,
    (54 << 8) + segmentSize * 2 ** 16,
  ],
});
const data = (bytes: Uint8Array, command: number, options: number, tag = 0) => ({
  bytes,
  words: [bytes.length + 0x0010_0000 + (0x20 | command) * 2 ** 24, (options << 8) + tag * 2 ** 16],
});

describe('the 82540EM (SDM 317453-006)', () => {
  it('has its address in an EEPROM whose words add up to BABAh, by EERD and by MicroWire (§5)', () => {
    const driver = new E1000Driver();
    const words = Array.from({ length: 64 }, (_, i) => {
      driver.set(REG.EERD, (i << 8) | 1);
      return driver.get(REG.EERD) >>> 16;
    });
    expect(words.slice(0, 3)).toEqual([0x5452, 0x1200, 0x5634]);
    expect(words.reduce((sum, word) => sum + word, 0) & 0xffff).toBe(0xbaba);
    const clock = (bit: number): number => {
      for (const sk of [0, 1, 0]) driver.set(REG.EECD, 0x42 | (bit << 2) | sk);
      return (driver.get(REG.EECD) >> 3) & 1;
    };
    const command = (bits: string): void => {
      driver.set(REG.EECD, 0x40);
      driver.set(REG.EECD, 0x42);
      for (const bit of bits) clock(Number(bit));
    };
    const number = (): number => Array.from({ length: 16 }, () => clock(0)).reduce((value, bit) => value * 2 + bit, 0);
    driver.set(REG.EECD, 0x40);
    expect(driver.get(REG.EECD) & 0x180).toBe(0x180);
    command('110' + '000001');
    expect([number(), number()]).toEqual([0x1200, 0x5634]);
    // Writing needs to be enabled.
    for (const enable of [false, true]) {
      if (enable) command('100' + '110000');
      command('101' + '000101' + '1010101111001101');
      command('110' + '000101');
      expect(number()).toBe(enable ? 0xabcd : 0);
    }
  });

  it('negotiates a gigabit link at once, and tells when the cable is pulled (MDIC)', () => {
    const driver = new E1000Driver().start();
    const phy = (register: number, value?: number): number => {
      const operation = value === undefined ? 2 : 1;
      driver.set(REG.MDIC, (operation << 26) | (1 << 21) | (register << 16) | (value ?? 0));
      return driver.get(REG.MDIC);
    };
    expect([phy(2) & 0xffff, phy(3) & 0xffff, phy(1) & 0x24]).toEqual([0x0141, 0x0c20, 0x24]);
    expect(driver.get(REG.STATUS) & 0xc3).toBe(0x83);
    driver.get(REG.ICR);
    driver.card.linkChanged(false);
    expect([driver.get(REG.STATUS) & 2, driver.get(REG.ICR)]).toEqual([0, CAUSE.LSC]);
    driver.card.linkChanged(true);
    // The loss is shown once.
    expect([phy(1) & 4, phy(1) & 4]).toEqual([0, 4]);
    driver.get(REG.ICR);
    phy(0, 0x1340);
    expect(driver.get(REG.ICR)).toBe(CAUSE.LSC);
    driver.set(REG.MDIC, (2 << 26) | (5 << 21));
    expect(driver.get(REG.MDIC) & 0x5000_0000).toBe(0x5000_0000);
  });

  it('is reached by ports, and reset by them (§13.2.2)', () => {
    const driver = new E1000Driver().start();
    driver.port(0, REG.VET);
    driver.port(4, 0x1234);
    expect([driver.get(REG.VET), driver.port(4), driver.port(0)]).toEqual([0x1234, 0x1234, REG.VET]);
    driver.port(0, REG.CTRL);
    driver.port(4, CTRL.RST);
    expect([driver.get(REG.VET), driver.get(REG.RCTL), driver.get(REG.IMS)]).toEqual([0x8100, 0, 0]);
    expect([driver.get(REG.RAL), driver.get(REG.RAH)]).toEqual([0x1200_5452, 0x8000_5634]);
  });

  it('receives into buffers, with the checksum unless it is stripped', () => {
    const driver = new E1000Driver().start();
    expect(driver.card.receive(frameFor(E1000_MAC, 42))).toBe(true);
    expect(driver.received(0)).toMatchObject({ status: 0x07, length: 60 });
    expect(driver.received(0).bytes.subarray(40)).toEqual(Uint8Array.of(40, 41, ...new Array<number>(18).fill(0)));
    driver.start().set(REG.RCTL, RCTL.EN | RCTL.BAM);
    driver.card.receive(frameFor(BROADCAST, 100));
    const { length, bytes } = driver.received(0);
    expect(length).toBe(104);
    expect(new DataView(bytes.buffer).getUint32(100, true)).toBe(crc32(bytes.subarray(0, 100)));
    expect([driver.interrupts, driver.get(REG.ICR) & CAUSE.RXT0]).toEqual([1, CAUSE.RXT0]);
  });

  it('spreads long packets, where they are allowed, and leaves what there is no room for to the network', () => {
    const driver = new E1000Driver().start(RCTL.LPE, 3);
    expect(driver.card.receive(frameFor(E1000_MAC, 5000))).toBe(true);
    expect([0, 1, 2].map((i) => [driver.received(i).status, driver.received(i).length])).toEqual([
      [5, 2048],
      [5, 2048],
      [7, 904],
    ]);
    expect(driver.card.receive(frameFor(E1000_MAC))).toBe(false);
    driver.set(REG.RDT, 5);
    expect(driver.card.receive(frameFor(E1000_MAC))).toBe(true);
    // Without LPE it is lost, and counted.
    driver.start();
    expect(driver.card.receive(frameFor(E1000_MAC, 1519))).toBe(true);
    expect([driver.received(0).length, driver.get(0x40ac), driver.get(0x40ac)]).toEqual([0, 1, 0]);
  });

  it('filters by address, hash and VLAN (§10)', () => {
    const driver = new E1000Driver();
    let next = 0;
    const takes = (frame: Uint8Array): boolean => {
      const before = driver.get(REG.RDH);
      driver.card.receive(frame);
      next = driver.get(REG.RDH);
      return next !== before;
    };
    const [other, multicast] = [
      [2, 0, 0, 0, 0, 9],
      [1, 0, 0x5e, 1, 0x20, 0x30],
    ];
    const all = (): boolean[] => [E1000_MAC, other, multicast, BROADCAST].map((mac) => takes(frameFor(mac)));
    driver.start();
    expect(all()).toEqual([true, false, false, true]);
    // Twelve bits of the address, from bit 36 on.
    const hash = 0x302;
    driver.set(REG.MTA + 4 * (hash >> 5), 1 << (hash & 31));
    expect(all()).toEqual([true, false, true, true]);
    driver.start(RCTL.UPE).set(REG.MTA + 4 * (hash >> 5), 0);
    expect(all()).toEqual([true, true, false, true]);
    driver.start(RCTL.MPE);
    expect(all()).toEqual([true, false, true, true]);
    driver.start().set(REG.RAL + 8, 2);
    driver.set(REG.RAH + 8, 0x8000_0900);
    expect(all()).toEqual([true, true, false, true]);
    driver.start(RCTL.VFE);
    const tagged = frameFor(E1000_MAC);
    tagged.set([0x81, 0, 0x20, 0x25], 12);
    expect(takes(tagged)).toBe(false);
    driver.set(REG.VFTA + 4, 1 << 5);
    driver.set(REG.CTRL, driver.get(REG.CTRL) | CTRL.VME);
    expect(takes(tagged)).toBe(true);
    expect(driver.received(0)).toMatchObject({ tag: 0x2025, length: 56, status: 0x0f });
    expect(next).toBe(1);
  });

  it('checks checksums (RXCSUM)', () => {
    const driver = new E1000Driver().start();
    driver.set(REG.RXCSUM, RXCSUM.IPOFL | RXCSUM.TUOFL | 14);
    const good = tcpFrame(100);
    put16(good, 24, ~foldSum(addWords(good, 14, 34)) & 0xffff);
    put16(good, 50, 0);
    put16(good, 50, ~foldSum(addWords(good, 34, good.length, addWords(good, 26, 34, 6 + 120))) & 0xffff);
    const bad = good.slice();
    bad[60]++;
    const worse = bad.slice();
    worse[22]++;
    for (const frame of [good, bad, worse, frameFor(E1000_MAC)]) driver.card.receive(frame);
    expect([0, 1, 2, 3].map((i) => [driver.received(i).status, driver.received(i).errors])).toEqual([
      [0x63, 0],
      [0x63, 0x20],
      [0x63, 0x60],
      [0x07, 0],
    ]);
    const sum = foldSum(addWords(good, 14, good.length));
    expect(driver.received(0).sum).toBe(((sum & 0xff) << 8) | (sum >> 8));
  });

  it('sends what lies in one descriptor or several, filled up, with a checksum or a tag (§3.3.3)', () => {
    const driver = new E1000Driver().start();
    driver.send(frameFor(BROADCAST, 42));
    driver.offer(
      { bytes: frameFor(BROADCAST, 30), words: [30, 0] },
      { bytes: new Uint8Array(70), words: [70 | (0x0b << 24), 0] },
    );
    driver.send(frameFor(BROADCAST, 64), 4, 14 << 8, 40);
    driver.set(REG.CTRL, driver.get(REG.CTRL) | CTRL.VME);
    driver.send(frameFor(BROADCAST, 64), 0x40, 0x2025 << 16);
    const { sent } = driver.network;
    expect(sent.map(({ frame }) => frame.length)).toEqual([60, 100, 64, 68]);
    expect(get16(sent[2].frame, 40)).toBe(~foldSum(addWords(frameFor(BROADCAST, 64), 14, 64)) & 0xffff);
    expect([...sent[3].frame.subarray(10, 18)]).toEqual([10, 11, 0x81, 0, 0x20, 0x25, 12, 13]);
    expect([0, 1, 2, 3].map((i) => driver.done(i))).toEqual([true, false, true, true]);
    expect(driver.get(REG.ICR) & (CAUSE.TXDW | CAUSE.TXQE)).toBe(CAUSE.TXDW | CAUSE.TXQE);
    // Packets and octets with their checksums.
    expect([driver.get(0x4080), driver.get(0x4090), driver.get(0x40f4)]).toEqual([4, 64 + 104 + 68 + 72, 4]);
  });

  it('leaves checksums and segmentation of TCP to the network, headers completed', () => {
    const driver = new E1000Driver().start();
    const whole = tcpFrame(3000);
    put16(whole, 16, 0);
    driver.offer(context(7, 1460, 3000), data(whole.subarray(0, 54), 0x04, 3), data(whole.subarray(54), 0x0d, 0));
    driver.offer(context(3, 0, 0), data(tcpFrame(100), 0x09, 3));
    const [cut, single] = driver.network.sent;
    expect(cut.info).toEqual({ checksumStart: 34, checksumOffset: 16, gso: GSO.TCP4, segmentSize: 1460 });
    expect([get16(cut.frame, 16), ipIsRight(cut.frame)]).toEqual([3040, true]);
    expect(get16(cut.frame, 50)).toBe(foldSum(addWords(cut.frame, 26, 34, 6 + 3020)));
    expect(single.info).toEqual({ ...FINISHED, checksumStart: 34, checksumOffset: 16 });
    expect(ipIsRight(single.frame)).toBe(true);
    // Two of 1460 and one of 80 bytes.
    expect([driver.get(0x40f8), driver.get(0x4080)]).toEqual([1, 4]);
  });

  it('cuts by itself what is unusual (§3.5)', () => {
    const driver = new E1000Driver().start();
    const whole = tcpFrame(1000);
    driver.network.room = 2;
    driver.offer(context(7, 400, 1000, 1000), data(whole, 0x0d, 3));
    expect(driver.network.sent).toHaveLength(2);
    driver.network.room = Infinity;
    driver.card.sendReady();
    const frames = driver.network.sent.map(({ frame }) => frame);
    expect(frames.map(({ length }) => length)).toEqual([454, 454, 254]);
    expect(frames.map((frame) => [ipIsRight(frame), tcpIsRight(frame)])).toEqual(new Array(3).fill([true, true]));
    expect(frames.map((frame) => [get16(frame, 16), get16(frame, 18), get16(frame, 40), frame[47]])).toEqual([
      [440, 9, 100, 0x10],
      [440, 10, 500, 0x10],
      [240, 11, 900, 0x19],
    ]);
  });

  it('loops packets back through the transceiver', () => {
    const driver = new E1000Driver().start();
    driver.set(REG.MDIC, (1 << 26) | (1 << 21) | 0x4140);
    driver.send(frameFor(E1000_MAC, 70));
    expect([driver.network.sent.length, driver.received(0).length]).toEqual([0, 70]);
  });

  it('throttles interrupts, and delays them where it is told to (ITR, RDTR, RADV, TIDV)', () => {
    const driver = new E1000Driver().start();
    driver.set(REG.ITR, 1000);
    const receive = (): void => void driver.card.receive(frameFor(E1000_MAC));
    receive();
    driver.get(REG.ICR);
    receive();
    expect([driver.interrupts, driver.asserted]).toEqual([1, false]);
    driver.clock.advance(256_000);
    expect([driver.interrupts, driver.asserted]).toEqual([2, true]);
    driver.get(REG.ICR);
    driver.clock.advance(256_000);
    driver.set(REG.ITR, 0);
    driver.set(REG.RDTR, 100);
    driver.set(REG.RADV, 150);
    for (let i = 0; i < 3; i++) {
      receive();
      driver.clock.advance(60_000);
    }
    // The absolute delay has passed, the relative one never has.
    expect(driver.interrupts).toBe(3);
    driver.get(REG.ICR);
    receive();
    driver.set(REG.RDTR, 0x8000_0000);
    expect(driver.interrupts).toBe(4);
    driver.get(REG.ICR);
    driver.set(REG.TIDV, 10);
    driver.send(frameFor(E1000_MAC), 0x80);
    expect(driver.get(REG.ICR)).toBe(CAUSE.TXQE);
    driver.clock.advance(10_240);
    expect(driver.get(REG.ICR)).toBe(CAUSE.TXDW);
  });

  it('does nothing with rings that head or tail are outside of', () => {
    const driver = new E1000Driver().start();
    driver.set(REG.TDT, E1000_RING);
    driver.set(REG.RDT, 0xffff);
    expect([driver.card.receive(frameFor(E1000_MAC)), driver.network.sent.length]).toEqual([false, 0]);
    expect(driver.clock.nextDeadline).toBeUndefined();
  });

  it('survives a hostile driver', () => fuzz(e1000Target, 5000));
});

snapshotSuite('the 82540EM', {
  create: (clock) => new E1000Driver(clock).card,
  change: (card, clock) => {
    const driver = new E1000Driver(clock);
    driver.start();
    for (const register of [REG.RDTR, REG.RADV, REG.TIDV, REG.TADV]) driver.set(register, 50_000);
    driver.set(REG.ITR, 60_000);
    driver.set(REG.EECD, 0x46);
    driver.set(REG.MDIC, (2 << 26) | (1 << 21));
    driver.port(0, 0x400);
    driver.card.receive(frameFor(E1000_MAC));
    driver.offer(context(7, 100, 1000), data(tcpFrame(1000), 0x0c, 3));
    driver.send(frameFor(E1000_MAC), 0x80);
    driver.offer(data(tcpFrame(100), 0x00, 2));
    driver.card.linkChanged(false);
    card.restore(driver.card.save());
  },
  observe: (card, clock) => {
    clock.advance(1e9);
    return card.save().interrupts;
  },
});
