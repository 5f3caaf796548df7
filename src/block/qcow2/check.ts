/** Counts the references to each cluster of an image, compares them with its reference counts, and puts these right. */
import type { HostFile } from '../../iface/file.js';
import { ImageError } from '../image.js';
import { readBitmaps } from './bitmaps.js';
import { INCOMPATIBLE, type Qcow2Header } from './header.js';
import type { Metadata } from './metadata.js';
import { readSnapshots } from './snapshots.js';
import { COMPRESSED_HIGH, COPIED_HIGH, offsetOf, Table } from './table.js';

/** Clusters in one piece of the counters, and how many pieces there may be: 512 MiB of counters. */
const PIECE = 1 << 16;
const MAX_PIECES = 1 << 11;
/** Entries of tables that are looked at: those of 128 TiB with clusters of 64 KiB, and some seconds of work. */
const MAX_ENTRIES = 2 ** 31;
/** Findings that are told one by one. */
const MAX_MESSAGES = 20;

export interface CheckResult {
  /** Clusters that are counted more often than they are referred to: lost room. */
  leaks: number;
  /** Clusters that are counted less often, and tables that cannot be right: lost data, sooner or later. */
  errors: number;
  /** Of these errors, those that counting anew does not heal. */
  fatal: number;
  /** The first findings in words. */
  readonly messages: string[];
  /** Guest clusters with a place in the file, and the compressed ones of them. */
  allocated: number;
  compressed: number;
  /** Guest clusters of the disk. */
  readonly total: number;
  /** Bytes of the file that are in use. */
  end: number;
}

/** References by cluster; most clusters of a file that is mostly holes take no memory. */
class Counters {
  private readonly pieces = new Map<number, Uint32Array>();

  add(cluster: number): number {
    const index = Math.floor(cluster / PIECE);
    let piece = this.pieces.get(index);
    if (!piece) {
      if (this.pieces.size >= MAX_PIECES) throw new ImageError('the disk is too large to be checked');
      piece = new Uint32Array(PIECE);
      this.pieces.set(index, piece);
    }
    return ++piece[cluster % PIECE];
  }

  get(cluster: number): number {
    return this.pieces.get(Math.floor(cluster / PIECE))?.[cluster % PIECE] ?? 0;
  }

  /** Each cluster that is referred to. */
  *entries(): Generator<readonly [cluster: number, count: number]> {
    for (const index of [...this.pieces.keys()].sort((a, b) => a - b)) {
      const piece = this.pieces.get(index);
      for (let i = 0; piece && i < PIECE; i++) if (piece[i] !== 0) yield [index * PIECE + i, piece[i]];
    }
  }
}

/** An L1 table whose entries count. */
interface Root {
  readonly name: string;
  readonly active: boolean;
  readonly l1: Uint8Array;
}

export class Check {
  readonly result: CheckResult;
  private readonly counters = new Counters();
  private readonly clusterSize: number;
  private readonly fileClusters: number;
  private entriesLeft = MAX_ENTRIES;
  /** Clusters of tables, where no guest's data can be. */
  private readonly tables = new Set<number>();

  constructor(
    private readonly file: HostFile,
    private readonly header: Qcow2Header,
    private readonly metadata: Metadata,
  ) {
    this.clusterSize = 2 ** header.clusterBits;
    this.fileClusters = Math.ceil(file.size / this.clusterSize);
    const total = Math.ceil(header.size / this.clusterSize);
    this.result = { leaks: 0, errors: 0, fatal: 0, messages: [], allocated: 0, compressed: 0, total, end: 0 };
  }

  private tell(message: string): void {
    if (this.result.messages.length < MAX_MESSAGES) this.result.messages.push(message);
  }

  /** Something is wrong that new counts do not put right. */
  private fatal(message: string): void {
    this.result.errors++;
    this.result.fatal++;
    this.tell(message);
  }

  private count(offset: number, length: number, what: string): void {
    if (length === 0) return;
    const first = Math.floor(offset / this.clusterSize);
    const last = Math.floor((offset + length - 1) / this.clusterSize);
    if (last >= this.fileClusters) {
      this.fatal(`${what} at ${offset} lies behind the end of the file`);
      return;
    }
    for (let cluster = first; cluster <= last; cluster++) this.counters.add(cluster);
  }

  /** Counts a table that nothing else can be as well. */
  private countTable(offset: number, length: number, what: string): void {
    const first = Math.floor(offset / this.clusterSize);
    const last = Math.floor((offset + length - 1) / this.clusterSize);
    if (last < this.fileClusters)
      for (let cluster = first; cluster <= last; cluster++) {
        if (this.tables.has(cluster)) this.fatal(`${what} at ${offset} lies where another table is`);
        this.tables.add(cluster);
      }
    this.count(offset, length, what);
  }

