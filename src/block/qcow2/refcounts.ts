/** Reference counts of host clusters, and who gets the next free one. qcow2.txt, "Host cluster management". */
import { MIB } from '../../base/units.js';
import type { HostFile } from '../../iface/file.js';
import { ImageError } from '../image.js';
import { readExactly, Table, TableCache, offsetOf } from './table.js';

/** Bytes of refcount blocks that are kept in memory. */
const CACHE = 32 * MIB;
/** Clusters that are known to be free are remembered up to here; others are looked for. */
const MAX_FREE = 1 << 20;
/** Clusters that one search looks at: a file that claims to be full to no end must not keep anybody. */
const MAX_LOOKS = 1 << 22;
/** Entries of a refcount table, QEMU's limit. */
const MAX_BLOCKS = 1 << 20;
/** Free clusters that only metadata takes, so that data stays in one piece. */
const RESERVE = 16;
/** Tables that room is kept for behind a commit; more than that is found anew when it is needed. */
const MAX_ROOM = 16;

export interface RefcountParts {
  readonly file: HostFile;
  readonly clusterBits: number;
  readonly order: number;
  /** Where the blocks are, 0 for none: the refcount table. */
  readonly blocks: number[];
  /** Whether a cluster is known to hold metadata, whatever its count says: an image may lie. */
  readonly holdsMetadata: (cluster: number) => boolean;
}

/** A cluster, and whether it holds nothing but zeros. */
export interface Allocation {
  readonly cluster: number;
  readonly zero: boolean;
}

export class Refcounts {
  /** Where the blocks are. */
  readonly blocks: number[];
  readonly cache: TableCache;
  private readonly perBlock: number;
  private readonly clusterSize: number;
  private readonly max: number;
  /** Given up, but what stands in the file refers to them still. */
  private readonly leaving = new Set<number>();
  private leavingForgotten = false;
  /** Taken since the last commit: nothing in the file refers to them. */
  private readonly fresh = new Set<number>();
  /** Of these, given up again: free at once, which is all that a full disk of the host's has. */
  private readonly dropped = new Set<number>();
  /** Of those that are leaving, the ones that the host has room for, after tables. */
  private readonly oldTables = new Set<number>();
  /** Free ones that the host has room for already, where the next commit puts its tables. */
  private readonly room = new Set<number>();
  /** In use for tables, and from there: of others the host may have given room to a part. */
  private readonly whole = new Set<number>();
  /** Free ones, the lowest last. */
  private free: number[] = [];
  /** Where to look for more. */
  private hint = 0;
  /** From here on nothing was ever written. */
  high: number;

