import { describe, expect, it } from 'vitest';
import { ABAR, DATA, FRAMES, TABLE, AhciDriver as Driver } from '../../testing/ahci-driver.js';
import { fuzz } from '../../testing/fuzz/target.js';
import { ahciTarget } from '../../testing/fuzz/targets/ahci.js';
import { MemoryDisk } from '../../testing/memory-disk.js';
import { snapshotSuite } from '../../testing/snapshot-suite.js';
import { AtaDisk } from '../ata/ata-disk.js';
import { AtapiCdRom } from '../ata/atapi-cdrom.js';
import { COMMAND as ATA } from '../ata/registers.js';
import type { Ahci } from './ahci.js';
import { CMD, HOST, INTERRUPT, PORT, PORTS } from './registers.js';

const text = (bytes: Uint8Array, word: number, words: number): string =>
  Array.from({ length: words * 2 }, (_, i) => String.fromCharCode(bytes[word * 2 + (i ^ 1)]))
    .join('')
    .trim();

describe('an AHCI port (AHCI 1.3.1)', () => {
  it('shows a link, and a signature as soon as frames can be received', () => {
    const driver = new Driver();
    for (const [port, signature, status] of [
      [0, 0x101, 0x50],
      [1, 0xeb14_0101, 0],
    ] as const) {
      driver.port = port;
      expect([driver.get(PORT.SSTS), driver.get(PORT.SIG), driver.get(PORT.TFD)]).toEqual([0x123, 0xffff_ffff, 0x80]);
      driver.start(port);
      expect([driver.get(PORT.SIG), driver.get(PORT.TFD)]).toEqual([signature, 0x100 | status]);
    }
    driver.port = 2;
    expect([driver.get(PORT.SSTS), driver.get(PORT.TFD)]).toEqual([0, 0x7f]);
  });

  it('goes down and up again by COMRESET', () => {
    const driver = new Driver().start();
    driver.set(PORT.CMD, CMD.FRE);
    driver.set(PORT.SCTL, 0x301);
    expect([driver.get(PORT.SSTS), driver.get(PORT.TFD)]).toEqual([0, 0x7f]);
    driver.set(PORT.SCTL, 0x300);
    expect([driver.get(PORT.SSTS), driver.get(PORT.TFD), driver.get(PORT.SIG)]).toEqual([0x123, 0x150, 0x101]);
    // Exchanged, and the PHY changed; the interrupts mirror them.
    expect(driver.get(PORT.SERR)).toBe((1 << 26) | (1 << 16));
    expect(driver.get(PORT.IS)).toBe(INTERRUPT.PCS | INTERRUPT.PRCS);
    driver.set(PORT.SERR, 1 << 26);
    expect(driver.get(PORT.IS)).toBe(INTERRUPT.PRCS);
  });

  it('identifies its disk by programmed I/O, with a PIO setup frame', () => {
    const driver = new Driver().start();
    expect(driver.run({ code: ATA.IDENTIFY_DEVICE, pieces: [[DATA, 512]] })).toEqual({ status: 0x50, error: 0 });
    const data = driver.bytesAt(DATA, 512);
    expect([text(data, 10, 10), text(data, 27, 20)]).toEqual(['SERIAL-1', 'VITRINE HARDDISK']);
    expect(data.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    expect([driver.get(PORT.CI), driver.transferred()]).toEqual([0, 512]);
    expect(driver.get(PORT.IS) & INTERRUPT.PSS).toBeTruthy();
    expect(driver.bytesAt(FRAMES + 0x20, 1)[0]).toBe(0x5f);
  });

  it('reads and writes by DMA through pieces of any size', () => {
    const driver = new Driver().start();
    const pieces = [
      [DATA, 2],
      [DATA + 0x1000, 1022],
      [DATA + 0x2000, 512],
    ] as const;
    expect(driver.run({ code: ATA.READ_DMA_EXT, lba: 5, count: 3, pieces })).toEqual({ status: 0x50, error: 0 });
    const got = Buffer.concat(pieces.map(([at, length]) => driver.bytesAt(at, length)));
    expect(got.equals(driver.disk.bytes.subarray(5 * 512, 8 * 512))).toBe(true);
    expect(driver.transferred()).toBe(1536);
    driver.memory.bytes.fill(0xa5, DATA, DATA + 1024);
    expect(driver.run({ code: ATA.WRITE_DMA_EXT, lba: 2046, count: 2, pieces: [[DATA, 1024]] }).error).toBe(0);
    expect(driver.disk.bytes.subarray(2046 * 512).every((byte) => byte === 0xa5)).toBe(true);
    expect(driver.get(PORT.IS) & INTERRUPT.DHRS).toBeTruthy();
  });

  it('moves 65536 sectors at once in pieces', () => {
    const driver = new Driver().start();
    // Beyond this disk; of a disk of 2048 sectors, all of them.
    const pieces = Array.from({ length: 64 }, () => [DATA, 16384] as const);
    expect(driver.run({ code: ATA.READ_DMA_EXT, lba: 0, count: 2048, pieces }).error).toBe(0);
    expect(driver.transferred()).toBe(2048 * 512);
    expect(driver.run({ code: ATA.READ_DMA_EXT, lba: 0, count: 0, pieces }).error).toBe(0x14);
  });

  it('moves data to and from any number of pieces', () => {
    const driver = new Driver().start();
    const pieces = Array.from({ length: 150 }, (_, i) => [DATA + (149 - i) * 600, 512] as const);
    expect(driver.run({ code: ATA.READ_DMA_EXT, lba: 3, count: 150, pieces }).error).toBe(0);
    for (const [i, [at]] of pieces.entries())
      expect(driver.bytesAt(at, 512)).toEqual(driver.disk.bytes.slice((3 + i) * 512, (4 + i) * 512));
    expect(driver.run({ code: ATA.WRITE_DMA_EXT, lba: 500, count: 150, pieces }).error).toBe(0);
    expect(driver.disk.bytes.slice(500 * 512, 650 * 512)).toEqual(driver.disk.bytes.slice(3 * 512, 153 * 512));
  });

  it('moves data by memory of the disk’s choice', () => {
    const driver = new Driver().start();
    for (const code of [ATA.READ_DMA_EXT, ATA.WRITE_DMA_EXT])
      expect(driver.run({ code, lba: 0, count: 1, pieces: [[DATA, 512]] }).error).toBe(0);
    expect([driver.disk.scratch.made, driver.disk.scratch.free.length]).toEqual([1, 1]);
  });

  it('carries out queued commands, which may end in any order (§5.6.4)', () => {
    const driver = new Driver().start();
    driver.disk.later = true;
    for (const slot of [0, 3, 31])
      driver.run({
        code: ATA.READ_FPDMA_QUEUED,
        slot,
        queued: true,
        lba: slot,
        feature: 1,
        count: slot << 3,
        pieces: [[DATA + slot * 0x1000, 512]],
      });
    expect([driver.get(PORT.CI), driver.get(PORT.SACT)]).toEqual([0, 0x8000_0009]);
    driver.disk.answer(1);
    expect(driver.get(PORT.SACT)).toBe(0x8000_0001);
    expect(driver.get(PORT.IS) & INTERRUPT.SDBS).toBeTruthy();
    driver.disk.answerAll();
    expect(driver.get(PORT.SACT)).toBe(0);
    for (const slot of [0, 3, 31])
      expect(driver.bytesAt(DATA + slot * 0x1000, 512)).toEqual(driver.disk.bytes.slice(slot * 512, slot * 512 + 512));
  });

  it('stops at an error until it is started anew, and logs a queued one', () => {
    const driver = new Driver().start();
    expect(driver.run({ code: ATA.READ_DMA_EXT, lba: 2047, count: 2, pieces: [[DATA, 1024]] })).toEqual({
      status: 0x51,
      error: 0x14,
    });
    expect(driver.get(PORT.IS) & INTERRUPT.TFES).toBeTruthy();
    expect(driver.get(PORT.CI)).toBe(1);
    driver.run({ code: ATA.FLUSH_CACHE_EXT, slot: 4 });
    expect(driver.get(PORT.CI)).toBe(0x11);
    driver.restart();
    expect(driver.get(PORT.CI)).toBe(0);
    driver.disk.fails = true;
    driver.run({
      code: ATA.READ_FPDMA_QUEUED,
      slot: 6,
      queued: true,
      lba: 9,
      feature: 1,
      count: 6 << 3,
      pieces: [[DATA, 512]],
    });
    expect([driver.get(PORT.TFD), driver.get(PORT.SACT)]).toEqual([0x4051, 0x40]);
    driver.restart();
    driver.disk.fails = false;
    driver.run({ code: ATA.READ_LOG_EXT, lba: 0x10, count: 1, pieces: [[DATA, 512]] });
    expect([...driver.bytesAt(DATA, 5)]).toEqual([6, 0, 0x51, 0x40, 9]);
  });

  it('knows when there is too little room, or too little data', () => {
    const driver = new Driver().start();
    expect(driver.run({ code: ATA.READ_DMA_EXT, count: 2, pieces: [[DATA, 512]] }).status).toBe(0x50);
    expect(driver.get(PORT.IS) & INTERRUPT.OFS).toBeTruthy();
    driver.set(PORT.IS, 0xffff_ffff);
    expect(driver.run({ code: ATA.WRITE_DMA_EXT, count: 2, pieces: [[DATA, 512]] }).status & 1).toBe(1);
    expect(driver.get(PORT.IS) & INTERRUPT.OFS).toBeTruthy();
  });

  it('flushes, trims, and writes through when the write cache is off', () => {
    const driver = new Driver().start();
    driver.run({ code: ATA.FLUSH_CACHE_EXT });
    driver.memory.bytes.fill(0, DATA, DATA + 512);
    driver.memory.bytes.set([8, 0, 0, 0, 0, 0, 16, 0, 64, 0, 0, 0, 0, 0, 1, 0], DATA);
    driver.run({ code: ATA.DATA_SET_MANAGEMENT, feature: 1, count: 1, pieces: [[DATA, 512]] });
    driver.run({ code: ATA.SET_FEATURES, feature: 0x82 });
    driver.run({ code: ATA.WRITE_DMA_EXT, count: 1, pieces: [[DATA, 512]] });
    expect(driver.disk.log).toEqual(['flush', 'discard 4096 8192', 'discard 32768 512', 'write 0 512', 'flush']);
  });

  it('sends a message for each port that has something new (§10.6.2)', () => {
    const driver = new Driver();
    driver.ahci.pci.config.write(0x40 + 12, 2, 0x41);
    driver.ahci.pci.config.write(0x40 + 2, 2, 1);
    driver.start();
    driver.messages.length = 0;
    driver.host(HOST.IS, 1);
    driver.messages.length = 0;
    driver.run({ code: ATA.FLUSH_CACHE });
    driver.run({ code: ATA.FLUSH_CACHE });
    expect(driver.messages).toEqual([0x41]);
    // Cleared while the port still wants something: another one.
    driver.host(HOST.IS, 1);
    expect(driver.messages).toEqual([0x41, 0x41]);
    driver.set(PORT.IS, 0xffff_ffff);
    driver.host(HOST.IS, 1);
    expect(driver.messages).toHaveLength(2);
  });

  it('resets its drive by two control frames (§10.4.1)', () => {
    const driver = new Driver().start();
    driver.place({ code: 0 });
    driver.memory.bytes.set([0x27, 0, 0], TABLE);
    driver.memory.bytes[TABLE + 15] = 4;
    driver.set(PORT.CI, 1);
    driver.memory.bytes[TABLE + 15] = 0;
    driver.set(PORT.CI, 1);
    expect([driver.get(PORT.CI), driver.get(PORT.TFD)]).toEqual([0, 0x150]);
    expect([...driver.bytesAt(FRAMES + 0x40, 4)]).toEqual([0x34, 0x40, 0x50, 1]);
  });

  it('cannot be written in memory that it must not reach', () => {
    const driver = new Driver().start();
    driver.ahci.pci.config.write(4, 2, 2);
    driver.run({ code: ATA.READ_DMA_EXT, count: 1, pieces: [[DATA, 512]] });
    expect(driver.get(PORT.IS) & INTERRUPT.HBFS).toBeTruthy();
    expect(driver.bytesAt(DATA, 512).every((byte) => byte === 0)).toBe(true);
  });
});

describe('a CD-ROM drive behind it (MMC-6)', () => {
  const ready = (): Driver => {
    const driver = new Driver().start(1);
    // The reset that it has been through is the first thing it tells.
    expect(driver.packet([0])).toEqual({ status: 0x51, error: 0x64 });
    driver.restart();
    return driver;
  };

  it('tells why a command failed, once', () => {
    const driver = ready();
    driver.packet([3, 0, 0, 0, 18], 18);
    const sense = driver.bytesAt(DATA, 18);
    expect([sense[0], sense[2], sense[12]]).toEqual([0x70, 6, 0x29]);
    expect(driver.packet([0])).toEqual({ status: 0x50, error: 0 });
    driver.packet([3, 0, 0, 0, 18], 18);
    expect(driver.bytesAt(DATA, 18)[2]).toBe(0);
  });

  it('reads blocks, and says how many there are', () => {
    const driver = ready();
    driver.packet([0x25], 8);
    expect([...driver.bytesAt(DATA, 8)]).toEqual([0, 0, 0, 63, 0, 0, 8, 0]);
    expect(driver.packet([0x28, 0, 0, 0, 0, 60, 0, 0, 4], 8192).status).toBe(0x50);
    expect(Buffer.from(driver.bytesAt(DATA, 8192)).equals(driver.cd.bytes.subarray(60 * 2048))).toBe(true);
    expect(driver.packet([0xa8, 0, 0, 0, 0, 60, 0, 0, 0, 5], 10240)).toEqual({ status: 0x51, error: 0x54 });
    driver.restart();
    driver.packet([3, 0, 0, 0, 18], 18);
    expect([driver.bytesAt(DATA, 18)[12], driver.transferred()]).toEqual([0x21, 18]);
  });

  it('has one track and a lead-out', () => {
    const driver = ready();
    driver.packet([0x43, 0, 0, 0, 0, 0, 0, 0, 20], 20);
    expect([...driver.bytesAt(DATA, 20)]).toEqual([
      0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 64,
    ]);
    driver.packet([0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12], 12);
    expect([...driver.bytesAt(DATA + 8, 4)]).toEqual([0, 0, 2, 64]);
  });

  it('opens and closes unless it is locked', () => {
    const driver = ready();
    driver.packet([0x1e, 0, 0, 0, 1]);
    expect(driver.packet([0x1b, 0, 0, 0, 2]).error).toBe(0x54);
    driver.restart();
    driver.packet([0x1e, 0, 0, 0, 0]);
    expect(driver.packet([0x1b, 0, 0, 0, 2]).status).toBe(0x50);
    expect(driver.packet([0]).error).toBe(0x24);
    driver.restart();
    driver.packet([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8);
    expect([...driver.bytesAt(DATA, 8)]).toEqual([0, 6, 4, 0x10, 3, 3, 0, 0]);
    driver.packet([0x1b, 0, 0, 0, 3]);
    expect(driver.packet([0]).error).toBe(0x64);
  });

  it('refuses what it does not know, and a disk’s commands with its signature', () => {
    const driver = ready();
    expect(driver.packet([0xff]).error).toBe(0x54);
    driver.restart();
    expect(driver.run({ code: ATA.IDENTIFY_DEVICE, pieces: [[DATA, 512]] })).toEqual({ status: 0x51, error: 4 });
    expect([...driver.bytesAt(FRAMES + 0x44, 3)]).toEqual([1, 0x14, 0xeb]);
  });
});

describe('an AHCI that is saved in the middle', () => {
  it('does commands again that were under way, queued ones and others', () => {
    const before = new Driver().start();
    before.disk.later = true;
    for (const slot of [2, 7])
      before.run({
        code: ATA.READ_FPDMA_QUEUED,
        slot,
        queued: true,
        lba: slot,
        feature: 1,
        count: slot << 3,
        pieces: [[DATA + slot * 512, 512]],
      });
    const after = new Driver();
    after.memory.bytes.set(before.memory.bytes);
    after.ahci.restore(structuredClone(before.ahci.save()));
    after.port = 0;
    expect(after.get(PORT.SACT)).toBe(0x84);
    after.ahci.resume();
    expect([after.get(PORT.SACT), after.get(PORT.TFD)]).toEqual([0, 0x50]);
    expect(after.bytesAt(DATA + 1024, 512)).toEqual(after.disk.bytes.slice(1024, 1536));
    // A command that is not queued is still issued.
    before.disk.waiting.length = 0;
    before.restart();
    before.run({ code: ATA.READ_DMA_EXT, lba: 3, count: 1, pieces: [[DATA, 512]] });
    expect(before.get(PORT.TFD) & 0x80).toBe(0x80);
    const other = new Driver();
    other.memory.bytes.set(before.memory.bytes);
    other.ahci.restore(structuredClone(before.ahci.save()));
    other.ahci.resume();
    expect([other.get(PORT.CI), other.get(PORT.TFD)]).toEqual([0, 0x50]);
  });

  it('forgets what completes after a reset', () => {
    const driver = new Driver().start();
    driver.disk.later = true;
    driver.run({ code: ATA.READ_DMA_EXT, lba: 3, count: 1, pieces: [[DATA, 512]] });
    driver.host(HOST.GHC, 1);
    driver.disk.answerAll();
    expect(driver.bytesAt(DATA, 512).every((byte) => byte === 0)).toBe(true);
    driver.disk.later = false;
    driver.start();
    expect(driver.run({ code: ATA.READ_DMA_EXT, lba: 3, count: 1, pieces: [[DATA, 512]] }).status).toBe(0x50);
    expect([driver.disk.scratch.made, driver.disk.scratch.free.length]).toEqual([1, 1]);
  });
});

describe('hostile guests of an AHCI', () => {
  it('get an answer to anything', () => fuzz(ahciTarget, 15_000));
});

const fresh = (): Ahci => new Driver().ahci;
snapshotSuite('an AHCI', {
  create: fresh,
  change(ahci) {
    const { config } = ahci.pci;
    config.write(0x24, 4, ABAR);
    config.write(4, 2, 6);
    const registers = ahci.pci.barHandler(5);
    registers?.write(HOST.GHC, 4, 2);
    registers?.write(PORTS + PORT.IE, 4, 0xffff_ffff);
    registers?.write(PORTS + PORT.CLB, 4, 0x1000);
    registers?.write(PORTS + PORT.CMD, 4, CMD.FRE);
    ahci.pci.barHandler(4)?.write(0x10, 4, 0x118);
  },
  observe: (ahci) => Array.from({ length: 0x400 }, (_, i) => ahci.pci.barHandler(5)?.peek?.(4 * i, 4)),
});

const disk = (): AtaDisk => new AtaDisk({ id: 'disk', backend: new MemoryDisk(), serialAta: true });
snapshotSuite('an ATA disk', {
  create: disk,
  change(drive) {
    const command = (code: number, feature: number, count = 0, lba = 0, device = 0): void =>
      void drive.begin({ command: code, feature, count, lba, device });
    command(ATA.SET_MULTIPLE, 0, 8);
    command(ATA.SET_FEATURES, 0x82);
    command(ATA.SET_FEATURES, 0x55);
    command(ATA.SET_FEATURES, 3, 0x42);
    command(ATA.INITIALIZE_PARAMETERS, 0, 32, 0, 7);
    command(ATA.SMART, 0xd9, 0, 0xc24f00);
    drive.finish(drive.begin({ command: 0xff, feature: 0, count: 0, lba: 0, device: 0 }), () => undefined);
  },
});

snapshotSuite('a CD-ROM drive', {
  create: () => new AtapiCdRom({ id: 'cd', medium: new MemoryDisk(8192, true), serial: 'CD', serialAta: true }),
  change(drive) {
    const send = (...packet: readonly number[]): void => {
      const waiting = drive.begin({ command: ATA.PACKET, feature: 0, count: 0, lba: 0, device: 0 });
      drive.beginPacket(
        waiting,
        Uint8Array.from({ length: 12 }, (_, i) => packet[i] ?? 0),
        0xfffe,
      );
    };
    drive.begin({ command: ATA.SET_FEATURES, feature: 3, count: 0x42, lba: 0, device: 0 });
    send(0);
    send(0x1b, 0, 0, 0, 2);
    send(0x1e, 0, 0, 0, 1);
    send(0x28);
  },
});
