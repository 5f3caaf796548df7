/** qcow2 images against a model: a disk of bytes. The images of others are in src/runtime/node/images.test.ts. */
import { inflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { MemoryFile, type FileOperation } from '../../host/fake/memory-file.js';
import type { DiskImage, Unpack } from '../image.js';
import { openImage, type Opener } from '../open.js';
import { TemporaryDisk } from '../temporary.js';
import { createQcow2, type NewImage } from './create.js';
import { checkQcow2 } from './open.js';

const unpack: Unpack = {
  inflate: (data, length) => inflateRawSync(data, { maxOutputLength: length }),
  unzstd: () => {
    throw new Error('none here');
  },
};

/** Files by name. */
function opener(files: readonly MemoryFile[]): Opener {
  return {
    store: {
      keyOf: (name) => name,
      open: (name) => {
        const file = files.find((one) => one.name === name);
        if (!file) throw new Error(`no file ${name}`);
        return file;
      },
      resolve: (_image, backing) => backing,
    },
    unpack,
  };
}

const SIZE = 4 << 20;

function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function create(options: Partial<NewImage> = {}, name = 'image'): MemoryFile {
  const file = new MemoryFile(name);
  createQcow2(file, { size: SIZE, ...options });
  return file;
}

function pattern(seed: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(1 + (seed % 255));
}

interface Disk {
  write(offset: number, from: Uint8Array): void;
  discard(offset: number, length: number): void;
  writeZeroes(offset: number, length: number): void;
  flush(): void;
}

/** Does one thing to a disk and its model. Discards only where the result is known: whole clusters read as zeros. */
function step(disk: Disk, model: Uint8Array, next: (below: number) => number): 'flush' | 'other' {
  const sectors = model.length / 512;
  const first = next(sectors);
  const count = 1 + next(Math.min(sectors - first, next(4) === 0 ? 1024 : 16));
  const [offset, length] = [first * 512, count * 512];
  switch (next(8)) {
    case 0:
      disk.flush();
      return 'flush';
    case 1:
      disk.writeZeroes(offset, length);
      model.fill(0, offset, offset + length);
      return 'other';
    default: {
      const bytes = pattern(next(1000), length);
      disk.write(offset, bytes);
      model.set(bytes, offset);
      return 'other';
    }
  }
}

function readAll(disk: { readonly size: number; read(offset: number, into: Uint8Array): void }): Uint8Array {
  const bytes = new Uint8Array(disk.size);
  disk.read(0, bytes);
  return bytes;
}

/** Counts the ranges that are known to be zeros without a look; all of them are. */
function countZeros(disk: DiskImage, contents: Uint8Array, length: number): number {
  let count = 0;
  for (let at = 0; at < disk.size; at += length)
    if (disk.isZero?.(at, Math.min(length, disk.size - at))) {
      expect(contents.subarray(at, at + length).every((byte) => byte === 0)).toBe(true);
      count++;
    }
  return count;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Sectors that are not the same. */
function differing(a: Uint8Array, b: Uint8Array): number[] {
  const sectors = Array.from({ length: a.length / 512 }, (_, sector) => sector);
  return sectors.filter(
    (sector) => !same(a.subarray(sector * 512, sector * 512 + 512), b.subarray(sector * 512, sector * 512 + 512)),
  );
}

const clean = { leaks: 0, errors: 0 };

const LAYOUTS = [
  { clusterSize: 512 },
  { clusterSize: 4096 },
  { clusterSize: 65536 },
  { clusterSize: 2 << 20 },
  { clusterSize: 16384, extendedL2: true },
  { clusterSize: 65536, extendedL2: true },
];

describe.each(LAYOUTS)('an image with $clusterSize bytes a cluster, subclusters: $extendedL2', (layout) => {
  const { clusterSize } = layout;
  /** What is allocated at once. */
  const clusterOfData = 'extendedL2' in layout ? clusterSize / 32 : clusterSize;
  it.each([1, 8, 16, 64])('and counts of %d bits holds what was written', (refcountBits) => {
    const file = create({ ...layout, refcountBits });
    const model = new Uint8Array(SIZE);
    const next = random(clusterSize + refcountBits);
    for (let round = 0; round < 4; round++) {
      const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
      for (let i = 0; i < 60; i++) step(disk, model, next);
      expect(same(readAll(disk), model)).toBe(true);
      disk.close();
      expect(checkQcow2(file)).toMatchObject(clean);
    }
    const disk = openImage({ name: 'image', format: 'auto', readOnly: true }, opener([file]));
    expect(same(readAll(disk), model)).toBe(true);
    for (const length of [512, 8192, 0x2_0000]) countZeros(disk, model, length);
  });

  it('knows where it holds zeros', () => {
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([create(layout)]));
    const ranges = SIZE / 0x2_0000;
    expect(countZeros(disk, new Uint8Array(SIZE), 0x2_0000)).toBe(ranges);
    disk.write(SIZE / 2, pattern(1, 512));
    expect(countZeros(disk, readAll(disk), 0x2_0000)).toBe(ranges - Math.max(1, clusterOfData / 0x2_0000));
    disk.write(0, pattern(2, SIZE));
    disk.writeZeroes(0, SIZE);
    expect(countZeros(disk, new Uint8Array(SIZE), 0x2_0000)).toBe(ranges);
  });

  it('shows what its backing file has, until it is written', () => {
    const base = new MemoryFile('base', pattern(7, SIZE - 1536));
    const file = create({ ...layout, backing: { name: 'base', format: 'raw' } });
    const model = new Uint8Array(SIZE);
    model.set(base.contents());
    const before = base.identity;
    const next = random(clusterSize);
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file, base]));
    for (let i = 0; i < 100; i++) step(disk, model, next);
    expect(same(readAll(disk), model)).toBe(true);
    countZeros(disk, model, 8192);
    disk.close();
    expect(checkQcow2(file)).toMatchObject(clean);
    expect(base.identity).toBe(before);
  });
});

