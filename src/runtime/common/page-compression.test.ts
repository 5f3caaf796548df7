import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import * as node from '../../host/node/deflate.js';
import { deflate, gunzip } from '../../host/browser/deflate.js';

const samples = [0, 1, 4096, 1_000_000].map((length) =>
  Uint8Array.from({ length }, (_, i) => (i % 7 === 0 ? i * 31 : i >> 8)),
);

describe('compression in a page', () => {
  it('reads what Node writes, and Node reads what it writes', () => {
    for (const data of samples) {
      const same = (other: Uint8Array): boolean => Buffer.from(data).equals(other);
      expect(same(deflate.decompress(node.deflate.compress(data), data.length))).toBe(true);
      expect(same(node.deflate.decompress(deflate.compress(data), data.length))).toBe(true);
      expect(same(gunzip(gzipSync(data)))).toBe(true);
    }
  });

  it('takes memory that is shared', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(5000)).fill(7);
    expect(deflate.decompress(deflate.compress(shared), 5000)).toEqual(new Uint8Array(5000).fill(7));
  });

  it('refuses what is longer or shorter than it should be, cut off, or nothing of the kind', () => {
    const packed = deflate.compress(samples[2]);
    for (const length of [0, 4095, 4097]) expect(() => deflate.decompress(packed, length)).toThrow();
    for (const length of [0, 1, 2, 10, packed.length / 2])
      expect(() => deflate.decompress(packed.subarray(0, length), 4096)).toThrow();
    expect(() => deflate.decompress(new Uint8Array(100).fill(255), 100)).toThrow();
    expect(() => gunzip(new Uint8Array(100))).toThrow();
  });
});
