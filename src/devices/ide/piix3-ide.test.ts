import { describe, expect, it } from 'vitest';
import { fuzz } from '../../testing/fuzz/target.js';
import { ideTarget } from '../../testing/fuzz/targets/ide.js';
import { BUS_MASTER, DATA, IdeDriver as Driver } from '../../testing/ide-driver.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { COMMAND as ATA } from '../ata/registers.js';

describe('an IDE channel (ATA/ATAPI-7 volume 2)', () => {
  it('shows signatures after a software reset, and nothing where there is no drive', () => {
    const driver = new Driver();
    for (const [base, control, signature] of [
      [0x1f0, 0x3f6, [1, 1, 0, 0, 0x50]],
      [0x170, 0x376, [1, 1, 0x14, 0xeb, 0]],
    ] as const) {
      driver.out(control, 4);
      expect(driver.in(control)).toBe(0x80);
      driver.out(control, 0);
      expect([2, 3, 4, 5, 7].map((offset) => driver.in(base + offset))).toEqual(signature);
    }
    driver.out(0x1f6, 0xb0);
    driver.out(0x1f2, 0x55);
    expect([driver.in(0x1f2), driver.in(0x1f7)]).toEqual([0, 0]);
  });

  it('identifies and reads by programmed I/O, an interrupt to each block', () => {
    const driver = new Driver();
    expect(driver.command(ATA.IDENTIFY_DEVICE)).toBe(0x58);
    expect(driver.lines[0].level).toBe(true);
    expect(driver.in(0x1f7)).toBe(0x58);
    expect(driver.lines[0].level).toBe(false);
    const data = driver.readData(0x1f0, 256);
    expect(data[0] | (data[1] << 8)).toBe(0x40);
    expect(driver.in(0x1f7)).toBe(0x50);
    driver.command(ATA.READ_SECTORS, 7, 2);
    const before = driver.lines[0].edges;
    expect(driver.readData(0x1f0, 256)).toEqual(driver.disk.bytes.slice(7 * 512, 8 * 512));
    driver.in(0x1f7);
    expect(driver.readData(0x1f0, 256)).toEqual(driver.disk.bytes.slice(8 * 512, 9 * 512));
    expect(driver.lines[0].edges - before).toBe(0);
    driver.in(0x1f7);
    driver.command(ATA.READ_MULTIPLE, 0, 20);
    // 16 sectors, then 4, in words of 32 bits.
    for (let i = 0; i < 20 * 128; i++)
      expect(driver.in(0x1f0, 4)).toBe(new DataView(driver.disk.bytes.buffer).getUint32(4 * i, true));
    expect(driver.in(0x3f6)).toBe(0x50);
  });

  it('addresses by cylinder, head and sector, and by 48 bits', () => {
    const driver = new Driver();
    driver.out(0x1f6, 0xa1);
    [1, 3, 1, 0].forEach((value, i) => driver.out(0x1f2 + i, value));
    driver.out(0x1f7, ATA.READ_SECTORS);
    // Cylinder 1, head 1, sector 3 of 16 heads with 63 sectors.
    const lba = (16 + 1) * 63 + 2;
    expect(driver.readData(0x1f0, 256)).toEqual(driver.disk.bytes.slice(lba * 512, lba * 512 + 512));
    driver.out(0x1f6, 0xe0);
    [0, 0, 0, 0].forEach((value, i) => driver.out(0x1f2 + i, value));
    [1, 9, 0, 0].forEach((value, i) => driver.out(0x1f2 + i, value));
    driver.out(0x1f7, ATA.READ_SECTORS_EXT);
    expect(driver.readData(0x1f0, 256)).toEqual(driver.disk.bytes.slice(9 * 512, 10 * 512));
    driver.out(0x1f3, 0x11);
    driver.out(0x1f3, 0x22);
    driver.out(0x3f6, 0x80);
    expect(driver.in(0x1f3)).toBe(0x11);
    driver.out(0x3f6, 0);
    expect(driver.in(0x1f3)).toBe(0x22);
  });

  it('writes by programmed I/O', () => {
    const driver = new Driver();
    expect(driver.command(ATA.WRITE_SECTORS, 4, 2)).toBe(0x58);
    expect(driver.lines[0].edges).toBe(0);
    for (let i = 0; i < 512; i++) driver.out(0x1f0, 0xbeef, 2);
    expect([driver.in(0x3f6), driver.disk.log]).toEqual([0x50, ['write 2048 512', 'write 2560 512']]);
    expect(driver.disk.bytes[2049]).toBe(0xbe);
    expect(driver.lines[0].level).toBe(true);
  });

  it('reads and writes by the bus master', () => {
    const driver = new Driver();
    expect(driver.command(ATA.READ_DMA, 3, 4)).toBe(0x58);
    driver.dma(
      [
        [DATA, 1536],
        [DATA + 0x2000, 512],
      ],
      true,
    );
    expect([driver.in(BUS_MASTER + 2), driver.in(0x3f6), driver.lines[0].level]).toEqual([4, 0x50, true]);
    expect(driver.memory.bytes.slice(DATA, DATA + 1536)).toEqual(driver.disk.bytes.slice(3 * 512, 6 * 512));
    driver.out(BUS_MASTER, 8);
    driver.in(0x1f7);
    driver.memory.bytes.fill(0x3c, DATA, DATA + 1024);
    driver.command(ATA.WRITE_DMA, 100, 2);
    // A longer table: the engine stays active (§3.1 of the bus master's document).
    driver.dma([[DATA, 0]], false);
    expect([driver.in(BUS_MASTER + 2), driver.in(0x3f6)]).toEqual([5, 0x50]);
    expect(driver.disk.bytes.subarray(51200, 52224).every((byte) => byte === 0x3c)).toBe(true);
    driver.out(BUS_MASTER, 0);
    driver.in(0x1f7);
    // A shorter one: no interrupt, until the host gives up.
    driver.command(ATA.READ_DMA, 0, 4);
    driver.dma([[DATA, 512]], true);
    expect([driver.in(BUS_MASTER + 2) & 5, driver.in(0x3f6)]).toEqual([0, 0x58]);
    driver.out(0x3f6, 4);
    driver.out(0x3f6, 0);
    expect(driver.in(0x1f7)).toBe(0x50);
  });

  it('reports what goes wrong', () => {
    const driver = new Driver();
    expect([driver.command(ATA.READ_SECTORS, 2047, 2), driver.in(0x1f1)]).toEqual([0x51, 0x14]);
    expect([driver.command(0xff), driver.in(0x1f1)]).toEqual([0x51, 4]);
    driver.disk.fails = true;
    expect([driver.command(ATA.READ_SECTORS, 77, 2), driver.in(0x1f1), driver.in(0x1f3)]).toEqual([0x51, 0x40, 77]);
  });

  it('carries packets and their data, in blocks as large as the host says', () => {
    const driver = new Driver();
    driver.packet([0]);
    expect([driver.in(0x177) & 1, driver.in(0x171), driver.in(0x172)]).toEqual([1, 0x64, 3]);
    driver.packet([0x28, 0, 0, 0, 0, 8, 0, 0, 2], false, 3000);
    expect([driver.in(0x177), driver.in(0x172), driver.in(0x174) | (driver.in(0x175) << 8)]).toEqual([0x58, 2, 3000]);
    const first = driver.readData(0x170, 1500);
    expect(driver.in(0x174) | (driver.in(0x175) << 8)).toBe(1096);
    const second = driver.readData(0x170, 548);
    expect(Buffer.concat([first, second]).equals(driver.cd.bytes.subarray(8 * 2048, 10 * 2048))).toBe(true);
    expect([driver.in(0x177), driver.in(0x172)]).toEqual([0x50, 3]);
    driver.packet([0x28, 0, 0, 0, 0, 8, 0, 0, 2], true);
    driver.dma([[DATA, 4096]], true, 1);
    expect([driver.in(BUS_MASTER + 10), driver.in(0x177)]).toEqual([4, 0x50]);
    expect(
      Buffer.from(driver.memory.bytes.subarray(DATA, DATA + 4096)).equals(
        driver.cd.bytes.subarray(8 * 2048, 10 * 2048),
      ),
    ).toBe(true);
  });

  it('answers nowhere while it decodes nothing', () => {
    const driver = new Driver();
    driver.ide.pci.config.write(0x40, 2, 0);
    expect([driver.in(0x1f7), driver.in(0x177)]).toEqual([0xff, 0]);
    driver.ide.pci.config.write(4, 2, 0);
    expect(driver.in(0x177)).toBe(0xff);
  });
});

