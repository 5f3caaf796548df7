/**
 * A machine's memory that others of the same process begin with: what was written is moved into files in memory, which it and they map privately.
 * None of them sees what another writes, and what none writes is there once.
 */
import { HostError } from '../../base/errors.js';
import { PAGE_SIZE } from '../../base/units.js';
import { changedPages } from './changed-pages.js';
import { discard, mapFile, mapOrRead } from './give-back.js';
import { coalesce, overlay, unite, type MemoryRun, type PageRange } from './memory-runs.js';
import { memoryFiles } from './native/memory-files.js';
import { writeTo } from './snapshot-file.js';

/** What memory is made of where it is not zeros. */
export interface MemoryLayers {
  /** Descriptors of the process, which belong to whoever has this. */
  readonly files: readonly LayerFile[];
  /** In ascending order. */
  readonly runs: readonly MemoryRun[];
}

export interface LayerFile {
  readonly fd: number;
  /** Pages that lie in it; 0: a file that is not the machines' own, such as a template. */
  readonly pages: number;
}

/**
 * Mappings that the memories of all machines of a process may have, about: of the 65,530 that Linux gives it (vm.max_map_count) V8 takes some hundred for each
 * machine, and does not survive being refused one.
 */
const MAPPINGS = 12_000;
/** Mappings of one machine, at most and at least. */
const MOST_RUNS = 1536;
const LEAST_RUNS = 32;
const MOST_FILES = 8;
/** Pages that may be moved besides those that have changed, or lie in files without being used; as many as those that are used always may. */
const SLACK = 4096;

/** Lets go of what nobody will map any more. */
export function closeLayers({ files }: MemoryLayers): void {
  for (const { fd } of files) memoryFiles?.close(fd);
}

/** There may be a hundred thousand to look at: none gets a view of its own. */
function isZeroPage(words: Int32Array, page: number): boolean {
  const size = PAGE_SIZE / 4;
  for (let i = page * size, end = i + size; i < end; i++) if (words[i] !== 0) return false;
  return true;
}

/** Adds a page to ranges that end at or before it. */
function addPage(ranges: PageRange[], page: number): void {
  const last = ranges.at(-1);
  if (last && last.page + last.count === page) ranges[ranges.length - 1] = { ...last, count: last.count + 1 };
  else ranges.push({ page, count: 1 });
}

const sizeOf = (ranges: readonly PageRange[]): number => ranges.reduce((sum, { count }) => sum + count, 0);

export class LayeredMemory {
  private files: LayerFile[] = [];
  private runs: readonly MemoryRun[] = [];
  /** Pages that were moved into a file because they had changed. */
  private moved: readonly PageRange[] = [];

  /** `bytes`: whole pages, which begin at a page of the system's. */
  constructor(private readonly bytes: Uint8Array) {}

  private at({ page, count }: PageRange): Uint8Array {
    return this.bytes.subarray(page * PAGE_SIZE, (page + count) * PAGE_SIZE);
  }

  /** All of it is what an open file has from `offset` on, which nobody writes to. False: it cannot be mapped. */
  begin(fd: number, offset: number): boolean {
    const own = memoryFiles?.duplicate(fd) ?? -1;
    if (own < 0) return mapFile(this.bytes, fd, offset);
    if (!mapFile(this.bytes, own, offset)) {
      memoryFiles?.close(own);
      return false;
    }
    this.files = [{ fd: own, pages: 0 }];
    this.runs = [{ page: 0, count: this.bytes.length / PAGE_SIZE, file: 0, at: offset / PAGE_SIZE }];
    return true;
  }

  /** Memory of zeros becomes what another's is. The layers are its own from now on. */
  adopt({ files, runs }: MemoryLayers): void {
    this.files = [...files];
    this.runs = runs;
    for (const run of runs) mapOrRead(this.at(run), files[run.file].fd, run.at * PAGE_SIZE);
  }

