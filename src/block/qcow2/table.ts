/** Tables of one cluster: L2 tables and refcount blocks, as they are in memory. */
import type { HostFile } from '../../iface/file.js';
import { ImageError } from '../image.js';

/** Bits of entries, in their upper 32 bits. qcow2.txt, "Cluster mapping". */
export const COPIED_HIGH = 0x8000_0000;
export const COMPRESSED_HIGH = 0x4000_0000;
/** Bits 32 … 55 of an offset. */
const OFFSET_HIGH = 0x00ff_ffff;
const OFFSET_LOW = 0xffff_fe00;
/** "Reads as zeros", in the lower 32 bits. */
export const ZERO_LOW = 1;

/** The offset that two halves of an entry hold. */
export const offsetOf = (high: number, low: number): number =>
  (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);

export class Table {
  readonly view: DataView;
  /** Differs from what the file has. */
  dirty = false;

  constructor(
    readonly index: number,
    readonly bytes: Uint8Array,
    /** Where it is in the file; 0 when it has no place yet. */
    public offset: number,
    /** Bytes of an entry: 16 of extended ones. */
    private readonly stride: 8 | 16 = 8,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  high(entry: number): number {
    return this.view.getUint32(entry * this.stride);
  }

  low(entry: number): number {
    return this.view.getUint32(entry * this.stride + 4);
  }

  set(entry: number, high: number, low: number): void {
    this.view.setUint32(entry * this.stride, high);
    this.view.setUint32(entry * this.stride + 4, low);
  }

  /** Of an extended entry: which subclusters read as zeros, a bit each. */
  zeros(entry: number): number {
    return this.view.getUint32(entry * this.stride + 8);
  }

  /** Of an extended entry: which subclusters are allocated. */
  allocated(entry: number): number {
    return this.view.getUint32(entry * this.stride + 12);
  }

  setBits(entry: number, allocated: number, zeros: number): void {
    this.view.setUint32(entry * this.stride + 8, zeros);
    this.view.setUint32(entry * this.stride + 12, allocated);
  }

  setOffset(entry: number, high: number, offset: number): void {
    this.set(entry, (high | Math.floor(offset / 2 ** 32)) >>> 0, offset % 2 ** 32);
  }
}

/** Reads exactly that much, which the format says is there. */
export function readExactly(file: HostFile, offset: number, length: number, what: string): Uint8Array {
  const bytes = new Uint8Array(length);
  if (file.read(offset, bytes) !== length)
    throw new ImageError(`the disk ${file.name} is truncated: ${what} lies behind its end`);
  return bytes;
}

/** Tables by their index, the most recently used ones; those that are dirty stay until they are written. */
export class TableCache {
  private readonly tables = new Map<number, Table>();
  /** The one that was asked for last. */
  private last: Table | undefined;
  private readonly limit: number;
  dirtyCount = 0;

  /** `limit`: bytes of tables that are kept. `stride`: bytes of an entry. */
  constructor(
    private readonly clusterSize: number,
    limit: number,
    private readonly stride: 8 | 16 = 8,
  ) {
    this.limit = Math.max(4, Math.floor(limit / clusterSize));
  }

  /** Whether too many are dirty: they should be written. */
  get full(): boolean {
    return this.dirtyCount >= this.limit / 2;
  }

  get(index: number): Table | undefined {
    const { last } = this;
    if (last?.index === index) return last;
    const table = this.tables.get(index);
    if (!table) return undefined;
    this.tables.delete(index);
    this.tables.set(index, table);
    this.last = table;
    return table;
  }

  add(table: Table): void {
    this.tables.set(table.index, table);
    this.last = table;
    if (this.tables.size <= this.limit) return;
    let looks = this.tables.size;
    for (const [index, old] of this.tables) {
      if (looks-- === 0) return;
      this.tables.delete(index);
      if (!old.dirty && old !== table) return;
      // Back among the recent ones, so that the next look does not pass it again.
      this.tables.set(index, old);
    }
  }

  create(index: number): Table {
    const table = new Table(index, new Uint8Array(this.clusterSize), 0, this.stride);
    this.add(table);
    return table;
  }

  touch(table: Table): void {
    if (table.dirty) return;
    table.dirty = true;
    this.dirtyCount++;
  }

  clean(table: Table): void {
    if (!table.dirty) return;
    table.dirty = false;
    this.dirtyCount--;
  }

  *dirty(): Generator<Table> {
    for (const table of this.tables.values()) if (table.dirty) yield table;
  }

  clear(): void {
    this.tables.clear();
    this.last = undefined;
    this.dirtyCount = 0;
  }
}