  constructor(private readonly parts: RefcountParts) {
    const { clusterBits, order, blocks, file } = parts;
    this.clusterSize = 2 ** clusterBits;
    this.perBlock = 2 ** (clusterBits + 3 - order);
    this.max = order >= 6 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** order) - 1;
    this.cache = new TableCache(this.clusterSize, CACHE);
    this.blocks = blocks;
    this.high = Math.ceil(file.size / this.clusterSize);
  }

  get dirty(): boolean {
    return this.cache.dirtyCount > 0;
  }

  /** Too much is waiting to be written. */
  get full(): boolean {
    return this.cache.full || this.leavingForgotten;
  }

  private load(index: number): Table | undefined {
    const known = this.cache.get(index);
    if (known) return known;
    const offset = index < this.blocks.length ? this.blocks[index] : 0;
    if (offset === 0) return undefined;
    const { file } = this.parts;
    if (offset % this.clusterSize !== 0)
      throw new ImageError(`the disk ${file.name} is damaged: a refcount block is not where a cluster begins`);
    const table = new Table(index, readExactly(file, offset, this.clusterSize, 'a refcount block'), offset);
    this.cache.add(table);
    return table;
  }

  get(cluster: number): number {
    const table = this.load(Math.floor(cluster / this.perBlock));
    return table ? readCount(table.view, cluster % this.perBlock, this.parts.order) : 0;
  }

  /** The clusters of a block that are counted, with their counts. Most of a large block is zeros. */
  *counted(index: number): Generator<readonly [cluster: number, count: number]> {
    const view = this.load(index)?.view;
    if (!view) return;
    /** Counts in 8 bytes. */
    const step = 64 >> this.parts.order;
    for (let at = 0; at < this.perBlock; at += step) {
      const place = (at / step) * 8;
      if (view.getUint32(place) === 0 && view.getUint32(place + 4) === 0) continue;
      for (let n = at; n < at + step; n++) {
        const count = readCount(view, n, this.parts.order);
        if (count !== 0) yield [index * this.perBlock + n, count];
      }
    }
  }

  set(cluster: number, count: number): void {
    if (count > this.max)
      throw new ImageError(`the disk ${this.parts.file.name} cannot count so many references to a cluster`);
    const index = Math.floor(cluster / this.perBlock);
    let table = this.load(index);
    if (!table) {
      if (index >= MAX_BLOCKS) throw new ImageError(`the disk ${this.parts.file.name} is as large as it can be`);
      while (this.blocks.length <= index) this.blocks.push(0);
      table = this.cache.create(index);
    }
    this.cache.touch(table);
    writeCount(table.view, cluster % this.perBlock, this.parts.order, count);
  }

  /** Takes away the only reference to a new cluster that could not be written: the host may have no room there, so others are used first. */
  giveUp(cluster: number): void {
    this.fresh.delete(cluster);
    this.set(cluster, 0);
    this.free.unshift(cluster);
  }

  /** Takes one reference away. */
  release(cluster: number): void {
    const count = this.get(cluster);
    if (count === 0)
      throw new ImageError(
        `the disk ${this.parts.file.name} is damaged: cluster ${cluster} is in use and counted free`,
      );
    this.set(cluster, count - 1);
    if (count > 1) return;
    if (this.fresh.delete(cluster)) this.dropped.add(cluster);
    else if (this.leaving.size < MAX_FREE) this.leaving.add(cluster);
    else this.leavingForgotten = true;
  }

  /** As release, of a cluster that holds a table. */
  releaseTable(cluster: number): void {
    this.release(cluster);
    if (!this.whole.delete(cluster)) return;
    if (this.leaving.has(cluster)) this.oldTables.add(cluster);
    // Of a commit that failed.
    else if (this.dropped.delete(cluster)) this.room.add(cluster);
  }

  /**
   * Has room for so many tables in the file: on a host's disk that gets full meanwhile, what a guest was told is written can be
   * made durable still. Throws when the host has none.
   */
  ensureRoom(tables: number): void {
    while (this.room.size < tables) {
      const cluster = this.find('metadata');
      try {
        this.parts.file.write(cluster * this.clusterSize, new Uint8Array(this.clusterSize));
      } catch (error) {
        if (cluster < this.high) this.free.unshift(cluster);
        throw error;
      }
      this.dropped.delete(cluster);
      this.room.add(cluster);
      this.high = Math.max(this.high, cluster + 1);
    }
  }

  private usable(cluster: number): boolean {
    return (
      this.get(cluster) === 0 &&
      !this.leaving.has(cluster) &&
      !this.room.has(cluster) &&
      !this.parts.holdsMetadata(cluster)
    );
  }

  private takeFree(reserve: number): number | undefined {
    if (this.dropped.size > reserve) for (const cluster of this.dropped) if (this.usable(cluster)) return cluster;
    while (this.free.length > reserve) {
      const cluster = this.free.pop();
      if (cluster !== undefined && this.usable(cluster)) return cluster;
    }
    return undefined;
  }

  /** A free cluster, which is counted from now on. */
  allocate(purpose: 'data' | 'metadata'): Allocation {
    const [ready] = purpose === 'metadata' ? this.room : [];
    if (ready === undefined) return this.take(this.find(purpose));
    this.whole.add(ready);
    return this.take(ready);
  }

  private find(purpose: 'data' | 'metadata'): number {
    const known = this.takeFree(purpose === 'data' ? RESERVE : 0);
    if (known !== undefined) return known;
    // What was given up since the last commit and not remembered must not be found before it.
    if (!this.leavingForgotten) {
      for (let looks = 0; this.hint < this.high && looks < MAX_LOOKS; looks++) {
        const cluster = this.hint++;
        if (this.usable(cluster)) return cluster;
      }
    }
    return this.high;
  }

  private take(cluster: number): Allocation {
    const zero = cluster >= this.high;
    this.set(cluster, 1);
    this.dropped.delete(cluster);
    this.room.delete(cluster);
    // Those that are not remembered wait for the next commit when they are given up.
    if (this.fresh.size < MAX_FREE) this.fresh.add(cluster);
    if (zero) this.high = cluster + 1;
    return { cluster, zero };
  }

  /** Free clusters one behind the other; returns the first. */
  allocateRun(count: number): number {
    if (count === 1) return this.allocate('metadata').cluster;
    const first = this.high;
    for (let i = 0; i < count; i++) this.take(first + i);
    return first;
  }

  /** The file has no references any more to what was given up. Calls `gone` with each run of free clusters. */
  committed(gone: (cluster: number, count: number) => void): void {
    for (const cluster of this.oldTables) {
      if (this.room.size >= MAX_ROOM) break;
      this.leaving.delete(cluster);
      this.room.add(cluster);
    }
    this.oldTables.clear();
    const freed = [...this.leaving, ...this.dropped].sort((a, b) => b - a);
    this.leaving.clear();
    this.dropped.clear();
    this.fresh.clear();
    if (this.leavingForgotten) this.hint = 0;
    this.leavingForgotten = false;
    for (let i = 0; i < freed.length;) {
      let count = 1;
      while (i + count < freed.length && freed[i + count] === freed[i] - count) count++;
      gone(freed[i + count - 1], count);
      i += count;
    }
    if (this.free.length + freed.length > MAX_FREE) {
      this.hint = 0;
      this.free.length = 0;
    } else this.free = [...this.free, ...freed];
  }
}

