import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskTransfers } from './disk-transfers.js';
import { pageAligned } from './page-aligned.js';

const KIB = 1024;

describe.skipIf(process.platform !== 'linux')('transfers that go on meanwhile', () => {
  let folder: string;
  let fd: number;
  let transfers: DiskTransfers;
  const content = Uint8Array.from({ length: 1024 * KIB }, (_, i) => (i >> 9) * 7 + i);
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'vitrine-transfers-'));
    writeFileSync(path.join(folder, 'file'), content);
    fd = openSync(path.join(folder, 'file'), constants.O_RDWR | constants.O_DIRECT);
    transfers = new DiskTransfers();
  });
  afterEach(() => {
    transfers.close();
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });

  it('tell when they are done, and not before they are asked', () => {
    const told: [string, boolean][] = [];
    const into = pageAligned(256 * KIB);
    const from = pageAligned(128 * KIB).fill(9);
    expect(transfers.begin(fd, 'read', 64 * KIB, into, (ok) => told.push(['read', ok]))).toBe(true);
    expect(transfers.begin(fd, 'write', 512 * KIB, from, (ok) => told.push(['write', ok]))).toBe(true);
    transfers.wait();
    expect([told, transfers.areOpen]).toEqual([[], true]);
    transfers.collect();
    expect([told.toSorted(), transfers.areOpen]).toEqual([
      [
        ['read', true],
        ['write', true],
      ],
      false,
    ]);
    expect(Buffer.compare(into, content.subarray(64 * KIB, 320 * KIB))).toBe(0);
    const after = content.slice().fill(9, 512 * KIB, 640 * KIB);
    expect(Buffer.compare(readFileSync(path.join(folder, 'file')), after)).toBe(0);
  });

  it('say that they have failed', () => {
    const told: boolean[] = [];
    const beyond = (): boolean =>
      transfers.begin(fd, 'read', content.length - 64 * KIB, pageAligned(128 * KIB), (ok) => told.push(ok));
    expect(beyond()).toBe(true);
    transfers.settle();
    expect(told).toEqual([false]);
    // Nothing is open there.
    expect(transfers.begin(9999, 'read', 0, pageAligned(128 * KIB), (ok) => told.push(ok))).toBe(false);
    expect(transfers.areOpen).toBe(false);
  });

  it('settle what begins when something ends, too', () => {
    const into = pageAligned(64 * KIB);
    let left = 3;
    const again = (): void => {
      if (left-- > 0) expect(transfers.begin(fd, 'read', 0, into, again)).toBe(true);
    };
    again();
    transfers.settle();
    expect([left, transfers.areOpen]).toEqual([-1, false]);
  });

  it('leave to their caller what is short, more than they can have, and, mostly, what is alone', () => {
    const begin = (size = 64 * KIB): boolean => transfers.begin(fd, 'read', 0, pageAligned(size), () => undefined);
    expect(begin(32 * KIB)).toBe(false);
    const all = Array.from({ length: 33 }, () => begin());
    expect(all).toEqual([...new Array<boolean>(32).fill(true), false]);
    transfers.settle();
    const alone = Array.from({ length: 100 }, () => {
      const begun = begin();
      transfers.settle();
      return begun;
    });
    expect(alone.slice(0, 4)).toEqual([true, true, true, true]);
    expect(alone.slice(4).filter(Boolean)).toHaveLength(3);
    // Until there is another one with it.
    for (let i = 0; i < 40 && !begin(); i++);
    expect([begin(), begin()]).toEqual([true, true]);
    transfers.settle();
    expect(begin()).toBe(true);
  });
});