  /** Counts all references. */
  private walk(): void {
    const { header, metadata, clusterSize } = this;
    this.countTable(0, clusterSize, 'the header');
    this.countTable(header.refcountTableOffset, header.refcountTableClusters * clusterSize, 'the refcount table');
    this.walkBlocks();
    this.countTable(header.l1Offset, header.l1Size * 8, 'the L1 table');
    this.walkRoot({ name: '', active: true, l1: metadata.l1 });
    this.walkSnapshots();
    this.walkBitmaps();
  }

  /** A block that cannot be right counts nothing; new counts get a new one. */
  private walkBlocks(): void {
    const { clusterSize } = this;
    const { blocks } = this.metadata.refcounts;
    for (const [i, offset] of blocks.entries()) {
      if (offset === 0) continue;
      const cluster = offset / clusterSize;
      if (Number.isInteger(cluster) && cluster < this.fileClusters && this.counters.get(cluster) === 0) {
        this.counters.add(cluster);
        this.tables.add(cluster);
        continue;
      }
      blocks[i] = 0;
      this.result.errors++;
      this.tell(`refcount block ${i} is where none can be`);
    }
  }

  private spend(entries: number): void {
    this.entriesLeft -= entries;
    if (this.entriesLeft < 0) throw new ImageError(`the disk ${this.file.name} is too large to be checked`);
  }

  private walkSnapshots(): void {
    const { header } = this;
    if (header.snapshotCount === 0) return;
    const { snapshots, tableLength } = readSnapshots(this.file, header);
    this.count(header.snapshotsOffset, tableLength, 'the table of snapshots');
    for (const { name, l1Offset, l1Size } of snapshots) {
      this.spend(l1Size);
      const l1 = new Uint8Array(l1Size * 8);
      this.count(l1Offset, l1.length, `the L1 table of the snapshot ${name}`);
      if (this.file.read(l1Offset, l1) === l1.length) this.walkRoot({ name: `snapshot ${name}, `, active: false, l1 });
    }
  }

  private walkBitmaps(): void {
    const { file, header, clusterSize } = this;
    const bitmaps = readBitmaps(file, header);
    if (bitmaps.length > 0 && header.bitmaps)
      this.count(header.bitmaps.directoryOffset, header.bitmaps.directorySize, 'the directory of bitmaps');
    for (const { tableOffset, tableSize } of bitmaps) {
      this.spend(tableSize);
      const bytes = new Uint8Array(tableSize * 8);
      this.count(tableOffset, bytes.length, 'the table of a bitmap');
      if (file.read(tableOffset, bytes) !== bytes.length) continue;
      const view = new DataView(bytes.buffer);
      for (let at = 0; at < bytes.length; at += 8) {
        const offset = offsetOf(view.getUint32(at), view.getUint32(at + 4));
        if (offset !== 0) this.count(offset, clusterSize, 'a bitmap');
      }
    }
  }

  private walkRoot({ name, active, l1 }: Root): void {
    const { clusterSize } = this;
    const view = new DataView(l1.buffer, l1.byteOffset, l1.length);
    const seen = new Set<number>();
    for (let i = 0; i < l1.length / 8; i++) {
      const [high, low] = [view.getUint32(i * 8), view.getUint32(i * 8 + 4)];
      const offset = offsetOf(high, low);
      if (offset === 0) continue;
      const what = `${name}L2 table ${i}`;
      if (offset % clusterSize !== 0) {
        this.fatal(`${what} is not where a cluster begins`);
        continue;
      }
      // Snapshots share tables with what is now.
      if (active) this.countTable(offset, clusterSize, what);
      else this.count(offset, clusterSize, what);
      if (seen.has(offset)) {
        this.fatal(`${what} is another one as well`);
        continue;
      }
      seen.add(offset);
      this.spend(this.metadata.map.perTable);
      const bytes = new Uint8Array(clusterSize);
      if (this.file.read(offset, bytes) === clusterSize)
        this.walkTable(new Table(i, bytes, offset, this.metadata.stride), name, active);
    }
  }