function readCount(view: DataView, i: number, order: number): number {
  switch (order) {
    case 3:
      return view.getUint8(i);
    case 4:
      return view.getUint16(i * 2);
    case 5:
      return view.getUint32(i * 4);
    case 6:
      return view.getUint32(i * 8) * 2 ** 32 + view.getUint32(i * 8 + 4);
    default: {
      // Less than a byte: the first in the least significant bits.
      const width = 1 << order;
      return (view.getUint8((i * width) >>> 3) >>> ((i * width) & 7)) & ((1 << width) - 1);
    }
  }
}

function writeCount(view: DataView, i: number, order: number, count: number): void {
  switch (order) {
    case 3:
      view.setUint8(i, count);
      break;
    case 4:
      view.setUint16(i * 2, count);
      break;
    case 5:
      view.setUint32(i * 4, count);
      break;
    case 6:
      view.setUint32(i * 8, Math.floor(count / 2 ** 32));
      view.setUint32(i * 8 + 4, count % 2 ** 32);
      break;
    default: {
      const [width, at, shift] = [1 << order, (i << order) >>> 3, (i << order) & 7];
      const mask = ((1 << width) - 1) << shift;
      view.setUint8(at, (view.getUint8(at) & ~mask) | (count << shift));
    }
  }
}

/** The places of the blocks, as the refcount table in the file has them. */
export function readRefcountTable(file: HostFile, offset: number, length: number): number[] {
  const bytes = readExactly(file, offset, length, 'the refcount table');
  const view = new DataView(bytes.buffer);
  const blocks: number[] = [];
  for (let at = 0; at < length; at += 8) blocks.push(offsetOf(view.getUint32(at), view.getUint32(at + 4)));
  // Entries at the end that lead nowhere need not be kept.
  while (blocks.at(-1) === 0) blocks.pop();
  return blocks;
}
