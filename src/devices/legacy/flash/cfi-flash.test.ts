import { describe, expect, it } from 'vitest';
import { MemoryDisk } from '../../../testing/memory-disk.js';
import { noise } from '../../../testing/noise.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { CfiFlash } from './cfi-flash.js';

const SIZE = 0x1_0000;

function setUp({ readOnly = false, volatile = false } = {}) {
  const file = new MemoryDisk(SIZE, readOnly);
  file.bytes.fill(0xff);
  const data = file.bytes.slice();
  const readable: boolean[] = [];
  const chip = new CfiFlash({
    id: 'flash0',
    data,
    file: volatile ? undefined : file,
    readOnly,
    readable: (whether) => void readable.push(whether),
    changed: () => undefined,
  });
  const write = (at: number, value: number, size = 1): void => chip.handler.write(at, size, value);
  const read = (at: number, size = 1): number => chip.handler.read(at, size);
  return { chip, file, data, readable, write, read };
}

describe('a flash chip (CFI, command set 1)', () => {
  it('is told from ROM and RAM as OVMF does it', () => {
    const { write, read, readable } = setUp();
    write(0x84, 0x50);
    expect(read(0x84)).toBe(0xff);
    write(0x84, 0x70);
    expect(read(0x84)).toBe(0);
    write(0x84, 0xff);
    expect(readable).toEqual([false, true]);
  });

  it('programs bits to 0, and sets them by erasing a block', () => {
    const { write, read, file, data } = setUp();
    write(0x1234, 0x10);
    write(0x1234, 0xa5);
    write(0x1234, 0x40);
    write(0x1234, 0x3c);
    expect([read(0), data[0x1234], file.bytes[0x1234]]).toEqual([0x80, 0x24, 0x24]);
    write(0x1ffc, 0x10);
    write(0x1ffc, 0x0403_0201, 4);
    expect([...file.bytes.subarray(0x1ffc, 0x2000)]).toEqual([1, 2, 3, 4]);
    write(0x1000, 0x20);
    write(0x1000, 0xd0);
    expect([data[0x1234], file.bytes[0x1ffc], file.log.includes('flush')]).toEqual([0xff, 0xff, false]);
    // Durable when the array is read again.
    write(0, 0xff);
    expect(file.log.at(-1)).toBe('flush');
  });

  it('takes a buffer of words', () => {
    const { write, file } = setUp();
    write(0x800, 0xe8, 4);
    write(0x800, 2, 4);
    for (let i = 0; i < 3; i++) write(0x800 + 4 * i, 0x1111_1111 * (i + 1), 4);
    write(0x800, 0xd0, 4);
    expect([...file.bytes.subarray(0x800, 0x80d)]).toEqual([
      ...Array<number>(4).fill(0x11),
      ...Array<number>(4).fill(0x22),
      ...Array<number>(4).fill(0x33),
      0xff,
    ]);
  });

  it('says what it is', () => {
    const { write, read } = setUp();
    write(0, 0x90);
    expect([read(0), read(4)]).toEqual([0x89, 0x18]);
    write(0, 0x98);
    expect([0x10, 0x11, 0x12, 0x27, 0x2d].map((word) => read(4 * word))).toEqual([0x51, 0x52, 0x59, 16, 15]);
  });

  it('refuses what cannot be written, and reports what the host could not write', () => {
    const { write, read, data } = setUp({ readOnly: true });
    write(0, 0x10);
    write(0, 0);
    expect([read(0), data[0]]).toEqual([0x92, 0xff]);
    const failing = setUp();
    failing.file.fails = true;
    failing.write(0, 0x20);
    failing.write(0, 0xd0);
    expect(failing.read(0)).toBe(0xa0);
  });

  it('never throws, whatever is written to it', () => {
    const next = noise(99);
    const { chip, file } = setUp();
    for (let i = 0; i < 30_000; i++) {
      const at = (next() % SIZE) & ~3;
      const commands = [0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xd0, 0xe8, 0xff];
      const value = next() % 2 ? commands[next() % commands.length] : next() & (next() % 64 === 0 ? 0xffff_ffff : 7);
      chip.handler.write(at, [1, 2, 4][next() % 3], value >>> 0);
      chip.handler.read(at, 4);
    }
    chip.handler.write(0, 1, 0xff);
    expect(file.bytes.length).toBe(SIZE);
  });
});

snapshotSuite('a flash chip', {
  create: () => setUp({ volatile: true }).chip,
  change(chip) {
    const write = (at: number, value: number): void => chip.handler.write(at, 1, value);
    write(0, 0x10);
    write(0, 0x55);
    write(0, 0x50);
    write(5, 0x10);
    write(5, 0);
    // A buffer that is not confirmed: an error.
    for (const value of [0xe8, 0, 1, 0]) write(0, value);
    write(0, 0xe8);
    write(0, 9);
    write(7, 0x12);
  },
  // Set while the array is not read, when something was written: the buffer above has not been.
  untouched: ['dirty'],
  observe: (chip) => {
    const before = chip.handler.read(0, 4);
    chip.handler.write(0, 1, 0xff);
    return [before, chip.handler.read(0, 4)];
  },
});
