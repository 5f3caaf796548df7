import { describe, expect, it } from 'vitest';
import { crc32 } from '../base/crc32.js';
import { VitrineError } from '../base/errors.js';
import { deflate } from '../testing/deflate.js';
import { SnapshotReader, SnapshotWriter, type SnapshotSource } from './container.js';
import { decodePlain, encodePlain } from './plain-encoding.js';
import { SchemaError, type Plain } from './schema.js';
import { SnapshotBuffer } from './snapshot-buffer.js';

const source = (bytes: Uint8Array, name = 'x.snap'): SnapshotSource => new SnapshotBuffer(name, bytes);

/** A small deterministic generator (Park and Miller's). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48271) % 0x7fff_ffff;
    return state % below;
  };
}

const state: Plain = {
  id: 'serial0',
  values: [0, 1, -1, 300, -70_000, 2 ** 52, -(2 ** 52), 2 ** 53, 0.5, -0, Infinity],
  big: [0n, 255n, -1n, 0xffff_ffff_ffff_ffffn, -(1n << 80n)],
  flags: { on: true, off: false, none: null },
  bytes: Uint8Array.of(1, 2, 3),
  text: 'Ünïcode ✓',
};

function memoryWithPages(): Uint8Array {
  // Two chunks and a part of a third, of which the second is all zeros.
  const memory = new Uint8Array(2 * 1024 * 1024 + 3 * 4096);
  memory.fill(7, 4096, 3 * 4096);
  memory[4095] = 1;
  memory.set([1, 2, 3], 2 * 1024 * 1024 + 2 * 4096 + 5);
  return memory;
}

function snapshot(): Uint8Array {
  const file = new SnapshotBuffer('x.snap');
  const writer = new SnapshotWriter(file, deflate);
  writer.add('machine', 3, state);
  writer.addMemory('ram', 1, memoryWithPages());
  writer.add('other', 1, null);
  writer.finish();
  return file.toBytes();
}

/** Reads all there is, as a restore would. */
function readAll(bytes: Uint8Array): void {
  const reader = new SnapshotReader(source(bytes), deflate);
  for (const name of reader.names) if (name !== 'ram') reader.find(name);
  reader.readMemory('ram', new Uint8Array(memoryWithPages().length));
}

describe('encoding of plain data', () => {
  it('gives back what went in', () => {
    expect(decodePlain(encodePlain(state))).toEqual(state);
    const zero = decodePlain(encodePlain(-0));
    expect(Object.is(zero, -0)).toBe(true);
  });
  it('is the same whatever the order of the keys', () => {
    expect(encodePlain({ b: 1, a: 2 })).toEqual(encodePlain({ a: 2, b: 1 }));
  });
  it.each([
    ['nothing', []],
    ['an unknown tag', [11]],
    ['something behind', [0, 0]],
    ['a string that ends early', [7, 5, 65]],
    ['text that is not UTF-8', [7, 1, 0xff]],
    ['an array that claims to be huge', [9, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['a number that never ends', [3, ...Array.from({ length: 30 }, () => 0xff)]],
    ['a number in too many bytes', [3, 0x80, 0]],
    ['a bigint with zeros in front', [5, 2, 1, 0]],
    ['keys out of order', [10, 2, 1, 98, 0, 1, 97, 0]],
    ['a key twice', [10, 2, 1, 97, 0, 1, 97, 0]],
    ['the name of the prototype', [10, 1, 9, ...new TextEncoder().encode('__proto__'), 0]],
    ['too many levels', Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? 9 : 1))],
  ])('refuses %s', (_name, bytes) => {
    expect(() => decodePlain(Uint8Array.from(bytes))).toThrow(SchemaError);
  });
  it('never throws anything else, whatever the bytes', () => {
    const next = random(1);
    const good = encodePlain(state);
    for (let i = 0; i < 5000; i++) {
      const bytes = i % 2 ? good.slice() : Uint8Array.from({ length: next(40) }, () => next(i % 3 ? 256 : 12));
      if (i % 2) for (let n = next(3); n >= 0; n--) bytes[next(bytes.length)] = next(256);
      try {
        decodePlain(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(SchemaError);
      }
    }
  });
});

describe('checksums', () => {
  it('are those of ISO 3309', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf4_3926);
  });
});

describe('snapshot files', () => {
  it('give back sections and memory', () => {
    const reader = new SnapshotReader(source(snapshot()), deflate);
    expect(reader.names).toEqual(['machine', 'ram', 'ram.index', 'other']);
    expect(reader.find('machine')).toEqual({ version: 3, value: state });
    expect(reader.find('other')).toEqual({ version: 1, value: null });
    expect(reader.find('missing')).toBeUndefined();
    const memory = new Uint8Array(memoryWithPages().length);
    expect(reader.readMemory('ram', memory)).toBe(1);
    // Much faster than toEqual.
    expect(Buffer.compare(memory, memoryWithPages())).toBe(0);
  });
  it('spend nothing on pages of zeros', () => {
    expect(snapshot().length).toBeLessThan(20_000);
  });
  it('are the same for the same machine', () => {
    expect(snapshot()).toEqual(snapshot());
  });
  it.each([
    ['an empty file', new Uint8Array(0), 'the snapshot x.snap is empty'],
    ['another file', new Uint8Array(9999).fill(65), 'x.snap is not a snapshot of a machine'],
    ['a short file', Uint8Array.of(0x56, 0x49), 'x.snap is not a snapshot of a machine'],
    ['a longer file', Uint8Array.from([...snapshot(), 0]), 'x.snap is damaged: something follows its end'],
    ['a file that was never finished', snapshot().fill(0, 0, 40), 'x.snap is not a snapshot of a machine'],
  ])('%s is refused', (_name, bytes, message) => {
    expect(() => new SnapshotReader(source(bytes), deflate)).toThrow(message);
  });
  it('of a newer version are refused', () => {
    const bytes = snapshot();
    bytes[8] = 2;
    expect(() => new SnapshotReader(source(bytes), deflate)).toThrow(
      'the snapshot x.snap is of a newer version than this Vitrine reads (2; at most 1)',
    );
  });
  it('that are truncated anywhere are refused', () => {
    const whole = snapshot();
    expect(() => readAll(whole.subarray(0, whole.length - 1))).toThrow(/is truncated: it has \d+ of \d+ bytes/);
    for (let length = 0; length < whole.length; length += 61)
      expect(() => readAll(whole.subarray(0, length)), String(length)).toThrow(VitrineError);
  });
  it('with any byte changed are refused, or nothing of it was used', () => {
    const whole = snapshot();
    const next = random(7);
    for (let i = 0; i < 400; i++) {
      const bytes = whole.slice();
      // Half of the changes in header and table, where there is most to break.
      const at = i % 4 === 0 ? next(40) : i % 2 ? whole.length - 1 - next(400) : next(whole.length);
      bytes[at] ^= 1 + next(255);
      try {
        readAll(bytes);
        // Nobody reads the padding between header and first section, nor in front of memory.
        expect(whole[at]).toBe(0);
      } catch (error) {
        expect(error).toBeInstanceOf(VitrineError);
        expect((error as Error).message).not.toContain('\n');
      }
    }
  });
  it('refuse memory of another size', () => {
    const reader = new SnapshotReader(source(snapshot()), deflate);
    expect(() => reader.readMemory('ram', new Uint8Array(4096))).toThrow(/ram has \d+ bytes, not 4096/);
  });
});