describe('an IDE channel that is saved in the middle', () => {
  const copy = (before: Driver): Driver => {
    const after = new Driver();
    after.memory.bytes.set(before.memory.bytes);
    const state = before.ide.stateSchema.check(structuredClone(before.ide.save()), 'ide');
    after.ide.restore(state);
    after.ide.resume();
    return after;
  };

  it('goes on with a block that is being read', () => {
    const before = new Driver();
    before.command(ATA.READ_SECTORS, 5, 3);
    const first = before.readData(0x1f0, 300);
    const rest = copy(before).readData(0x1f0, 468);
    expect(Buffer.concat([first, rest]).equals(before.disk.bytes.subarray(5 * 512, 8 * 512))).toBe(true);
  });

  it('begins again what the back end was doing', () => {
    for (const [code, run] of [
      [ATA.READ_SECTORS, (_driver: Driver): void => undefined],
      [ATA.READ_DMA, (driver: Driver): void => driver.dma([[DATA, 512]], true)],
      [ATA.FLUSH_CACHE, (_driver: Driver): void => undefined],
    ] as const) {
      const before = new Driver();
      before.disk.later = true;
      before.command(code, 5, 1);
      run(before);
      expect(before.in(0x3f6) & 0x80).toBe(0x80);
      const after = copy(before);
      expect(after.in(0x3f6) & 0x81).toBe(0);
      before.out(0x3f6, 4);
      before.disk.answerAll();
      expect(before.in(0x3f6)).toBe(0x80);
    }
  });
});

describe('hostile guests of an IDE function', () => {
  it('get an answer to anything', () => fuzz(ideTarget, 20_000));
});

snapshotSuite('an IDE function', {
  create: () => new Driver().ide,
  change(ide) {
    ide.pci.config.write(0x44, 1, 0x55);
    ide.pci.barHandler(4)?.write(4, 4, 0x1234_5678);
  },
  untouched: [],
});