  /** Pages that are not in a file as they are now. Undefined: the system does not tell. */
  private changed(): PageRange[] | undefined {
    const own = changedPages(this.bytes, PAGE_SIZE);
    if (!own) return undefined;
    // What lies over a file has been written to; elsewhere it may be zeros, as what is not there at all: then it need not be looked at again.
    const result: PageRange[] = [];
    const zeros: PageRange[] = [];
    let below = 0;
    const { runs } = this;
    const words = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 4);
    for (const { page, count } of own)
      for (let i = page; i < page + count; i++) {
        while (below < runs.length && runs[below].page + runs[below].count <= i) below++;
        const isOverFile = below < runs.length && runs[below].page <= i;
        addPage(!isOverFile && isZeroPage(words, i) ? zeros : result, i);
      }
    for (const range of zeros) discard(this.at(range));
    return result;
  }

  /**
   * What another machine begins with that is to have this memory as it is now. Nobody may write to it meanwhile. Undefined: that cannot be had
   * here. `among`: machines that the process has, which share its mappings. Throws what the system refuses.
   */
  branch(among = 1): MemoryLayers | undefined {
    if (!memoryFiles) return undefined;
    const changed = this.changed();
    if (!changed) return undefined;
    this.moved = unite(this.moved, changed);
    if (changed.length > 0)
      this.settle(changed, Math.min(MOST_RUNS, Math.max(LEAST_RUNS, Math.floor(MAPPINGS / among))));
    const files: LayerFile[] = [];
    for (const file of this.files) {
      const fd = memoryFiles.duplicate(file.fd);
      if (fd < 0) {
        closeLayers({ files, runs: [] });
        return undefined;
      }
      files.push({ ...file, fd });
    }
    return { files, runs: this.runs };
  }

  /** Pages that had been written to at some `branch` since this was asked for the last time, or since the beginning. */
  takeChanged(): readonly PageRange[] {
    const { moved } = this;
    this.moved = [];
    return moved;
  }

  /** Moves pages into a file, with others where there would be too many pieces: more than `allowed` mappings. */
  private settle(changed: readonly PageRange[], allowed: number): void {
    const { runs, files } = this;
    const own = runs.filter(({ file }) => files[file].pages > 0);
    const used = sizeOf(own) + sizeOf(changed);
    const stored = files.reduce((sum, { pages }) => sum + pages, 0) + sizeOf(changed);
    const pieces = coalesce(changed, {
      few: Math.min(64, allowed >> 3),
      most: Math.min(256, allowed >> 2),
      spare: Math.max(SLACK, sizeOf(changed)),
    });
    const isTooMuch =
      own.length === 0 ||
      files.length >= MOST_FILES ||
      runs.length + 2 * pieces.length > allowed ||
      stored > 2 * used + SLACK;
    // Then all that files of its own have goes into the new one, and those that nobody else uses are gone.
    const all = isTooMuch ? unite(own, changed) : [];
    // Each may divide a mapping of what is below into two.
    const limits = { few: Math.min(192, allowed >> 2), most: Math.min(384, Math.floor(allowed / 3)) };
    const moved = isTooMuch ? coalesce(all, { ...limits, spare: Math.max(SLACK, sizeOf(all)) }) : pieces;
    const { fd, places } = this.write(moved);
    const above = moved.map((range, i) => ({ ...range, file: files.length, at: places[i] }));
    this.runs = overlay(runs, above);
    this.files = [...files, { fd, pages: sizeOf(moved) }];
    for (const run of above) mapFile(this.at(run), fd, run.at * PAGE_SIZE);
    this.forgetUnused();
  }

  /** A file with these pages behind each other, and where each range begins in it, in pages. */
  private write(ranges: readonly PageRange[]): { readonly fd: number; readonly places: readonly number[] } {
    const fd = memoryFiles?.create() ?? -1;
    if (fd < 0) throw new HostError(`the machine cannot be forked: no file in memory can be had (error ${-fd})`);
    let at = 0;
    try {
      const places = ranges.map((range) => {
        writeTo(fd).write(at * PAGE_SIZE, this.at(range));
        at += range.count;
        return at - range.count;
      });
      return { fd, places };
    } catch (cause) {
      memoryFiles?.close(fd);
      throw new HostError('the machine cannot be forked: the host has no memory left for it', { cause });
    }
  }

  private forgetUnused(): void {
    const used = new Set(this.runs.map(({ file }) => file));
    const places = new Map([...used].sort((a, b) => a - b).map((file, i) => [file, i]));
    for (const [i, { fd }] of this.files.entries()) if (!used.has(i)) memoryFiles?.close(fd);
    this.files = this.files.filter((_, i) => used.has(i));
    this.runs = this.runs.map((run) => ({ ...run, file: places.get(run.file) ?? 0 }));
  }

  /** The memory stays as it is. */
  close(): void {
    closeLayers({ files: this.files, runs: [] });
    this.files = [];
    this.runs = [];
  }
}
