/**
 * The tables of a qcow2 image, and how they change in the file: never in place. What has changed is written into clusters that
 * are free, then the header, in one write, refers to the new tables instead of the old, whose clusters are free from then on.
 * Whenever the process (or the power) goes, the file has one consistent state: the last that was committed, with every
 * reference counted. Between two commits, guest data goes into clusters that are free in that state, or over its own old
 * contents.
 */
import { assert } from '../../base/assert.js';
import { HostError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import type { HostFile } from '../../iface/file.js';
import { ImageError } from '../image.js';
import { ClusterMap } from './clusters.js';
import { CHANGING_FROM, changingPart, extendedL2, type Qcow2Header } from './header.js';
import { readRefcountTable, Refcounts } from './refcounts.js';
import { COPIED_HIGH, offsetOf, readExactly, Table, TableCache } from './table.js';

/** Bytes of L2 tables that are kept in memory: those of 256 GiB with clusters of 64 KiB. */
const L2_CACHE = 32 * MIB;

/** Bytes in one piece that are given back to the host; less is soon used again. */
const WORTH_PUNCHING = MIB / 4;

export class Metadata {
  readonly clusterSize: number;
  readonly map: ClusterMap;
  readonly l2: TableCache;
  readonly refcounts: Refcounts;
  /** Clusters of tables, where a write of the guest's data would be a catastrophe. */
  private readonly tables = new Set<number>();
  private readonly l1View: DataView;
  /** Bytes of an L2 entry. */
  readonly stride: 8 | 16;
  /** The L1 table has no place yet. */
  private l1Moves = false;
  /** The header differs from what the file has. */
  private headerChanged = false;
  /** Why nothing can be written any more. */
  private broken: Error | undefined;

  /** `l1`: the L1 table as in the file. */
  constructor(
    readonly file: HostFile,
    readonly header: Qcow2Header,
    readonly l1: Uint8Array,
    blocks: number[],
  ) {
    this.clusterSize = 2 ** header.clusterBits;
    this.l1View = new DataView(l1.buffer, l1.byteOffset, l1.length);
    this.map = new ClusterMap(header);
    this.stride = extendedL2(header) ? 16 : 8;
    this.l2 = new TableCache(this.clusterSize, L2_CACHE, this.stride);
    this.refcounts = new Refcounts({
      file,
      clusterBits: header.clusterBits,
      order: header.refcountOrder,
      blocks,
      holdsMetadata: (cluster) => this.tables.has(cluster),
    });
  }

  static open(file: HostFile, header: Qcow2Header): Metadata {
    const l1 = readExactly(file, header.l1Offset, header.l1Size * 8, 'the L1 table');
    const length = header.refcountTableClusters * 2 ** header.clusterBits;
    return new Metadata(file, header, l1, readRefcountTable(file, header.refcountTableOffset, length));
  }

  /** The tables of an image that is new: the header's cluster is all there is. */
  initialize(): void {
    this.refcounts.allocateRun(1);
    this.l1Moves = true;
  }

  /** Remembers where tables are. To be called before anything is written. */
  protectTables(more: readonly { readonly offset: number; readonly length: number }[]): void {
    const { header } = this;
    this.protect(0, this.clusterSize);
    this.protect(header.l1Offset, this.l1.length);
    this.protect(header.refcountTableOffset, header.refcountTableClusters * this.clusterSize);
    for (const { offset, length } of more) this.protect(offset, length);
    for (const block of this.refcounts.blocks) if (block !== 0) this.protect(block, this.clusterSize);
    for (let i = 0; i < header.l1Size; i++) {
      const offset = this.l2Offset(i);
      if (offset !== 0) this.protect(offset, this.clusterSize);
    }
  }

  private protect(offset: number, length: number): void {
    const last = Math.floor((offset + length - 1) / this.clusterSize);
    for (let cluster = Math.floor(offset / this.clusterSize); cluster <= last; cluster++) this.tables.add(cluster);
  }

  /** Whether a cluster holds a table. */
  isTable(cluster: number): boolean {
    return this.tables.has(cluster);
  }

  damaged(what: string): ImageError {
    return new ImageError(`the disk ${this.file.name} is damaged: ${what}`);
  }

  get dirty(): boolean {
    return this.headerChanged || this.l2.dirtyCount > 0 || this.refcounts.dirty;
  }

  /** So much is waiting that it should be committed. */
  get full(): boolean {
    return this.l2.full || this.refcounts.full;
  }

  changeHeader(change: Partial<Pick<Qcow2Header, 'incompatible' | 'autoclear'>>): void {
    Object.assign(this.header, change);
    this.headerChanged = true;
  }

  l2Offset(index: number): number {
    return offsetOf(this.l1View.getUint32(index * 8), this.l1View.getUint32(index * 8 + 4));
  }

  /** An L2 table; undefined where there is none. */
  table(index: number): Table | undefined {
    const known = this.l2.get(index);
    if (known) return known;
    const offset = this.l2Offset(index);
    if (offset === 0) return undefined;
    if (offset % this.clusterSize !== 0) throw this.damaged('an L2 table is not where a cluster begins');
    const table = new Table(
      index,
      readExactly(this.file, offset, this.clusterSize, 'an L2 table'),
      offset,
      this.stride,
    );
    this.l2.add(table);
    return table;
  }

  /** Before clusters are taken: room for all tables that the next commit writes, with an L2 table and a block of counts more. L1 tables of several clusters lie elsewhere. */
  ensureRoom(): void {
    this.refcounts.ensureRoom(this.l2.dirtyCount + this.refcounts.cache.dirtyCount + 4);
  }

  /** An L2 table that is going to be changed. */
  tableForWrite(index: number): Table {
    this.checkUsable();
    const table = this.table(index) ?? this.l2.create(index);
    this.l2.touch(table);
    return table;
  }

  /** Gives a table of one cluster a new place, and its old one away. */
  private move(table: Table): void {
    const { cluster } = this.refcounts.allocate('metadata');
    const old = table.offset / this.clusterSize;
    table.offset = cluster * this.clusterSize;
    this.tables.add(cluster);
    if (old === 0) return;
    this.tables.delete(old);
    this.refcounts.releaseTable(old);
  }

  private moveRun(oldOffset: number, oldLength: number, length: number): number {
    const count = Math.ceil(length / this.clusterSize);
    const first = this.refcounts.allocateRun(count);
    for (let i = 0; i < count; i++) this.tables.add(first + i);
    if (oldOffset !== 0) this.releaseRun(oldOffset, oldLength);
    return first * this.clusterSize;
  }

  private releaseRun(offset: number, length: number): void {
    const first = offset / this.clusterSize;
    for (let i = 0; i < Math.ceil(length / this.clusterSize); i++) {
      this.tables.delete(first + i);
      this.refcounts.releaseTable(first + i);
    }
  }

  /**
   * Makes the file what memory has, durably. A failure on the way leaves the file as it was, and can be tried again, unless
   * nobody knows what the host has stored: then nothing is written any more.
   */
  commit(): void {
    this.checkUsable();
    if (!this.dirty) return;
    if (this.l2.dirtyCount > 0 || this.refcounts.dirty) this.writeTables();
    this.surely(() => this.file.flush());
    this.surely(() => {
      this.file.write(CHANGING_FROM, changingPart(this.header));
      this.file.flush();
    });
    this.headerChanged = false;
    this.l1Moves = false;
    for (const table of this.l2.dirty()) this.l2.clean(table);
    for (const block of this.refcounts.cache.dirty()) this.refcounts.cache.clean(block);
    this.refcounts.committed((cluster, count) => {
      if (count * this.clusterSize >= WORTH_PUNCHING)
        this.file.punch(cluster * this.clusterSize, count * this.clusterSize);
    });
  }

  /** Throws when the host has failed in a way after which nothing is written any more. */
  checkUsable(): void {
    if (this.broken) throw this.broken;
  }

  /** Makes data durable, where no table has changed. */
  sync(): void {
    this.checkUsable();
    this.surely(() => this.file.flush());
  }

  /** What must not fail: afterwards it would be unknown what the file holds. */
  private surely(work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.broken = new HostError(`the disk ${this.file.name} failed: nothing is written to it any more`, { cause });
      throw this.broken;
    }
  }

  private writeTables(): void {
    const { file, header, refcounts, l1, l1View } = this;
    const l2s = [...this.l2.dirty()];
    for (const table of l2s) {
      this.move(table);
      // Referred to once, by this L1 table.
      l1View.setUint32(table.index * 8, (COPIED_HIGH | Math.floor(table.offset / 2 ** 32)) >>> 0);
      l1View.setUint32(table.index * 8 + 4, table.offset % 2 ** 32);
    }
    const l1Changed = l2s.length > 0 || this.l1Moves;
    if (l1Changed) header.l1Offset = this.moveRun(header.l1Offset, l1.length, l1.length);
    const table = this.placeRefcounts();
    for (const { offset, bytes } of l2s) file.write(offset, bytes);
    if (l1Changed) file.write(header.l1Offset, l1);
    for (const { offset, bytes } of refcounts.cache.dirty()) file.write(offset, bytes);
    file.write(header.refcountTableOffset, table);
    // The last clusters may hold less than a cluster of data, or nothing yet.
    const end = refcounts.high * this.clusterSize;
    if (file.size < end) file.truncate(end);
  }

  /**
   * Places for the refcount blocks that have changed and for their table. Each new place is counted in some block, which
   * changes with that, until all have one. Returns the table.
   */
  private placeRefcounts(): Uint8Array {
    const { header, refcounts, clusterSize } = this;
    const placed = new Set<Table>();
    let room = header.refcountTableClusters * clusterSize;
    let [offset, first] = [header.refcountTableOffset, true];
    for (;;) {
      const missing = [...refcounts.cache.dirty()].filter((block) => !placed.has(block));
      const needed = refcounts.blocks.length * 8;
      if (missing.length === 0 && !first && needed <= room) break;
      for (const block of missing) {
        placed.add(block);
        this.move(block);
        refcounts.blocks[block.index] = block.offset;
      }
      if (first || needed > room) {
        const length = Math.ceil(Math.max(needed, 1) / clusterSize) * clusterSize;
        offset = this.moveRun(offset, room, length);
        room = length;
        first = false;
      }
    }
    header.refcountTableOffset = offset;
    header.refcountTableClusters = room / clusterSize;
    const bytes = new Uint8Array(room);
    const view = new DataView(bytes.buffer);
    for (const [i, block] of refcounts.blocks.entries()) {
      assert(block !== 0 || refcounts.cache.get(i) === undefined, 'a refcount block has its place');
      view.setBigUint64(i * 8, BigInt(block));
    }
    return bytes;
  }
}
