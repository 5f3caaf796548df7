/**
 * Writes records to a disk until it is killed, and says which are durable: `disk-writer.js FILE SEED`. Each record is a block of
 * 4 KiB at a place of its own, with its number in it; a line `N` on standard output promises the records up to N.
 */
import { writeSync } from 'node:fs';
import { openImage } from '../block/open.js';
import { imageOpener } from '../runtime/node/image-store.js';
import { sequence } from './disk-images.js';

/** Bytes of a record. */
export const RECORD = 4096;

/** Places in the order in which records are written: every block once, all over the disk. */
export function* places(blocks: number, seed: number): Generator<number> {
  const next = sequence(seed);
  const order = Array.from({ length: blocks }, (_, i) => i);
  for (let left = blocks; left > 0; left--) {
    const i = next(left);
    yield order[i] * RECORD;
    order[i] = order[left - 1];
  }
}

/** What a record holds. */
export function record(number: number): Uint8Array {
  const bytes = new Uint8Array(RECORD).fill(1 + (number % 255));
  new DataView(bytes.buffer).setUint32(0, number + 1);
  return bytes;
}

function main(file: string, seed: number): void {
  const disk = openImage({ name: file, format: 'auto', readOnly: false }, imageOpener({ lock: true, warn: () => {} }));
  const next = sequence(seed + 1);
  let number = 0;
  for (const offset of places(disk.size / RECORD, seed)) {
    disk.write(offset, record(number++));
    if (next(12) !== 0) continue;
    disk.flush();
    writeSync(1, `${number}\n`);
  }
  // All written, and promised before they are given up one by one, until killed.
  disk.flush();
  writeSync(1, `${number}\n`);
  for (;;) {
    disk.discard(next(disk.size / 65536 - 3) * 65536, 65536 * 4);
    disk.flush();
  }
}

const [, program = '', file, seed] = process.argv;
if (program.endsWith('disk-writer.js') && file !== undefined) main(file, Number(seed));
