import { mkdtempSync, rmSync, writeFileSync, openSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { deflate } from '../../host/node/deflate.js';
import { mapFile } from '../../host/node/give-back.js';
import { FileSource } from '../../host/node/snapshot-file.js';
import { SnapshotReader, SnapshotWriter, type SnapshotSource } from '../../snapshot/container.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-mapped-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SIZE = 1 << 20;

/** Some pages with something in them, among them the last. */
function original(): Uint8Array {
  const memory = new Uint8Array(SIZE);
  memory.fill(7, 4096, 3 * 4096);
  memory[SIZE - 1] = 9;
  return memory;
}

function write(name: string): string {
  const file = path.join(folder, name);
  const fd = openSync(file, 'w');
  const writer = new SnapshotWriter(
    { write: (offset, bytes) => void writeSync(fd, bytes, 0, bytes.length, offset) },
    deflate,
  );
  writer.add('first', 1, 'text');
  writer.addMappedMemory('ram', 4, original());
  writer.finish();
  closeSync(fd);
  return file;
}

function sourceOf(file: string, mapped: boolean): SnapshotSource & { close(): void } {
  const source = new FileSource(file, 'snapshot');
  return {
    name: file,
    size: source.size,
    read: (offset, length) => source.read(offset, length),
    ...(mapped && { map: (offset, into) => mapFile(into, source.fd, offset) }),
    close: () => source.close(),
  };
}

/** Whole pages of the system's, as a machine's memory has them. */
const empty = (): Uint8Array =>
  new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true }).buffer);

describe('memory that is saved as it is', () => {
  it.each([
    ['mapped', true],
    ['read', false],
  ])('is there again when it is %s', (_, unchanging) => {
    const source = sourceOf(write('saved'), unchanging);
    const [one, other] = [empty(), empty()];
    const reader = new SnapshotReader(source, deflate);
    expect(reader.memorySize('ram')).toBe(SIZE);
    expect(reader.readMemory('ram', one)).toBe(4);
    expect(Buffer.compare(one, original())).toBe(0);
    // What is written stays with whom it belongs to.
    one.fill(1);
    reader.readMemory('ram', other);
    expect(Buffer.compare(other, original())).toBe(0);
    source.close();
    expect(one[SIZE - 1]).toBe(1);
  });

  it('is refused where it is not what it says', () => {
    const file = write('wrong');
    const source = sourceOf(file, true);
    const reader = new SnapshotReader(source, deflate);
    expect(() => reader.readMemory('ram', new Uint8Array(SIZE / 2))).toThrow(/is damaged: ram has 1048576 bytes/);
    source.close();
    writeFileSync(file, 'no snapshot');
    expect(() => new SnapshotReader(new FileSource(file, 'snapshot'), deflate)).toThrow('is not a snapshot');
  });
});