describe('subclusters', () => {
  const layout = { clusterSize: 65536, extendedL2: true, backing: { name: 'base', format: 'raw' } };

  it('are copied from the backing file alone, not the cluster around them', () => {
    const base = new MemoryFile('base', pattern(7, SIZE));
    const file = create(layout);
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file, base]));
    file.log = [];
    disk.write(65536 + 2048 + 512, pattern(9, 512));
    // Apart from room for tables, which is zeros.
    const written = file.log.flatMap((operation) => (operation.kind === 'write' ? [operation.bytes] : []));
    expect(written.filter((bytes) => bytes.some((byte) => byte !== 0)).map(({ length }) => length)).toEqual([2048]);
    const got = new Uint8Array(6144);
    disk.read(65536, got);
    const expected = pattern(7, 6144);
    expected.fill(10, 2560, 3072);
    expect(same(got, expected)).toBe(true);
    disk.close();
    expect(checkQcow2(file)).toMatchObject(clean);
  });

  it('are refused in clusters that are too small for them', () => {
    expect(() => create({ clusterSize: 8192, extendedL2: true })).toThrow('too small to have subclusters');
  });
});

describe('discarding', () => {
  it('makes whole clusters read as zeros, and their room is used again', () => {
    const base = new MemoryFile('base', pattern(7, SIZE));
    const file = create({ backing: { name: 'base', format: 'raw' } });
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file, base]));
    const model = pattern(9, SIZE);
    for (let i = 0; i < 20; i++) {
      disk.write(0, model);
      disk.flush();
      disk.discard(65536 + 512, 20 * 65536);
      disk.flush();
    }
    model.fill(0, 2 * 65536, 21 * 65536);
    expect(same(readAll(disk), model)).toBe(true);
    disk.close();
    expect(checkQcow2(file)).toMatchObject(clean);
    expect(file.size).toBeLessThan(2 * SIZE);
  });
});

/** The file as it was after the first operations of a log. */
function replay(start: MemoryFile, log: readonly FileOperation[]): MemoryFile {
  const file = start.copy();
  for (const operation of log) file.apply(operation);
  return file;
}

describe.each([{ clusterSize: 512 }, { clusterSize: 65536 }, { clusterSize: 16384, extendedL2: true }])(
  'a process that is killed, with $clusterSize bytes a cluster, subclusters: $extendedL2',
  (layout) => {
    const { clusterSize } = layout;
    it('leaves an image without a fault, with all that was flushed', () => {
      const start = create({ ...layout, size: 1 << 20 });
      const file = start.copy();
      file.log = [];
      const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
      const model = new Uint8Array(1 << 20);
      const next = random(clusterSize + 1);
      /** Sectors that were written since the last flush, and what was durable then. */
      const moments: { at: number; durable: Uint8Array; touched: Set<number> }[] = [];
      let durable = model.slice();
      let touched = new Set<number>();
      for (let i = 0; i < 120; i++) {
        const before = model.slice();
        const from = file.log.length;
        const kind = step(disk, model, next);
        for (const sector of differing(before, model)) touched.add(sector);
        for (let at = from; at <= file.log.length; at++) moments.push({ at, durable, touched });
        if (kind === 'flush') {
          durable = model.slice();
          touched = new Set();
        }
      }
      const left = start.copy();
      let applied = 0;
      for (const { at, durable: kept, touched: open } of moments.filter((_, i) => i % 3 === 0)) {
        while (applied < at) left.apply(file.log[applied++]);
        // What opening does to it is done to a copy.
        const image = left.copy();
        expect(checkQcow2(image)).toMatchObject(clean);
        const after = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([image]));
        expect(differing(readAll(after), kept).filter((sector) => !open.has(sector))).toEqual([]);
      }
    });

    it('or that loses its power, some writes behind the last flush having reached the disk', () => {
      const start = create({ ...layout, size: 1 << 20 });
      const file = start.copy();
      file.log = [];
      const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
      const model = new Uint8Array(1 << 20);
      const next = random(clusterSize + 2);
      for (let i = 0; i < 80; i++) step(disk, model, next);
      const { log } = file;
      for (let round = 0; round < 60; round++) {
        const end = next(log.length);
        const flushed = log.slice(0, end).findLastIndex(({ kind }) => kind === 'flush');
        const kept = log.slice(0, end).filter((_, i) => i <= flushed || next(2) === 0);
        expect(checkQcow2(replay(start, kept))).toMatchObject(clean);
      }
    });
  },
);

