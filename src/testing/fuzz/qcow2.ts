/**
 * Damaged and hostile qcow2 images: whatever is in one, it is refused in one line, or read and written as far as it goes, within
 * a moment and with little memory. `qcow2.js COUNT [SEED]` tries so many.
 */
import { argv } from 'node:process';
import { VitrineError } from '../../base/errors.js';
import type { DiskImage, Unpack } from '../../block/image.js';
import { openImage, type Opener } from '../../block/open.js';
import { createQcow2 } from '../../block/qcow2/create.js';
import { checkQcow2, repairQcow2 } from '../../block/qcow2/open.js';
import { MemoryFile } from '../../host/fake/memory-file.js';
import { unpack } from '../../host/node/unpack.js';
import { zstdReady } from '../../host/node/zstd.js';
import { sequence } from '../disk-images.js';

type Next = (below: number) => number;

const SIZE = 1 << 20;

function opener(file: MemoryFile): Opener {
  const base = new MemoryFile('base', new Uint8Array(SIZE / 2).fill(5));
  const store = {
    keyOf: (name: string): string => name,
    open: (name: string): MemoryFile => {
      if (name === 'image') return file;
      if (name === 'base') return base;
      throw new VitrineError('no such file');
    },
    resolve: (_image: string, backing: string): string => backing,
  };
  return { store, unpack: unpack satisfies Unpack };
}

/** An image with all kinds of clusters, and one of its snapshots. */
function seedImage(layout: { clusterSize: number; extendedL2?: boolean }, backed: boolean): MemoryFile {
  const { clusterSize } = layout;
  const file = new MemoryFile('image');
  createQcow2(file, { size: SIZE, ...layout, ...(backed && { backing: { name: 'base', format: 'raw' } }) });
  const disk = openImage({ name: 'image', format: 'qcow2', readOnly: false }, opener(file));
  for (let i = 0; i < 20; i++) disk.write(i * 5 * 512, new Uint8Array(512 * (1 + (i % 7))).fill(i + 1));
  disk.writeZeroes(0, 8192);
  disk.flush();
  addSnapshot(file, clusterSize);
  return file;
}

/** A table of snapshots with one entry, which has the active L1 table. */
function addSnapshot(file: MemoryFile, clusterSize: number): void {
  const at = Math.ceil(file.size / clusterSize) * clusterSize;
  const header = new Uint8Array(72);
  file.read(0, header);
  const fields = new DataView(header.buffer);
  const entry = new Uint8Array(clusterSize);
  const view = new DataView(entry.buffer);
  view.setBigUint64(0, fields.getBigUint64(40));
  view.setUint32(8, fields.getUint32(36));
  view.setUint16(12, 1);
  view.setUint16(14, 1);
  view.setUint32(36, 16);
  view.setBigUint64(48, BigInt(SIZE));
  entry.set([0x31, 0x73], 56);
  file.write(at, entry);
  fields.setUint32(60, 1);
  fields.setBigUint64(64, BigInt(at));
  file.write(0, header);
}

const SEEDS = [
  { clusterSize: 512 },
  { clusterSize: 4096 },
  { clusterSize: 65536 },
  { clusterSize: 16384, extendedL2: true },
].flatMap((layout) => [true, false].map((backed) => seedImage(layout, backed)));

/** Numbers that are wrong in an interesting way. */
const ODD = [0, 1, 0xff, 0x1ff, 0x200, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x4000_0000, 0x0001_0000, 0x7fff_fffe];

function mutate(file: MemoryFile, next: Next): void {
  const { size } = file;
  for (let count = 1 + next(6); count > 0; count--) {
    // The header most often, then its neighbours: tables are in the first clusters.
    const at = [next(112), next(112), next(Math.min(size, 4096)), next(size)][next(4)];
    const bytes = new Uint8Array([1, 4, 8][next(3)]);
    file.read(at, bytes);
    switch (next(4)) {
      case 0:
        bytes[next(bytes.length)] ^= 1 << next(8);
        break;
      case 1:
        new DataView(bytes.buffer).setUint8(0, next(256));
        break;
      case 2:
        if (bytes.length >= 4) new DataView(bytes.buffer).setUint32(bytes.length - 4, ODD[next(ODD.length)]);
        break;
      default:
        // An entry that leads somewhere in the file, of some kind.
        if (bytes.length === 8) {
          const kind = [0, 0x8000_0000, 0x4000_0000, 0x4fff_0000][next(4)];
          new DataView(bytes.buffer).setUint32(0, kind);
          new DataView(bytes.buffer).setUint32(4, next(size + 4096) & ~[0, 511, 4095, 65535][next(4)]);
        }
    }
    file.write(at, bytes);
  }
  if (next(12) === 0) file.truncate(next(size));
}

/** What may be thrown: one line for people. */
function refusable(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof VitrineError) || error.message.includes('\n')) throw error;
  }
}

function use(disk: DiskImage, next: Next): void {
  for (let i = 0; i < 12; i++) {
    const length = 512 * (1 + next(next(4) === 0 ? 300 : 8));
    const offset = next(Math.max(1, Math.min(disk.size, SIZE) / 512)) * 512;
    if (offset + length > disk.size) continue;
    refusable(() => {
      const kind = disk.readOnly ? 0 : next(6);
      if (kind === 1) disk.discard(offset, length);
      else if (kind === 2) disk.writeZeroes(offset, length);
      else if (kind === 3) disk.flush();
      else if (kind >= 4) disk.write(offset, new Uint8Array(length).fill(next(256)));
      else disk.read(offset, new Uint8Array(length));
    });
  }
}

/** One image; throws when something goes wrong that must not. */
export function fuzzQcow2(seed: number): void {
  const next = sequence(seed);
  const file = SEEDS[next(SEEDS.length)].copy();
  mutate(file, next);
  const internal = next(6) === 0 ? 's' : undefined;
  const readOnly = internal !== undefined || next(3) === 0;
  refusable(() => {
    const disk = openImage({ name: 'image', format: 'qcow2', readOnly, internal }, opener(file));
    use(disk, next);
    refusable(() => disk.close());
  });
  refusable(() => checkQcow2(file));
  if (next(3) !== 0) return;
  refusable(() => {
    repairQcow2(file);
    const { leaks, errors, messages } = checkQcow2(file);
    if (leaks + errors > 0) throw new Error(`after a repair: ${messages.join('; ')}`);
  });
}

const [, program = '', count, first = '1'] = argv;
if (program.endsWith('fuzz/qcow2.js')) {
  await zstdReady();
  let slowest = 0;
  for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
    const before = performance.now();
    try {
      fuzzQcow2(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    slowest = Math.max(slowest, performance.now() - before);
  }
  const { maxRSS } = process.resourceUsage();
  console.log(`${count ?? 0} images, the slowest ${slowest.toFixed(0)} ms, ${Math.ceil(maxRSS / 1024)} MiB at most`);
}
