import { describe, expect, it } from 'vitest';
import { BUFFER, FdcDriver as Driver } from '../../../testing/fdc-driver.js';
import { fuzz } from '../../../testing/fuzz/target.js';
import { fdcTarget } from '../../../testing/fuzz/targets/fdc.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { MemoryDisk } from '../../../testing/memory-disk.js';
import { floppyFormat } from './floppy-drive.js';

const at = (cylinder: number, head: number, sector: number, sectors = 18): number =>
  ((cylinder * 2 + head) * sectors + sector - 1) * 512;

describe('a floppy controller (82077AA)', () => {
  it('asks for attention after a reset, four times (§5.2.9)', () => {
    const driver = new Driver();
    driver.fdc.ports.write(0, 1, 0x0c);
    expect(driver.line.level).toBe(true);
    for (let drive = 0; drive < 4; drive++) expect(driver.command([8], 2)).toEqual([0xc0 | drive, 0]);
    expect(driver.line.level).toBe(false);
    expect(driver.command([8], 1)).toEqual([0x80]);
    expect(driver.command([0x10], 1)).toEqual([0x90]);
    expect(driver.command([0x1f], 1)).toEqual([0x80]);
  });

  it('reads by DMA, over both sides when asked', () => {
    const driver = new Driver().start();
    driver.seek(3);
    driver.program(0x46, 4 * 512);
    expect(driver.command([0xe6, 0, 3, 0, 17, 2, 18, 0x1b, 0xff], 7)).toEqual([0, 0, 0, 3, 1, 3, 2]);
    expect(driver.line.changes.at(-1)).toBe(false);
    const got = driver.memory.bytes.slice(BUFFER, BUFFER + 2048);
    expect(got).toEqual(driver.disk.bytes.slice(at(3, 0, 17), at(3, 0, 17) + 2048));
    // The whole count has gone.
    expect(driver.dma.firstPorts.read(8, 1) & 4).toBe(4);
  });

  it('writes by DMA, the rest of a sector with zeros', () => {
    const driver = new Driver().start();
    driver.memory.bytes.fill(0x77, BUFFER, BUFFER + 1024);
    driver.program(0x4a, 700);
    expect(driver.command([0xc5, 4, 0, 1, 5, 2, 18, 0x1b, 0xff], 7).slice(0, 3)).toEqual([4, 0, 0]);
    const written = driver.disk.bytes.subarray(at(0, 1, 5), at(0, 1, 7));
    expect([written[0], written[699], written[700], written[1023]]).toEqual([0x77, 0x77, 0, 0]);
  });

  it('moves data without DMA, an interrupt to each sector', () => {
    const driver = new Driver().start();
    driver.command([3, 0xdf, 3]);
    driver.command([0x46, 0, 0, 0, 18, 2, 18, 0x1b, 0xff]);
    expect(driver.status).toBe(0xf0);
    const got = Array.from({ length: 512 }, () => driver.fdc.ports.read(3, 1));
    expect(Uint8Array.from(got)).toEqual(driver.disk.bytes.slice(at(0, 0, 18), at(0, 0, 19)));
    // Nobody said when to stop: the end of the cylinder does.
    expect(driver.results(3)).toEqual([0x40, 0x80, 0]);
    driver.results(4);
    driver.command([0x45, 0, 0, 0, 18, 2, 18, 0x1b, 0xff]);
    expect(driver.status).toBe(0xb0);
    for (let i = 0; i < 512; i++) driver.fdc.ports.write(3, 1, 0x5a);
    driver.results(7);
    expect(driver.disk.bytes[at(0, 0, 18)]).toBe(0x5a);
  });

  it('formats a track', () => {
    const driver = new Driver().start();
    driver.seek(79);
    const ids = Array.from({ length: 18 }, (_, i) => [79, 1, i + 1, 2]).flat();
    driver.memory.bytes.set(ids, BUFFER);
    driver.program(0x4a, ids.length);
    expect(driver.command([0x4d, 4, 2, 18, 0x54, 0xf6], 7).slice(0, 3)).toEqual([4, 0, 0]);
    expect(driver.disk.bytes.subarray(at(79, 1, 1)).every((byte) => byte === 0xf6)).toBe(true);
  });

  it('verifies, scans and reads identifiers', () => {
    const driver = new Driver().start();
    expect(driver.command([0xf6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], 3)).toEqual([0, 0, 0]);
    driver.results(4);
    expect(driver.command([0x4a, 4], 7)).toEqual([4, 0, 0, 0, 1, 1, 2]);
    driver.memory.bytes.set(driver.disk.bytes.subarray(0, 512), BUFFER);
    driver.program(0x4a, 512);
    expect(driver.command([0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1], 3)).toEqual([0, 0, 8]);
    driver.results(4);
    driver.memory.bytes[BUFFER + 9] ^= 1;
    driver.program(0x4a, 512);
    expect(driver.command([0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1], 3)).toEqual([0, 0, 4]);
  });

  it('finds nothing where there is nothing', () => {
    const driver = new Driver().start();
    const read = (...place: readonly number[]): number[] => {
      driver.program(0x46, 512);
      const status = driver.command([0x46, ...place, 18, 0x1b, 0xff], 3);
      driver.results(4);
      return status;
    };
    expect(read(0, 0, 0, 19, 2)).toEqual([0x40, 4, 0]);
    expect(read(0, 5, 0, 1, 2)).toEqual([0x40, 4, 0x10]);
    expect(read(0, 0, 0, 1, 3)).toEqual([0x40, 4, 0]);
    expect(read(1, 0, 0, 1, 2)).toEqual([0x41, 1, 0]);
    // The wrong data rate.
    driver.fdc.changePort.write(0, 1, 2);
    expect(read(0, 0, 0, 1, 2)).toEqual([0x40, 1, 0]);
    // DMA that nobody has programmed.
    driver.fdc.changePort.write(0, 1, 0);
    driver.dma.firstPorts.write(0xa, 1, 6);
    expect(driver.command([0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], 3)).toEqual([0x40, 0x10, 0]);
  });

  it('protects what cannot be written', () => {
    const driver = new Driver(720, true).start(2);
    driver.program(0x4a, 512);
    expect(driver.command([0x45, 0, 0, 0, 1, 2, 9, 0x1b, 0xff], 3)).toEqual([0x40, 2, 0]);
    driver.results(4);
    expect(driver.command([4, 0], 1)).toEqual([0x78]);
  });

  it('tells of a changed disk until the heads move (§2.1.7)', () => {
    const driver = new Driver().start();
    expect(driver.fdc.changePort.read(0, 1)).toBe(0x80);
    driver.seek(1);
    expect(driver.fdc.changePort.read(0, 1)).toBe(0);
    driver.command([7, 1]);
    expect(driver.command([8], 2)).toEqual([0x71, 0]);
  });

  it('has disks put in and taken out, in the middle of a command too', () => {
    const driver = new Driver().start();
    driver.seek(1);
    expect(driver.fdc.changePort.read(0, 1)).toBe(0);
    driver.command([3, 0xdf, 3]);
    driver.command([0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff]);
    driver.fdc.change(0, undefined);
    expect(driver.results(3)).toEqual([0x40, 1, 0]);
    driver.results(4);
    // Without a disk the heads move, and the line stays as it is.
    expect(driver.fdc.changePort.read(0, 1)).toBe(0x80);
    driver.seek(2);
    expect(driver.fdc.changePort.read(0, 1)).toBe(0x80);
    const backend = new MemoryDisk(1440 * 1024);
    backend.bytes.fill(0x33);
    const format = floppyFormat(backend.size);
    driver.fdc.change(0, format && { backend, format });
    expect(driver.fdc.changePort.read(0, 1)).toBe(0x80);
    driver.seek(1);
    expect(driver.fdc.changePort.read(0, 1)).toBe(0);
    driver.command([0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff]);
    expect(driver.fdc.ports.read(3, 1)).toBe(0x33);
  });

  it('shows its registers', () => {
    const driver = new Driver().start();
    driver.command([0x13, 0, 0x5a, 0x12]);
    driver.command([0x94], 1);
    driver.command([0x12, 0x84]);
    expect(driver.command([0x0e], 10)).toEqual([0, 0, 0, 0, 0xdf, 2, 0, 0x84, 0x5a, 0x12]);
    driver.start();
    expect(driver.command([0x0e], 10).slice(7)).toEqual([0x84, 0x5a, 0x12]);
  });
});