describe('a host that refuses a write', () => {
  it('costs that request and nothing else', () => {
    const file = create({ clusterSize: 4096 });
    const model = new Uint8Array(SIZE);
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
    const next = random(5);
    let failing = false;
    file.beforeWrite = () => {
      if (failing && next(3) === 0) throw new Error('no space');
    };
    for (let i = 0; i < 300; i++) {
      const before = model.slice();
      failing = next(4) === 0;
      try {
        const bytes = pattern(i, 512 * (1 + next(60)));
        const offset = next((SIZE - bytes.length) / 512) * 512;
        model.set(bytes, offset);
        disk.write(offset, bytes);
      } catch {
        // Any part of it may be there.
        failing = false;
        disk.read(0, model);
        const wrong = differing(model, before).filter((sector) => model[sector * 512] !== 1 + (i % 255));
        expect(wrong).toEqual([]);
      }
      failing = false;
      if (i % 10 === 0) disk.flush();
    }
    file.beforeWrite = undefined;
    disk.flush();
    expect(same(readAll(disk), model)).toBe(true);
    expect(checkQcow2(file)).toMatchObject(clean);
  });
});

describe('a host without room', () => {
  it('has enough for what is discarded to be written anew', () => {
    const file = create();
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
    const limit = file.size + (2 << 20);
    file.beforeWrite = (offset, length) => {
      if (offset + length > limit) throw new Error('no space');
    };
    for (let round = 0; round < 3; round++) {
      expect(() => {
        for (let at = 0; at < SIZE; at += 65536) disk.write(at, pattern(round, 65536));
      }).toThrow('no space');
      disk.discard(0, SIZE);
      disk.flush();
    }
    const some = pattern(9, 1 << 19);
    disk.write(0, some);
    disk.flush();
    expect(checkQcow2(file)).toMatchObject(clean);
    const found = new Uint8Array(some.length);
    openImage({ name: 'image', format: 'qcow2', readOnly: true }, opener([file])).read(0, found);
    expect(same(found, some)).toBe(true);
  });

  it('has room for the tables of all that it took', () => {
    const file = create({ size: 64 << 20 });
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
    disk.write(0, pattern(0, 512));
    disk.flush();
    const limit = file.size + (2 << 20);
    file.beforeWrite = (offset, length) => {
      if (offset + length > limit) throw new Error('no space');
    };
    let written = 0;
    expect(() => {
      for (; ; written += 65536) disk.write(written, pattern(written / 65536, 65536));
    }).toThrow('no space');
    disk.flush();
    disk.write(0, pattern(0, 512));
    disk.close();
    expect(written).toBeGreaterThan(1 << 20);
    expect(checkQcow2(file)).toMatchObject(clean);
    const again = openImage({ name: 'image', format: 'qcow2', readOnly: true }, opener([file]));
    for (let at = 0; at < written; at += 65536) {
      const found = new Uint8Array(65536);
      again.read(at, found);
      expect(same(found, pattern(at / 65536, 65536))).toBe(true);
    }
  });

  it('is asked for no more by clusters that come and go between flushes', () => {
    const file = create();
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
    for (let round = 0; round < 50; round++) {
      disk.write(0, pattern(round, 1 << 20));
      disk.discard(0, 1 << 20);
    }
    disk.flush();
    expect(file.size).toBeLessThan(3 << 20);
    expect(checkQcow2(file)).toMatchObject(clean);
  });
});

