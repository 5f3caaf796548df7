import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { RandomSource } from '../../testing/random-source.js';
import { changedPages } from './changed-pages.js';
import { closeLayers, LayeredMemory } from './layered-memory.js';
import { memoryFiles } from './native/memory-files.js';

const PAGE = 4096;
const PAGES = 2048;

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-layers-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Whole pages of the system's, as a machine's memory has them. */
const empty = (): Uint8Array =>
  new Uint8Array(
    new WebAssembly.Memory({ initial: (PAGES * PAGE) / 65_536, maximum: (PAGES * PAGE) / 65_536, shared: true }).buffer,
  );

const files = (): number => readdirSync('/proc/self/fd').length;

/** Its own copy, not shared. */
const contents = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

const here = memoryFiles?.pageSize === PAGE && changedPages(empty(), PAGE) !== undefined;

describe.skipIf(!here)('memory that machines share', () => {
  it('is the same in who begins with it, and nobody sees what another writes', () => {
    const before = files();
    const [one, other] = [empty(), empty()];
    one.fill(7, 5 * PAGE, 9 * PAGE);
    one[PAGES * PAGE - 1] = 9;
    const parent = new LayeredMemory(one);
    const child = new LayeredMemory(other);
    const layers = parent.branch();
    if (!layers) throw new Error('there are no layers');
    child.adopt(layers);
    expect(contents(other).equals(contents(one))).toBe(true);
    one[5 * PAGE] = 1;
    other[5 * PAGE] = 2;
    other[100 * PAGE] = 3;
    expect([one[5 * PAGE], other[5 * PAGE], one[100 * PAGE]]).toEqual([1, 2, 0]);
    // Of what lies in the file only that which was written is the machine's own.
    expect(changedPages(other.subarray(5 * PAGE, 9 * PAGE), PAGE)).toEqual([{ page: 0, count: 1 }]);
    // All that there was, then what was written since, however often others began with it meanwhile.
    expect(parent.takeChanged()).toEqual([
      { page: 5, count: 4 },
      { page: PAGES - 1, count: 1 },
    ]);
    one[200 * PAGE] = 1;
    for (const layer of [parent.branch(), parent.branch(), child.branch()]) if (layer) closeLayers(layer);
    expect(parent.takeChanged()).toEqual([
      { page: 5, count: 1 },
      { page: 200, count: 1 },
    ]);
    expect(parent.takeChanged()).toEqual([]);
    expect(child.takeChanged()).toEqual([
      { page: 5, count: 1 },
      { page: 100, count: 1 },
    ]);
    parent.close();
    child.close();
    expect(files()).toBe(before);
  });

  it('is right through generations, in a bounded number of files and pieces', () => {
    const before = files();
    const random = new RandomSource(3);
    // What they begin with: a template.
    const file = path.join(folder, 'template');
    writeFileSync(file, Buffer.concat([Buffer.alloc(3 * PAGE), random.bytes(PAGES * PAGE)]));
    const fd = openSync(file, 'r');
    const first = { bytes: empty(), memory: undefined as unknown as LayeredMemory };
    first.memory = new LayeredMemory(first.bytes);
    expect(first.memory.begin(fd, 3 * PAGE)).toBe(true);
    closeSync(fd);
    const machines = [{ ...first, expected: contents(first.bytes) }];
    for (let step = 0; step < 60; step++) {
      const from = machines[random.below(machines.length)];
      for (let i = 0; i < 40; i++) {
        const at = random.below(PAGES) * PAGE + random.below(PAGE);
        // Zeros too, over what was none.
        const value = random.below(3);
        from.bytes.fill(value, at, at + 1);
        from.expected.fill(value, at, at + 1);
      }
      const among = random.below(400);
      const layers = from.memory.branch(among);
      if (!layers) throw new Error('there are no layers');
      expect(layers.files.length).toBeLessThanOrEqual(9);
      expect(layers.runs.length).toBeLessThanOrEqual(Math.min(1536, Math.max(32, 12_000 / among)));
      if (step % 7 === 0) {
        closeLayers(layers);
        continue;
      }
      const bytes = empty();
      const memory = new LayeredMemory(bytes);
      memory.adopt(layers);
      machines.push({ bytes, memory, expected: Buffer.from(from.expected) });
      if (machines.length > 6) machines.splice(random.below(6), 1)[0].memory.close();
    }
    for (const { bytes, expected } of machines) expect(contents(bytes).equals(expected)).toBe(true);
    for (const { memory } of machines) memory.close();
    expect(files()).toBe(before);
  });
});