describe('a floppy controller that is saved in the middle', () => {
  it.each(['read', 'write'] as const)('goes on with a %s', (what) => {
    const before = new Driver().start();
    before.disk.later = true;
    before.memory.bytes.fill(0x42, BUFFER, BUFFER + 1024);
    before.program(what === 'read' ? 0x46 : 0x4a, 1024);
    before.command([what === 'read' ? 0x46 : 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]);
    before.disk.answer();
    expect(before.status).toBe(0x10);
    const after = new Driver();
    after.memory.bytes.set(before.memory.bytes);
    after.disk.bytes.set(before.disk.bytes);
    after.dma.restore(structuredClone(before.dma.save()));
    after.fdc.restore(after.fdc.stateSchema.check(structuredClone(before.fdc.save()), 'fdc'));
    after.fdc.resume();
    expect(after.results(7)).toEqual([0, 0, 0, 0, 0, 3, 2]);
    expect(after.memory.bytes.slice(BUFFER, BUFFER + 1024)).toEqual(after.disk.bytes.slice(0, 1024));
  });
});

describe('hostile guests of a floppy controller', () => {
  it('get an answer to anything', () => fuzz(fdcTarget, 60_000));
});

snapshotSuite('a floppy controller', {
  create: () => new Driver().fdc,
  change(fdc) {
    const send = (...bytes: readonly number[]): void => {
      for (const byte of bytes) fdc.ports.write(3, 1, byte);
    };
    fdc.ports.write(0, 1, 0x1c);
    fdc.ports.write(1, 1, 2);
    fdc.changePort.write(0, 1, 0);
    send(3, 0xdf, 3);
    send(0x13, 0, 0x1a, 2);
    send(0x94);
    fdc.ports.read(3, 1);
    send(0x12, 0x84);
    send(0x0f, 0, 5);
    send(0x46, 0, 5, 0, 2, 2, 18, 0x1b, 0xff);
  },
  // While data move there is no result; then the controller is not at rest.
  untouched: ['result'],
  observe: (fdc) => Array.from({ length: 600 }, () => [fdc.ports.read(2, 1), fdc.ports.read(3, 1)]),
});