  private walkTable(table: Table, name: string, active: boolean): void {
    const { clusterSize } = this;
    const { map } = this.metadata;
    for (let at = 0; at < map.perTable; at++) {
      const { invalid, compressed, offset } = map.entry(table, at);
      if (!invalid && !compressed && offset === 0) continue;
      const what = `${name}cluster ${table.index * map.perTable + at}`;
      if (invalid) this.fatal(`${what} has an entry that leads nowhere`);
      else if (compressed) {
        if (table.high(at) & COPIED_HIGH) this.fatal(`${what} is compressed and marked as written in place`);
        this.count(compressed.offset, compressed.length, what);
        if (active) this.result.compressed++;
      } else if (offset !== 0) this.count(offset, clusterSize, what);
      if (active && (compressed !== undefined || offset !== 0)) this.result.allocated++;
    }
  }

  /** Compares counts and marks with what was found. */
  private compare(): void {
    const { metadata, counters, result } = this;
    const { refcounts } = metadata;
    const look = (cluster: number, counted: number, found: number): void => {
      result.end = Math.max(result.end, (cluster + 1) * this.clusterSize);
      if (counted === found) return;
      if (counted > found) result.leaks++;
      else result.errors++;
      this.tell(`cluster ${cluster} is counted ${counted} times and referred to ${found} times`);
    };
    const perBlock = (this.clusterSize * 8) / 2 ** this.header.refcountOrder;
    for (const [i, block] of refcounts.blocks.entries()) {
      if (block === 0) continue;
      this.spend(perBlock);
      for (const [cluster, counted] of refcounts.counted(i)) look(cluster, counted, counters.get(cluster));
    }
    for (const [cluster, found] of counters.entries()) if (refcounts.get(cluster) === 0) look(cluster, 0, found);
    this.eachMark((what, marked, found) => {
      if (marked === (found === 1)) return undefined;
      this.result.errors++;
      this.tell(`${what} is ${marked ? '' : 'not '}marked as written in place, and referred to ${found} times`);
      return undefined;
    });
  }

  /** The active tables' marks for "referred to once", each with how often that is true; a result replaces the mark. */
  private eachMark(look: (what: string, marked: boolean, found: number) => boolean | undefined): void {
    const { header, clusterSize, counters, metadata } = this;
    const { perTable } = metadata.map;
    const l1 = new Table(0, metadata.l1, header.l1Offset);
    for (let i = 0; i < header.l1Size; i++) {
      const offset = metadata.l2Offset(i);
      if (offset === 0 || offset % clusterSize !== 0 || offset / clusterSize >= this.fileClusters) continue;
      const mark = look(`L2 table ${i}`, (l1.high(i) & COPIED_HIGH) !== 0, counters.get(offset / clusterSize));
      // A table is moved, and marked anew, whenever it is written.
      if (mark !== undefined) metadata.tableForWrite(i);
      const table = metadata.table(i);
      if (!table) continue;
      for (let entry = 0; entry < perTable; entry++) {
        const high = table.high(entry);
        const place = offsetOf(high, table.low(entry));
        if (high & COMPRESSED_HIGH || place === 0) continue;
        if (this.tables.has(place / clusterSize)) {
          this.fatal(`cluster ${i * perTable + entry} lies where a table is`);
          continue;
        }
        const answer = look(
          `cluster ${i * perTable + entry}`,
          (high & COPIED_HIGH) !== 0,
          counters.get(place / clusterSize),
        );
        if (answer === undefined) continue;
        metadata.tableForWrite(i);
        table.set(entry, ((high & ~COPIED_HIGH) | (answer ? COPIED_HIGH : 0)) >>> 0, table.low(entry));
      }
    }
  }

  /** Looks for all that is wrong. */
  run(): CheckResult {
    this.walk();
    this.compare();
    return this.result;
  }

  /**
   * Counts anew, and stores these counts. Only where nothing was fatal. The tables that hold the old counts stay as they are
   * until the new ones are in place.
   */
  repair(): void {
    const { counters, metadata, header } = this;
    const { refcounts } = metadata;
    const perBlock = (this.clusterSize * 8) / 2 ** header.refcountOrder;
    for (const [i, block] of refcounts.blocks.entries()) {
      if (block === 0) continue;
      for (let cluster = i * perBlock; cluster < (i + 1) * perBlock; cluster++)
        if (refcounts.get(cluster) !== counters.get(cluster)) refcounts.set(cluster, counters.get(cluster));
    }
    for (const [cluster, found] of counters.entries())
      if (refcounts.get(cluster) !== found) refcounts.set(cluster, found);
    this.eachMark((_what, marked, found) => (marked === (found === 1) ? undefined : found === 1));
    metadata.changeHeader({ incompatible: header.incompatible & ~(INCOMPATIBLE.DIRTY | INCOMPATIBLE.CORRUPT) });
    metadata.commit();
  }
}
