/** Which pages of a machine's memory lie where in files. */

/** Pages in a row. */
export interface PageRange {
  readonly page: number;
  readonly count: number;
}

/** Pages in a row that are pages in a row of a file, too. Numbers of pages, from 0 on. */
export interface MemoryRun extends PageRange {
  /** Index in a list of files. */
  readonly file: number;
  /** The first one in the file. */
  readonly at: number;
}

/** Pages between two ranges that are rather taken along than left out. */
const SMALL_GAP = 4;

const endOf = ({ page, count }: PageRange): number => page + count;

export interface CoalesceLimits {
  /** Ranges that are few enough. */
  readonly few: number;
  /** Pages that may be taken along to come to that. */
  readonly spare: number;
  /** Ranges that there may be at most, whatever has to be taken along. */
  readonly most: number;
}

/** Ranges in ascending order, some of them made one with what is between them: the nearest ones first. */
export function coalesce(ranges: readonly PageRange[], { few, spare, most }: CoalesceLimits): PageRange[] {
  const gaps = ranges.slice(1).map((range, i) => ({ behind: i, size: range.page - endOf(ranges[i]) }));
  const closed = new Set<number>();
  let taken = 0;
  for (const { behind, size } of gaps.sort((a, b) => a.size - b.size)) {
    const left = ranges.length - closed.size;
    if (size > SMALL_GAP && left <= most && (left <= few || taken + size > spare)) break;
    closed.add(behind);
    taken += size;
  }
  const result: PageRange[] = [];
  for (const [i, range] of ranges.entries()) {
    const last = result.at(-1);
    if (last && closed.has(i - 1)) result[result.length - 1] = { page: last.page, count: endOf(range) - last.page };
    else result.push(range);
  }
  return result;
}

/** Ranges of both lists, each in ascending order, as one such list. */
export function unite(a: readonly PageRange[], b: readonly PageRange[]): PageRange[] {
  const result: PageRange[] = [];
  for (const range of [...a, ...b].sort((x, y) => x.page - y.page)) {
    const last = result.at(-1);
    if (last && range.page <= endOf(last))
      result[result.length - 1] = { page: last.page, count: Math.max(endOf(range), endOf(last)) - last.page };
    else result.push({ page: range.page, count: range.count });
  }
  return result;
}

/** `below` where nothing of `above` is, and that; both in ascending order, as is the result. */
export function overlay(below: readonly MemoryRun[], above: readonly MemoryRun[]): MemoryRun[] {
  const result: MemoryRun[] = [...above];
  let next = 0;
  for (const run of below) {
    let from = run.page;
    const add = (until: number): void => {
      if (until > from) result.push({ ...run, page: from, count: until - from, at: run.at + from - run.page });
    };
    while (next < above.length && endOf(above[next]) <= run.page) next++;
    for (let i = next; i < above.length && above[i].page < endOf(run); i++) {
      add(above[i].page);
      from = Math.max(from, endOf(above[i]));
    }
    add(endOf(run));
  }
  return result.sort((a, b) => a.page - b.page);
}