describe('a host that fails a flush', () => {
  it('is not written to any more, and what it has is sound', () => {
    const file = create();
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener([file]));
    disk.write(0, pattern(1, 65536));
    disk.flush();
    file.flush = () => {
      throw new Error('EIO');
    };
    disk.write(65536, pattern(2, 512));
    expect(() => disk.flush()).toThrow('the disk image failed: nothing is written to it any more');
    file.log = [];
    expect(() => disk.write(0, pattern(3, 512))).toThrow('nothing is written to it any more');
    expect(() => disk.flush()).toThrow('nothing is written to it any more');
    expect(() => disk.close()).toThrow('nothing is written to it any more');
    expect(file.log).toEqual([]);
    expect(checkQcow2(file)).toMatchObject(clean);
  });
});

describe('a temporary disk', () => {
  it('leaves its base alone; what was written to it can be saved', () => {
    const base = new MemoryFile('base', pattern(3, SIZE));
    const image = openImage({ name: 'base', format: 'raw', readOnly: true }, opener([base]));
    const disk = new TemporaryDisk(image, new MemoryFile('writes'), unpack);
    const { identity } = image;
    expect(disk.save()).toBeUndefined();
    const model = base.contents();
    const next = random(3);
    for (let i = 0; i < 100; i++) step(disk, model, next);
    expect(same(readAll(disk), model)).toBe(true);
    expect(image.identity).toBe(identity);
    expect(disk.identity).toBe(identity);
    const again = new TemporaryDisk(image, new MemoryFile('writes'), unpack);
    again.restore(disk.save() ?? new Uint8Array());
    expect(same(readAll(again), model)).toBe(true);
    for (let i = 0; i < 100; i++) step(again, model, next);
    expect(same(readAll(again), model)).toBe(true);
    expect(() => again.restore(new Uint8Array(4096))).toThrow('is not a qcow2 image');
    expect(() => again.restore(create({ size: 512 }).contents())).toThrow('those to another disk');
  });
});

describe('backing files', () => {
  it('that make a loop are refused', () => {
    const a = create({ backing: { name: 'b', format: 'qcow2' } }, 'a');
    const b = create({ backing: { name: 'a', format: 'qcow2' } }, 'b');
    expect(() => openImage({ name: 'a', format: 'auto', readOnly: true }, opener([a, b]))).toThrow(
      'the disk a stands on itself: its backing files make a loop',
    );
    expect(a.closed && b.closed).toBe(true);
  });
  it('can be 64, and no more', () => {
    const chain = (length: number): MemoryFile[] =>
      Array.from({ length }, (_, i) => {
        const backing = { name: String(i + 1), format: 'qcow2' };
        return create({ size: 65536, ...(i < length - 1 && { backing }) }, String(i));
      });
    const request = { name: '0', format: 'auto', readOnly: true } as const;
    expect(openImage(request, opener(chain(65))).size).toBe(65536);
    const more = chain(66);
    expect(() => openImage(request, opener(more))).toThrow('more than 64 images stand on the disk 65');
    // The last one was not opened.
    expect(more.slice(0, 65).every(({ closed }) => closed)).toBe(true);
  });
  it('whose names no reader takes cannot be given to a new image', () => {
    expect(() => create({ backing: { name: 'a\nb', format: 'raw' } })).toThrow('has control characters');
  });
  it('of a format that is not known are refused', () => {
    const file = create({ backing: { name: 'b', format: 'vmdk' } });
    expect(() => openImage({ name: 'image', format: 'auto', readOnly: true }, opener([file]))).toThrow(
      'stands on a file of the format vmdk, which is not known here',
    );
  });
  it('of a format that would write on the terminal are told without that', () => {
    const file = create({ backing: { name: 'b', format: '\x1b[2Jraw\n' } });
    expect(() => openImage({ name: 'image', format: 'auto', readOnly: true }, opener([file]))).toThrow(
      'stands on a file of the format ?[2Jraw?, which is not known here',
    );
  });
});

describe('a raw disk whose format was guessed', () => {
  it('is none of another program’s format', () => {
    const file = new MemoryFile('image', new Uint8Array(65536));
    file.write(65536 - 512, new TextEncoder().encode('koly'));
    const open = (format: 'auto' | 'raw'): DiskImage =>
      openImage({ name: 'image', format, readOnly: false }, opener([file]));
    expect(() => open('auto')).toThrow('the disk image is a DMG image, which only other programs read');
    expect(open('raw').size).toBe(65536);
  });

  it('cannot be made a qcow2 image by its guest', () => {
    const file = new MemoryFile('image', new Uint8Array(65536));
    const header = create().contents().subarray(0, 512);
    const guessed = openImage({ name: 'image', format: 'auto', readOnly: false }, opener([file]));
    expect(() => guessed.write(0, header)).toThrow('wants to make a qcow2 image of image');
    guessed.write(512, header);
    openImage({ name: 'image', format: 'raw', readOnly: false }, opener([file])).write(0, header);
    expect(file.contents().subarray(0, 4)).toEqual(Uint8Array.of(0x51, 0x46, 0x49, 0xfb));
  });
});
