import { describe, expect, it } from 'vitest';
import { RandomSource } from '../../testing/random-source.js';
import { coalesce, overlay, unite, type MemoryRun, type PageRange } from './memory-runs.js';

const PAGES = 400;

function ranges(random: RandomSource): PageRange[] {
  const result: PageRange[] = [];
  for (let page = random.below(8); page < PAGES; page += 1 + random.below(30)) {
    const count = Math.min(1 + random.below(12), PAGES - page);
    result.push({ page, count });
    page += count;
  }
  return result;
}

const pagesOf = (list: readonly PageRange[]): number[] =>
  list.flatMap(({ page, count }) => Array.from({ length: count }, (_, i) => page + i));

/** Where each page lies, one by one. */
function places(runs: readonly MemoryRun[]): Map<number, string> {
  const result = new Map<number, string>();
  for (const { page, count, file, at } of runs)
    for (let i = 0; i < count; i++) {
      expect(result.has(page + i)).toBe(false);
      result.set(page + i, `${file}:${at + i}`);
    }
  return result;
}

function runs(random: RandomSource, file: number): MemoryRun[] {
  let at = 0;
  return ranges(random).map((range) => {
    at += range.count;
    return { ...range, file, at: at - range.count };
  });
}

describe('ranges of pages', () => {
  it('are made fewer by what is between them, the nearest ones first', () => {
    const apart = [0, 100, 110, 300].map((page) => ({ page, count: 2 }));
    expect(coalesce(apart, { few: 3, spare: 50, most: 10 })).toEqual([
      { page: 0, count: 2 },
      { page: 100, count: 12 },
      { page: 300, count: 2 },
    ]);
    // Not at any price, …
    expect(coalesce(apart, { few: 1, spare: 50, most: 10 })).toHaveLength(3);
    // … unless there must not be so many.
    expect(coalesce(apart, { few: 1, spare: 0, most: 1 })).toEqual([{ page: 0, count: 302 }]);
    expect(coalesce([], { few: 1, spare: 0, most: 1 })).toEqual([]);
    const random = new RandomSource(1);
    for (let i = 0; i < 200; i++) {
      const list = ranges(random);
      const most = 1 + random.below(20);
      const result = coalesce(list, { few: 1, spare: random.below(50), most });
      expect(result.length).toBeLessThanOrEqual(most);
      const all = new Set(pagesOf(result));
      for (const page of pagesOf(list)) expect(all.has(page)).toBe(true);
      expect(all.size).toBe(pagesOf(result).length);
    }
  });

  it('of two lists are united, and laid over each other', () => {
    const random = new RandomSource(2);
    for (let i = 0; i < 200; i++) {
      const [a, b] = [runs(random, 0), runs(random, 1)];
      const expected = [...new Set([...pagesOf(a), ...pagesOf(b)])].sort((x, y) => x - y);
      expect(pagesOf(unite(a, b))).toEqual(expected);
      const laid = overlay(a, b);
      expect(laid.map(({ page }) => page)).toEqual(laid.map(({ page }) => page).sort((x, y) => x - y));
      expect(places(laid)).toEqual(new Map([...places(a), ...places(b)].sort(([x], [y]) => x - y)));
    }
  });
});
